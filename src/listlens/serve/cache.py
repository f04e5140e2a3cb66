"""Results by content: bounded in bytes, the longest unused goes first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")

OVERHEAD_BYTES = 400
"""What an entry takes beside its value: key, hex digest, two tuples and the map's slot. Measured
with tracemalloc on CPython 3.11: 380."""

MAX_AGE_S = 3600.0
"""An entry is used for an hour at most: so long may what was forgotten in the store go on being
known here, as numbers without the photo."""


class Cache(Generic[V]):
    """A map that forgets. Not safe for threads.

    Args:
        max_bytes: of all values and their keys.
        size_of: bytes of a value.
        clock: seconds, monotonic.

    Example:
        >>> cache = Cache(1000, len)
        >>> cache.put("a", b"1"); cache.put("b", b"2"); _ = cache.get("a"); cache.put("c", b"3")
        >>> cache.get("a"), cache.get("b"), cache.get("c")
        (b'1', None, b'3')
    """

    def __init__(
        self,
        max_bytes: int,
        size_of: Callable[[V], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes, self._size_of, self._clock = max_bytes, size_of, clock
        self._entries: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()
        self.n_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> V | None:
        """Return a value, None where there is none or it is too old."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clock() - entry[0] > MAX_AGE_S:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: Hashable, value: V) -> None:
        """Keep a value, and drop what was unused for longest where it gets too much.

        A value that is too large for the whole cache is not kept, and costs no other its place.
        """
        if key in self._entries:
            self._drop(key)
        size = self._size_of(value) + OVERHEAD_BYTES
        if size > self._max_bytes:
            return
        self._entries[key] = (self._clock(), value)
        self.n_bytes += size
        while self.n_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Hashable) -> None:
        _, value = self._entries.pop(key)
        self.n_bytes -= self._size_of(value) + OVERHEAD_BYTES
