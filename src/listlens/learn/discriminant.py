"""Linear discriminants of a category tree: leaves are clouds of one shape around their means.

A leaf's mean leans on its parent's the more, the fewer photos it has, and so on up: that is how
siblings share strength here. A head needs nothing but sums over photos, so all folds together read
the embeddings once, and no step is searched for. With few photos a leaf it beats logistic
regression (grocery, 8 photos a leaf: .68 of the leaves right against .62), with many it is about as
good (flipkart); the recipe tries both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from listlens.core.tree import Tree
from listlens.learn.calibration import fit_calibration
from listlens.learn.heads import Floats, Head
from listlens.learn.objectives import Targets
from listlens.learn.trees import Shape

Wide = NDArray[np.float64]

SHRINKAGE = (0.1, 0.3, 0.6, 0.9)
"""To choose from: how far the clouds' shape is drawn towards one without correlations."""

LEANING = (4.0, 16.0, 64.0)
"""To choose from: how many photos a parent's mean counts as, in the mean of its child."""

SOFTER = 0.1
"""Times the logits: errors of neighbouring axes add up, so a discriminant is some ten times too
sure, more than calibration would put right."""

FLOOR = 0.01
"""Least variance within leaves along an axis, of the mean: of a few photos one may be constant."""

BLOCK = 4096


@dataclass(frozen=True)
class Sums:
    """What a discriminant needs to know of some photos.

    Args:
        count: `(n_nodes,)` photos labelled with the node itself.
        total: `(n_nodes, d)` sums of their embeddings.
        scatter: `(d, d)` sum of the outer products of the embeddings of photos labelled with a
            leaf.
    """

    count: Wide
    total: Wide
    scatter: Wide

    def less(self, other: Sums) -> Sums:
        """Without these photos."""
        return Sums(
            self.count - other.count, self.total - other.total, self.scatter - other.scatter
        )


@dataclass(frozen=True)
class Setting:
    """How a discriminant is regularised, see SHRINKAGE and LEANING."""

    shrinkage: float
    leaning: float

    def record(self) -> dict[str, Any]:
        """What a run notes of it."""
        return {"head": "discriminant", "shrinkage": self.shrinkage, "leaning": self.leaning}


SETTINGS = [Setting(shrinkage, leaning) for shrinkage in SHRINKAGE for leaning in LEANING]


def sums_of(
    embeddings: Floats, nodes: NDArray[np.integer], rows: NDArray[np.int64], shape: Shape
) -> Sums:
    """Add up some rows, a block at a time."""
    n_nodes, d = len(shape.tree.paths), embeddings.shape[1]
    count, total, scatter = np.zeros(n_nodes), np.zeros((n_nodes, d)), np.zeros((d, d))
    is_leaf = np.isin(np.arange(n_nodes), shape.tree.leaves)
    rows = rows[nodes[rows] >= 0]
    rows = rows[np.argsort(nodes[rows], kind="stable")]
    for at in blocks(len(rows)):
        here = nodes[rows[at]]
        x = embeddings[rows[at]]
        own, start = np.unique(here, return_index=True)
        total[own] += np.add.reduceat(x, start, axis=0, dtype=np.float64)
        count += np.bincount(here, minlength=n_nodes)
        scatter += _square(x[is_leaf[here]])
    return Sums(count, total, scatter)


def _square(x: Floats) -> Wide:
    """In double precision: what is left within leaves is a small part of it."""
    wide = x.astype(np.float64)
    return np.asarray(wide.T @ wide)


def added(parts: Sequence[Sums]) -> Sums:
    return Sums(
        np.sum([p.count for p in parts], axis=0),
        np.sum([p.total for p in parts], axis=0),
        np.sum([p.scatter for p in parts], axis=0),
    )


