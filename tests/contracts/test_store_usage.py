"""What was used of a budget, and events that wait for it, on SQLite and PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from listlens.store.event_rows import EventRecord
from listlens.store.open import Store
from listlens.store.usage import Used

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Hands:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Hands:
    return Hands()


def record(name: str, source: str = "feed", kind: str = "photo.added", priority: int = 1) -> Any:
    return EventRecord(name, kind, "L1", name, AT, {"url": "https://x"}, source, priority)


def test_use_adds_up_by_source_and_period(store: Store) -> None:
    for _ in range(3):
        store.usage.add({"a": Used(2, 0.5), "b": Used(1, 0.25)}, ("2026-01-01", "2026-01"))
    store.usage.add({"a": Used(5, 1.0)}, ("2026-01-02", "2026-01"))
    found = store.usage.of(("2026-01-01", "2026-01"))
    assert found["a"] == {"2026-01-01": Used(6, 1.5), "2026-01": Used(11, 2.5)}
    assert found["b"]["2026-01"] == Used(3, 0.75)
    assert list(store.usage.of(("2026-01-01",), {"b", "c"})) == ["b"]
    store.usage.add({}, ("2026-01-01",))
    assert store.usage.seen(["b", "c"]) == {"b"} and store.usage.seen([]) == set()


def test_use_is_undone_with_what_it_was_for(store: Store) -> None:
    with pytest.raises(RuntimeError), store.together():
        store.usage.add({"a": Used(2, 0.5)}, ("2026-01-01",))
        raise RuntimeError
    assert store.usage.of(("2026-01-01",)) == {}


def test_several_at_once_lose_no_count_and_one_of_them_is_the_first(store: Store) -> None:
    def spend(_: int) -> bool:
        with store.together():
            store.usage.add({"a": Used(1, 0.1), "b": Used(1, 0.1)}, ("2026-01-01", "2026-01"))
            return store.usage.note_reached("a", "2026-01-01")

    with ThreadPoolExecutor(4) as pool:
        first = list(pool.map(spend, range(40)))
    found = store.usage.of(("2026-01-01", "2026-01"))
    assert [one.photos for name in "ab" for one in found[name].values()] == [40] * 4
    assert sum(first) == 1
    assert found["a"]["2026-01-01"].reached_at == AT and found["b"]["2026-01-01"].reached_at is None


def test_only_what_is_held_waits_and_nothing_is_counted_as_tried(
    store: Store, clock: Hands
) -> None:
    store.events.put(
        [
            *[record(f"f{n}") for n in range(5)],
            record("gone", kind="photo.deleted"),
            record("later", priority=2),
            record("mine", "other"),
        ]
    )
    until = AT + timedelta(hours=9)
    assert store.usage.held() == {}
    assert store.usage.hold("feed", ("photo.added",), (1,), until, "over_budget", "cap") == 5
    assert store.usage.held() == {"feed": 5} and store.usage.held(3) == {"feed": 3}
    assert store.usage.hold("feed", ("photo.added",), (1,), until, "over_budget", "cap") == 0
    taken = store.events.claim("w", 100, 60)
    assert [one.event_key for one in taken] == ["gone", "mine", "later"]
    one = store.events.get("f3")
    assert (one.next_at, one.reason, one.attempts) == (until, "over_budget", 0)
    assert store.events.ledger().put_off == {"over_budget": 5}
    assert store.usage.waiting(("photo.added",)) == {("feed", 1): 5}
    clock.now = until
    assert [one.event_key for one in store.events.claim("v", 100, 60)][:2] == ["f0", "f1"]


def test_what_a_cap_held_can_be_let_go_and_nothing_else(store: Store, clock: Hands) -> None:
    store.events.put([record(f"f{n}") for n in range(3)])
    store.events.put([record("other", "other")])
    until = AT + timedelta(days=20)
    store.usage.hold("feed", ("photo.added",), (1,), until, "over_budget", "cap")
    assert store.usage.let_go() == 3
    assert {store.events.get(f"f{n}").next_at for n in range(3)} == {AT}
    assert store.usage.let_go() == 0  # they are due already
    assert len(store.events.claim("w", 100, 60)) == 4
    assert store.usage.let_go() == 0


def test_old_days_go_and_months_stay(store: Store) -> None:
    periods = ("2024-12-31", "2025-01-01", "2024-12", "2025-01")
    store.usage.add({"feed": Used(2, 1.0), "other": Used(1, 1.0)}, periods)
    assert store.usage.prune("2025-01-01") == 2
    assert set(store.usage.of(periods)["feed"]) == {"2025-01-01", "2024-12", "2025-01"}
    assert store.usage.prune("2025-01-01") == 0
