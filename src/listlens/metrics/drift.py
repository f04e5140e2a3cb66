"""How far photos of today lie from those of the training, and how far chance alone moves them.

Everything here is a distance between two means, so sums over photos are all that has to be kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True, slots=True)
class Null:
    """How the squared distance between two means is distributed where nothing changed.

    The mean of n rows strays by a covariance `C/n`, that of the N reference rows by `C/N`. Their
    squared distance is then a weighted sum of chi-squares with the eigenvalues of `C (1/n + 1/N)`;
    a gamma distribution with the same mean and variance stands for it (Satterthwaite 1946, "An
    approximate distribution of estimates of variance components"; Box 1954, Annals of Mathematical
    Statistics 25, theorem 3.1). Rows of one cluster are alike, so C is summed over clusters (Liang
    and Zeger 1986, Biometrika 73); where they complement each other, as a kitchen and a bathroom of
    each home do, that would be too little for photos that come singly, and C is of single rows.

    Args:
        trace: of C.
        square: sum of the squares of C's entries.
        n: reference rows N.
    """

    trace: float
    square: float
    n: int

    @classmethod
    def of(cls, rows: NDArray[np.floating], clusters: NDArray[np.integer]) -> Null:
        """Estimate C from reference rows.

        Args:
            rows: `(n, f)`, n > 0.
            clusters: `(n,)`; equal numbers are not independent: photos of one listing, say.
        """
        centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
        _, at = np.unique(clusters, return_inverse=True)
        sums = np.zeros((int(at.max()) + 1, rows.shape[1]))
        np.add.at(sums, at, centred)
        both = [part.T @ part / len(rows) for part in (sums, centred)]
        c = max(both, key=np.trace)
        return cls(float(np.trace(c)), float((c**2).sum()), len(rows))

    def p_value(self, squared: float, n: int) -> float:
        """Return how often chance gives so large a squared distance, or a larger one.

        Args:
            squared: distance between the means of n rows and of the reference.
            n: rows, above 0.
        """
        if self.square <= 0:
            return 1.0
        shape, scale = self._gamma(n)
        return float(stats.gamma.sf(squared, shape, scale=scale))

    def threshold(self, n: int, p: float) -> float:
        """Return the squared distance that chance exceeds with probability p."""
        if self.square <= 0:
            return 0.0
        shape, scale = self._gamma(n)
        return float(stats.gamma.isf(p, shape, scale=scale))

    def _gamma(self, n: int) -> tuple[float, float]:
        wider = 1 / n + 1 / self.n
        return self.trace**2 / (2 * self.square), 2 * self.square / self.trace * wider


def population_stability(
    now: NDArray[np.floating], n: int, before: NDArray[np.floating]
) -> tuple[float, NDArray[np.float64]]:
    """Return the population stability index of counts, and what each column adds to it.

    `sum((r - q) ln(r / q)) / sum(q)`, with rates r of now and q of before: Jeffreys' divergence
    (1946, Proceedings of the Royal Society A 186), in credit scoring known as PSI, where below 0.1
    is called stable and above 0.25 a major shift (Siddiqi 2006, Credit Risk Scorecards). The rates
    of today are drawn towards the reference's by half a photo a column, so that none is 0 and few
    photos make no shift.

    Args:
        now: `(k,)` counts among n photos; of classes that exclude each other they sum to n.
        n: photos of now.
        before: `(k,)` rates of the reference, above 0.

    Example:
        >>> before = np.array([0.5, 0.3, 0.2])
        >>> population_stability(np.array([50, 30, 20]), 100, before)[0]
        0.0
        >>> round(population_stability(np.array([20, 30, 50]), 100, before)[0], 2)
        0.53
    """
    strength = len(before) / 2
    rates = (np.asarray(now, np.float64) + strength * before) / (n + strength)
    added = (rates - before) * np.log(rates / before) / before.sum()
    return float(added.sum()), added
