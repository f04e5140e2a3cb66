"""Forgetting leaves nothing behind and keeps it out, on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from listlens.core.errors import InputError, NotFoundError
from listlens.core.types import (
    Answer,
    EmbeddingSpace,
    ListingRow,
    PhotoRow,
    Reason,
    RejectedRow,
    Status,
)
from listlens.store.contents import ContentRecord
from listlens.store.labels import NewAnnotation
from listlens.store.models import ModelRecord
from listlens.store.open import Store
from listlens.store.photos import PhotoRecord

SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 16)
MARK = "XYZZYMARK"


class Shop:
    """Four listings of two sellers; L2/a and L3/c show the same content."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.source = store.photos.source("shop", "folder", "/photos")
        self.ingest = store.photos.begin_ingest(self.source)
        shas = {n: hashlib.sha256(n.encode()).hexdigest() for n in "abcde"}
        records = [
            ContentRecord(sha, 1, f"{MARK}-{n}", 1, 1, {"m": 0.5}, Status.OK)
            for n, sha in shas.items()
        ]
        self.shas = shas
        self.ids = dict(zip(shas, store.contents.save(records), strict=True))
        self.rows = [
            self.photo("L1", "p1", "a", "ann"),
            self.photo("L1", "p2", "b", "ann"),
            self.photo("L2", "a", "c", "ann"),
            self.photo("L3", "c", "c", "bob"),
            self.photo("L4", "p1", "d", "bob"),
        ]
        self.pks = store.photos.save(self.source, self.ingest, self.rows)
        for n, pk in self.ids.items():
            store.vectors.put(SPACE, [pk], np.full((1, 16), ord(n), np.float16))
            store.thumbnails.put(shas[n], f"thumbnail {n}".encode())
        task = store.labels.add_task("room", "single", ["x"])
        self.task_id = task.task_id
        self.who = store.labels.annotator(f"eve {MARK}")
        self.model = store.models.register(
            ModelRecord(task.task_id, 1, "m", "0" * 64, SPACE, 1, {})
        )
        ids = list(self.ids.values())
        store.predictions.save(self.model, ids, np.ones((5, 1), np.float32))
        store.labels.annotate(
            [
                NewAnnotation(
                    task.task_id, "content", (r.content_id or 0,), Answer(("x",)), self.who, pk
                )
                for r, pk in zip(self.rows, self.pks, strict=True)
            ]
        )
        store.vectors.compact()

    def photo(self, listing: str, photo: str, content: str, seller: str) -> PhotoRecord:
        row = PhotoRow(
            f"{MARK}-{listing}", photo, f"/photos/{MARK}/{listing}/{photo}", 0, seller,
            {"text": f"{MARK} of {listing}"}, f"t:{MARK}",
        )  # fmt: skip
        return PhotoRecord(row, 1, 1, self.ids[content], Status.OK)

    def left(self) -> set[str]:
        """Contents that still have a row, a vector, a prediction and a thumbnail; all or none."""
        names = set()
        for name, pk in self.ids.items():
            there = {
                bool(self.store.contents.get([pk])),
                not self.store.vectors.missing(SPACE, [pk]),
                not self.store.predictions.missing(self.model, [pk]),
                self.store.thumbnails.get(self.shas[name]) is not None,
            }
            assert len(there) == 1, (name, there)
            if there == {True}:
                names.add(name)
        return names


@pytest.fixture
def shop(store: Store) -> Shop:
    return Shop(store)


def test_a_plan_changes_nothing_and_equals_the_execution(shop: Shop) -> None:
    plan = shop.store.forgetting.plan(listing=f"{MARK}-L1")
    assert shop.left() == set("abcde")
    assert plan.listings == (f"{MARK}-L1",)
    assert plan.photos == ((f"{MARK}-L1", "p1"), (f"{MARK}-L1", "p2"))
    assert set(plan.contents) == {shop.ids["a"], shop.ids["b"]}
    assert (plan.n_vectors, plan.n_predictions, plan.n_annotations, plan.n_thumbnails) == (
        2, 2, 2, 2)  # fmt: skip
    assert shop.store.forgetting.execute(plan) == plan
    assert shop.left() == set("cde")
    assert shop.store.photos.listing(f"{MARK}-L1") is None
    with pytest.raises(NotFoundError, match="not found again"):
        shop.store.forgetting.execute(plan)


def test_a_content_that_another_photo_shows_survives(shop: Shop) -> None:
    plan = shop.store.forgetting.plan(listing=f"{MARK}-L2")
    assert (plan.contents, plan.n_shared, plan.n_annotations) == ((), 1, 1)
    shop.store.forgetting.execute(plan)
    assert "c" in shop.left()
    shop.store.forgetting.execute(shop.store.forgetting.plan(listing=f"{MARK}-L3"))
    assert "c" not in shop.left()


