"""What needs no person: error against the share that is decided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from listlens.core.types import Estimate
from listlens.metrics.coverage import CoveragePoint, coverage_at_error, coverage_curve
from listlens.metrics.intervals import Bootstrap

ERROR_BUDGETS = (0.005, 0.01, 0.02, 0.05)
"""Errors for which the report says how many photos need no person."""


@dataclass(frozen=True)
class Coverage:
    """What a person need not look at.

    Args:
        unit: ``photos`` for single and tree, ``answers`` (one photo and one class) for multi.
        curve: error among the surest, from few to all; tree: of the likeliest leaf.
        at_error: per budget of `ERROR_BUDGETS`, the point of largest coverage within it, or None.
        policy: share decided without a person under the policy, and the error among those; tree:
            decided at any depth.
    """

    unit: str
    curve: tuple[CoveragePoint, ...]
    at_error: tuple[tuple[float, CoveragePoint | None], ...]
    policy_coverage: Estimate | None
    policy_error: Estimate | None
    target: str


def coverage(
    unit: str,
    sure: NDArray[np.float64],
    wrong: NDArray[np.bool_],
    asked: NDArray[np.bool_],
    target: str,
    draws: Bootstrap,
) -> Coverage:
    """Measure what may be left to the model.

    Args:
        unit: see Coverage.
        sure: `(n,)` probability of each answer.
        wrong: `(n,)`.
        asked: `(n,)` a person is asked, under the policy.
        target: of the policy.
        draws: over the answers.
    """
    return Coverage(
        unit=unit,
        curve=coverage_curve(sure, wrong),
        at_error=tuple((e, coverage_at_error(sure, wrong, e)) for e in ERROR_BUDGETS),
        policy_coverage=draws.ratio(~asked, np.ones(len(asked))),
        policy_error=draws.ratio(wrong & ~asked, ~asked),
        target=target,
    )
