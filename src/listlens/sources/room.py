"""Memory for what is fetched: long bodies take turns, so that many at once do not fill it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

SHORT_BYTES = 4 * 2**20
"""A body up to here takes no turn; nearly every photo is shorter."""

LONG_BYTES = 128 * 2**20
"""All longer bodies together, while they are read and as long as whoever asked keeps them."""


class Lease:
    """Room that is held until `close`, or until nobody keeps it any more."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._finalizer = weakref.finalize(self, give_back)
        self._finalizer.atexit = False

    def close(self) -> None:
        """Give the room back; a second time does nothing."""
        self._finalizer()


class Room:
    """So many bytes, for all who share it. Safe to share among threads.

    Args:
        most: bytes held at once. One lease always fits, however large.

    Example:
        >>> room = Room(10)
        >>> first = room.take(20, wait_s=0.0)
        >>> room.take(1, wait_s=0.0) is None
        True
        >>> first.close()
        >>> room.take(1, wait_s=0.0) is None
        False
    """

    def __init__(self, most: int = LONG_BYTES) -> None:
        self._most, self._held = most, 0
        self._changed = threading.Condition(threading.RLock())  # a lease may end in its own thread

    def take(self, n_bytes: int, wait_s: float) -> Lease | None:
        """Hold so many bytes; None where others did not give back enough in time."""
        with self._changed:
            fits = lambda: not self._held or self._held + n_bytes <= self._most  # noqa: E731
            if not self._changed.wait_for(fits, wait_s):
                return None
            self._held += n_bytes
        return Lease(lambda: self._give(n_bytes))

    def _give(self, n_bytes: int) -> None:
        with self._changed:
            self._held -= n_bytes
            self._changed.notify_all()
