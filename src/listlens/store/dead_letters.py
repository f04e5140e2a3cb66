"""Dead letters: events that will never succeed by themselves, until they are replayed or removed.

They are rows of the inbox. What is removed of them stays in the counts of the ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

import sqlalchemy as sa

from listlens.store.database import Database, chunks
from listlens.store.event_rows import EventRecord, EventState, EventView, to_values, to_view
from listlens.store.events import PRIORITIES
from listlens.store.ledger import REMOVED, count_dead
from listlens.store.stream_tables import IS_DEAD, event
from listlens.store.tallies import add_to

PAGE = 100
"""Letters read at once: what came is kept with one, up to a megabyte."""

AT_ONCE = 2000
"""Letters that one transaction removes."""


class DeadLetters:
    """The dead letters of a project, in the order they came in."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def list(
        self,
        *,
        reason: str | None = None,
        after: int = 0,
        upto: int | None = None,
        limit: int | None = None,
    ) -> Iterator[EventView]:
        """Yield dead letters in the order they came in; memory stays flat.

        Args:
            reason: only those with it.
            after: only those whose event_id is greater: a cursor.
            upto: only those whose event_id is no greater.
            limit: how many at most.
        """
        query = sa.select(event).where(IS_DEAD)
        if reason is not None:
            query = query.where(event.c.reason == reason)
        if upto is not None:
            query = query.where(event.c.id <= upto)
        n = 0
        while limit is None or n < limit:
            size = PAGE if limit is None else min(PAGE, limit - n)
            with self._db.read() as connection:
                page = connection.execute(
                    query.where(event.c.id > after).order_by(event.c.id).limit(size)
                ).all()
            yield from map(to_view, page)
            n += len(page)
            if len(page) < size:
                return
            after = page[-1].id

    def last(self) -> int:
        """Return the greatest event_id of a dead letter; 0 where there is none."""
        query = sa.select(event.c.id).where(IS_DEAD).order_by(event.c.id.desc()).limit(1)
        with self._db.read() as connection:
            return connection.execute(query).scalar() or 0

    def reasons(self) -> dict[str, int]:
        """Count them by reason, the most frequent first; quicker than the whole ledger."""
        return count_dead(self._db)

    def replay(self, records: Sequence[tuple[int, EventRecord]]) -> int:
        """Let dead letters wait again, as new; return how many.

        Args:
            records: event_id and what it says now (a mapping may have been corrected).
        """
        now = self._db.clock()
        fixed = {"event_key", "received_at"}
        dead = event.c.state == EventState.DEAD.value
        with self._db.write() as connection:
            n = 0
            for pk, record in records:
                values = {k: v for k, v in to_values(record, now).items() if k not in fixed}
                update = sa.update(event).where(event.c.id == pk, dead)
                n += connection.execute(update.values(**values)).rowcount
            add_to(self._db, connection, {"replayed": n})
        return n

    # -- removing ---------------------------------------------------------------------------

    def count(self, reason: str | None = None, before: datetime | None = None) -> dict[str, int]:
        """Return reason to how many `remove` would remove, the most frequent first."""
        number = sa.func.count()
        query = sa.select(event.c.reason, number).where(*_which(reason, before))
        query = query.group_by(event.c.reason).order_by(number.desc(), event.c.reason)
        with self._db.read() as connection:
            return {why or "": int(n) for why, n in connection.execute(query)}

    def remove(
        self,
        reason: str | None = None,
        before: datetime | None = None,
        *,
        event_ids: Collection[int] | None = None,
        upto: int | None = None,
        limit: int = AT_ONCE,
    ) -> dict[str, int]:
        """Remove up to `limit` dead letters for good; the ledger counts them on.

        Those that somebody puts back or removes at this moment are passed over, not waited for.

        Args:
            reason: only those with it.
            before: only those that have been dead since before this moment.
            event_ids: only these, whatever else is said; None: all.
            upto: only those whose event_id is no greater.
            limit: how many at most.

        Returns:
            Reason to how many were removed; empty where there was none.
        """
        found = sa.select(event.c.id).where(*_which(reason, before))
        if upto is not None:
            found = found.where(event.c.id <= upto)
        gone = sa.delete(event).where(event.c.state == EventState.DEAD.value)
        counts: dict[str, int] = {}
        with self._db.write() as connection:
            if event_ids is None:
                free = found.limit(limit).with_for_update(skip_locked=True)
                ids = list(connection.execute(free).scalars())
            else:
                ids = sorted(event_ids)
            for block in chunks(ids):
                these = gone.where(event.c.id.in_(block)).returning(event.c.reason)
                for why in connection.execute(these).scalars():
                    counts[why or ""] = counts.get(why or "", 0) + 1
            add_to(self._db, connection, {REMOVED + why: n for why, n in counts.items()})
        return counts


def _which(
    reason: str | None, before: datetime | None
) -> Sequence[sa.ColumnElement[bool] | sa.TextClause]:
    """Dead letters by reason and age. `next_at` is when one died, and is what an index has."""
    because = () if reason is None else (event.c.reason == reason,)
    if before is None:
        return (IS_DEAD, *because)
    dead = event.c.state == EventState.DEAD.value
    return (dead, event.c.priority.in_(PRIORITIES), event.c.next_at < before, *because)
