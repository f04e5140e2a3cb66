"""Back-off in a tree: answer as deep as the allowed error permits.

A node's probability is the sum of its leaves', so going up the tree makes an answer surer. The
answer is the deepest node whose probability reaches a threshold; the threshold is the one with
which held-out photos are answered deepest while no more of the answers are wrong than allowed.
Compared on held-out grocery and flipkart with the rule that maximises expected information
(Deng, Krause, Berg, Fei-Fei, "Hedging your bets", CVPR 2012): at 5 % error the threshold answers
2.53 levels deep against 2.23, and 1.48 where that rule answers nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from listlens.learn.trees import Shape
from listlens.metrics.hierarchy import Levels, levels, wrong_nodes

DEFAULT_ERROR = 0.05
"""Allowed error where none is stated."""

N_THRESHOLDS = 160
"""Tried between LOWEST and 1, evenly in log odds."""

LOWEST = 0.2


def allowed_error(name: str, value: float) -> float:
    """The share of wrong answers that a target allows: `best-f1`, `precision` or `error`."""
    if name == "error":
        return value
    return round(1 - value, 9) if name == "precision" else DEFAULT_ERROR


def choose_threshold(
    probs: NDArray[np.floating], nodes: NDArray[np.integer], shape: Shape, allowed: float
) -> float:
    """Return the threshold under which held-out photos are answered deepest.

    Args:
        probs: `(n, n_leaves)` calibrated, of rows that the head has not seen.
        nodes: `(n,)` the truth, -1 is left out; below an inner node nothing is known to be wrong.
        shape: of the tree.
        allowed: share of wrong answers among those given. One error more than seen is counted, so
            that the bound holds on average for new photos (Angelopoulos et al., "Conformal risk
            control", ICLR 2024, equation 4).

    Returns:
        In (0, 1]; 1 answers nothing.
    """
    rows = nodes >= 0
    tree, truth = shape.tree, nodes[rows]
    depth, found = np.array(tree.depth), _levels(probs[rows], shape)
    best, deepest = 1.0, 0.0
    odds = np.linspace(np.log(LOWEST / (1 - LOWEST)), np.log(0.999 / 0.001), N_THRESHOLDS)
    for threshold in (1 / (1 + np.exp(-odds))).tolist():
        answer = found.backed_off(threshold)
        given = answer >= 0
        wrong = wrong_nodes(tree.parent, answer, truth) & given
        if (wrong.sum() + 1) / (given.sum() + 1) > allowed:
            continue
        total = float(depth[answer[given]].sum())
        if total > deepest:
            best, deepest = threshold, total
    return best


def answer(
    probs: NDArray[np.floating], shape: Shape, threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Answer each row of `(n, n_leaves)` probabilities.

    Returns:
        `given (n, n_leaves)`: the leaves under the answered node, none where not even its top
        level is sure enough; `review (n, n_leaves)`: then, at the likeliest leaf.
    """
    # 1 means never: stored probabilities are rounded, and the surest become 1.
    nodes = _levels(probs, shape).backed_off(threshold if threshold < 1 else 2.0)
    unsure = nodes < 0
    given = np.where(unsure[:, None], False, shape.under[nodes])
    top = np.arange(probs.shape[1]) == probs.argmax(axis=1)[:, None]
    return given, top & unsure[:, None]


def _levels(probs: NDArray[np.floating], shape: Shape) -> Levels:
    return levels(shape.tree.parent, shape.tree.leaves, probs)
