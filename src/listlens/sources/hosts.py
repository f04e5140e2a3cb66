"""Politeness: how many requests a host gets at once, and how long it asked to be left alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from listlens.core.errors import FetchError
from listlens.core.types import Reason

MAX_HOSTS = 4096
"""Hosts remembered; those at rest are forgotten first."""


@dataclass(slots=True)
class _Host:
    slots: threading.Semaphore
    n_using: int = 0
    quiet_until: float = 0.0


class Hosts:
    """Turns at each host. Safe to share among threads.

    Args:
        per_host: requests at once.
        max_wait_s: how long a request waits for its turn.
        clock: seconds, monotonic.
    """

    def __init__(
        self, per_host: int, max_wait_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_host, self._max_wait_s, self._clock = per_host, max_wait_s, clock
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Hold one of the host's slots.

        Raises:
            FetchError: BUSY: it asked to wait, or all slots stayed taken; says how long to wait.
        """
        with self._lock:
            host = self._hosts.get(name)
            if host is None:
                self._forget_some()
                host = self._hosts[name] = _Host(threading.Semaphore(self._per_host))
            quiet_s = host.quiet_until - self._clock()
            if quiet_s > 0:
                raise FetchError(
                    Reason.BUSY, f"{name} asked to wait: {quiet_s:.0f} s more", quiet_s
                )
            host.n_using += 1
        try:
            if not host.slots.acquire(timeout=self._max_wait_s):
                raise FetchError(
                    Reason.BUSY, f"{name}: {self._per_host} requests at once are under way", 1.0
                )
            try:
                yield
            finally:
                host.slots.release()
        finally:
            with self._lock:
                host.n_using -= 1

    def leave_alone(self, name: str, seconds: float) -> None:
        """Ask nothing of a host for some seconds."""
        with self._lock:
            if name in self._hosts:
                until = self._clock() + seconds
                self._hosts[name].quiet_until = max(self._hosts[name].quiet_until, until)

    def _forget_some(self) -> None:
        """Keep what is remembered bounded, whatever strangers send."""
        if len(self._hosts) < MAX_HOSTS:
            return
        now = self._clock()
        resting = [n for n, host in self._hosts.items() if not host.n_using]
        quiet = [n for n in resting if self._hosts[n].quiet_until > now]
        for name in set(resting) - set(quiet) or quiet[: MAX_HOSTS // 2]:
            del self._hosts[name]


def retry_after_s(value: str | None, cap_s: float) -> float | None:
    """Read a Retry-After header: seconds or a date; None where it says nothing usable.

    Example:
        >>> retry_after_s("120", 60.0), retry_after_s("soon", 60.0)
        (60.0, None)
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), cap_s)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a year or a zone of twenty digits
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max((at - datetime.now(UTC)).total_seconds(), 0.0), cap_s)
