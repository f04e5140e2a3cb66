"""Category trees as arrays: which leaves a node has, and how siblings share strength."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from listlens.core.tree import Tree
from listlens.learn.dataset import TrainingSet
from listlens.learn.objectives import Targets

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """A tree by the paths of its leaves.

    Args:
        tree: whose leaves are the classes of a model, in the same order.
        under: `(n_nodes, n_leaves)` bool, from `leaves_under`.
    """

    tree: Tree
    under: NDArray[np.bool_]

    def common(self, given: NDArray[np.bool_]) -> str:
        """Return the deepest node over the marked leaves `(n_leaves,)`; empty where none is."""
        return Tree.common([self.tree.paths[self.tree.leaves[i]] for i in np.flatnonzero(given)])


@lru_cache(maxsize=8)
def shape_of(leaves: tuple[str, ...]) -> Shape:
    """Return the tree with these leaves.

    Raises:
        ValueError: one of them is above another.
    """
    tree = Tree.of(leaves)
    if len(tree.leaves) != len(leaves):
        raise ValueError("a leaf of a tree cannot be above another leaf")
    return Shape(tree, leaves_under(tree))


def leaf_paths(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths of the leaves among nodes."""
    tree = Tree.of(classes)
    return tuple(tree.paths[i] for i in tree.leaves)


def leaves_under(tree: Tree) -> NDArray[np.bool_]:
    """Return `(n_nodes, n_leaves)`: whether a leaf is the node, or below it."""
    under = np.zeros((len(tree.paths), len(tree.leaves)), np.bool_)
    for column, leaf in enumerate(tree.leaves):
        under[list(tree.lineage[leaf]), column] = True
    return under


def encode_nodes(nodes: NDArray[np.integer], under: NDArray[np.bool_]) -> Targets:
    """Turn node indices `(n,)`, -1 for unknown, into `Targets` over the leaves.

    Args:
        nodes: `(n,)`; an inner node says that it is one of its leaves, not which.
        under: from `leaves_under`.
    """
    known = nodes >= 0
    yes = np.where(known[:, None], under[nodes], False).astype(np.float32)
    return Targets(yes, known[:, None].astype(np.float32), "tree")


def in_leaf_order(data: TrainingSet) -> tuple[Shape, NDArray[np.int64]]:
    """Return a training set's tree as its leaves give it, and its targets `(n,)` as nodes there."""
    shape = shape_of(leaf_paths(data.classes))
    at = np.array([*(shape.tree.index[path] for path in data.classes), -1], np.int64)
    return shape, at[data.targets]


def node_probs(probs: NDArray[np.floating], under: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return `(n, n_nodes)`: each node's probability is the sum of its leaves'."""
    return np.asarray(probs.astype(np.float32) @ under.T.astype(np.float32))


def sharing(tree: Tree, strength: float) -> Floats | None:
    """How a leaf's weights are put together: its own, and those of every node above it.

    Each part has its own penalty. Photos of a leaf so teach its parents' parts too, and a leaf
    with few photos stays close to its siblings. Without sharing (0) leaves are learnt alone.

    Args:
        tree: with its leaves as outputs, in order.
        strength: standard deviation of an inner node's part over that of a leaf's, 0 or more.

    Returns:
        `(n_leaves, n_leaves + n_inner)` for `heads.fit_path`, or None where nothing is shared.

    Source: hierarchical priors for multinomial logistic regression; Salakhutdinov, Torralba,
    Tenenbaum, "Learning to share visual appearance for multiclass object detection" (CVPR 2011),
    equation 1, with a fixed tree.
    """
    inner = [i for i, below in enumerate(tree.children) if below]
    if not inner or strength == 0:
        return None
    above = leaves_under(tree)[inner].T.astype(np.float32)
    return np.hstack([np.eye(len(tree.leaves), dtype=np.float32), strength * above])
