"""The shards of a Kinesis stream: which may be read, and how far one was."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from listlens.core.ports import Positions

OLDEST = "oldest"
_AFTER, _AT = "after:", "at:"


@dataclass(frozen=True, slots=True)
class Listed:
    """A shard as the stream lists it.

    Args:
        parents: shards that were split or merged into it.
        closed: whether nothing more is written to it.
    """

    parents: tuple[str, ...]
    closed: bool


def listed(shards: Iterable[Mapping[str, Any]]) -> dict[str, Listed]:
    """Return shards by id, of what ListShards answers."""
    return {
        shard["ShardId"]: Listed(
            tuple(
                shard[name]
                for name in ("ParentShardId", "AdjacentParentShardId")
                if shard.get(name)
            ),
            "EndingSequenceNumber" in shard["SequenceNumberRange"],
        )
        for shard in shards
    }


def readable(shards: Mapping[str, Listed], ended: Collection[str]) -> list[str]:
    """Return the shards that may be read: those whose parents were read to their end.

    A parent that is not listed any more has nothing left to be read.

    Example:
        >>> lineage = {"0": Listed((), True), "1": Listed(("0",), False)}
        >>> readable(lineage, []), readable(lineage, ["0"])
        (['0'], ['1'])
    """
    return sorted(
        shard
        for shard, one in shards.items()
        if shard not in ended
        and all(parent in ended or parent not in shards for parent in one.parents)
    )


def moment(at: datetime) -> str:
    """Return the position of what comes from a moment on.

    It is what "newest" is kept as: were it kept as "the newest", a reader that starts again before
    the first message came would begin behind what came meanwhile.
    """
    return f"{_AT}{at.astimezone(UTC).isoformat()}"


def after(sequence: str) -> str:
    """Return the position behind a record."""
    return f"{_AFTER}{sequence}"


def starting(position: str) -> dict[str, Any]:
    """Return what GetShardIterator is asked for a position.

    Example:
        >>> starting("after:42")
        {'ShardIteratorType': 'AFTER_SEQUENCE_NUMBER', 'StartingSequenceNumber': '42'}
    """
    if position.startswith(_AFTER):
        sequence = position.removeprefix(_AFTER)
        return {
            "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
            "StartingSequenceNumber": sequence,
        }
    if position.startswith(_AT):
        at = datetime.fromisoformat(position.removeprefix(_AT))
        return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": at}
    return {"ShardIteratorType": "TRIM_HORIZON"}


@dataclass(slots=True)
class Record:
    """A record that was read: done once each of its messages is acknowledged."""

    sequence: str
    n_left: int


@dataclass(slots=True)
class Reading:
    """A shard that this reader has.

    Args:
        shard: its id.
        position: behind what was read; not yet all of it is acknowledged.
        iterator: Amazon's for the next read; None: to be asked for.
        records: read and not acknowledged, in order.
        at_end: nothing more will come.
        behind: Amazon says that there is more.
        due_s: not read before.
        failures: reads in a row that were refused for being too many.
    """

    shard: str
    position: str
    iterator: str | None = None
    records: deque[Record] = field(default_factory=deque)
    at_end: bool = False
    behind: bool = False
    due_s: float = 0.0
    failures: int = 0

    @property
    def done(self) -> bool:
        """Whether it was read to its end, and all of it is acknowledged."""
        return self.at_end and not self.records

    def settled(self) -> str | None:
        """Take off what is acknowledged from the beginning; return the position behind it.

        A record that is not acknowledged holds back those behind it, however they came back.
        """
        last = None
        while self.records and self.records[0].n_left <= 0:
            last = self.records.popleft().sequence
        return None if last is None else after(last)


class Looking:
    """The port `Positions` for who only looks: begins where a project is, and notes nothing there.

    Args:
        noted: of the project.
    """

    def __init__(self, noted: Positions) -> None:
        self._noted = noted
        self._at: dict[str, str] = {}
        self._ended: set[str] = set()

    def see(self, stream: str, shards: Collection[str], first: str, later: str) -> dict[str, bool]:
        """See the port."""
        if not self._at:
            known = self._noted.noted(stream)
            self._at = {shard: position for shard, (position, _) in known.items()}
            self._ended = {shard for shard, (_, ended) in known.items() if ended}
        new = later if self._at else first
        self._at = dict.fromkeys(shards, new) | self._at
        return {shard: shard in self._ended for shard in self._at}

    def take(
        self, stream: str, owner: str, shards: Collection[str], lease_s: float
    ) -> dict[str, str]:
        """See the port; others may read the same ones meanwhile."""
        return {shard: self._at[shard] for shard in shards if shard not in self._ended}

    def move(
        self, stream: str, owner: str, positions: Mapping[str, str], ended: Collection[str] = ()
    ) -> set[str]:
        """See the port; that a shard ended is noted here, so that its children are read."""
        self._ended |= set(ended)
        return set()

    def drop(self, stream: str, shards: Collection[str]) -> None:
        """See the port."""

    def release(self, stream: str, owner: str) -> None:
        """See the port."""

    def noted(self, stream: str) -> dict[str, tuple[str, bool]]:
        """See the port."""
        return {shard: (position, shard in self._ended) for shard, position in self._at.items()}
