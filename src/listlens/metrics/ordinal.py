"""How good are predicted distributions over ordered steps, such as votes from 1 to 10?

`probs` and `targets` are `(n, k)`, rows that sum to 1; `scale (k,)` holds the numbers of the steps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from listlens.core.types import Estimate
from listlens.metrics.intervals import Bootstrap, divide, rescaled

Floats = NDArray[np.float64]

_CELLS = 1 << 19  # (draw, row) pairs ranked at once: a few arrays of 4 MB, which a cache holds


def means(probs: ArrayLike, scale: ArrayLike) -> Floats:
    """Return the mean `(n,)` of each distribution, in the scale's numbers.

    Example:
        >>> means([[0.5, 0.5, 0.0]], [1, 2, 3]).tolist()
        [1.5]
    """
    found: Floats = np.asarray(probs, dtype=np.float64) @ np.asarray(scale, dtype=np.float64)
    return found


def spreads(probs: ArrayLike, scale: ArrayLike) -> Floats:
    """Return the standard deviation `(n,)` of each distribution, in the scale's numbers."""
    p, steps = np.asarray(probs, dtype=np.float64), np.asarray(scale, dtype=np.float64)
    centre = p @ steps
    variance = np.einsum("nk,nk->n", p, np.square(steps[None, :] - centre[:, None]))
    return np.asarray(np.sqrt(variance))


def emd(probs: ArrayLike, targets: ArrayLike, r: int = 1) -> Floats:
    """Return the Earth Mover's distance `(n,)` of each pair of distributions, in [0, 1].

    Args:
        probs: `(n, k)`.
        targets: `(n, k)`.
        r: 1, as results are reported; 2, as the loss.

    Source:
        Talebi and Milanfar 2018, "NIMA: Neural image assessment", equation 1: the r-th mean of the
        gaps between the cumulative distributions. Steps count as evenly spaced.

    Example:
        >>> emd([[1.0, 0.0]], [[0.0, 1.0]]).tolist()
        [0.5]
    """
    gap = np.cumsum(np.asarray(probs, np.float64) - np.asarray(targets, np.float64), axis=1)
    return np.asarray((np.abs(gap) ** r).mean(axis=1) ** (1 / r))


def srcc(a: ArrayLike, b: ArrayLike) -> float:
    """Return Spearman's rank correlation, ties at their middle rank; NaN where one is constant."""
    one = np.ones((1, np.size(a)))
    return float(_rank_correlation(_Ranks(a), _Ranks(b), one)[0])


def lcc(a: ArrayLike, b: ArrayLike) -> float:
    """Return Pearson's linear correlation; NaN where one is constant."""
    x, y = (np.asarray(v, np.float64)[None, :] for v in (a, b))
    return float(_correlation(x, y, np.ones(x.shape))[0])


def percentile(values: ArrayLike, reference: ArrayLike) -> Floats:
    """Return which share of a reference lies below each value, equal ones counting half.

    Args:
        values: `(n,)`.
        reference: `(m,)`, at least one.

    Returns:
        `(n,)` in [0, 1].

    Example:
        >>> percentile([1.0, 3.0], [1.0, 2.0, 3.0, 4.0]).tolist()
        [0.125, 0.625]
    """
    known, asked = np.sort(np.asarray(reference, np.float64)), np.asarray(values, np.float64)
    below = np.searchsorted(known, asked, side="left")
    upto = np.searchsorted(known, asked, side="right")
    return np.asarray((below + upto) / (2 * len(known)))


def percentiles_within(values: ArrayLike, groups: ArrayLike) -> Floats:
    """Return each value's percentile `(n,)` within its own group, see `percentile`."""
    numbers, names = np.asarray(values, np.float64), np.asarray(groups)
    found = np.zeros(len(numbers))
    for name in np.unique(names):
        rows = names == name
        found[rows] = percentile(numbers[rows], numbers[rows])
    return found


def middle(scale: ArrayLike) -> float:
    """Return where a scale is cut into low and high: half way, but 5 on a scale from 1 to 10.

    Source:
        Murray et al. 2012, "AVA: A large-scale database for aesthetic visual analysis", section
        4.1; all later results on 1 to 10 keep its 5.
    """
    steps = np.asarray(scale, np.float64)
    low, high = float(steps[0]), float(steps[-1])
    return 5.0 if (low, high) == (1.0, 10.0) else (low + high) / 2


