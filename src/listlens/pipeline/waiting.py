"""Photos that wait to be looked at: bounded, the urgent first, and none waits for ever."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import IntEnum
from typing import Generic, Protocol, TypeVar


class Priority(IntEnum):
    """Who waits: lower goes first."""

    INTERACTIVE = 0  # somebody waits for the answer
    NEW = 1  # a new upload
    BACKFILL = 2  # photos that have been there for long


PATIENCE = {Priority.INTERACTIVE: 0, Priority.NEW: 8, Priority.BACKFILL: 16}
"""So many others may go before the first of a level; then it goes. Under steady overload from above
new uploads still get a ninth of the places and back-fills a seventeenth."""


class Sized(Protocol):
    """Something that takes memory while it waits."""

    @property
    def n_bytes(self) -> int: ...


T = TypeVar("T", bound=Sized)


class Waiting(Generic[T]):
    """One bounded queue a priority. Not safe for threads: its owner holds a lock.

    The bounds are for each level, so that a back-fill cannot keep a person out.

    Args:
        capacity: items a level may hold.
        capacity_bytes: bytes a level may hold; one item always fits.

    Example:
        >>> class Item:
        ...     n_bytes = 1
        >>> waiting = Waiting[Item](capacity=1, capacity_bytes=10)
        >>> waiting.put(Item(), Priority.NEW), waiting.put(Item(), Priority.NEW)
        (True, False)
        >>> len(waiting)
        1
    """

    def __init__(self, capacity: int, capacity_bytes: int) -> None:
        self.capacity, self.capacity_bytes = capacity, capacity_bytes
        self._levels: dict[Priority, deque[T]] = {level: deque() for level in Priority}
        self._bytes = dict.fromkeys(Priority, 0)
        self._passed = dict.fromkeys(Priority, 0)

    def __len__(self) -> int:
        return sum(map(len, self._levels.values()))

    def count(self, level: Priority) -> int:
        """Return how many wait at a level."""
        return len(self._levels[level])

    def put(self, item: T, level: Priority) -> bool:
        """Add at the end of a level; False where it is full."""
        held, queue = self._bytes[level], self._levels[level]
        if queue and (len(queue) >= self.capacity or held + item.n_bytes > self.capacity_bytes):
            return False
        queue.append(item)
        self._bytes[level] = held + item.n_bytes
        return True

    def take(self) -> T:
        """Remove the next one; there must be one."""
        level = self._next()
        item = self._levels[level].popleft()
        self._bytes[level] -= item.n_bytes
        for other in Priority:
            waits = other > level and self._levels[other]
            self._passed[other] = self._passed[other] + 1 if waits else self._passed[other]
        self._passed[level] = 0
        return item

    def _next(self) -> Priority:
        """The level whose patience is over, the lowest first; else the most urgent one."""
        there = [level for level in Priority if self._levels[level]]
        tired = [x for x in there[1:] if self._passed[x] >= PATIENCE[x]]
        return tired[-1] if tired else there[0]

    def drain(self) -> Iterator[T]:
        """Remove and yield all, the most urgent first."""
        for level, queue in self._levels.items():
            yield from queue
            queue.clear()
            self._bytes[level] = 0
