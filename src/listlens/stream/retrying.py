"""When to try again: exponential back-off with jitter, and when to give up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """How long what may pass waits.

    Args:
        first_s: before the second try.
        longest_s: between two tries.
        attempts: tries in all.
        random: returns a number in [0, 1): jitter, so that what failed together does not come
            back together.

    Example:
        >>> wait = Backoff(5.0, 3600.0, 12, lambda: 0.0)
        >>> [wait.seconds(n) for n in (1, 2, 3, 20)]
        [2.5, 5.0, 10.0, 1800.0]
    """

    first_s: float
    longest_s: float
    attempts: int
    random: Callable[[], float]

    def seconds(self, tried: int, at_least_s: float = 0.0) -> float:
        """Return how long to wait after so many tries: half of it fixed, half by chance."""
        whole = min(self.first_s * 2.0 ** min(tried - 1, 60), self.longest_s)
        return max(whole * (0.5 + 0.5 * self.random()), at_least_s)

    def gives_up(self, tried: int) -> bool:
        """Whether so many tries were enough."""
        return tried >= self.attempts
