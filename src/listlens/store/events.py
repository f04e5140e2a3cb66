"""The durable inbox: events wait, are leased in batches, and end as done or dead.

Whatever ends an event is written in the transaction of its results (`Database.together`), so an
event has its effect once, however often it is delivered or its worker dies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.core.types import Reason
from listlens.store.database import Database, chunks, clean_text
from listlens.store.event_lookup import find_event, get_event
from listlens.store.event_rows import (
    EventRecord,
    EventState,
    EventView,
    Finished,
    Put,
    PutOff,
    dead_values,
    done_values,
    to_values,
    to_view,
)
from listlens.store.ledger import Ledger, Left, count_events, count_left
from listlens.store.stream_tables import event
from listlens.store.tallies import add_to

PRIORITIES = (0, 1, 2)
"""Lower goes first, a back-fill last; see `EventRecord`."""

ALONE_AFTER = 3
"""An event whose worker died so often with it is taken alone: if it is what kills, it shows."""

ID_REUSED = Reason.ID_REUSED.value

Dead = tuple[EventRecord, str, str]
"""An event that is dead when it comes in, with its reason and detail."""

Done = tuple[EventRecord, str, str]
"""An event that is done when it comes in, with its outcome and detail."""

_WAITING, _LEASED = EventState.WAITING.value, EventState.LEASED.value
_DONE, _DEAD = EventState.DONE.value, EventState.DEAD.value


class Events:
    """Events by key and by state."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- in ---------------------------------------------------------------------------------

    def put(
        self,
        records: Sequence[EventRecord],
        dead: Sequence[Dead] = (),
        done: Sequence[Done] = (),
    ) -> Put:
        """Take events in, each key once.

        A key that comes again with other words is a mistake of the sender: it is kept, among the
        dead letters.

        Args:
            records: well-formed ones.
            dead: others, which go to the dead letters with their reasons.
            done: others, of which nothing is left to do.

        Returns:
            How many were new, and how many not.
        """
        now = self._db.clock()
        rows = [to_values(record, now) for record in records]
        rows += [dead_values(*one, now) for one in dead]
        rows += [done_values(*one, now) for one in done]
        with self._db.write() as connection:
            # Whoever puts takes the count first: of two that bring one key the second sees it.
            add_to(self._db, connection, {"received": 0})
            known = _digests(connection, [key for row in rows for key in (_key(row), _spare(row))])
            clashing = [known.setdefault(_key(row), row["digest"]) != row["digest"] for row in rows]
            pairs = zip(rows, clashing, strict=True)
            fresh = [_clash(row, now) if clashes else row for row, clashes in pairs]
            there = _digests(connection, [_key(row) for row in fresh])
            new = {_key(row): row for row in fresh if _key(row) not in there}
            self._db.bulk(connection, sa.insert(event), list(new.values()))
            n_clashes = sum(row["reason"] == ID_REUSED for row in new.values())
            n_twice = len(rows) - len(new)
            add_to(self._db, connection, {"received": len(new), "duplicates": n_twice})
        return Put(len(new) - n_clashes, n_twice, n_clashes)

    # -- working ----------------------------------------------------------------------------

    def claim(self, owner: str, n: int, lease_s: float, old: int | None = None) -> list[EventView]:
        """Lease up to n events that are due, the urgent and then the oldest first.

        Args:
            owner: who takes them; unique among workers.
            n: how many at most.
            lease_s: how long nobody else takes them.
            old: how many of a back-fill at most; None: as many as of others.

        Returns:
            The events; each counts one more attempt.
        """
        now = self._db.clock()
        most = {} if old is None else {PRIORITIES[-1]: old}
        asked = [priority for priority in PRIORITIES if most.get(priority, n) > 0]
        if not self._any_due(now, asked):  # a look costs less than a lock
            return []
        with self._db.write() as connection:
            self._take_back(connection, now)
            found: list[Any] = []
            for priority in asked:
                room = min(n - len(found), most.get(priority, n))
                due = sa.select(event.c.id, event.c.lost).where(
                    event.c.state == _WAITING,
                    event.c.priority == priority,
                    event.c.next_at <= now,
                )
                due = due.order_by(event.c.next_at, event.c.id).limit(room)
                if room > 0:
                    found += connection.execute(due.with_for_update(skip_locked=True))
            ids = _alone([(row.id, row.lost) for row in found])
            lease = sa.update(event).values(
                state=_LEASED,
                owner=owner,
                next_at=now + timedelta(seconds=lease_s),
                attempts=event.c.attempts + 1,
            )
            rows = [
                row
                for block in chunks(ids)
                for row in connection.execute(lease.where(event.c.id.in_(block)).returning(event))
            ]
        order = {pk: at for at, pk in enumerate(ids)}
        return sorted(map(to_view, rows), key=lambda view: order[view.event_id])

    def _any_due(self, now: datetime, priorities: Sequence[int]) -> bool:
        due = sa.select(event.c.id).where(
            event.c.state.in_((_WAITING, _LEASED)),
            event.c.priority.in_(priorities),
            event.c.next_at <= now,
        )
        with self._db.read() as connection:
            return connection.execute(due.limit(1)).first() is not None

    def _take_back(self, connection: Connection, now: datetime) -> None:
        """Let events whose lease ran out wait again: their worker died, or was too slow."""
        lost = sa.select(event.c.id).where(
            event.c.state == _LEASED, event.c.priority.in_(PRIORITIES), event.c.next_at <= now
        )
        ids = list(connection.execute(lost.with_for_update(skip_locked=True)).scalars())
        back = sa.update(event).values(
            state=_WAITING,
            owner=None,
            next_at=now,
            attempts=event.c.attempts - 1,
            lost=event.c.lost + 1,
        )
        for block in chunks(ids):
            connection.execute(back.where(event.c.id.in_(block)))

    def renew(self, owner: str, event_ids: Iterable[int], lease_s: float) -> None:
        """Extend leases; those that ran out meanwhile stay lost."""
        until = self._db.clock() + timedelta(seconds=lease_s)
        extend = sa.update(event).values(next_at=until)
        with self._db.write() as connection:
            for block in chunks(sorted(event_ids)):
                mine = (event.c.id.in_(block), event.c.owner == owner, event.c.state == _LEASED)
                connection.execute(extend.where(*mine))

    def held(self, owner: str, event_ids: Iterable[int]) -> set[int]:
        """Return those events that this owner still leases, and keep others from taking them.

        To be called first in the transaction (`Database.together`) that finishes them.
        """
        query = sa.select(event.c.id).where(event.c.owner == owner, event.c.state == _LEASED)
        with self._db.write() as connection:
            return {
                pk
                for block in chunks(sorted(event_ids))
                for pk in connection.execute(
                    query.where(event.c.id.in_(block)).order_by(event.c.id).with_for_update()
                ).scalars()
            }

    def finish(self, ended: Sequence[Finished]) -> None:
        """Mark events as done, or dead where they have a reason, or erase them."""
        now = self._db.clock()
        rows = [
            {
                "pk": one.event_id,
                "to_state": _DEAD if one.reason else _DONE,
                "to_outcome": one.outcome or None,
                "to_reason": one.reason or None,
                "to_detail": clean_text(one.detail),
            }
            for one in ended
        ]
        update = sa.update(event).where(event.c.id == sa.bindparam("pk"))
        update = update.values(
            state=sa.bindparam("to_state"),
            outcome=sa.bindparam("to_outcome"),
            reason=sa.bindparam("to_reason"),
            detail=sa.bindparam("to_detail"),
            owner=None,
            next_at=now,
            finished_at=now,
        )
        erased = [one.event_id for one in ended if one.erase]
        with self._db.write() as connection:
            if rows:
                connection.execute(update, rows)
            for block in chunks(erased):
                connection.execute(sa.delete(event).where(event.c.id.in_(block)))
            if erased:
                add_to(self._db, connection, {"forgotten": len(erased)})

    def put_off(self, owner: str, later: Sequence[PutOff]) -> None:
        """Let events wait for another try; those that the owner lost are left alone."""
        rows = [
            {
                "pk": one.event_id,
                "then": one.next_at,
                "why": one.reason,
                "said": clean_text(one.detail),
                "less": int(one.uncounted),
            }
            for one in later
        ]
        mine = sa.and_(event.c.owner == owner, event.c.state == _LEASED)
        update = sa.update(event).where(event.c.id == sa.bindparam("pk"), mine)
        update = update.values(
            state=_WAITING,
            owner=None,
            next_at=sa.bindparam("then"),
            reason=sa.bindparam("why"),
            detail=sa.bindparam("said"),
            attempts=event.c.attempts - sa.bindparam("less", type_=sa.Integer),
        )
        if rows:
            with self._db.write() as connection:
                connection.execute(update, rows)

    def release(self, owner: str) -> int:
        """Give back all that an owner leases, as if it had never taken it; return how many."""
        back = sa.update(event).where(event.c.owner == owner, event.c.state == _LEASED)
        values = {
            "state": _WAITING,
            "owner": None,
            "next_at": self._db.clock(),
            "attempts": event.c.attempts - 1,
        }
        with self._db.write() as connection:
            return connection.execute(back.values(**values)).rowcount

    # -- one by one -------------------------------------------------------------------------

    def get(self, event_key: str) -> EventView:
        """Return one event. Raises NotFoundError where no such key is in the inbox."""
        return get_event(self._db, event_key)

    def find(self, given: str) -> EventView:
        """Return one event by its key, or a dead letter by the beginning of its key.

        Raises:
            NotFoundError: there is none.
            InputError: several begin so.
        """
        return find_event(self._db, given)

    # -- counting and pruning ---------------------------------------------------------------

    def ledger(self) -> Ledger:
        """Count every event that ever came in by where it stands, in one consistent look."""
        return count_events(self._db)

    def left(self) -> Left:
        """Count the events that are neither done nor dead, by what they wait for."""
        return count_left(self._db)

    def waiting(self) -> tuple[int, datetime | None]:
        """Return how many events are due now, and when the oldest of them became so."""
        now = self._db.clock()
        due = (event.c.state == _WAITING, event.c.priority.in_(PRIORITIES), event.c.next_at <= now)
        with self._db.read() as connection:
            query = sa.select(sa.func.count(), sa.func.min(event.c.next_at)).where(*due)
            n, oldest = connection.execute(query).one()
        return int(n), oldest

    def backed_up(self, most: int) -> bool:
        """Whether more than so many events are due now; looks at no more of them."""
        due = sa.select(event.c.id).where(
            event.c.state == _WAITING,
            event.c.priority.in_(PRIORITIES),
            event.c.next_at <= self._db.clock(),
        )
        with self._db.read() as connection:
            return connection.execute(due.offset(most).limit(1)).first() is not None

    def next_due(self) -> datetime | None:
        """Return when the next event that waits may be taken, or a lease runs out; None: never."""
        query = sa.select(sa.func.min(event.c.next_at)).where(
            event.c.state.in_((_WAITING, _LEASED)), event.c.priority.in_(PRIORITIES)
        )
        with self._db.read() as connection:
            found: datetime | None = connection.execute(query).scalar()
        return found

    def prune(self, before: datetime, limit: int = 10_000) -> int:
        """Remove up to `limit` rows of events that were done before a moment; count them on.

        Returns:
            How many were removed.
        """
        old = sa.select(event.c.id, event.c.outcome).where(
            event.c.state == _DONE, event.c.priority.in_(PRIORITIES), event.c.next_at < before
        )
        with self._db.write() as connection:
            # Locked, or two workers that tidy at once would each count them.
            free = old.order_by(event.c.id).limit(limit).with_for_update(skip_locked=True)
            rows = connection.execute(free).all()
            counts: dict[str, int] = {}
            for row in rows:
                name = f"pruned:{row.outcome or ''}"
                counts[name] = counts.get(name, 0) + 1
            for block in chunks(row.id for row in rows):
                connection.execute(sa.delete(event).where(event.c.id.in_(block)))
            add_to(self._db, connection, counts)
        return len(rows)


def _key(row: dict[str, Any]) -> str:
    return str(row["event_key"])


def _spare(row: dict[str, Any]) -> str:
    """The key of an event whose own is taken by another."""
    return f"{row['event_key']}#{row['digest'][:12]}"


def _clash(row: dict[str, Any], now: datetime) -> dict[str, Any]:
    detail = f"another event came with the id {row['event_key']!r} before; an id is used once"
    dead = {"state": _DEAD, "reason": ID_REUSED, "detail": detail, "finished_at": now}
    return {**row, **dead, "event_key": _spare(row)}


def _digests(connection: Connection, keys: Iterable[str]) -> dict[str, str]:
    """Return what is known by these keys: key to digest."""
    query = sa.select(event.c.event_key, event.c.digest)
    return {
        row.event_key: row.digest
        for block in chunks(dict.fromkeys(keys))
        for row in connection.execute(query.where(event.c.event_key.in_(block)))
    }


def _alone(found: Sequence[tuple[int, int]]) -> list[int]:
    """Return the ids to take: those that harmed nobody; or the first, if it may be what kills."""
    if found and found[0][1] >= ALONE_AFTER:
        return [found[0][0]]
    return [pk for pk, lost in found if lost < ALONE_AFTER]
