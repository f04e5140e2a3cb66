"""What a worker asks for every batch is found by an index: no query reads a table of millions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from listlens.core.types import PhotoRow, Status
from listlens.store.event_rows import EventRecord
from listlens.store.open import Store, open_store
from listlens.store.photos import PhotoRecord

LARGE = ("event", "outbox", "latest", "photo", "content", "prediction", "vector", "drift")
AT = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = [("L1", "a"), ("L1", "b"), ("L2", "c/ä")]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Store]:
    with open_store("sqlite:///listlens.db", tmp_path) as opened:
        yield opened


@contextmanager
def plans(store: Store) -> Iterator[list[str]]:
    """Collect how SQLite goes about what is asked meanwhile; with no statistics, as in a new store,
    that does not depend on how many rows there are."""
    engine, found = store.events._db.engine, list[str]()

    def note(_c: object, cursor: sa.CursorResult, said: str, values: object, *_: object) -> None:
        if said.startswith(("SELECT", "UPDATE", "DELETE")):
            own = cursor.connection.cursor()  # type: ignore[attr-defined]
            own.execute(
                f"EXPLAIN QUERY PLAN {said}", values[0] if isinstance(values, list) else values
            )
            found.extend(f"{row[-1]}  <- {said[:200]}" for row in own.fetchall())

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def records() -> list[EventRecord]:
    return [
        EventRecord(f"e{photo}", "photo.deleted", listing, photo, AT, {}, "shop")
        for listing, photo in KEYS
    ]


def filled(store: Store) -> int:
    """Two photos of a source, with what came in about them; return the source."""
    source = store.photos.source("shop", "Stream", "shop")
    rows = [PhotoRow(listing, photo, f"https://x/{photo}") for listing, photo in KEYS]
    store.photos.save(
        source,
        store.photos.open_ingest(source),
        [PhotoRecord(row, None, None, None, Status.PENDING) for row in rows],
    )
    store.events.put(records())
    store.order.advance(records(), [False] * 3)
    return source


def drift_of_today(store: Store) -> None:
    with store.drift._db.read() as connection:
        store.drift._today(connection, [(1, "shop"), (2, "shop")], "2026-01-01")


ASKED: dict[str, Callable[[Store, int], object]] = {
    "stale": lambda s, _: s.order.stale(records(), [True] * 3),
    "advance": lambda s, _: s.order.advance(records(), [True] * 3),
    "known_photos": lambda s, _: s.order.known_photos("L1", "shop"),
    "forgotten": lambda s, _: s.photos.forgotten(KEYS, [None] * 3),
    "forget a listing": lambda s, _: s.forgetting.plan(listing="L1"),
    "forget a photo": lambda s, _: s.forgetting.plan(photo="a"),
    "claim": lambda s, _: s.events.claim("w", 10, 60),
    "held by caps": lambda s, _: (s.usage.held(), s.usage.let_go()),
    "dead letters": lambda s, _: (
        list(s.dead.list(after=7, limit=2)),
        list(s.dead.list(reason="truncated")),
        s.dead.reasons(),
    ),
    "drift": lambda s, _: drift_of_today(s),
    "prune": lambda s, _: (
        s.events.prune(AT + timedelta(days=1)),
        s.outbox.prune(AT, 10),
        s.order.prune(AT),
    ),
    "delete": lambda s, source: s.forgetting.remove(source, KEYS),
}


def test_no_large_table_is_read_whole(here: Store) -> None:
    source, whole = filled(here), list[str]()
    reads = re.compile(rf"SCAN ({'|'.join(LARGE)})\b|(?<!dead )\((deleted|source_id|state)=\?\)")
    for what, ask in ASKED.items():
        with plans(here) as found:
            ask(here, source)
        assert found, what
        whole += [f"{what}: {one}" for one in found if reads.search(one.partition("  <- ")[0])]
    assert whole == []


def test_dead_letters_come_by_page_in_the_order_of_their_index(here: Store) -> None:
    with plans(here) as found:
        list(here.dead.list(limit=2))
        here.dead.reasons()
    assert all("ix_event_dead" in one for one in found if "event" in one.partition("  <- ")[0])
    assert not any("B-TREE FOR ORDER BY" in one and "count" not in one for one in found)


def test_the_ledger_reads_no_event(here: Store) -> None:
    with plans(here) as found:
        here.events.ledger()
        here.outbox.count()
        here.dead.remove(before=AT)
        here.dead.count("missing", AT)
    read = [one for one in found if re.search(r"\b(event|outbox)\b", one.partition("  <- ")[0])]
    counted = [one for one in read if "count(" in one and "next_at <" not in one]
    assert len(counted) == 5 and all("COVERING INDEX" in one for one in counted), counted
    assert all("INDEX" in one for one in read), read


def test_keys_with_odd_characters_are_found(store: Store) -> None:
    odd = [("L'1", 'a"b\\'), ("%_", "🙂 [0]"), ("1", "001"), ("null", "true")]
    told = [EventRecord(p, "photo.added", k, p, AT, {}, "shop") for k, p in odd]
    assert store.order.advance(told, [False] * 4) == [True] * 4
    older = [EventRecord(p, "photo.added", k, p, AT - timedelta(1), {}, "shop") for k, p in odd]
    assert store.order.stale(older, [False] * 4) == [True] * 4
    source = store.photos.source("shop", "Stream", "shop")
    rows = [PhotoRow(listing, photo, "https://x/1") for listing, photo in odd]
    records = [PhotoRecord(row, None, None, None, Status.PENDING) for row in rows]
    store.photos.save(source, store.photos.open_ingest(source), records)
    assert store.forgetting.remove(source, [*odd, ("1", "1"), ("L'1", "001")]) == set(odd)
    assert sum(1 for _ in store.photos.scan()) == 0