def test_a_photo_goes_and_its_listing_stays(shop: Shop) -> None:
    forgetting = shop.store.forgetting
    assert len(forgetting.plan(photo="p1").photos) == 2
    forgetting.execute(forgetting.plan(photo="p1", listing=f"{MARK}-L4"))
    assert shop.left() == set("abce")
    assert shop.store.photos.listing(f"{MARK}-L4") is not None
    keys = [(f"{MARK}-L4", "p1"), (f"{MARK}-L4", "p2"), (f"{MARK}-L1", "p1")]
    assert shop.store.photos.forgotten(keys) == {keys[0]}


def test_a_seller_goes_with_all_listings_and_those_to_come(shop: Shop) -> None:
    plan = shop.store.forgetting.plan(seller="ann")
    shop.store.forgetting.execute(plan)
    assert shop.left() == set("cde")
    keys = [(f"{MARK}-L1", "new"), ("L9", "p"), ("L8", "p")]
    assert shop.store.photos.forgotten(keys) == {keys[0]}
    sellers = ["ann", "ann", "bob"]
    assert shop.store.photos.forgotten(keys, sellers) == set(keys[:2])


def test_an_annotator_becomes_a_pseudonym_and_stays_one(shop: Shop) -> None:
    plan = shop.store.forgetting.plan(annotator=f"eve {MARK}")
    assert plan.n_annotations == 5
    assert shop.store.labels.annotators() == {f"eve {MARK}": 5}
    shop.store.forgetting.execute(plan)
    assert len(list(shop.store.labels.annotations(shop.task_id))) == 5
    assert shop.store.labels.annotator(f"eve {MARK}") == shop.who
    ((pseudonym, n),) = shop.store.labels.annotators().items()
    assert "eve" not in pseudonym
    assert n == 5
    with pytest.raises(NotFoundError):
        shop.store.forgetting.plan(annotator=f"eve {MARK}")


def test_an_annotators_file_is_not_named_after_forgetting_nor_by_a_later_import(
    shop: Shop,
) -> None:
    def answer(listing: int, answer: Answer, who: int) -> NewAnnotation:
        about = (shop.rows[listing].content_id or 0,)
        return NewAnnotation(
            shop.task_id, "content", about, answer, who, shop.pks[listing], at="eve.csv:12"
        )

    def places() -> set[str]:
        return {view.at for view in shop.store.labels.annotations(shop.task_id)}

    other = shop.store.labels.annotator("bob")
    shop.store.labels.annotate([answer(0, Answer(()), shop.who), answer(1, Answer(()), other)])
    assert places() == {"", "eve.csv:12"}
    shop.store.forgetting.execute(shop.store.forgetting.plan(annotator=f"eve {MARK}"))
    kept = [v.annotator_id for v in shop.store.labels.annotations(shop.task_id) if v.at]
    assert kept == [other]  # the others' answers stay as they are
    again = shop.store.labels.annotator(f"eve {MARK}")
    assert shop.store.labels.annotate([answer(2, Answer(()), again)]) == 1
    kept = [v.annotator_id for v in shop.store.labels.annotations(shop.task_id) if v.at]
    assert kept == [other]


def test_what_a_photo_showed_before_goes_too(shop: Shop) -> None:
    changed = shop.photo("L4", "p1", "e", "bob")
    shop.store.photos.save(shop.source, shop.ingest, [changed])
    assert shop.left() == set("abcde")
    shop.store.forgetting.execute(shop.store.forgetting.plan(listing=f"{MARK}-L4"))
    assert shop.left() == set("abc")


def test_rejected_rows_that_name_the_listing_go(shop: Shop) -> None:
    rows = [
        RejectedRow("t:1", Reason.BAD_ROW, f"{MARK}-L1 has no photo"),
        RejectedRow("t:2", Reason.BAD_ROW, "no column"),
    ]
    shop.store.photos.reject(shop.source, shop.ingest, rows)
    shop.store.forgetting.execute(shop.store.forgetting.plan(listing=f"{MARK}-L1"))
    assert list(shop.store.photos.rejected()) == rows[1:]


