"""Photos without a label, put to use: labels spread from photo to look-alike, and heads learn both.

With very few labels the shape of all photos says more than the labels do. Houses, four rooms: one
labelled photo a room is right on .55 of unseen photos, with the unlabelled ones .97; flipkart's
seven kinds of goods, two labels each, .56 and .76. With fifty a class it is no help any more, and
for the angle of a car, which look-alikes do not share, it is worse from twenty on. So it is tried,
and kept where held-out photos say so (benchmarks/few_labels.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from listlens.learn.heads import Floats, Head, fit_path, rotate
from listlens.learn.objectives import Targets

N_NEIGHBOURS = 10
POWER = 3
"""Of the cosine: makes near neighbours count more."""

STAY = 0.2
"""How much of its own label a labelled photo keeps in each step; .05 spread too far (houses .673
against .874 with two labels a class)."""

N_STEPS = 50
"""After which less than a ten-thousandth moves (.8 to the power of 50)."""

SHARE = 0.3
"""What an unlabelled photo counts beside a labelled one, times how sure its label is. .1 to .3 were
alike."""

STRENGTHS = (3e-3, 1e-2, 3e-2)

MOST = 5000
"""Unlabelled photos used at most: the graph of 5,000 takes 3 s on one core."""

BLOCK = 1024


class LookAlikes:
    """The nearest neighbours among labelled and unlabelled photos together.

    Args:
        labelled: `(n, d)` embeddings.
        unlabelled: `(m, d)`.
    """

    def __init__(self, labelled: Floats, unlabelled: Floats) -> None:
        self.n_labelled = len(labelled)
        self.embeddings: Floats = np.concatenate([labelled, unlabelled]).astype(np.float32)
        self.graph = neighbour_graph(self.embeddings)

    def rows(self, labelled: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of some labelled photos, and of all unlabelled ones below."""
        others = np.arange(self.n_labelled, len(self.embeddings))
        return np.concatenate([labelled, others])

    def spread(self, labelled: NDArray[np.int64], yes: Floats) -> NDArray[np.float64]:
        """Spread labels from some labelled photos to the unlabelled; the other labelled are absent.

        Args:
            labelled: `(r,)` rows.
            yes: `(r, k)` their labels, 1 at the class.

        Returns:
            `(r + m, k)` shares that sum to 1: the labels as given, then what reached each
            unlabelled photo; all 0 where nothing did.

        Source: Zhou et al., "Learning with local and global consistency" (NeurIPS 2003), the
        iteration of section 2, with classes weighed alike at its start.
        """
        rows = self.rows(labelled)
        graph = normalised(self.graph[rows][:, rows])
        start = np.zeros((len(rows), yes.shape[1]))
        start[: len(labelled)] = yes / np.maximum(yes.sum(axis=0), 1)
        found = start
        for _ in range(N_STEPS):
            found = (1 - STAY) * (graph @ found) + STAY * start
        total = found.sum(axis=1, keepdims=True)
        shares = np.where(total > 1e-9, found / np.maximum(total, 1e-9), 0)
        shares[: len(labelled)] = yes
        return np.asarray(shares)


def neighbour_graph(embeddings: Floats, n_neighbours: int = N_NEIGHBOURS) -> sparse.csr_array:
    """Symmetric graph `(n, n)` of the nearest neighbours by cosine of standardised embeddings."""
    n = len(embeddings)
    k = min(n_neighbours, n - 1)
    z = embeddings - embeddings.mean(axis=0)
    z /= np.maximum(z.std(axis=0), 1e-6)
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    columns, values = [], []
    for at in range(0, n, BLOCK):
        cosine = z[at : at + BLOCK] @ z.T
        cosine[np.arange(len(cosine)), np.arange(at, at + len(cosine))] = -np.inf
        near = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        columns.append(near)
        values.append(np.maximum(np.take_along_axis(cosine, near, axis=1), 0) ** POWER)
    rows = np.repeat(np.arange(n), k)
    made = sparse.csr_array(
        (np.concatenate(values).ravel(), (rows, np.concatenate(columns).ravel())), shape=(n, n)
    )
    return made.maximum(made.T).tocsr()


def normalised(graph: sparse.csr_array) -> sparse.csr_array:
    """Divide each edge by the square roots of what its two ends have in all."""
    degree = np.asarray(graph.sum(axis=1)).ravel()
    scale = sparse.diags_array(1 / np.sqrt(np.maximum(degree, 1e-12)))
    return sparse.csr_array(scale @ graph @ scale)


def spreading(
    alike: LookAlikes, targets: Targets, strengths: Sequence[float] = STRENGTHS
) -> Callable[[NDArray[np.int64]], list[Head]]:
    """Return what fits logistic heads to labelled rows and all unlabelled photos.

    Args:
        alike: the photos.
        targets: of the labelled ones, of kind `single`.
        strengths: see `heads.fit_path`.
    """

    def fitted(rows: NDArray[np.int64]) -> list[Head]:
        some = targets.rows(rows)
        shares = alike.spread(rows, some.yes)
        sure = SHARE * shares[len(rows) :].max(axis=1, keepdims=True)
        weight = np.concatenate([some.weight, sure]).astype(np.float32)
        both = Targets(shares.astype(np.float32), weight, "single")
        rotated = rotate(alike.embeddings[alike.rows(rows)])
        return [rotated.head(*found) for found in fit_path(rotated, both, strengths)]

    return fitted