def pairs_in_order(
    a: ArrayLike, b: ArrayLike, groups: ArrayLike, *, n_pairs: int = 200_000, seed: int = 0
) -> float:
    """Return the share of pairs that `a` ranks as `b` does; equal values in `a` count half.

    Args:
        a: `(n,)` predicted.
        b: `(n,)` given; pairs that are equal here ask nothing and are left out.
        groups: `(n,)`; only pairs from two groups count.
        n_pairs: drawn with replacement; the share is then known to about 0.1 of 100.
        seed: of the draws.
    """
    x, y, group = np.asarray(a, np.float64), np.asarray(b, np.float64), np.asarray(groups)
    if not len(x):
        return float("nan")
    left, right = np.random.default_rng(seed).integers(0, len(x), (2, n_pairs))
    asked = (group[left] != group[right]) & (y[left] != y[right])
    left, right = left[asked], right[asked]
    agree = np.sign(x[left] - x[right]) * np.sign(y[left] - y[right])
    return float((agree + 1).mean() / 2) if len(agree) else float("nan")


def srcc_estimate(a: ArrayLike, b: ArrayLike, draws: Bootstrap) -> Estimate | None:
    """Estimate Spearman's correlation; ranks are taken anew in every draw."""
    return _correlation_estimate(srcc(a, b), srcc_draws(a, b, draws), draws)


def srcc_draws(a: ArrayLike, b: ArrayLike, draws: Bootstrap) -> Floats:
    """Return Spearman's correlation `(draws,)` in every draw."""
    ranks = _Ranks(a), _Ranks(b)
    return np.concatenate([_rank_correlation(*ranks, w) for w in _weights(draws)])


def lcc_estimate(a: ArrayLike, b: ArrayLike, draws: Bootstrap) -> Estimate | None:
    """Estimate Pearson's correlation."""
    x, y = (np.asarray(v, np.float64)[None, :] for v in (a, b))
    drawn = np.concatenate([_correlation(x, y, w) for w in _weights(draws)])
    return _correlation_estimate(lcc(a, b), drawn, draws)


def mean_estimate(values: ArrayLike, most: float, draws: Bootstrap) -> Estimate | None:
    """Estimate the mean of `values (n,)`, which lie in [0, most]."""
    share = np.asarray(values, np.float64) / most
    return rescaled(draws.ratio(share, np.ones(len(share))), 0, most)


def _correlation_estimate(value: float, drawn: Floats, draws: Bootstrap) -> Estimate | None:
    found = draws.estimate((value + 1) / 2, (drawn + 1) / 2, n=draws.n)
    return rescaled(found, -1, 1)


def _weights(draws: Bootstrap) -> Iterator[Floats]:
    """How often each row is in each draw, `(draws, n)` in blocks."""
    step = max(1, _CELLS // max(1, draws.n))
    for block in draws.blocks():
        for start in range(0, len(block), step):
            yield block[start : start + step][:, draws.index].astype(np.float64)


class _Ranks:
    """Ranks of values, for any weights: a row of weight 3 stands for three equal rows."""

    def __init__(self, values: ArrayLike) -> None:
        found = np.unique(np.asarray(values, np.float64), return_inverse=True)[1].reshape(-1)
        self._place = found  # of each row among the distinct values
        self._order = np.argsort(found, kind="stable")
        self._ends = np.flatnonzero(np.diff(found[self._order], append=np.inf))

    def under(self, weights: Floats) -> Floats:
        """Middle ranks `(draws, n)`, from 1."""
        upto = np.cumsum(weights[:, self._order], axis=1)[:, self._ends]
        below = np.concatenate([np.zeros((len(upto), 1)), upto[:, :-1]], axis=1)
        return np.asarray(((below + upto + 1) / 2)[:, self._place])


def _rank_correlation(a: _Ranks, b: _Ranks, weights: Floats) -> Floats:
    return _correlation(a.under(weights), b.under(weights), weights)


def _correlation(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Weighted Pearson correlation of each row; NaN where one side is constant."""
    total = weights.sum(axis=1, keepdims=True)
    dx = x - np.sum(weights * x, axis=1, keepdims=True) / total
    dy = y - np.sum(weights * y, axis=1, keepdims=True) / total
    xy, xx, yy = (np.sum(weights * u * v, axis=1) for u, v in ((dx, dy), (dx, dx), (dy, dy)))
    size = np.maximum(np.square(x).max(initial=0.0), 1.0) * weights.sum(axis=1)
    xx, yy = (np.where(v > 1e-14 * size, v, 0.0) for v in (xx, yy))
    return np.clip(divide(xy, np.sqrt(xx * yy)), -1.0, 1.0)
