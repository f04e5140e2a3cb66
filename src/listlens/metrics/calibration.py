"""Does "90 % sure" mean right 90 times in 100? Reliability bins and expected calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from listlens.metrics.intervals import wilson


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers whose probability lies in (low, high].

    Args:
        low: lower end of the bin.
        high: upper end.
        n: answers in it; bins without any are left out.
        confidence: their mean probability.
        accuracy: the share that was right.
        accuracy_low: lower end of Wilson's 95 % interval of accuracy, taking answers one by one.
        accuracy_high: upper end.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def reliability(confidence: ArrayLike, right: ArrayLike, n_bins: int = 10) -> tuple[Bin, ...]:
    """Group answers by probability and compare each group's claim with how often it was right.

    Args:
        confidence: `(n,)` probabilities in [0, 1].
        right: `(n,)` bool.
        n_bins: bins of equal width.

    Returns:
        The bins that hold any answer, in rising order.

    Source:
        Guo et al. 2017, "On calibration of modern neural networks", section 2; ten bins, as a
        reader can take in.

    Example:
        >>> [(b.n, b.accuracy) for b in reliability([0.95, 0.92, 0.55], [True, True, False])]
        [(1, 0.0), (2, 1.0)]
    """
    probs, hit = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    edges = np.linspace(0, 1, n_bins + 1)
    which = np.clip(np.searchsorted(edges, probs, side="left") - 1, 0, n_bins - 1)
    bins = []
    for b in np.unique(which):
        rows = which == b
        n, n_right = int(rows.sum()), float(hit[rows].sum())
        low, high = wilson(n_right, n)
        bins.append(
            Bin(
                float(edges[b]),
                float(edges[b + 1]),
                n,
                float(probs[rows].mean()),
                n_right / n,
                low,
                high,
            )
        )
    return tuple(bins)


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """Return the mean gap between claim and truth, weighted by answers; 0 is perfect.

    Source:
        Guo et al. 2017, equation 3. It depends on the bins and is biased upwards for few answers,
        so it carries no interval here.
    """
    n = sum(b.n for b in bins)
    return sum(b.n * abs(b.confidence - b.accuracy) for b in bins) / n if n else float("nan")
