"""Marks of deleted photos and empty listings on SQLite and PostgreSQL: they go, when it is safe."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from listlens.core.types import Answer, ListingRow, PhotoRow, Status
from listlens.store.event_rows import EventRecord, Finished
from listlens.store.labels import NewAnnotation
from listlens.store.open import Store
from listlens.store.photos import PhotoRecord

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Days:
    """A clock that a test sets."""

    now = AT

    def __call__(self) -> datetime:
        return self.now

    def on(self, day: int) -> datetime:
        self.now = AT + timedelta(days=day)
        return self.now


@pytest.fixture
def clock() -> Days:
    return Days()


def event(photo: str, listing: str = "L1", minutes: int = 10, source: str = "s") -> EventRecord:
    at = AT + timedelta(minutes=minutes)
    return EventRecord(f"e-{listing}-{photo}", "k", listing, photo, at, {}, source)


def tell(store: Store, record: EventRecord, *, deletes: bool = False) -> None:
    assert store.order.advance([record], [deletes]) == [True]


def photo(store: Store, listing: str, name: str = "a") -> int:
    source = store.photos.source("s", "stream", "s")
    row = PhotoRow(listing, name, "/x", None, "seller", {"price": 7})
    record = PhotoRecord(row, 1, 1, None, Status.PENDING)
    store.photos.save(source, store.photos.open_ingest(source), [record])
    return source


def lived(store: Store, listing: str) -> None:
    """A listing of which the shop spoke, with one photo that was deleted on the first day."""
    source = photo(store, listing)
    tell(store, event("", listing))
    tell(store, event("a", listing), deletes=True)
    assert store.forgetting.remove(source, [(listing, "a")]) == {(listing, "a")}


def known(store: Store, listing: str) -> bool:
    return store.photos.listing(listing) is not None


def ordered(store: Store, record: EventRecord) -> bool:
    """Whether an older event of the same subject would change nothing."""
    return store.order.stale([record], [False])[0]


def test_the_mark_of_a_photo_goes_when_it_is_old_and_others_stay(store: Store, clock: Days) -> None:
    tell(store, event("gone"), deletes=True)
    tell(store, event("kept"))
    assert store.order.prune(clock.on(1) - timedelta(days=2)) == 0
    assert ordered(store, event("gone", minutes=9))
    assert store.order.prune(clock.now) == 1
    assert not ordered(store, event("gone", minutes=9))
    assert ordered(store, event("kept", minutes=9))


def test_a_listing_goes_with_the_mark_of_its_last_photo(store: Store, clock: Days) -> None:
    lived(store, "L1")
    photo(store, "ingested")  # by a table, say: no event ever named it
    tell(store, event("b"))
    tell(store, event("b", minutes=11), deletes=True)
    assert store.order.prune(clock.on(30), limit=1) == 1
    assert known(store, "L1") and ordered(store, event("", minutes=9)), "one mark is left"
    assert store.order.prune(clock.now) == 1
    assert not known(store, "L1") and not ordered(store, event("", minutes=9))
    assert known(store, "ingested")
    photo(store, "L1")
    assert known(store, "L1"), "it may come back"


def test_a_listing_that_something_needs_stays(store: Store, clock: Days) -> None:
    needed = ("photo", "elsewhere", "coming", "told", "saved")
    for listing in needed:
        lived(store, listing)
    before = clock.on(30)
    photo(store, "photo", "b")  # of a source that sends no events
    tell(store, event("c", "elsewhere", source="t"))
    store.events.put([event("c", "coming")])
    tell(store, event("", "told", minutes=12))
    store.photos.save_listings([ListingRow("saved", None, {"price": 8}, "x")])
    assert store.order.prune(before) == 2, "the marks where photos are known"
    assert [known(store, listing) for listing in needed] == [True] * 5
    assert [ordered(store, event("", listing, minutes=9)) for listing in needed] == [True] * 5
    assert store.order.prune(before) == 0, "what waits is not looked at again at once"
    (coming,) = store.events.claim("w", 9, 60)
    store.events.finish([Finished(coming.event_id, "superseded")])
    assert store.order.prune(clock.on(61)) == 3
    assert [known(store, listing) for listing in needed] == [True, True, False, False, False]


def test_a_listing_that_was_spoken_of_goes_once_nobody_speaks_of_it(
    store: Store, clock: Days
) -> None:
    lived(store, "L1")
    before = clock.on(30)
    tell(store, event("", minutes=12))
    assert store.order.prune(before) == 0
    assert ordered(store, event("a", minutes=9)), "its mark waits with it"
    assert store.order.prune(clock.on(61)) == 1
    assert not known(store, "L1")


def test_many_go_in_portions_and_what_people_said_of_a_listing_keeps_it(
    store: Store, clock: Days
) -> None:
    for n in range(5):
        lived(store, f"L{n}")
    lived(store, "judged")
    task = store.labels.add_task("room", "single", ["x", "y"]).task_id
    found = store.photos.listing("judged")
    assert found is not None
    ids, who = [found["listing_pk"]], store.labels.annotator("Ann")
    store.labels.annotate([NewAnnotation(task, "listing", ids, Answer(("x",)), who, None, at="a")])
    assert [store.order.prune(clock.on(30), limit=2) for _ in range(4)] == [2, 2, 2, 0]
    assert not any(known(store, f"L{n}") for n in range(5))
    assert known(store, "judged")
