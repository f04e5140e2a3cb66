"""When a call is made again: a bounded number of times, later each time, and not in step."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

AGAIN = frozenset({429, 500, 502, 503, 504})
"""Answers that may be others later. 429 and 503 did nothing, the rest may have done something."""

NOTHING_DONE = frozenset({429, 503})


@dataclass(frozen=True)
class Retries:
    """How often and after which pauses a call that failed for now is made again.

    Args:
        attempts: calls in all; 1 never repeats one.
        base_s: the first pause is half to all of it; each next one is twice as long.
        most_s: longest pause. A server that asks for a longer one is not asked again.
        random: returns a number in [0, 1).

    Example:
        >>> retries = Retries(attempts=3, base_s=1.0, random=lambda: 0.0)
        >>> retries.pause(1), retries.pause(2), retries.pause(3)
        (0.5, 1.0, None)
        >>> retries.pause(1, asked_s=7.0)
        7.0
    """

    attempts: int = 5
    base_s: float = 0.25
    most_s: float = 30.0
    random: Callable[[], float] = random.random

    def pause(self, attempt: int, asked_s: float | None = None) -> float | None:
        """Return the seconds to wait after an attempt, or None to give up.

        Args:
            attempt: 1 for the first.
            asked_s: what the server asked to wait (`Retry-After`), which is then the least; callers
                that were refused together spread over a quarter more.
        """
        if attempt >= self.attempts or (asked_s or 0.0) > self.most_s:
            return None
        grown: float = min(self.base_s * 2 ** (attempt - 1), self.most_s)
        grown *= 0.5 + self.random() / 2
        spread = (asked_s or 0.0) * (1 + self.random() / 4)
        return max(grown, spread)


def is_worth_again(status: int, *, safe: bool) -> bool:
    """Whether a call may be made again after an answer.

    Args:
        status: of HTTP.
        safe: whether the call twice does what it does once.
    """
    return status in (AGAIN if safe else NOTHING_DONE)
