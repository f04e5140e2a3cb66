"""Dead letters on SQLite and PostgreSQL: removed by age and reason, and still counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from listlens.store.event_rows import EventRecord, Finished
from listlens.store.open import Store, open_store

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Days:
    """A clock that a test sets."""

    now = AT

    def __call__(self) -> datetime:
        return self.now

    def on(self, day: int) -> None:
        self.now = AT + timedelta(days=day)


@pytest.fixture
def clock() -> Days:
    return Days()


def record(name: str, priority: int = 1) -> EventRecord:
    return EventRecord(f"e-{name}", "photo.added", "L1", name, AT, {}, priority=priority)


def bury(store: Store, reason: str, *names: str) -> None:
    store.events.put([], [(record(name), reason, "") for name in names])


def adds_up(store: Store) -> bool:
    return store.events.ledger().adds_up


def test_letters_are_removed_by_age_and_reason_and_stay_in_the_counts(
    store: Store, clock: Days
) -> None:
    bury(store, "missing", "old-1", "old-2")
    bury(store, "damaged", "old-3")
    store.events.put([record("late", priority=2), record("alive")])
    clock.on(50)
    late = next(one for one in store.events.claim("w", 9, 60) if one.photo_id == "late")
    store.events.finish([Finished(late.event_id, reason="missing")])  # long here, dead since today
    bury(store, "missing", "young")
    before = AT + timedelta(days=10)
    assert store.dead.count() == {"missing": 4, "damaged": 1}
    assert store.dead.count("missing", before) == {"missing": 2}
    assert store.dead.remove("missing", before) == {"missing": 2}
    assert store.dead.remove("missing", before) == store.dead.count("missing", before) == {}
    assert [one.photo_id for one in store.dead.list()] == ["old-3", "late", "young"]
    assert store.dead.remove(before=before) == {"damaged": 1}
    ledger = store.events.ledger()
    assert dict(ledger.removed) == {"missing": 2, "damaged": 1}
    assert (ledger.received, ledger.n_removed, ledger.pruned, ledger.outcomes) == (6, 3, 0, {})
    assert (ledger.states["dead"], ledger.states["leased"]) == (2, 1)
    assert ledger.adds_up and ledger.as_dict()["removed"] == 3
    store.events.put([record("old-1")])
    assert store.events.ledger().states["waiting"] == 1, "its id is free again"


def test_letters_go_in_portions_and_by_id_and_nothing_else_goes(store: Store) -> None:
    bury(store, "missing", *"abcde")
    upto = store.dead.last()
    bury(store, "missing", "new")
    store.events.put([record("alive")])
    assert store.dead.remove(upto=upto, limit=2) == {"missing": 2}
    ids = {one.photo_id: one.event_id for one in store.dead.list()}
    alive = store.events.get("e-alive").event_id
    assert store.dead.remove(event_ids=[ids["e"], alive, alive + 999]) == {"missing": 1}
    assert store.dead.remove(upto=upto, limit=9) == {"missing": 2}
    assert [one.photo_id for one in store.dead.list()] == ["new"]
    assert store.events.get("e-alive").state == "waiting" and adds_up(store)


def test_a_letter_that_is_replayed_first_is_no_letter_to_remove(store: Store) -> None:
    bury(store, "missing", "a", "b")
    first, second = store.dead.list()
    store.dead.replay([(first.event_id, first)])
    assert store.dead.remove(event_ids=[first.event_id, second.event_id]) == {"missing": 1}
    assert store.events.get("e-a").state == "waiting" and adds_up(store)


def test_the_ledger_of_the_version_before_adds_up_too(store: Store) -> None:
    """It knows what is pruned by the beginning of a count's name, and may still run."""
    bury(store, "missing", "a")
    store.dead.remove()
    with store.dead._db.read() as connection:
        from listlens.store.tallies import read_all

        counts = read_all(connection)
    pruned = sum(n for name, n in counts.items() if name.startswith("pruned:"))
    assert counts["received"] == pruned == 1


@pytest.mark.postgres
def test_a_letter_that_somebody_puts_back_now_is_passed_over_without_waiting(
    new_database: Callable[[str], str], tmp_path: Path
) -> None:
    """They lock letters in another order, and each would wait for the other."""
    url = new_database("postgres")  # SQLite has one writer at a time
    with open_store(url, tmp_path) as one, open_store(url, tmp_path) as two:
        bury(one, "missing", "a", "b")
        first, _ = one.dead.list()
        with two.together():
            two.dead.replay([(first.event_id, first)])
            assert one.dead.remove() == {"missing": 1}
        assert one.dead.remove() == {}
        assert one.events.get("e-a").state == "waiting" and adds_up(one)
