"""How many photos are asked of one host at once: a slow one must not hold every thread."""

from __future__ import annotations

from collections import Counter


class HostLimits:
    """Counts what runs. Not safe for threads: one thread owns it.

    Args:
        per_host: at once; files of this machine, of no host, have no limit.

    Example:
        >>> limits = HostLimits(1)
        >>> limits.start("a"), limits.start("a"), limits.start("b"), limits.running
        (True, False, True, 2)
    """

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._running: Counter[str] = Counter()

    @property
    def running(self) -> int:
        """How many run now."""
        return self._running.total()

    def full(self, host: str) -> bool:
        """Whether no more may be asked of a host now."""
        return bool(host) and self._running[host] >= self._per_host

    def start(self, host: str) -> bool:
        """Count one more, if the host bears it."""
        if self.full(host):
            return False
        self._running[host] += 1
        return True

    def end(self, host: str) -> None:
        """Count one less."""
        self._running[host] -= 1
        if self._running[host] <= 0:
            del self._running[host]
