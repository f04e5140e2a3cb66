"""What each region adds to the answer, shared out fairly: Shapley values by sampling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from listlens.explain.masking import Masked

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shares:
    """What the regions of a photo add to the target.

    Args:
        values: `(k,)`: their sum is `whole - nothing`, exactly.
        errors: `(k,)` standard error of each, from how the orders differ.
        whole: the target on the photo as it is.
        nothing: the target where every region is taken away.
        n_masks: photos asked about.
    """

    values: Floats
    errors: Floats
    whole: float
    nothing: float
    n_masks: int


def shapley(photo: Masked, labels: NDArray[np.int64], n_masks: int, seed: int = 0) -> Shares:
    """Estimate each region's Shapley value: its mean effect, whatever else is to be seen.

    The photo is uncovered region by region in random orders; each order is also walked backwards,
    which takes out most of the noise. Whatever the number of orders, the values add up.

    Args:
        photo: what is asked.
        labels: `(s, s)` region 0 to k - 1 of each pixel.
        n_masks: about how many photos may be asked about; at least two orders are walked.
        seed: of the orders.

    Source:
        Shapley 1953; sampling: Castro, Gomez and Tejada 2009, "Polynomial calculation of the
        Shapley value based on sampling"; pairs: Mitchell et al. 2022, "Sampling Permutations for
        Shapley Value Estimation", section 4. Regions of a photo: Lundberg and Lee 2017, "A Unified
        Approach to Interpreting Model Predictions".
    """
    k = int(labels.max()) + 1
    rng = np.random.default_rng(seed)
    n_pairs = max(1, (n_masks - 2) // (2 * max(k - 1, 1)))
    forward = [rng.permutation(k) for _ in range(n_pairs)]
    orders = [order for one in forward for order in (one, one[::-1])]

    def masks() -> Iterator[NDArray[np.bool_]]:
        yield np.zeros(labels.shape, np.bool_)
        yield np.ones(labels.shape, np.bool_)
        for order in orders:
            place = np.argsort(order)[labels]
            for n_seen in range(1, k):
                yield place < n_seen

    total = 2 + len(orders) * (k - 1)
    answers = photo.stream(masks(), total)
    nothing, whole = float(answers[0]), float(answers[1])
    walks = answers[2:].reshape(len(orders), k - 1)
    ends = np.full((len(orders), 1), whole)
    steps = np.diff(np.hstack([ends * 0 + nothing, walks, ends]), axis=1)
    added = np.empty((len(orders), k))
    for row, order, step in zip(added, orders, steps, strict=True):
        row[order] = step
    pairs = added.reshape(n_pairs, 2, k).mean(axis=1)
    error = pairs.std(axis=0, ddof=1) / n_pairs**0.5 if n_pairs > 1 else np.full(k, np.nan)
    return Shares(pairs.mean(axis=0), np.asarray(error), whole, nothing, total)
