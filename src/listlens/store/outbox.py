"""What was announced: written with the results, read in the order of commits by any number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.store.database import Database, chunks
from listlens.store.event_rows import Announcement
from listlens.store.stream_tables import outbox
from listlens.store.topic_tables import topic

_LOCK = 0x6F757462  # "outb": on PostgreSQL writers take turns from the first number to the commit

_SCAN = 1000

MOST_LOOKED = 20_000
"""Announcements that one `read` looks through for those that its filters want: a tenth of a second.
Whoever wants few of millions asks again, and keeps nobody's thread for minutes."""


class Outbox:
    """Outgoing events with ever growing positions.

    A reader keeps the position of the last one it handled, and asks for what is after it. Nothing
    ever appears before a position that was read: a number is given and its row committed before
    the next is given.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def append(self, announcements: Sequence[Announcement]) -> int:
        """Add outgoing events, each key once; return how many were new.

        To be called last in the transaction (`Database.together`) of the results.
        """
        now = self._db.clock()
        new = {one.event_key: one for one in announcements}
        with self._db.write() as connection:
            if not self._db.is_sqlite:
                project = sa.func.hashtext(sa.func.current_schema())
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK, project)))
            query = sa.select(outbox.c.event_key)
            for block in chunks(list(new)):
                for key in connection.execute(query.where(outbox.c.event_key.in_(block))).scalars():
                    del new[key]
            rows = [_values(one, now) for one in new.values()]
            self._db.bulk(connection, sa.insert(outbox), rows)
        return len(rows)

    def read(
        self,
        after: int = 0,
        *,
        limit: int = 100,
        kinds: Collection[str] = (),
        tasks: Collection[str] = (),
    ) -> tuple[list[Announcement], int]:
        """Return what was announced after a position.

        Args:
            after: position of the last one handled; 0 for the beginning.
            limit: how many at most.
            kinds: only these; all where none is named.
            tasks: only what answers one of these; all where none is named.

        Returns:
            The announcements in order, and the position to go on from, which has passed those
            that the filters left out. With filters no more than `MOST_LOOKED` are looked at: where
            the position is before `last`, there may be more.
        """
        if not kinds and not tasks:
            query = sa.select(outbox).where(outbox.c.id > after).order_by(outbox.c.id)
            with self._db.read() as connection:
                found = [_view(row) for row in connection.execute(query.limit(limit))]
            return found, found[-1].position if found else after
        chosen, looked, wanted = list[int](), 0, set(tasks)
        query = sa.select(outbox.c.id, outbox.c.kind, outbox.c.tasks).order_by(outbox.c.id)
        while len(chosen) < limit and looked < MOST_LOOKED:
            with self._db.read() as connection:
                page = connection.execute(query.where(outbox.c.id > after).limit(_SCAN)).all()
            for row in page:
                if len(chosen) == limit:
                    break
                after = row.id
                if (not kinds or row.kind in kinds) and (not wanted or wanted & set(row.tasks)):
                    chosen.append(row.id)
            looked += len(page)
            if len(page) < _SCAN:
                break
        there = self.at(chosen)  # what was forgotten meanwhile is gone
        return [there[position] for position in chosen if position in there], after

    def at(self, positions: Collection[int]) -> dict[int, Announcement]:
        """Return what was announced at some positions, without what is not there any more."""
        found: dict[int, Announcement] = {}
        with self._db.read() as connection:
            for block in chunks(positions):
                query = sa.select(outbox).where(outbox.c.id.in_(block))
                found |= {row.id: _view(row) for row in connection.execute(query)}
        return found

    def last(self) -> int:
        """Return the position of the newest one; 0 where nothing was announced."""
        with self._db.read() as connection:
            return connection.execute(sa.select(sa.func.max(outbox.c.id))).scalar() or 0

    def given(self) -> int:
        """Return the greatest position ever given; no reader has passed it.

        It counts what was removed since. On PostgreSQL it may be ahead of what is committed: it
        tells which position is none, and not where to go on.
        """
        if self._db.is_sqlite:
            query = sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
        else:
            name = "pg_get_serial_sequence('outbox', 'id')"
            query = sa.text(f"SELECT pg_sequence_last_value(CAST({name} AS regclass))")
        with self._db.read() as connection:
            return connection.execute(query).scalar() or 0

    def count(self, after: int = 0) -> int:
        """Return how many there are after a position."""
        query = sa.select(sa.func.count()).select_from(outbox)
        if after > 0:  # else the smallest index is counted, and no row is passed
            query = query.where(outbox.c.id > after)
        with self._db.read() as connection:
            return int(connection.execute(query).scalar_one())

    def prune(self, before: datetime, upto: int, limit: int = 10_000) -> int:
        """Remove up to `limit` announcements that are older than a moment; return how many.

        Those that a topic in use was not told of are counted as lost to it, one by one. A batch
        that is on its way to its broker at that moment is counted too.

        Args:
            before: the moment; a topic is in use if it was heard of since.
            upto: position that every reader has passed, or has to; later ones stay.
            limit: how many at most.
        """
        is_old = outbox.c.created_at < before
        newest = sa.select(outbox.c.id).where(is_old)
        newest = newest.order_by(outbox.c.created_at.desc(), outbox.c.id.desc()).limit(1)
        with self._db.write() as connection:
            last = connection.execute(newest).scalar() or 0  # else all is read that is not old
            old = sa.select(outbox.c.id).where(is_old, outbox.c.id <= min(last, upto))
            # Locked, or two workers that tidy at once would each count what a topic missed.
            free = old.order_by(outbox.c.id).limit(limit).with_for_update(skip_locked=True)
            ids = list(connection.execute(free).scalars())
            for block in chunks(ids):
                connection.execute(sa.delete(outbox).where(outbox.c.id.in_(block)))
            if ids:
                _count_lost(connection, ids, before)
        return len(ids)


def _count_lost(connection: Connection, ids: Sequence[int], before: datetime) -> None:
    """Count what was removed, by topic in use that was not told of it; ids in order."""
    behind = sa.select(topic.c.name, topic.c.cursor).where(
        topic.c.way == "out", topic.c.told_at >= before, topic.c.cursor < ids[-1]
    )
    for row in connection.execute(behind.order_by(topic.c.name).with_for_update()).all():
        n = len(ids) - bisect_right(ids, row.cursor)
        this = sa.update(topic).where(topic.c.way == "out", topic.c.name == row.name)
        connection.execute(this.values(lost=topic.c.lost + n))


def _values(one: Announcement, now: datetime) -> dict[str, Any]:
    return {
        "event_key": one.event_key,
        "kind": one.kind,
        "tasks": list(one.tasks),
        "listing_id": one.listing_id,
        "photo_id": one.photo_id,
        "body": dict(one.body),
        "created_at": now,
    }


def _view(row: Any) -> Announcement:
    return Announcement(
        row.event_key, row.kind, row.listing_id, row.photo_id, row.body, tuple(row.tasks), row.id,
        row.created_at,
    )  # fmt: skip