def discriminant(sums: Sums, tree: Tree, setting: Setting) -> Head:
    """Return the head of these sums.

    Args:
        sums: of the photos trained on.
        tree: of the nodes.
        setting: how it is regularised.

    Source: linear discriminant analysis; Hastie, Tibshirani, Friedman, "The elements of
    statistical learning" (2009), section 4.3 and equation 4.14. The means lean on their parents'
    as normal priors make them; Gelman et al., "Bayesian data analysis" (2013), section 5.4.
    """
    leaves = list(tree.leaves)
    means = _leaning_means(sums, tree, setting.leaning)[leaves]
    count = sums.count[leaves]
    n = max(count.sum(), 1.0)
    own = sums.total[leaves] / np.maximum(count, 1)[:, None]
    middle = sums.total[leaves].sum(axis=0) / n
    # Scatter within leaves: of all photos, less that of the leaves' own means.
    within = (sums.scatter - (own * count[:, None]).T @ own) / max(n - len(leaves), 1.0)
    spread = np.maximum(np.diag(within), FLOOR * max(np.trace(within) / len(within), 1e-12))
    within *= 1 - setting.shrinkage
    within[np.diag_indices_from(within)] = spread
    centred = means - middle
    weights = cho_solve(cho_factor(within), centred.T).T
    bias = np.log((count + 1) / (n + len(leaves))) - 0.5 * (weights * centred).sum(axis=1)
    bias -= weights @ middle
    softer = SOFTER * weights, SOFTER * (bias - bias.mean())
    return Head(softer[0].astype(np.float32), softer[1].astype(np.float32))


def _leaning_means(sums: Sums, tree: Tree, leaning: float) -> Wide:
    """Means `(n_nodes, d)` of the photos at and below each node, each leaning on its parent's."""
    count, total = sums.count.copy(), sums.total.copy()
    for node in range(len(count) - 1, -1, -1):  # children come after their parents
        if tree.parent[node] >= 0:
            count[tree.parent[node]] += count[node]
            total[tree.parent[node]] += total[node]
    tops = [i for i, parent in enumerate(tree.parent) if parent < 0]
    middle = total[tops].sum(axis=0) / max(count[tops].sum(), 1.0)
    means = np.empty_like(total)
    for node, parent in enumerate(tree.parent):
        above = means[parent] if parent >= 0 else middle
        means[node] = (total[node] + leaning * above) / (count[node] + leaning)
    return means


def cross_fit_discriminants(
    embeddings: Floats,
    nodes: NDArray[np.integer],
    targets: Targets,
    fold: NDArray[np.int64],
    shape: Shape,
    settings: Sequence[Setting],
    base: NDArray[np.bool_] | None = None,
    scaled: bool = True,
) -> Floats:
    """Out-of-fold logits `(n_settings, n, k)`, see `candidates.cross_fit`.

    Discriminants are too sure of themselves, so those of a fold are scaled by the temperature that
    suits the other folds (unless `scaled` is false); otherwise their loss would say nothing beside
    logistic regression's.
    """
    logits = np.full((len(settings), *targets.yes.shape), np.nan, np.float32)
    folds = np.unique(fold[fold >= 0]).tolist()
    sums = {f: sums_of(embeddings, nodes, np.flatnonzero(fold == f), shape) for f in folds}
    always = [] if base is None else [sums_of(embeddings, nodes, np.flatnonzero(base), shape)]
    everything = added([*sums.values(), *always])
    for f in folds:
        rest, held = everything.less(sums[f]), np.flatnonzero(fold == f)
        for raw, setting in zip(logits, settings, strict=True):
            raw[held] = discriminant(rest, shape.tree, setting).logits(embeddings[held])
    for raw in logits if scaled else ():
        slopes = {}
        for f in folds:
            others = np.flatnonzero((fold >= 0) & (fold != f))
            slopes[f] = fit_calibration(raw[others], targets.rows(others)).slope[0]
        for f, slope in slopes.items():
            raw[fold == f] *= slope
    return logits


def fit_discriminant(
    embeddings: Floats,
    nodes: NDArray[np.integer],
    rows: NDArray[np.int64],
    shape: Shape,
    setting: Setting,
) -> Head:
    """Fit one head on these rows; its logits are not scaled yet."""
    return discriminant(sums_of(embeddings, nodes, rows, shape), shape.tree, setting)


def blocks(n: int) -> Iterator[slice]:
    """Yield slices of BLOCK rows."""
    for start in range(0, n, BLOCK):
        yield slice(start, start + BLOCK)
