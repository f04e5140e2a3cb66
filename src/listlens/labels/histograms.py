"""Votes on a scale: the histogram that a mean, and perhaps a deviation, stands for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MOST_ROUNDS = 200
EXACT = 1e-10


@lru_cache(maxsize=4096)
def max_entropy(
    scale: tuple[float, ...], mean: float, deviation: float | None = None
) -> tuple[float, ...]:
    """Return the distribution of largest entropy with this mean, and deviation where given.

    Of all histograms that have these moments it adds the least that nobody said: `p` proportional
    to `exp(a s)`, or to `exp(a s + b s^2)`.

    Args:
        scale: `(k,)` increasing steps.
        mean: within the scale.
        deviation: standard deviation, 0 or more. Below what the steps allow (the mean lies
            between two), the two steps around the mean share the votes.

    Returns:
        `(k,)` probabilities that sum to 1.

    Raises:
        ValueError: a mean outside the scale, or a deviation that no distribution with this mean
            has; the message says what is allowed.

    Source: Jaynes, "Information theory and statistical mechanics" (Physical Review 1957), eq. 2;
    solved by Newton's method on its convex dual.

    Example:
        >>> [round(p, 3) for p in max_entropy((1.0, 2.0, 3.0), 2.0)]
        [0.333, 0.333, 0.333]
    """
    steps = np.array(scale)
    low, high = scale[0], scale[-1]
    if not low <= mean <= high:
        raise ValueError(f"{mean:g} is outside the scale, {low:g} to {high:g}")
    if deviation is not None and not 0 <= deviation < math.inf:
        raise ValueError(f"deviation {deviation:g}; it must be 0 or more")
    least = _around(steps, mean)
    smallest = float(least @ (steps - mean) ** 2)
    largest = (mean - low) * (high - mean)
    if deviation is not None and deviation**2 > largest * (1 + 1e-6) + 1e-9:
        raise ValueError(
            f"deviation {deviation:g} is not possible with mean {mean:g} on {low:g} to {high:g}; "
            f"at most {math.sqrt(largest):.3g}"
        )
    narrow = deviation is not None and deviation**2 <= smallest * (1 + 1e-6) + 1e-9
    if narrow or largest <= EXACT:
        return tuple(least.tolist())
    if deviation is not None and deviation**2 >= largest * (1 - 1e-4):
        ends = np.zeros(len(steps))
        ends[0], ends[-1] = (high - mean) / (high - low), (mean - low) / (high - low)
        return tuple(ends.tolist())
    unit = (steps - (low + high) / 2) / ((high - low) / 2)
    at = (mean - (low + high) / 2) / ((high - low) / 2)
    moments = [at]
    if deviation is not None:
        moments.append(at**2 + (deviation / ((high - low) / 2)) ** 2)
    return tuple(_dual(unit, np.array(moments)).tolist())


def _around(steps: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """The two steps around the mean, weighted so that the mean is met."""
    votes = np.zeros(len(steps))
    above = min(int(np.searchsorted(steps, mean)), len(steps) - 1)
    below = max(above - 1, 0)
    share = (mean - steps[below]) / (steps[above] - steps[below]) if above else 0.0
    votes[below] = 1 - share
    votes[above] += share
    return votes


def _dual(unit: NDArray[np.float64], moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minimise `log Z(a) - a . moments` over the multipliers, by damped Newton steps."""
    powers = np.stack([unit ** (i + 1) for i in range(len(moments))])
    a = np.zeros(len(moments))

    def value(a: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        raw = a @ powers
        top = raw.max()
        p = np.exp(raw - top)
        return float(top + math.log(p.sum()) - a @ moments), p / p.sum()

    now, p = value(a)
    for _ in range(MOST_ROUNDS):
        slope = powers @ p - moments
        if np.abs(slope).max() < EXACT:
            break
        spread = (powers * p) @ powers.T - np.outer(powers @ p, powers @ p)
        step = np.linalg.solve(spread + 1e-12 * np.eye(len(a)), slope)
        length = 1.0
        while length > 1e-6:
            then, tried = value(a - length * step)
            if then <= now - 1e-4 * length * float(slope @ step):
                break
            length /= 2
        a, now, p = a - length * step, then, tried
    return p


def mean_of(scale: Sequence[float], votes: Sequence[float]) -> float:
    """Return the mean of a histogram."""
    return float(np.dot(scale, votes) / np.sum(votes))
