"""A budget, and the record of a search within it: what was tried, what it scored, what was kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from listlens.core.errors import InputError
from listlens.learn.recipe import Trained

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
MIN_BUDGET_S, MAX_BUDGET_S = 1.0, 86_400.0

NO_TIME = "no time"

STORED = "stored"
"""Name of the space that the photos are embedded in already."""


@dataclass(frozen=True)
class Tried:
    """One line of the record.

    Args:
        space: whose embeddings.
        head: kind of head.
        outcome: `kept`, `default`, `not clearly better`, `no time`, or why it could not be tried.
        loss: mean on held-out photos, tempered; NaN where it did not finish.
        score: accuracy, or macro average precision (multi), alike; NaN for other kinds.
        gain: how much lower the loss is than the default's.
        error: standard error of the gain.
        seconds: that it took.
    """

    space: str
    head: str
    outcome: str
    loss: float = float("nan")
    score: float = float("nan")
    gain: float = 0.0
    error: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Found:
    """What a search gives.

    Args:
        trained: the default's, or what is better.
        space: name of the space that its head is on; `stored` where it is the photos' own.
        tried: in the order they were tried.
        budget_s: what was allowed.
        seconds: what it took.
    """

    trained: Trained
    space: str
    tried: tuple[Tried, ...]
    budget_s: float
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, for the run and report.json."""
        rows = [{k: _plain(v) for k, v in asdict(row).items()} for row in self.tried]
        return {
            "budget_s": round(self.budget_s, 1),
            "seconds": round(self.seconds, 1),
            "space": self.space,
            "tried": rows,
        }


def parse_budget(text: str) -> float:
    """Read a time such as `90s`, `5m` or `1h`; return seconds.

    Raises:
        InputError: anything else, or more than a day.

    Example:
        >>> parse_budget("5m"), parse_budget("1.5h")
        (300.0, 5400.0)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh])\s*", text.lower())
    seconds = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not MIN_BUDGET_S <= seconds <= MAX_BUDGET_S:
        raise InputError(
            f"budget {text!r} is no time that can be used. Allowed: a number with s, m or h, from "
            "1s to 24h, such as 90s, 5m or 1h."
        )
    return seconds


def summary(found: Mapping[str, Any]) -> str:
    """One sentence for a person, from `Found.as_dict`.

    Example:
        >>> row = {"space": "stored", "head": "logistic", "outcome": "default", "loss": 0.1}
        >>> summary({"budget_s": 60.0, "seconds": 12.3, "space": "stored", "tried": [row]})
        'Search: 1 of 1 trials in 12 s of 60; nothing was clearly better than the default.'
    """
    rows = found["tried"]
    done = [row for row in rows if row["loss"] is not None]
    kept = next((row for row in rows if row["outcome"] == "kept"), None)
    what = (
        "nothing was clearly better than the default"
        if kept is None
        else f"kept the {kept['head']} head on {kept['space']} embeddings"
    )
    return (
        f"Search: {len(done)} of {len(rows)} trials in {found['seconds']:.0f} s of "
        f"{found['budget_s']:.0f}; {what}."
    )


def _plain(value: Any) -> Any:
    """Numbers as JSON can hold them."""
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return value
