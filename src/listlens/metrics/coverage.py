"""How many photos can be answered without a person, and how many of those answers are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class CoveragePoint:
    """Answering only where the probability is at least `threshold`.

    Args:
        threshold: lowest probability that is answered.
        coverage: share of photos answered, in (0, 1].
        error: share of the answered that is wrong.
        n_answered: photos answered.
        n_wrong: of those, how many are wrong.
    """

    threshold: float
    coverage: float
    error: float
    n_answered: int
    n_wrong: int


def coverage_curve(
    confidence: ArrayLike, wrong: ArrayLike, n_points: int = 60
) -> tuple[CoveragePoint, ...]:
    """Trade coverage against error: answer the surest photos only, then ever more of them.

    Args:
        confidence: `(n,)`; equal values are answered together.
        wrong: `(n,)` bool.
        n_points: points kept at most, evenly spaced, always with the last (everything answered).

    Returns:
        Points in rising coverage.

    Source:
        Geifman and El-Yaniv 2017, "Selective classification for deep neural networks", section 2.

    Example:
        >>> [(p.coverage, p.error) for p in coverage_curve([0.9, 0.6], [False, True])]
        [(0.5, 0.0), (1.0, 0.5)]
    """
    scores = np.asarray(confidence, dtype=np.float64)
    if not scores.size:
        return ()
    order = np.argsort(-scores, kind="stable")
    ranked, n_wrong = scores[order], np.cumsum(np.asarray(wrong, dtype=np.int64)[order])
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    kept = ends[np.unique(np.linspace(0, len(ends) - 1, n_points).round().astype(int))]
    return tuple(
        CoveragePoint(
            float(ranked[i]),
            float((i + 1) / len(ranked)),
            float(n_wrong[i] / (i + 1)),
            int(i + 1),
            int(n_wrong[i]),
        )
        for i in kept
    )


def coverage_at_error(confidence: ArrayLike, wrong: ArrayLike, most: float) -> CoveragePoint | None:
    """Return the largest coverage whose error is at most `most`, or None where there is none.

    Read off the very photos it is measured on, so a little rosy for few photos.
    """
    points = coverage_curve(confidence, wrong, n_points=max(1, np.size(confidence)))
    fine = [p for p in points if p.error <= most]
    return fine[-1] if fine else None
