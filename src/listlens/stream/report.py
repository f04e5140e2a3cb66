"""What a worker did, and what it lets be done between its rounds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol


class Tidies(Protocol):
    """Something to be done between rounds, now and then; `close` waits for its end."""

    def __call__(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class WorkReport:
    """What a worker did.

    Args:
        outcomes: outcome to events, each counted once; ``put_off`` has those that had to wait for
            another try, and ``put_off_again`` counts each further time that one had to.
        reasons: why events went to the dead letters, and how many.
        brought: photos fetched or read.
        looked: photos that were decoded and embedded.
        recognised: photos whose content was known, or being looked at already.
        seconds: of work.
        troubles: topics at brokers that could not be read or sent to, each with the reason.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    brought: int = 0
    looked: int = 0
    recognised: int = 0
    seconds: float = 0.0
    troubles: list[str] = field(default_factory=list)

    def add(self, other: WorkReport) -> None:
        """Add what another did."""
        self.outcomes += other.outcomes
        self.reasons += other.reasons
        self.brought += other.brought
        self.looked += other.looked
        self.recognised += other.recognised
        self.seconds += other.seconds
        self.troubles += other.troubles

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "outcomes": dict(self.outcomes),
            "reasons": dict(self.reasons),
            "brought": self.brought,
            "looked": self.looked,
            "recognised": self.recognised,
            "seconds": round(self.seconds, 3),
            "troubles": self.troubles,
        }
