"""Runs over sources, pages, counts, answers and predictions, on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from listlens.core.errors import InputError, LabelError, NotFoundError, StoreError
from listlens.core.types import (
    Answer,
    EmbeddingSpace,
    ListingRow,
    PhotoRow,
    Policy,
    Reason,
    RejectedRow,
    Status,
)
from listlens.store.contents import ContentRecord
from listlens.store.labels import NewAnnotation
from listlens.store.models import ModelRecord
from listlens.store.open import Store
from listlens.store.photos import PhotoRecord
from listlens.store.schema import ingest as ingest_table

SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 4)


def row(listing: str, photo: str, **more: Any) -> PhotoRow:
    return PhotoRow(listing, photo, f"/p/{photo}", **more)


def pending(listing: str, *photos: str) -> list[PhotoRecord]:
    return [PhotoRecord(row(listing, p), 1, 1, None, Status.PENDING) for p in photos]


def begin(store: Store, name: str = "shop") -> tuple[int, int]:
    source = store.photos.source(name, "folder", "/p")
    return source, store.photos.begin_ingest(source)


def contents(store: Store, n: int) -> list[int]:
    shas = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(n)]
    return store.contents.save(
        [ContentRecord(s, 1, "JPEG", 1, 1, None, Status.OK) for s in shas]
    )  # fmt: skip


def photo_ids(views: Iterator[Any]) -> list[str]:
    return [view.photo_id for view in views]


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 8, 100])
def test_pages_of_any_size_give_the_same_photos(store: Store, batch: int) -> None:
    source, ingest = begin(store)
    store.photos.save(source, ingest, pending("L1", *"gfedcba"))
    assert photo_ids(store.photos.scan(batch=batch)) == list("gfedcba")


def test_photos_saved_while_scanning_come_at_the_end_and_none_comes_twice(store: Store) -> None:
    source, ingest = begin(store)
    store.photos.save(source, ingest, pending("L1", *"abcd"))
    seen = []
    for n, view in enumerate(store.photos.scan(batch=2)):
        seen.append(view.photo_id)
        if n < 3:
            store.photos.save(source, ingest, pending("L1", f"new {n}", "a"))
    assert seen == [*"abcd", "new 0", "new 1", "new 2"]


def test_photos_forgotten_while_scanning_do_not_end_the_scan(store: Store) -> None:
    source, ingest = begin(store)
    for listing in "ABCD":
        store.photos.save(source, ingest, pending(listing, "1", "2"))
    scan = store.photos.scan(batch=2)
    first = [next(scan).listing_id, next(scan).listing_id]
    store.forgetting.execute(store.forgetting.plan(listing="B"))
    assert first + [view.listing_id for view in scan] == ["A", "A", "C", "C", "D", "D"]


def test_filters_join(store: Store) -> None:
    for name in ("one", "two"):
        source, ingest = begin(store, name)
        failed = PhotoRecord(row("L1", "bad"), 1, 1, None, Status.FAILED, Reason.EMPTY)
        store.photos.save(source, ingest, [failed, *pending("L1", "a"), *pending("L2", "b")])
    photos = store.photos
    assert photo_ids(photos.scan(source_id=source, listing_id="L1")) == ["bad", "a"]
    assert photo_ids(photos.scan(status=Status.FAILED)) == ["bad", "bad"]
    assert photo_ids(photos.scan(source_id=source, listing_id="L2", status=Status.FAILED)) == []
    assert photo_ids(photos.scan(listing_id="none")) == []
    assert photo_ids(photos.scan(source_id=source + 100)) == []


def test_counts_tell_every_status_and_every_reason(store: Store) -> None:
    source, ingest = begin(store)
    records = [
        PhotoRecord(row("L1", f"{reason.value}{n}"), 1, 1, None, Status.FAILED, reason)
        for reason in Reason
        for n in range(1 + len(reason.value) % 3)
    ]
    (content,) = contents(store, 1)
    records += [PhotoRecord(row("L1", f"ok{n}"), 1, 1, content, Status.OK) for n in range(4)]
    records += [PhotoRecord(row("L1", "plain"), 1, 1, None, Status.FAILED)]
    store.photos.save(source, ingest, records)
    counts = store.photos.counts()
    for reason in Reason:
        assert counts[f"failed:{reason.value}"] == 1 + len(reason.value) % 3
    n_failed = sum(1 + len(reason.value) % 3 for reason in Reason) + 1
    assert (counts["ok"], counts["failed"], counts["pending"], counts["gone"]) == (
        4, n_failed, 0, 0)  # fmt: skip
    assert len(counts) == len(Status) + len(Reason)


def test_finishing_a_run_touches_its_own_source_only(store: Store) -> None:
    one, first = begin(store, "one")
    two, other = begin(store, "two")
    store.photos.save(one, first, pending("L1", "a", "b"))
    store.photos.save(two, other, pending("L1", "a", "c"))
    again = store.photos.begin_ingest(one)
    store.photos.save(one, again, pending("L1", "b"))
    assert store.photos.finish_ingest(again) == 1
    found = {(v.photo_id, v.status) for v in store.photos.scan(source_id=one)}
    assert found == {("a", Status.GONE), ("b", Status.PENDING)}
    assert {v.status for v in store.photos.scan(source_id=two)} == {Status.PENDING}


def test_a_gone_photo_that_is_saved_again_is_what_it_was_saved_as(store: Store) -> None:
    source, first = begin(store)
    (pk,) = store.photos.save(source, first, pending("L1", "a"))
    second = store.photos.begin_ingest(source)
    assert store.photos.finish_ingest(second) == 1
    third = store.photos.begin_ingest(source)
    failed = PhotoRecord(row("L1", "a"), 1, 1, None, Status.FAILED, Reason.EMPTY, "0 bytes")
    assert store.photos.save(source, third, [failed]) == [pk]
    assert store.photos.finish_ingest(third) == 0
    (view,) = store.photos.scan()
    assert (view.status, view.reason, view.detail) == (Status.FAILED, Reason.EMPTY, "0 bytes")


def test_a_photo_gone_twice_is_counted_once(store: Store) -> None:
    source, first = begin(store)
    store.photos.save(source, first, pending("L1", "a", "b"))
    later = [store.photos.begin_ingest(source) for _ in range(3)]
    assert [store.photos.finish_ingest(ingest) for ingest in later] == [2, 0, 0]


def test_photos_without_vectors_are_those_that_live(store: Store) -> None:
    source, first = begin(store)
    ids = contents(store, 2)
    records = [PhotoRecord(row("L1", f"{n}"), 1, 1, pk, Status.OK) for n, pk in enumerate(ids)]
    pks = store.photos.save(source, first, records)
    second = store.photos.begin_ingest(source)
    store.photos.touch(second, pks[:1])
    store.photos.finish_ingest(second)
    assert [u.content_id for u in store.contents.without_vector(SPACE.id)] == ids[:1]
    store.photos.touch(store.photos.begin_ingest(source), pks)
    assert [u.content_id for u in store.contents.without_vector(SPACE.id)] == ids


LISTINGS: dict[str, tuple[list[PhotoRow | ListingRow], tuple[str | None, dict[str, Any]]]] = {
    "nothing-said": ([row("L", "a")], (None, {})),
    "last-word-wins": (
        [row("L", "a", seller_id="x", attributes={"p": 1}),
         row("L", "b", seller_id="y", attributes={"p": 2})], ("y", {"p": 2}),
    ),
    "silence-keeps": (
        [row("L", "a", seller_id="x", attributes={"p": 1}), row("L", "b")], ("x", {"p": 1}),
    ),
    "attributes-are-replaced-whole": (
        [row("L", "a", attributes={"p": 1, "q": 1}), row("L", "b", attributes={"q": 2})],
        (None, {"q": 2}),
    ),
    "seller-and-attributes-apart": (
        [row("L", "a", seller_id="x"), ListingRow("L", None, {"p": 1})], ("x", {"p": 1}),
    ),
    "listing-first": (
        [ListingRow("L", "x", {"p": 1}), row("L", "a", attributes={"p": 5})], ("x", {"p": 5}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "row by row"])
def test_a_listing_is_what_its_rows_said_last(store: Store, together: bool) -> None:
    source, ingest = begin(store)
    for number, (rows, (seller, attributes)) in enumerate(LISTINGS.values()):
        name = f"L{number}"
        named = [
            ListingRow(name, r.seller_id, r.attributes) if isinstance(r, ListingRow)
            else row(name, r.photo_id, seller_id=r.seller_id, attributes=r.attributes)
            for r in rows
        ]  # fmt: skip
        photos = [PhotoRecord(r, 1, 1, None, Status.PENDING) for r in named
                  if isinstance(r, PhotoRow)]  # fmt: skip
        if together and len(photos) == len(named):
            store.photos.save(source, ingest, photos)
        else:
            for r in named:
                if isinstance(r, ListingRow):
                    store.photos.save_listings([r])
                else:
                    store.photos.save(
                        source, ingest, [PhotoRecord(r, 1, 1, None, Status.PENDING)]
                    )  # fmt: skip
        found = store.photos.listing(name)
        assert found is not None
        assert (found["seller_id"], found["attributes"]) == (seller, attributes)


def test_moments_come_from_the_clock_that_was_handed_in(store: Store) -> None:
    _, ingest = begin(store)
    store.photos.finish_ingest(ingest)
    task = store.labels.add_task("room", "single", ["a"])
    run_id = store.models.record_run(task.task_id, {}, "f", 0)
    store.models.finish_run(run_id, "done")
    (run,) = store.models.runs(task.task_id)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert run.finished_at is not None
    assert start <= run.started_at < run.finished_at < start + timedelta(hours=1)
    with store.photos._db.read() as connection:
        (started, finished) = connection.execute(
            sa.select(ingest_table.c.started_at, ingest_table.c.finished_at)
        ).one()
    assert start <= started < finished < start + timedelta(hours=1)


def test_rejected_rows_of_every_sources_latest_run_are_shown_together(store: Store) -> None:
    for name in ("one", "two"):
        source, first = begin(store, name)
        store.photos.reject(source, first, [RejectedRow(f"{name}:old", Reason.BAD_ROW, "")])
        latest = store.photos.begin_ingest(source)
        store.photos.reject(source, latest, [RejectedRow(f"{name}:1", Reason.REMOTE, "a\0b")])
    store.photos.reject(source, latest, [])
    assert [(r.at, r.reason, r.detail) for r in store.photos.rejected()] == [
        ("one:1", Reason.REMOTE, "a?b"), ("two:1", Reason.REMOTE, "a?b"),
    ]  # fmt: skip


def test_what_refers_to_nothing_is_refused_in_our_words(store: Store) -> None:
    with pytest.raises(StoreError):
        store.photos.begin_ingest(999)
    source, ingest = begin(store)
    with pytest.raises(StoreError):
        store.photos.save(source + 99, ingest, pending("L1", "a"))
    unknown_content = PhotoRecord(row("L1", "a"), 1, 1, 12345, Status.OK)
    with pytest.raises(StoreError):
        store.photos.save(source, ingest, [*pending("L1", "b"), unknown_content])
    assert list(store.photos.scan()) == []
    assert store.photos.listing("L1") is None  # nothing of a failed batch is kept


def test_answers_are_kept_whole_or_not_at_all(store: Store) -> None:
    task = store.labels.add_task("room", "single", ["a", "b"]).task_id
    other = store.labels.add_task("view", "single", ["x"]).task_id
    who = store.labels.annotator("ann")
    ids = contents(store, 3)
    rows = [NewAnnotation(task, "content", (pk,), Answer(("a",)), who) for pk in ids]
    wrong = NewAnnotation(other, "content", (ids[0],), Answer(("a",)), who, at="l.csv:9")
    with pytest.raises(LabelError, match=r"l\.csv:9: unknown class 'a'"):
        store.labels.annotate([*rows, wrong])
    with pytest.raises(NotFoundError, match="no task with id"):
        store.labels.annotate([*rows, NewAnnotation(99, "content", (1,), Answer(("a",)), who)])
    with pytest.raises(StoreError):
        store.labels.annotate([*rows, NewAnnotation(task, "content", (1,), Answer(("a",)), 99)])
    assert list(store.labels.annotations(task)) == []
    assert store.labels.annotate(rows) == 3
    assert store.labels.annotate([]) == 0


CHANGES: dict[str, dict[str, Any]] = {
    "answer": {"answer": Answer(("b",))},
    "split": {"split": "test"},
    "group": {"group": "g2"},
    "content-of-the-photo": {"subject_ids": (2,)},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_only_what_differs_is_news(store: Store, change: dict[str, Any]) -> None:
    task = store.labels.add_task("room", "single", ["a", "b"]).task_id
    source, ingest = begin(store)
    ids = contents(store, 2)
    (pk,) = store.photos.save(source, ingest, pending("L1", "p"))
    values: dict[str, Any] = {
        "task_id": task, "subject_kind": "content", "subject_ids": (ids[0],),
        "answer": Answer(("a",)), "annotator_id": store.labels.annotator("ann"),
        "photo_pk": pk, "split": "train", "group": "g1", "at": "l.csv:2",
    }  # fmt: skip
    assert store.labels.annotate([NewAnnotation(**values)]) == 1
    assert store.labels.annotate([NewAnnotation(**values | {"at": "moved.csv:7"})]) == 0
    if "subject_ids" in change:
        change = {"subject_ids": (ids[1],)}
    assert store.labels.annotate([NewAnnotation(**values | change)]) == 1
    assert store.labels.annotate([NewAnnotation(**values | change)]) == 0
    (view,) = store.labels.annotations(task)  # the latest about a photo is the only one
    for name, value in change.items():
        assert getattr(view, name) == value
    assert store.labels.annotate([NewAnnotation(**values)]) == 1  # and back again


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_answers_come_in_the_order_they_were_given(store: Store, batch: int) -> None:
    task = store.labels.add_task("room", "single", ["a", "b"]).task_id
    who = [store.labels.annotator(name) for name in ("ann", "bob")]
    ids = contents(store, 5)

    def say(subject: int, person: int, name: str = "a") -> None:
        answer = NewAnnotation(task, "content", (ids[subject],), Answer((name,)), who[person])
        store.labels.annotate([answer])

    for subject, person in [(4, 0), (0, 1), (4, 1), (2, 0)]:
        say(subject, person)
    say(4, 0, "b")  # said anew: it comes last now
    found = [(v.subject_ids[0], v.annotator_id) for v in store.labels.annotations(task, batch)]
    assert found == [(ids[0], who[1]), (ids[4], who[1]), (ids[2], who[0]), (ids[4], who[0])]


def model(store: Store, version: int = 1) -> int:
    task = store.labels.add_task("room", "single", ["a", "b"])
    return store.models.register(
        ModelRecord(task.task_id, version, f"m{version}", "0" * 64, SPACE, 1, {})
    )


@pytest.mark.parametrize("n", [0, 1, 499, 500, 501, 1203])
def test_predictions_of_any_number_of_contents_come_back(store: Store, n: int) -> None:
    model_id, ids = model(store), contents(store, n)
    probs = np.random.default_rng(n).random((n, 3)).astype(np.float32)
    store.predictions.save(model_id, ids, probs)
    assert store.predictions.missing(model_id, ids) == []
    got = store.predictions.get(model_id, ids)
    assert sorted(got) == sorted(ids)
    for pk, expected in zip(ids, probs, strict=True):
        np.testing.assert_allclose(got[pk], expected, atol=7.7e-6)
    blocks = [block for _, block in store.predictions.scan(model_id, batch=500)]
    assert sum(map(len, blocks)) == n


def test_of_one_content_predicted_twice_in_a_call_the_last_counts(store: Store) -> None:
    model_id, (pk,) = model(store), contents(store, 1)
    for order in ([0.25, 0.75], [0.75, 0.25]):
        probs = np.array([[p, 1 - p] for p in order], np.float32)
        store.predictions.save(model_id, [pk, pk], probs)
        np.testing.assert_allclose(store.predictions.get(model_id, [pk])[pk], probs[1], atol=1e-5)


def test_predictions_of_two_models_do_not_mix(store: Store) -> None:
    models, ids = [model(store, 1), model(store, 2)], contents(store, 2)
    store.predictions.save(models[0], ids, np.full((2, 2), 0.25, np.float32))
    store.predictions.save(models[1], ids[:1], np.full((1, 5), 0.75, np.float32))
    assert store.predictions.missing(models[1], ids) == ids[1:]
    assert store.predictions.get(models[1], ids)[ids[0]].shape == (5,)
    assert store.predictions.get(models[0], ids)[ids[0]].shape == (2,)
    assert store.predictions.missing(models[1] + 9, ids) == ids


def test_policies_are_counted_per_model_and_come_back_exactly(store: Store) -> None:
    models = [model(store, 1), model(store, 2)]
    body = Policy((1 / 3, 0.1), (0.0, 0.1), (1.0, 0.30000000000000004), "error<=0.02")
    kept = [store.models.add_policy(pk, body) for pk in models]
    assert len(set(kept)) == 2
    assert [store.models.policy(pk) for pk in models] == [(pk, body) for pk in kept]
    with pytest.raises(NotFoundError, match="no model with id"):
        store.models.add_policy(max(models) + 1, body)


def test_a_model_of_a_task_that_is_not_there_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="does not exist"):
        store.models.register(ModelRecord(99, 1, "m", "0" * 64, SPACE, 1, {}))
    assert store.models.list() == ()
    assert store.models.next_version(99) == 1
