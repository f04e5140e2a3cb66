"""Two models on the same photos: how far apart they are, and whether that is more than chance."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from listlens.core.types import Estimate

Floats = NDArray[np.float64]


def difference(
    first: tuple[float, Floats], second: tuple[float, Floats], n: int
) -> Estimate | None:
    """Return the second metric less the first, with the interval of their paired draws.

    Both were computed on the same draws, so what makes a draw easy cancels out: the interval is
    narrower than those of the metrics themselves.

    Args:
        first: a metric's value, and what it was in each draw `(draws,)`.
        second: the same of the other model, on the same draws.
        n: photos, for the estimate.

    Returns:
        The difference with its 95 % percentile interval; None where a value is undefined.

    Source:
        Paired bootstrap: Efron and Tibshirani 1993, chapter 16.

    Example:
        >>> draws = np.array([0.7, 0.8, 0.9])
        >>> found = difference((0.8, draws), (0.9, draws + 0.1), 10)
        >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
        (0.1, 0.1, 0.1)
    """
    value = second[0] - first[0]
    if not math.isfinite(value):
        return None
    drawn = second[1] - first[1]
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return None
    low, high = (float(x) for x in np.percentile(drawn, [2.5, 97.5]))
    return Estimate(float(value), min(low, float(value)), max(high, float(value)), n)


def by_chance(n_mended: int, n_broken: int) -> float:
    """Return how often chance alone flips answers so one-sidedly, in [0, 1].

    Args:
        n_mended: answers that only the second model has right.
        n_broken: answers that only the first has right.

    Source:
        Exact form of McNemar 1947, "Note on the sampling error of the difference between correlated
        proportions": the sign test on what flips.

    Example:
        >>> by_chance(5, 5), by_chance(0, 0), round(by_chance(10, 0), 4)
        (1.0, 1.0, 0.002)
    """
    n = n_mended + n_broken
    return float(binomtest(n_mended, n, 0.5).pvalue) if n else 1.0
