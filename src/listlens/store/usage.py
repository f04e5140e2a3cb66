"""What was used of each source's budget, and events that wait because of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from listlens.core.types import Reason
from listlens.store.database import Database, chunks, clean_text
from listlens.store.event_rows import EventState
from listlens.store.events import PRIORITIES
from listlens.store.stream_tables import event
from listlens.store.watch_tables import usage

HEAD_OF_QUEUE = 5000
"""Due events looked at by one `hold`, of each priority: so many of a source that is at its cap make
way at once for what is behind them, and the transaction stays short."""

MOST_HELD = 10_000
"""Held events that are counted, so that a look at millions of them stays quick."""


@dataclass(frozen=True, slots=True)
class Used:
    """What was used in a period.

    Args:
        photos: that were looked at.
        core_s: thread seconds of decoding and networks.
        reached_at: when a cap was first seen to be reached; None: it was not.
    """

    photos: int = 0
    core_s: float = 0.0
    reached_at: datetime | None = None

    @property
    def a_photo_s(self) -> float:
        """Thread seconds a photo; 0 where none was looked at."""
        return self.core_s / self.photos if self.photos else 0.0


class Usage:
    """Use by source and period: a day such as ``2026-11-26``, or a month such as ``2026-11``."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, spent: Mapping[str, Used], periods: Collection[str]) -> None:
        """Add to what sources used in each of the periods.

        To be called in the transaction (`Database.together`) of the results.
        """
        insert = self._db.insert(usage)
        more = {name: usage.c[name] + insert.excluded[name] for name in ("photos", "core_s")}
        upsert = insert.on_conflict_do_update(index_elements=["source", "period"], set_=more)
        rows = [
            {"source": source, "period": period, "photos": used.photos, "core_s": used.core_s}
            for source, used in sorted(spent.items())
            for period in sorted(periods)
        ]
        if rows:
            with self._db.write() as connection:
                connection.execute(upsert, rows)

    def of(
        self, periods: Collection[str], sources: Collection[str] | None = None
    ) -> dict[str, dict[str, Used]]:
        """Return source to period to what was used; sources that used nothing are left out.

        Args:
            periods: which.
            sources: which; None: all.
        """
        query = sa.select(usage).where(usage.c.period.in_(sorted(periods)))
        queries = [query]
        if sources is not None:
            queries = [query.where(usage.c.source.in_(block)) for block in chunks(sorted(sources))]
        found: dict[str, dict[str, Used]] = {}
        with self._db.read() as connection:
            for one in queries:
                for row in connection.execute(one):
                    used = Used(row.photos, row.core_s, row.reached_at)
                    found.setdefault(row.source, {})[row.period] = used
        return found

    def seen(self, sources: Collection[str]) -> set[str]:
        """Return those of the sources of which any photo was ever looked at."""
        found: set[str] = set()
        with self._db.read() as connection:
            for block in chunks(sorted(sources)):
                query = sa.select(usage.c.source).where(usage.c.source.in_(block)).distinct()
                found |= set(connection.execute(query).scalars())
        return found

    def prune(self, before: str) -> int:
        """Remove days before one, such as ``2026-11-26``, and no months; return how many went."""
        is_day = sa.func.length(usage.c.period) == len(before)
        with self._db.write() as connection:
            old = sa.delete(usage).where(is_day, usage.c.period < before)
            return connection.execute(old).rowcount

    def note_reached(self, source: str, period: str) -> bool:
        """Note that a cap was reached; return whether this is the first time in the period."""
        first = sa.update(usage).where(
            usage.c.source == source, usage.c.period == period, usage.c.reached_at.is_(None)
        )
        with self._db.write() as connection:
            return connection.execute(first.values(reached_at=self._db.clock())).rowcount == 1

    def hold(
        self,
        source: str,
        kinds: Collection[str],
        priorities: Collection[int],
        until: datetime,
        reason: str,
        detail: str,
    ) -> int:
        """Let due events of a source wait, of those at the head of the queue; return how many.

        Args:
            source: whose.
            kinds: only events of these kinds.
            priorities: only events of these.
            until: when they go on.
            reason: why, machine-readable.
            detail: one sentence for a person.
        """
        now = self._db.clock()
        waiting = event.c.state == EventState.WAITING.value
        later = sa.update(event).values(next_at=until, reason=reason, detail=clean_text(detail))
        n = 0
        for priority in sorted(priorities):
            due = (waiting, event.c.priority == priority, event.c.next_at <= now)
            head = sa.select(event.c.id, event.c.source, event.c.kind).where(*due)
            head = head.order_by(event.c.next_at, event.c.id).limit(HEAD_OF_QUEUE)
            with self._db.write() as connection:
                rows = connection.execute(head.with_for_update(skip_locked=True)).all()
                ids = [row.id for row in rows if row.source == source and row.kind in kinds]
                for block in chunks(ids):
                    n += connection.execute(later.where(event.c.id.in_(block), waiting)).rowcount
        return n

    def let_go(self) -> int:
        """Let what a cap held be looked at again, since the settings may have changed."""
        now = self._db.clock()
        again = sa.update(event).where(_is_held(now)).values(next_at=now)
        with self._db.write() as connection:
            return connection.execute(again).rowcount

    def held(self, most: int = MOST_HELD) -> dict[str, int]:
        """Return source to events that wait since a cap is reached; counts no more than `most`."""
        waits = sa.select(event.c.source).where(_is_held(self._db.clock()))
        some = waits.limit(most).subquery()
        query = sa.select(some.c.source, sa.func.count()).group_by(some.c.source)
        with self._db.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def waiting(self, kinds: Collection[str]) -> dict[tuple[str, int], int]:
        """Return (source, priority) to events of these kinds that wait, due or not."""
        which = (event.c.state == EventState.WAITING.value, event.c.kind.in_(sorted(kinds)))
        query = sa.select(event.c.source, event.c.priority, sa.func.count()).where(*which)
        with self._db.read() as connection:
            rows = connection.execute(query.group_by(event.c.source, event.c.priority))
            return {(row[0], row[1]): row[2] for row in rows}


def _is_held(now: datetime) -> sa.ColumnElement[bool]:
    """An event that waits, since a cap is reached, for a moment to come."""
    return sa.and_(
        event.c.state == EventState.WAITING.value,
        event.c.priority.in_(PRIORITIES),
        event.c.next_at > now,
        event.c.reason == Reason.OVER_BUDGET.value,
    )
