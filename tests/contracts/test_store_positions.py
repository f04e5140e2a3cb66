"""Positions in streams on SQLite and PostgreSQL: who reads which shard, and from where."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from listlens.store.open import Store, open_store

ABCD = ("a", "b", "c", "d")


@pytest.fixture
def now() -> list[datetime]:
    """The moment, which a test may change."""
    return [datetime(2026, 1, 1, tzinfo=UTC)]


@pytest.fixture
def store(
    new_database: Any, tmp_path: Path, now: list[datetime], request: pytest.FixtureRequest
) -> Iterator[Store]:
    url = new_database(request.param)
    with open_store(url, tmp_path / "shop", clock=lambda: now[0]) as opened:
        yield opened


both = pytest.mark.parametrize(
    "store", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


@both
def test_a_new_stream_begins_at_first_and_what_comes_to_it_later_at_later(store: Store) -> None:
    positions = store.positions
    assert positions.see("s", ["a"], "now", "oldest") == {"a": False}
    assert positions.see("s", ["a", "b"], "then", "oldest") == {"a": False, "b": False}
    assert positions.take("s", "me", ["a", "b"], 60) == {"a": "now", "b": "oldest"}
    assert positions.see("other", ["a"], "first", "later") == {"a": False}


@both
def test_a_position_moves_for_its_owner_only(store: Store, now: list[datetime]) -> None:
    positions = store.positions
    positions.see("s", ["a", "b"], "0", "0")
    positions.take("s", "one", ["a", "b"], 60)
    assert positions.move("s", "one", {"a": "5"}, ["b"]) == set()
    assert positions.move("s", "two", {"a": "9"}, ["a"]) == {"a"}
    assert positions.see("s", ["a", "b"], "", "") == {"a": False, "b": True}
    assert positions.noted("s") == {"a": ("5", False), "b": ("0", True)}
    assert positions.noted("other") == {}
    now[0] += timedelta(seconds=61)
    assert positions.take("s", "two", ["a", "b"], 60) == {"a": "5"}, "what ended is not read again"
    assert positions.move("s", "one", {"a": "9"}) == {"a"}


@both
def test_a_lease_holds_until_it_ends_or_is_given_back(store: Store, now: list[datetime]) -> None:
    positions = store.positions
    positions.see("s", ["a"], "0", "0")
    assert positions.take("s", "one", ["a"], 60) == {"a": "0"}
    assert positions.take("s", "two", ["a"], 60) == {}
    now[0] += timedelta(seconds=61)
    assert positions.take("s", "one", ["a"], 60) == {"a": "0"}, "nobody else wanted it"
    now[0] += timedelta(seconds=61)
    assert positions.take("s", "two", ["a"], 60) == {"a": "0"}
    assert positions.take("s", "one", ["a"], 60) == {}
    positions.release("s", "one")
    assert positions.take("s", "one", ["a"], 60) == {}
    positions.release("s", "two")
    assert positions.take("s", "one", ["a"], 60) == {"a": "0"}


@both
def test_readers_come_to_have_equal_shares(store: Store) -> None:
    positions, readers = store.positions, ["one", "two", "three"]
    positions.see("s", [*ABCD, "e", "f", "g"], "0", "0")
    shards = [*ABCD, "e", "f", "g"]
    assert len(positions.take("s", "one", shards, 60)) == 7
    has: dict[str, set[str]] = {}
    for _ in range(5):
        has = {name: set(positions.take("s", name, shards, 60)) for name in readers}
    assert sorted(map(len, has.values())) == [2, 2, 3]
    assert len(set().union(*has.values())) == 7, "each shard has one reader"
    again = {name: set(positions.take("s", name, shards, 60)) for name in readers}
    assert again == has, "and they stay where they are"


@both
def test_shards_that_may_not_be_read_yet_are_not_taken_and_gone_ones_forgotten(
    store: Store,
) -> None:
    positions = store.positions
    positions.see("s", ["a", "b"], "0", "0")
    assert positions.take("s", "me", ["a"], 60) == {"a": "0"}
    positions.drop("s", ["a"])
    assert positions.see("s", ["b"], "", "") == {"b": False}


@both
def test_readers_that_start_together_share_a_stream_without_overlap(store: Store) -> None:
    names, shards = [str(n) for n in range(6)], [f"shard{n:02}" for n in range(12)]
    found: dict[str, dict[str, str]] = {}

    def read(name: str) -> None:
        store.positions.see("s", shards, "first", "later")
        found[name] = store.positions.take("s", name, shards, 60)

    threads = [threading.Thread(target=read, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.positions._db.read() as connection:
        rows = connection.exec_driver_sql("SELECT shard, position FROM stream_position").all()
    assert sorted(row[0] for row in rows) == shards
    assert {row[1] for row in rows} == {"first"}
    assert len(found) == 6
