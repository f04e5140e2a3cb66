"""The ledger: where every event that ever came in stands now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.store.database import Database
from listlens.store.event_rows import EventState
from listlens.store.stream_tables import IS_DEAD, IS_DONE, IS_PUT_OFF, event
from listlens.store.tallies import read_all

PRUNED = "pruned:"
"""How the names of counts begin of done events that were removed; their outcome follows."""

REMOVED = "pruned:dead:"
"""Likewise of dead letters; their reason follows. It begins as the other, so that the ledger of an
older version, which may still run, adds up too."""


_OPEN = (EventState.WAITING.value, EventState.LEASED.value)


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every event that ever came in, by where it stands; see `adds_up`.

    Args:
        received: different events that came in, ever.
        duplicates: events that came in once more, and were not taken again.
        states: state to events that are there now.
        outcomes: outcome of done ones to their number, the pruned ones included.
        reasons: reason to dead ones.
        pruned: done ones whose rows were removed because of their age.
        forgotten: ones whose rows were removed with the photo, listing or seller on request.
        removed: reason to dead ones whose rows were removed, by age or by command.
        replayed: times that a dead one was put back.
        put_off: reason to those that wait because of it.
    """

    received: int
    duplicates: int
    states: Mapping[str, int]
    outcomes: Mapping[str, int]
    reasons: Mapping[str, int]
    pruned: int = 0
    forgotten: int = 0
    replayed: int = 0
    put_off: Mapping[str, int] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_removed(self) -> int:
        """Dead letters whose rows were removed."""
        return sum(self.removed.values())

    @property
    def adds_up(self) -> bool:
        """Whether every event that came in is where the counts say."""
        gone = self.pruned + self.forgotten + self.n_removed
        return self.received == sum(self.states.values()) + gone

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "received": self.received,
            **self.states,
            "pruned": self.pruned,
            "forgotten": self.forgotten,
            "removed": self.n_removed,
            "adds_up": self.adds_up,
            "duplicates": self.duplicates,
            "replayed": self.replayed,
            "outcomes": dict(self.outcomes),
            "reasons": dict(self.reasons),
            "put_off": dict(self.put_off),
            "removed_reasons": dict(self.removed),
        }


@dataclass(frozen=True, slots=True)
class Left:
    """Events that are neither done nor dead, by what they wait for.

    Args:
        due: ones that any worker may take now.
        leased: ones in the hands of a worker.
        leased_until: when the last of their leases runs out; a worker that lives extends its own.
        put_off: ones that wait for another try.
        due_at: when the first of those may be taken.
    """

    due: int = 0
    leased: int = 0
    leased_until: datetime | None = None
    put_off: int = 0
    due_at: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        until, then = self.leased_until, self.due_at
        return {
            "due": self.due,
            "leased": self.leased,
            "leased_until": until and until.isoformat(),
            "put_off": self.put_off,
            "due_at": then and then.isoformat(),
        }


def count_left(database: Database) -> Left:
    """Count the events that are neither done nor dead; an index alone answers it."""
    now, state, then = database.clock(), event.c.state, event.c.next_at
    later = sa.and_(state == EventState.WAITING.value, then > now).label("later")
    query = sa.select(state, later, sa.func.count(), sa.func.min(then), sa.func.max(then))
    query = query.where(state.in_(_OPEN)).group_by(state, sa.text("later"))
    with database.read() as connection:
        found = {(row[0], bool(row[1])): row[2:] for row in connection.execute(query)}
    leased = found.get((EventState.LEASED.value, False), (0, None, None))
    put_off = found.get((EventState.WAITING.value, True), (0, None, None))
    due = found.get((EventState.WAITING.value, False), (0, None, None))
    return Left(int(due[0]), int(leased[0]), leased[2], int(put_off[0]), put_off[1])


def count_events(database: Database) -> Ledger:
    """Count every event that ever came in by where it stands, in one consistent look.

    Each of the queries is answered by an index alone: no row of an event is read.
    """
    with database.read() as connection:
        if not database.is_sqlite:  # one snapshot for all queries
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        counts = read_all(connection)
        open_states = _counted(connection, event.c.state, event.c.state.in_(_OPEN))
        done = _counted(connection, event.c.outcome, IS_DONE)
        dead = _counted(connection, event.c.reason, IS_DEAD)
        put_off = _counted(connection, event.c.reason, IS_PUT_OFF)
    states = {state.value: open_states.get(state.value, 0) for state in EventState}
    states[EventState.DONE] = sum(done.values())
    states[EventState.DEAD] = sum(dead.values())
    removed = _named(counts, REMOVED)
    kept_on = {name: n for name, n in counts.items() if not name.startswith(REMOVED)}
    outcomes = _named(kept_on, PRUNED)
    pruned = sum(outcomes.values())
    for outcome, n in done.items():
        outcomes[outcome] = outcomes.get(outcome, 0) + n
    return Ledger(
        received=counts.get("received", 0),
        duplicates=counts.get("duplicates", 0),
        states=states,
        outcomes=outcomes,
        reasons=dead,
        pruned=pruned,
        forgotten=counts.get("forgotten", 0),
        replayed=counts.get("replayed", 0),
        put_off=put_off,
        removed=removed,
    )


def count_dead(database: Database) -> dict[str, int]:
    """Count dead letters by reason, the most frequent first."""
    with database.read() as connection:
        return _counted(connection, event.c.reason, IS_DEAD)


def _counted(
    connection: Connection, by: sa.Column[str], which: sa.ColumnElement[bool] | sa.TextClause
) -> dict[str, int]:
    """Count events by a column, the most frequent first; nothing is an empty name."""
    number = sa.func.count()
    query = sa.select(by, number).where(which).group_by(by).order_by(number.desc(), by)
    return {name or "": int(n) for name, n in connection.execute(query)}


def _named(counts: Mapping[str, int], begin: str) -> dict[str, int]:
    """Those counts whose names begin so, by the rest of the name."""
    return {name[len(begin) :]: n for name, n in counts.items() if name.startswith(begin)}
