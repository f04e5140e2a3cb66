"""95 % intervals: bootstrap over listings, and a bound where the bootstrap cannot speak.

Photos of one listing succeed and fail together, so listings are drawn, never photos. Every draw is
a vector of weights (how often each listing was drawn), so that a metric is computed for all draws
at once by one matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from listlens.core.types import Estimate

Floats = NDArray[np.float64]

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""

_BLOCK_CELLS = 1 << 22  # weights held at once: 16 MB in float32
_KEPT_CELLS = 1 << 23  # below this the weights are drawn once and kept


def wilson(n_right: float, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion.

    Args:
        n_right: successes, in [0, n].
        n: trials, at least 1.

    Returns:
        Low and high, in [0, 1]. Never empty: with `n` of `n` right, low is n / (n + 3.84).

    Source:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    Example:
        >>> [round(x, 3) for x in wilson(98, 100)]
        [0.93, 0.994]
    """
    if n < 1 or not 0 <= n_right <= n:
        raise ValueError(f"need 0 <= n_right <= n and n >= 1, got {n_right} of {n}")
    share, z2 = n_right / n, Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


class Bootstrap:
    """Draws of whole groups with replacement, shared by all metrics of one evaluation.

    The same seed gives the same draws, and all metrics see the same draws, so that two metrics may
    be compared draw by draw.

    Args:
        groups: `(n,)` any labels; equal means drawn together. A listing id, usually.
        n_resamples: draws; 1,000 leaves the ends of an interval uncertain by about 3 % of its
            width.
        seed: of the draws.

    Source:
        Percentile bootstrap, Efron and Tibshirani 1993, chapter 13; drawing clusters whole,
        Davison and Hinkley 1997, section 3.8.

    Example:
        >>> import numpy as np
        >>> right = np.array([1.0] * 90 + [0.0] * 10)
        >>> accuracy = Bootstrap(np.arange(100)).ratio(right, np.ones(100))
        >>> accuracy.value, 0.8 < accuracy.low < 0.9 < accuracy.high < 1
        (0.9, True)
    """

    def __init__(self, groups: ArrayLike, *, n_resamples: int = 1000, seed: int = 0) -> None:
        labels, index = np.unique(np.asarray(groups), return_inverse=True)
        self.index: NDArray[np.intp] = index.reshape(-1)
        self.n = len(self.index)
        self.n_groups = len(labels)
        self.n_resamples = n_resamples
        self.seed = seed

    def rows(self, keep: NDArray[np.bool_]) -> Bootstrap:
        """Return draws of the listings of these rows only."""
        return Bootstrap(self.index[keep], n_resamples=self.n_resamples, seed=self.seed)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield weights of groups, `(draws, n_groups)`, in blocks of bounded memory."""
        if self.n_resamples * self.n_groups <= _KEPT_CELLS:
            yield self._all
        else:
            yield from self._draw()

    @cached_property
    def _all(self) -> NDArray[np.float32]:
        return np.concatenate(list(self._draw()))

    def _draw(self) -> Iterator[NDArray[np.float32]]:
        rng = np.random.default_rng(self.seed)
        n, step = self.n_groups, max(1, _BLOCK_CELLS // max(1, self.n_groups))
        for start in range(0, self.n_resamples, step):
            rows = min(step, self.n_resamples - start)
            drawn = rng.integers(0, n, size=(rows, n)) + np.arange(rows)[:, None] * n
            counts = np.bincount(drawn.ravel(), minlength=rows * n)
            yield counts.reshape(rows, n).astype(np.float32)

    def sums(self, values: ArrayLike) -> Floats:
        """Sum per group: `(n,)` or `(n, m)` to `(n_groups, m)`."""
        columns = np.asarray(values, dtype=np.float64).reshape(self.n, -1)
        totals = np.zeros((self.n_groups, columns.shape[1]))
        np.add.at(totals, self.index, columns)
        return totals

    def totals(self, values: ArrayLike) -> Floats:
        """Return the total of each column in each draw: `(n,)` or `(n, m)` to `(draws, m)`."""
        sums = self.sums(values).astype(np.float32)
        return np.concatenate([block @ sums for block in self.blocks()]).astype(np.float64)

    def ratio(self, numerator: ArrayLike, denominator: ArrayLike) -> Estimate | None:
        """Estimate sum(numerator) / sum(denominator), such as accuracy or recall; None for 0 / 0.

        Args:
            numerator: `(n,)`, between 0 and the denominator.
            denominator: `(n,)`, at least 0. Its total is the `n` of the estimate.
        """
        return self.ratios(numerator, denominator)[0]

    def ratios(self, numerators: ArrayLike, denominators: ArrayLike) -> list[Estimate | None]:
        """Do the same for each column of two `(n, m)` arrays."""
        top = np.asarray(numerators, dtype=np.float64).reshape(self.n, -1)
        bottom = np.asarray(denominators, dtype=np.float64).reshape(self.n, -1)
        value = divide(top.sum(0), bottom.sum(0))
        draws = divide(self.totals(top), self.totals(bottom))
        units = (self.sums(bottom) > 0).sum(0)
        return [
            self.estimate(value[j], draws[:, j], n=round(bottom[:, j].sum()), n_units=units[j])
            for j in range(top.shape[1])
        ]

    def estimate(
        self, value: float, draws: ArrayLike, *, n: int, n_units: int | None = None
    ) -> Estimate | None:
        """Make an estimate from a value in [0, 1] and what it was in each draw.

        All right or all wrong, every draw says the same, and the percentile interval would claim
        certainty. Then, or with one group only, it is Wilson's interval over `n_units`: a listing
        counts once, however many photos it has, which errs on the wide side.

        Args:
            value: in [0, 1]; NaN for undefined.
            draws: `(draws,)`; NaN where a draw leaves it undefined.
            n: what the number rests on, as shown to people: photos, usually.
            n_units: groups that it rests on; all groups by default.

        Returns:
            The estimate, or None where the value is undefined.
        """
        if not math.isfinite(value):
            return None
        units = max(1, int(self.n_groups if n_units is None else n_units))
        known = np.asarray(draws, dtype=np.float64)
        known = known[np.isfinite(known)]
        spread = np.ptp(known) if known.size else 0.0
        if units == 1:
            low, high = 0.0, 1.0
        elif spread < 1e-9:
            low, high = wilson(min(max(value, 0.0), 1.0) * units, units)
        else:
            low, high = (float(x) for x in np.percentile(known, [2.5, 97.5]))
        return Estimate(
            value=float(value), low=min(low, float(value)), high=max(high, float(value)), n=n
        )


def rescaled(estimate: Estimate | None, low: float, high: float) -> Estimate | None:
    """Map an estimate in [0, 1] to [low, high]; `Bootstrap` gives intervals of shares only.

    Example:
        >>> rescaled(Estimate(0.75, 0.5, 1.0, 9), -1, 1)
        Estimate(value=0.5, low=0.0, high=1.0, n=9)
    """
    if estimate is None:
        return None
    value, down, up = (
        low + (high - low) * x for x in (estimate.value, estimate.low, estimate.high)
    )
    return Estimate(value, down, up, estimate.n)


def divide(top: Floats, bottom: Floats) -> Floats:
    """Divide; NaN where the denominator is 0, without a warning."""
    out = np.full(np.broadcast(top, bottom).shape, np.nan)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out
