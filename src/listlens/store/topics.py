"""Topics at brokers: what came of each, what is wrong, and up to where one was told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.store.database import Database, clean_text
from listlens.store.stream_tables import outbox
from listlens.store.topic_tables import topic

Way = Literal["in", "out"]

FRESH = timedelta(minutes=3)
"""What nobody has repeated for so long says nothing about now."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that is read from, or announced to.

    Args:
        name: its address without user, password and options.
        way: ``in`` or ``out``.
        n: messages that came and were committed, or that the broker has confirmed.
        duplicates: events that had come before.
        dead: messages that cannot be used; see the dead letters.
        lag: messages that are still to come, or to be sent; None where nobody knows.
        trouble: what is wrong; empty where nothing is.
        told_at: when all this was last said.
        cursor: position in the outbox up to which everything was sent.
        lost: announcements that were removed because of their age before they were sent.
    """

    name: str
    way: Way
    n: int
    duplicates: int
    dead: int
    lag: int | None
    trouble: str
    told_at: datetime
    cursor: int
    lost: int = 0

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        counts = {"duplicates": self.duplicates, "dead": self.dead}
        if self.way == "out":
            counts = {"lost": self.lost}
        return {
            "name": self.name,
            "way": self.way,
            "received" if self.way == "in" else "sent": self.n,
            **counts,
            "lag": self.lag,
            "trouble": self.trouble,
            "told_at": self.told_at.isoformat(),
        }


class Topics:
    """The topics of a project, each known from the first time a worker has to do with it."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def list(self) -> tuple[Topic, ...]:
        """Return all, those that are read from first."""
        query = sa.select(topic).order_by(topic.c.way, topic.c.name)
        with self._db.read() as connection:
            return tuple(_view(row) for row in connection.execute(query))

    def troubles(self) -> tuple[str, ...]:
        """Return what is wrong with topics now, a sentence each."""
        since = self._db.clock() - FRESH
        return tuple(_said(one) for one in self.list() if one.trouble and one.told_at > since)

    def count(self, name: str, way: Way, n: int, *, duplicates: int = 0, dead: int = 0) -> None:
        """Add to the counts; to be called in the transaction of what is counted."""
        more = {"n": topic.c.n + n, "duplicates": topic.c.duplicates + duplicates}
        self._set(name, way, {**more, "dead": topic.c.dead + dead, "told_at": self._db.clock()})

    def tell(self, name: str, way: Way, *, lag: int | None, trouble: str = "") -> None:
        """Say how a topic is."""
        values = {"lag": lag, "trouble": clean_text(trouble), "told_at": self._db.clock()}
        self._set(name, way, values)

    def well(self, name: str, way: Way) -> None:
        """Say that a topic was reached: what was wrong is over."""
        now = self._db.clock()
        wrong = (topic.c.name == name, topic.c.way == way, topic.c.trouble != "")
        values = {"trouble": "", "told_at": now}
        with self._db.write() as connection:
            connection.execute(sa.update(topic).where(*wrong).values(values))

    def lease(self, name: str, owner: str, seconds: float, *, since: str = "now") -> int | None:
        """Let nobody else announce to a topic for a while.

        Args:
            name: of the topic.
            owner: who wants it.
            seconds: for how long.
            since: where one begins that is new: after what is announced ``now``, or at the
                ``beginning``.

        Returns:
            The position to go on from, or None while another has it.
        """
        now = self._db.clock()
        free = sa.or_(topic.c.owner.is_(None), topic.c.owner == owner, topic.c.leased_until < now)
        take = sa.update(topic).where(topic.c.name == name, topic.c.way == "out", free)
        values = {"owner": owner, "leased_until": now + timedelta(seconds=seconds)}
        with self._db.write() as connection:
            self._make(connection, name, "out", since)
            taken = connection.execute(take.values(values).returning(topic.c.cursor)).first()
        return None if taken is None else int(taken.cursor)

    def move(self, name: str, owner: str, cursor: int, n: int) -> bool:
        """Note that a broker has confirmed n more, up to a position; whether the lease held."""
        mine = (topic.c.name == name, topic.c.way == "out", topic.c.owner == owner)
        values = {"cursor": cursor, "n": topic.c.n + n, "told_at": self._db.clock(), "trouble": ""}
        with self._db.write() as connection:
            return connection.execute(sa.update(topic).where(*mine).values(values)).rowcount == 1

    def told(self, since: datetime) -> int | None:
        """Return how far all topics were told of which was heard since, or None."""
        query = sa.select(sa.func.min(topic.c.cursor))
        query = query.where(topic.c.way == "out", topic.c.told_at >= since)
        with self._db.read() as connection:
            return connection.execute(query).scalar()

    def release(self, owner: str, name: str | None = None) -> None:
        """Give back a topic that this owner has, or every one."""
        held = sa.update(topic).where(topic.c.owner == owner)
        if name is not None:
            held = held.where(topic.c.name == name)
        with self._db.write() as connection:
            connection.execute(held.values(owner=None, leased_until=None))

    def _set(self, name: str, way: Way, values: dict[str, Any]) -> None:
        here = sa.update(topic).where(topic.c.name == name, topic.c.way == way).values(values)
        with self._db.write() as connection:
            if not connection.execute(here).rowcount:
                self._make(connection, name, way)
                connection.execute(here)

    def _make(self, connection: Connection, name: str, way: Way, since: str = "now") -> None:
        """Make the row where there is none."""
        last = sa.select(sa.func.coalesce(sa.func.max(outbox.c.id), 0)).scalar_subquery()
        row = {
            "name": name,
            "way": way,
            "cursor": last if since == "now" and way == "out" else 0,
            **dict.fromkeys(("n", "duplicates", "dead"), 0),
            "trouble": "",
            "told_at": self._db.clock(),
        }
        insert = self._db.insert(topic).values(row)
        connection.execute(insert.on_conflict_do_nothing(index_elements=["name", "way"]))


def _view(row: Any) -> Topic:
    return Topic(
        row.name, row.way, row.n, row.duplicates, row.dead, row.lag, row.trouble, row.told_at,
        row.cursor, row.lost,
    )  # fmt: skip


def _said(one: Topic) -> str:
    """What is wrong with a topic, and what it has missed because of that so far."""
    said = one.trouble if one.name in one.trouble else f"{one.name}: {one.trouble}"
    if not one.lost:
        return said
    return (
        f"{said.rstrip('.')}. {one.lost:,} announcements grew too old before it was told of them."
    )
