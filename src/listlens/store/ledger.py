"""The ledger: where every event that ever came in stands now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from listlens.store.database import Database
from listlens.store.event_rows import EventState
from listlens.store.stream_tables import IS_DEAD, event
from listlens.store.tallies import read_all


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

    @property
    def adds_up(self) -> bool:
        """Whether every event that came in is where the counts say."""
        return self.received == sum(self.states.values()) + self.pruned + self.forgotten

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "received": self.received,
            **self.states,
            "pruned": self.pruned,
            "forgotten": self.forgotten,
            "adds_up": self.adds_up,
            "duplicates": self.duplicates,
            "replayed": self.replayed,
            "outcomes": dict(self.outcomes),
            "reasons": dict(self.reasons),
            "put_off": dict(self.put_off),
        }


def count_events(database: Database) -> Ledger:
    """Count every event that ever came in by where it stands, in one consistent look."""
    number = sa.func.count()
    query = sa.select(event.c.state, event.c.outcome, event.c.reason, number).group_by(
        event.c.state, event.c.outcome, event.c.reason
    )
    with database.read() as connection:
        if not database.is_sqlite:  # one snapshot for both queries
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        counts = read_all(connection)
        rows = connection.execute(query).all()
    states = {state.value: 0 for state in EventState}
    outcomes = {
        name.partition(":")[2]: n for name, n in counts.items() if name.startswith("pruned:")
    }
    pruned, reasons, put_off = sum(outcomes.values()), dict[str, int](), dict[str, int]()
    for state, outcome, reason, n in rows:
        states[state] += n
        if state == EventState.DONE:
            outcomes[outcome or ""] = outcomes.get(outcome or "", 0) + n
        if state == EventState.DEAD:
            reasons[reason or ""] = reasons.get(reason or "", 0) + n
        if state == EventState.WAITING and reason:
            put_off[reason] = put_off.get(reason, 0) + n
    return Ledger(
        received=counts.get("received", 0),
        duplicates=counts.get("duplicates", 0),
        states=states,
        outcomes=outcomes,
        reasons=reasons,
        pruned=pruned,
        forgotten=counts.get("forgotten", 0),
        replayed=counts.get("replayed", 0),
        put_off=put_off,
    )


def count_dead(database: Database) -> dict[str, int]:
    """Count dead letters by reason, the most frequent first."""
    number = sa.func.count()
    query = sa.select(event.c.reason, number).where(IS_DEAD)
    query = query.group_by(event.c.reason).order_by(number.desc(), event.c.reason)
    with database.read() as connection:
        return {reason or "": int(n) for reason, n in connection.execute(query)}
