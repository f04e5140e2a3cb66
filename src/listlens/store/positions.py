"""How far streams were read: a position a shard, and which reader has it for a while.

For brokers that keep no account of their readers, such as Kinesis. A position moves only after what
was read up to it is committed, so a reader that starts again misses nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Integer, PrimaryKeyConstraint, Table, Text

from listlens.store.columns import BY_KEY, metadata, moment
from listlens.store.database import Database

# `position` is in the words of whoever reads. `ended`: there is nothing more to come.
stream_position = Table(
    "stream_position",
    metadata,
    Column("stream", Text, nullable=False),
    Column("shard", Text, nullable=False),
    Column("position", Text, nullable=False),
    Column("ended", Integer, nullable=False),
    Column("owner", Text),
    moment("leased_until", nullable=True),
    moment("moved_at"),
    PrimaryKeyConstraint("stream", "shard"),
    **BY_KEY,
)

_here = stream_position.c


class Positions:
    """Positions in streams, by shard. The port is `Positions` of `core/ports.py`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def see(self, stream: str, shards: Collection[str], first: str, later: str) -> dict[str, bool]:
        """Note which shards there are.

        Args:
            stream: its name.
            shards: all that it has now.
            first: where they begin if this stream was never seen.
            later: where one begins that comes to a stream that was seen.

        Returns:
            Every shard that is noted, to whether it was read to its end.
        """
        query = sa.select(_here.shard, _here.ended).where(_here.stream == stream)
        with self._db.read() as connection:
            known = {row.shard: bool(row.ended) for row in connection.execute(query)}
        if all(shard in known for shard in shards):
            return known
        with self._db.write() as connection:
            self._alone(connection, stream)
            known = {row.shard: bool(row.ended) for row in connection.execute(query)}
            new = sorted(set(shards) - known.keys())
            row = {"stream": stream, "position": later if known else first, "ended": 0}
            row |= {"moved_at": self._db.clock()}
            rows = [{**row, "shard": shard} for shard in new]
            self._db.bulk(connection, sa.insert(stream_position), rows)
        return known | dict.fromkeys(new, False)

    def noted(self, stream: str) -> dict[str, tuple[str, bool]]:
        """Return every shard that is noted, with its position and whether it was read to its end;
        writes nothing."""
        query = sa.select(stream_position).where(_here.stream == stream)
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        return {row.shard: (row.position, bool(row.ended)) for row in rows}

    def take(
        self, stream: str, owner: str, shards: Collection[str], lease_s: float
    ) -> dict[str, str]:
        """Lease a fair share of the shards, and keep what the owner has.

        Free ones are taken up to the share; a reader that has fewer than another takes one over
        from it, so that after a few rounds all have as many.

        Args:
            stream: its name.
            owner: who reads; unique among readers.
            shards: those that may be read now.
            lease_s: how long nobody else takes them.

        Returns:
            Every shard that the owner has now, to its position.
        """
        now = self._db.clock()
        query = sa.select(stream_position).where(_here.stream == stream, _here.ended == 0)
        with self._db.write() as connection:
            self._alone(connection, stream)
            rows = {row.shard: row for row in connection.execute(query) if row.shard in set(shards)}
            holds = {
                shard: row.owner
                for shard, row in rows.items()
                if row.owner == owner or (row.owner and row.leased_until >= now)
            }
            mine = _share(holds, sorted(rows), owner)
            lease = sa.update(stream_position).where(
                _here.stream == stream, _here.shard == sa.bindparam("of_shard")
            )
            until = now + timedelta(seconds=lease_s)
            if mine:
                connection.execute(
                    lease.values(owner=owner, leased_until=until),
                    [{"of_shard": shard} for shard in mine],
                )
        return {shard: str(rows[shard].position) for shard in mine}

    def move(
        self, stream: str, owner: str, positions: Mapping[str, str], ended: Collection[str] = ()
    ) -> set[str]:
        """Note how far shards were read; return those that the owner has no more.

        Args:
            stream: its name.
            owner: who read.
            positions: shard to position; what is before it is committed.
            ended: shards of which nothing more will come.
        """
        now, lost = self._db.clock(), set()
        changes: dict[str, dict[str, Any]] = {k: {"position": v} for k, v in positions.items()}
        for shard in ended:
            changes.setdefault(shard, {})["ended"] = 1
        with self._db.write() as connection:
            for shard, values in sorted(changes.items()):
                mine = (_here.stream == stream, _here.shard == shard, _here.owner == owner)
                update = sa.update(stream_position).where(*mine).values(**values, moved_at=now)
                if not connection.execute(update).rowcount:
                    lost.add(shard)
        return lost

    def drop(self, stream: str, shards: Collection[str]) -> None:
        """Forget shards that are there no more."""
        gone = sa.delete(stream_position).where(_here.stream == stream, _here.shard.in_(shards))
        with self._db.write() as connection:
            connection.execute(gone)

    def release(self, stream: str, owner: str) -> None:
        """Give back every shard that an owner has."""
        held = sa.update(stream_position).where(_here.stream == stream, _here.owner == owner)
        with self._db.write() as connection:
            connection.execute(held.values(owner=None, leased_until=None))

    def _alone(self, connection: Connection, stream: str) -> None:
        """Let readers of one stream take turns; on SQLite all writers do."""
        if not self._db.is_sqlite:
            name = sa.func.hashtext(sa.func.concat(sa.func.current_schema(), stream))
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK, name)))


_LOCK = 0x73706F73  # "spos": readers of a stream share out its shards one after another


def _share(holds: Mapping[str, str], shards: list[str], owner: str) -> list[str]:
    """Return the shards that an owner is to have: what it has, what is free, or one of another's.

    Example:
        >>> _share({"1": "a", "2": "a"}, ["1", "2"], "b")
        ['2']
        >>> _share({"1": "a"}, ["1", "2", "3"], "b")
        ['2', '3']
    """
    mine = [shard for shard in shards if holds.get(shard) == owner]
    readers = {*holds.values(), owner}
    fair = -(-len(shards) // len(readers))
    free = [shard for shard in shards if shard not in holds]
    taken = free[: max(0, fair - len(mine))]
    if taken or not holds:
        return mine + taken
    most, n = Counter(holds.values()).most_common(1)[0]
    if n - len(mine) >= 2:
        taken = [max(shard for shard, has in holds.items() if has == most)]
    return mine + taken
