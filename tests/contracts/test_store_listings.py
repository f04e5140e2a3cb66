"""What is on its way for a listing, and what waits to be looked at, on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from listlens.pipeline.event_door import let_in
from listlens.pipeline.events import Wrong
from listlens.pipeline.listings import events_of, listing_view, tell
from listlens.store.event_rows import EventRecord, Finished
from listlens.store.open import Store

AT = datetime(2026, 1, 1, tzinfo=UTC)


def event(photo: str, kind: str = "photo.added", *, at_s: int = 0, **more: Any) -> EventRecord:
    at = AT + timedelta(seconds=at_s)
    key = f"{kind}/{photo}/{at_s}/{more.get('source', '')}/{more.get('listing_id', '')}"
    values = {"listing_id": "L", "source": "events", **more}
    return EventRecord(key, kind, photo_id=photo, at=at, body={}, **values)


def apply(store: Store, events: list[EventRecord]) -> None:
    """Let events have come in and been applied."""
    store.events.put(events)
    taken = store.events.claim("me", 100, 60)
    store.order.advance(taken, [one.kind == "photo.deleted" for one in taken])
    store.events.finish([Finished(one.event_id, "predicted") for one in taken])


def test_photos_that_were_told_and_not_deleted_are_known(store: Store) -> None:
    apply(store, [event("a"), event("b"), event("", "listing.changed")])
    apply(store, [event("x", source="other"), event("y", listing_id="M")])
    assert store.order.known_photos("L", "events") == {"a", "b"}
    apply(store, [event("a", "photo.deleted", at_s=1)])
    store.events.put([event("c", at_s=2), event("b", "photo.changed", at_s=2)])
    assert store.order.known_photos("L", "events") == {"b", "c"}
    assert store.order.known_photos("L", "other") == {"x"}
    assert store.order.known_photos("N", "events") == set()


def test_what_waits_or_is_leased_is_on_its_way(store: Store) -> None:
    assert store.order.waiting("L") == 0
    store.events.put([event("a"), event("b"), event("", "listing.changed"),
                      event("z", listing_id="M")])  # fmt: skip
    assert store.order.waiting("L") == 3
    taken = store.events.claim("me", 2, 60)
    assert store.order.waiting("L") + store.order.waiting("M") == 4
    store.events.finish([Finished(one.event_id, reason="missing") for one in taken])
    assert store.order.waiting("L") + store.order.waiting("M") == 2


@pytest.mark.parametrize("n_sample", [2, 50])
def test_photos_ahead_are_counted_and_drawn(store: Store, n_sample: int) -> None:
    assert store.order.photos_ahead(n_sample) == (0, [])
    store.events.put([event(str(n)) for n in range(5)])
    store.events.put([event("9", "photo.deleted"), event("", "listing.changed")])
    n, some = store.order.photos_ahead(n_sample)
    assert n == 5 and len(some) == min(n_sample, 5)
    assert {one.kind for one in some} == {"photo.added"}
    assert len({one.photo_id for one in some}) == len(some)


def test_a_listing_is_told_as_events_that_are_taken_once(store: Store) -> None:
    said: dict[str, Any] = {
        "seller_id": "S",
        "attributes": {"price": 1},
        "photos": [{"id": "a", "url": "https://shop.example/a", "position": 0}],
        "at": "2026-01-01T00:00:00Z",
        "priority": "backfill",
    }
    assert tell(store, "L", said, AT).new == 2
    assert tell(store, "L", said, AT + timedelta(hours=1)).duplicates == 2
    assert tell(store, "L", {**said, "attributes": {"price": 2}}, AT).new == 1
    taken = store.events.claim("me", 9, 60)
    assert {one.priority for one in taken} == {2} and {one.at for one in taken} == {AT}
    view = listing_view(store, [], "L")
    assert view is not None and (view["waiting"], view["seller_id"]) == (3, None)


def test_without_a_moment_the_same_words_are_told_anew(store: Store) -> None:
    """A shop that says A, then B, then A again means A."""
    for n, price in enumerate([1, 2, 1]):
        said = {"attributes": {"price": price}}
        assert tell(store, "L", said, AT + timedelta(seconds=n)).new == 1


def test_a_listing_without_anything_is_still_told(store: Store) -> None:
    (one,) = events_of(store, "L", {}, AT)
    assert isinstance(one, EventRecord) and one.kind == "listing.changed"


def test_complete_deletes_only_what_this_source_told(store: Store) -> None:
    apply(store, [event("a"), event("b"), event("c", source="other")])
    said = {"photos": [{"id": "a", "url": "https://shop.example/a"}], "complete": True}
    found = list(events_of(store, "L", said, AT + timedelta(seconds=5)))
    kinds = [(one.kind, one.photo_id) for one in found if isinstance(one, EventRecord)]
    assert kinds == [("photo.added", "a"), ("photo.deleted", "b")]


@pytest.mark.parametrize(
    "said",
    [
        {"photos": [{"id": "a"}]},
        {"photos": [{"id": "a", "url": "https://x/", "path": "x"}]},
        {"photos": [{"id": "", "url": "https://x/"}]},
        {"attributes": {"a": "x" * 70_000}},
        {"photos": [{"id": "a", "url": "https://x/"}], "at": "yesterday"},
    ],
    ids=["no-place", "two-places", "no-id", "large", "moment"],
)
def test_what_cannot_be_used_is_kept_with_its_reason(store: Store, said: dict[str, Any]) -> None:
    found = list(events_of(store, "L", said, AT))
    assert any(isinstance(one, Wrong) for one in found)
    let = let_in(store, found)
    assert let.dead >= 1 and let.new == 0
    assert all(one.reason == "bad_event" and one.detail for one in store.dead.list())
