"""Photos, listings and contents behave alike on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from listlens.core.errors import InputError
from listlens.core.types import (
    EmbeddingSpace,
    ListingRow,
    PhotoRow,
    Reason,
    RejectedRow,
    Status,
)
from listlens.store.contents import ContentRecord
from listlens.store.open import Store
from listlens.store.photos import PhotoRecord

SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 4)


def row(listing: str, photo: str, **more: object) -> PhotoRow:
    return PhotoRow(listing, photo, f"/photos/{photo}", **more)  # type: ignore[arg-type]


def pending(rows: Sequence[PhotoRow]) -> list[PhotoRecord]:
    return [PhotoRecord(r, 10, 20, None, Status.PENDING) for r in rows]


def content_record(name: str, **more: object) -> ContentRecord:
    values = {
        "sha256": hashlib.sha256(name.encode()).hexdigest(),
        "n_bytes": 9,
        "format": "JPEG",
        "width_px": 4,
        "height_px": 3,
        "measures": {"sharpness": 0.25, "phash": 2**64 - 2},
        "status": Status.OK,
    }
    return ContentRecord(**(values | more))  # type: ignore[arg-type]


def begin(store: Store, name: str = "shop") -> tuple[int, int]:
    source = store.photos.source(name, "folder", "/photos")
    return source, store.photos.begin_ingest(source)


def test_a_source_is_known_by_its_name(store: Store) -> None:
    first = store.photos.source("shop", "folder", "/photos")
    assert store.photos.source("shop", "table", "/elsewhere") == first
    assert store.photos.source("other", "folder", "/photos") != first


def test_saved_photos_come_back_with_everything(store: Store) -> None:
    source, ingest = begin(store)
    (content_id,) = store.contents.save([content_record("a")])
    given = row("L1", "a.jpg", position=2, seller_id="ann", attributes={"price": 3.5}, at="t:1")
    (pk,) = store.photos.save(source, ingest, [PhotoRecord(given, 9, 8, content_id, Status.OK)])
    (view,) = store.photos.scan()
    assert (view.photo_pk, view.listing_id, view.photo_id) == (pk, "L1", "a.jpg")
    assert (view.position, view.location, view.status) == (2, "/photos/a.jpg", Status.OK)
    assert (view.content_id, view.sha256) == (content_id, content_record("a").sha256)
    assert view.seller_id == "ann"
    listing = store.photos.listing("L1")
    assert listing is not None
    assert (listing["seller_id"], listing["attributes"]) == ("ann", {"price": 3.5})
    assert store.photos.listing("L2") is None


def test_saving_again_changes_the_row_and_keeps_its_key(store: Store) -> None:
    source, ingest = begin(store)
    keys = store.photos.save(source, ingest, pending([row("L1", "a"), row("L1", "b")]))
    failed = PhotoRecord(row("L1", "b"), 1, 1, None, Status.FAILED, Reason.EMPTY, "0 bytes")
    again = store.photos.save(source, ingest, [failed, *pending([row("L1", "a"), row("L2", "a")])])
    assert again[:2] == [keys[1], keys[0]]
    assert again[2] not in keys
    assert store.photos.counts() == {
        "pending": 2, "ok": 0, "failed": 1, "gone": 0, "failed:empty": 1}  # fmt: skip


def test_of_equal_keys_in_one_batch_the_last_counts(store: Store) -> None:
    source, ingest = begin(store)
    twice = pending([row("L1", "a", position=1), row("L1", "a", position=5)])
    first, second = store.photos.save(source, ingest, twice)
    assert first == second
    assert [view.position for view in store.photos.scan()] == [5]


def test_two_sources_may_hold_the_same_photo_of_one_listing(store: Store) -> None:
    for name in ("one", "two"):
        source, ingest = begin(store, name)
        store.photos.save(source, ingest, pending([row("L1", "a")]))
    assert [view.listing_id for view in store.photos.scan()] == ["L1", "L1"]
    assert len(store.photos.by_photo_id(["a"])["a"]) == 2


def test_known_tells_whether_anything_changed(store: Store) -> None:
    source, ingest = begin(store)
    rows = [row("L1", "a", attributes={"a": 1}), row("L1", "b", attributes={"a": 2})]
    store.photos.save(source, ingest, pending(rows))
    known = store.photos.known(source, [("L1", "a"), ("L1", "b"), ("L1", "c"), ("L2", "a")])
    assert set(known) == {("L1", "a"), ("L1", "b")}
    assert known["L1", "a"].says(rows[0])
    assert known["L1", "b"].says(rows[1])
    assert (known["L1", "a"].size_bytes, known["L1", "a"].mtime_ns) == (10, 20)
    for changed in (
        row("L1", "a", attributes={"a": 9}),
        row("L1", "a", attributes={"a": 1}, position=1),
        row("L1", "a", attributes={"a": 1}, seller_id="s"),
    ):
        assert not known["L1", "a"].says(changed)


def test_a_row_without_seller_or_attributes_keeps_those_of_its_listing(store: Store) -> None:
    source, ingest = begin(store)
    store.photos.save_listings([ListingRow("L1", "ann", {"price": 1})])
    store.photos.save(source, ingest, pending([row("L1", "a")]))
    listing = store.photos.listing("L1")
    assert listing is not None
    assert (listing["seller_id"], listing["attributes"]) == ("ann", {"price": 1})


def test_photos_not_seen_again_are_gone_and_come_back_as_they_were(store: Store) -> None:
    source, first = begin(store)
    failed = PhotoRecord(row("L1", "bad"), 1, 1, None, Status.FAILED, Reason.TRUNCATED, "cut")
    (content_id,) = store.contents.save([content_record("a")])
    good = PhotoRecord(row("L1", "a"), 1, 1, content_id, Status.OK)
    keys = store.photos.save(source, first, [good, failed, *pending([row("L1", "new")])])
    assert store.photos.finish_ingest(first) == 0
    second = store.photos.begin_ingest(source)
    store.photos.touch(second, keys[:1])
    assert store.photos.finish_ingest(second) == 2
    assert store.photos.counts()["gone"] == 2
    third = store.photos.begin_ingest(source)
    store.photos.touch(third, keys)
    assert store.photos.finish_ingest(third) == 0
    assert [v.status for v in store.photos.scan()] == [Status.OK, Status.FAILED, Status.PENDING]


def test_a_run_over_one_source_leaves_the_others(store: Store) -> None:
    one, ingest_one = begin(store, "one")
    store.photos.save(one, ingest_one, pending([row("L1", "a")]))
    _, ingest_two = begin(store, "two")
    assert store.photos.finish_ingest(ingest_two) == 0


def test_rejected_rows_are_kept_per_run(store: Store) -> None:
    source, first = begin(store)
    store.photos.reject(source, first, [RejectedRow("t:1", Reason.BAD_ROW, "old")])
    second = store.photos.begin_ingest(source)
    rows = [RejectedRow(f"t:{i}", Reason.BAD_ROW, f"no {i}") for i in range(5)]
    store.photos.reject(source, second, rows)
    assert list(store.photos.rejected(batch=2)) == rows
    assert [r.detail for r in store.photos.rejected(first)] == ["old"]


def test_a_row_rejected_as_forgotten_is_not_named(store: Store) -> None:
    source, ingest = begin(store)
    store.photos.reject(source, ingest, [RejectedRow("t:1", Reason.FORGOTTEN, "listing L1")])
    assert [r.detail for r in store.photos.rejected()] == [""]


def test_scan_filters_and_pages_without_losing_or_doubling(store: Store) -> None:
    source, ingest = begin(store)
    rows = [row(f"L{i % 7}", f"p{i}") for i in range(53)]
    store.photos.save(source, ingest, pending(rows))
    seen = [view.photo_id for view in store.photos.scan(batch=5)]
    assert sorted(seen) == sorted(r.photo_id for r in rows)
    assert len(list(store.photos.scan(listing_id="L3", batch=2))) == 8
    assert list(store.photos.scan(status=Status.OK)) == []
    assert len(list(store.photos.scan(source_id=source, status=Status.PENDING, batch=50))) == 53


def test_rows_may_be_saved_while_scanning(store: Store) -> None:
    source, ingest = begin(store)
    store.photos.save(source, ingest, pending([row("L1", f"p{i}") for i in range(10)]))
    for view in store.photos.scan(batch=3):
        store.photos.touch(ingest, [view.photo_pk])


def test_photos_are_found_by_photo_id(store: Store) -> None:
    source, ingest = begin(store)
    store.photos.save(source, ingest, pending([row("L1", "a"), row("L2", "a"), row("L2", "b")]))
    found = store.photos.by_photo_id(["a", "b", "nowhere"])
    shown = {key: [view.listing_id for view in views] for key, views in found.items()}
    assert shown == {"a": ["L1", "L2"], "b": ["L2"]}


@pytest.mark.parametrize(
    "name",
    ["плита.jpg", "a\nb\tc.jpg", "📷/🛏.jpg", 'it\'s "%s" :x ?.jpg', "e\u0301", "a" * 900, " "],
    ids=["cyrillic", "newline", "emoji", "quotes", "combining", "long", "space"],
)
def test_any_printable_or_odd_name_comes_back_exactly(store: Store, name: str) -> None:
    source, ingest = begin(store)
    given = row(name, name, seller_id=name, attributes={name: name})
    (pk,) = store.photos.save(source, ingest, pending([given]))
    known = store.photos.known(source, [(name, name)])[name, name]
    assert (known.photo_pk, known.photo_id, known.seller_id) == (pk, name, name)
    assert store.photos.by_photo_id([name])[name][0].listing_id == name
    listing = store.photos.listing(name)
    assert listing is not None
    assert listing["attributes"] == {name: name}


@pytest.mark.parametrize("name", ["a\0b", "a\udcffb"], ids=["nul", "surrogate"])
def test_a_name_that_no_database_keeps_is_refused_with_advice(store: Store, name: str) -> None:
    source, ingest = begin(store)
    with pytest.raises(InputError, match="printable"):
        store.photos.save(source, ingest, pending([row("L1", name)]))


def test_what_json_and_text_cannot_hold_is_softened_in_attributes_and_details(store: Store) -> None:
    source, ingest = begin(store)
    odd = row("L1", "a", attributes={"x": float("nan"), "y": [float("inf"), 1], "z": "\udc80"})
    failed = PhotoRecord(odd, 1, 1, None, Status.FAILED, Reason.DAMAGED, "a\0b")
    store.photos.save(source, ingest, [failed])
    listing = store.photos.listing("L1")
    assert listing is not None
    assert listing["attributes"] == {"x": None, "y": [None, 1], "z": "?"}
    assert next(iter(store.photos.scan())).detail == "a?b"


def test_contents_are_one_row_per_sha256(store: Store) -> None:
    records = [content_record("a"), content_record("b"), content_record("a")]
    ids = store.contents.save(records)
    assert ids[0] == ids[2] != ids[1]
    assert store.contents.save(records[:2]) == ids[:2]
    known = store.contents.lookup([records[0].sha256, "f" * 64])
    assert list(known) == [records[0].sha256]
    assert known[records[0].sha256] == (ids[0], Status.OK, None, "")


def test_measures_and_the_unsigned_hash_come_back(store: Store) -> None:
    ids = store.contents.save([content_record("a"), content_record("b", measures=None)])
    found = store.contents.get(ids)
    assert found[ids[0]].measures == {"sharpness": 0.25, "phash": 2**64 - 2}
    assert found[ids[1]].measures is None
    assert [view.content_id for view in store.contents.scan(batch=1)] == sorted(ids)


def test_decoding_again_may_turn_a_failure_into_a_success(store: Store) -> None:
    slow = content_record("a", status=Status.FAILED, reason=Reason.TOO_SLOW, detail="61 s")
    (pk,) = store.contents.save([slow])
    assert store.contents.lookup([slow.sha256])[slow.sha256].reason is Reason.TOO_SLOW
    assert store.contents.save([content_record("a")]) == [pk]
    assert store.contents.lookup([slow.sha256])[slow.sha256].status is Status.OK


def test_a_wrong_sha256_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="64 hex"):
        store.contents.save([content_record("a", sha256="xyz")])


def test_contents_without_vector_have_a_live_photo_and_decoded(store: Store) -> None:
    import numpy as np

    source, ingest = begin(store)
    ids = store.contents.save(
        [content_record(n) for n in "abc"] + [content_record("d", status=Status.FAILED)]
    )
    photos = [PhotoRecord(row("L1", f"p{i}"), 1, 1, ids[i], Status.OK) for i in (0, 1)]
    bad = PhotoRecord(row("L1", "p3"), 1, 1, ids[3], Status.FAILED, Reason.DAMAGED)
    store.photos.save(source, ingest, [*photos, bad])
    store.vectors.put(SPACE, [ids[0]], np.zeros((1, 4), np.float16))
    found = list(store.contents.without_vector(SPACE.id, batch=1))
    assert [(u.content_id, u.location) for u in found] == [(ids[1], "/photos/p1")]
    other = EmbeddingSpace("tiny", "1" * 64, "squash8", "onnxruntime", "f32", 4)
    assert {u.content_id for u in store.contents.without_vector(other.id)} == set(ids[:2])