def test_rejected_rows_that_only_look_alike_stay(store: Store) -> None:
    source = store.photos.source("shop", "folder", "/photos")
    ingest = store.photos.begin_ingest(source)
    store.photos.save_listings([ListingRow("3"), ListingRow("13")])
    named = [
        RejectedRow("3/notes.txt", Reason.NOT_AN_IMAGE, "neither its name nor its first bytes"),
        RejectedRow("t.csv:1", Reason.DUPLICATE_ROW, "listing '3', photo 'a.jpg' came in row 2"),
        RejectedRow("3", Reason.UNREADABLE, "the folder cannot be read"),
    ]
    others = [
        RejectedRow("t.csv:3", Reason.BAD_ROW, "4 fields, but the header names 3 columns"),
        RejectedRow("13/3.txt", Reason.NOT_AN_IMAGE, "neither its name nor its first bytes"),
        RejectedRow("t.csv:13", Reason.DUPLICATE_ROW, "listing '13', photo '3.jpg' came in row 3"),
    ]
    store.photos.reject(source, ingest, named + others)
    store.forgetting.execute(store.forgetting.plan(listing="3"))
    assert list(store.photos.rejected()) == others


def test_answers_about_a_listing_go_with_it(shop: Shop) -> None:
    listing = shop.store.photos.listing(f"{MARK}-L1")
    assert listing is not None
    answer = NewAnnotation(
        shop.task_id, "listing", (listing["listing_pk"],), Answer(("x",)), shop.who
    )
    shop.store.labels.annotate([answer])
    assert shop.store.forgetting.plan(listing=f"{MARK}-L1").n_annotations == 3


def test_exactly_one_thing_is_named(shop: Shop) -> None:
    with pytest.raises(InputError, match="exactly one"):
        shop.store.forgetting.plan()
    with pytest.raises(InputError, match="exactly one"):
        shop.store.forgetting.plan(listing="a", seller="b")
    with pytest.raises(NotFoundError, match="no seller 'zoe'"):
        shop.store.forgetting.plan(seller="zoe")


def test_no_byte_of_it_stays_in_any_file(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shard_bytes = np.full(16, ord("a"), np.float16).tobytes()

    def where(needle: bytes) -> list[str]:
        files = [p for p in folder.rglob("*") if p.is_file()]
        return sorted(p.name for p in files if needle in p.read_bytes())

    assert where(shard_bytes)
    for seller in ("ann", "bob"):
        shop.store.forgetting.execute(shop.store.forgetting.plan(seller=seller))
    shop.store.forgetting.execute(shop.store.forgetting.plan(annotator=f"eve {MARK}"))
    for needle in (shard_bytes, b"thumbnail a", bytes.fromhex(shop.shas["a"]),
                   shop.shas["a"].encode()):  # fmt: skip
        assert where(needle) == []
    # The content "e" was never shown by a photo: it is nobody's, and stays.
    remains = {b"L1", b"L2", b"L3", b"L4"}
    assert [name for name in remains if where(MARK.encode() + b"-" + name)] == []
    assert where(f"eve {MARK}".encode()) == []
    assert where(f"t:{MARK}".encode()) == []


def test_what_a_shop_deletes_goes_without_a_tombstone_and_may_come_back(store: Store) -> None:
    source = store.photos.source("feed", "Stream", "feed")
    ingest = store.photos.open_ingest(source)
    assert store.photos.open_ingest(source) == ingest
    shas = [hashlib.sha256(name).hexdigest() for name in (b"own", b"shared")]
    ids = store.contents.save([ContentRecord(s, 1, "X", 1, 1, None, Status.OK) for s in shas])
    rows = [PhotoRow("L1", "own", "/a"), PhotoRow("L1", "one", "/b"), PhotoRow("L2", "two", "/b")]
    records = [
        PhotoRecord(row, 1, None, pk, Status.OK)
        for row, pk in zip(rows, [ids[0], ids[1], ids[1]], strict=True)
    ]
    store.photos.save(source, ingest, records)
    store.thumbnails.put(shas[0], b"small")
    keys = [("L1", "own"), ("L1", "one"), ("L1", "nobody")]
    with store.together():
        assert store.contents.hold([*ids, 999]) == set(ids)
        assert store.forgetting.remove(source, keys) == {("L1", "own"), ("L1", "one")}
        assert store.forgetting.remove(source + 1, [("L2", "two")]) == set()
    assert set(store.contents.lookup(shas)) == {shas[1]}
    assert [p.photo_id for p in store.photos.scan()] == ["two"]
    assert store.photos.forgotten(keys) == set()
    assert store.contents.forgotten(shas) == set()
    store.contents.save([ContentRecord(shas[0], 1, "X", 1, 1, None, Status.OK)])
    store.forgetting.resume()
    assert store.thumbnails.get(shas[0]) == b"small"  # it came back before its file went
