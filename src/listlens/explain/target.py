"""What of an answer is explained: one number a photo, whatever the kind of task.

Every target is a weighted sum of the probabilities, so single, multi, tree and score tasks differ
in their weights alone, and all methods of this folder serve them alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from listlens.core.errors import NotFoundError, suggest
from listlens.core.scale import scale_of
from listlens.core.tree import SEPARATOR, ancestors
from listlens.core.types import Kind

Floats = NDArray[np.float64]

MEAN_SCORE = "mean score"
"""Name of the one thing that a score task explains: the mean of its distribution."""

_FLOOR = 1e-9


@dataclass(frozen=True)
class Target:
    """A number made of probabilities: `probs @ weights`.

    Args:
        name: the class, the node of a tree, or `MEAN_SCORE`.
        kind: of the task.
        weights: `(k,)`; 1 for the class or the leaves under the node and 0 elsewhere, or the
            numbers of the scale.
    """

    name: str
    kind: Kind
    weights: Floats

    def __call__(self, probs: NDArray[np.floating]) -> Floats:
        """Return `(n,)` of probabilities `(n, k)`: a probability, or a score on its scale."""
        return np.asarray(probs.astype(np.float64) @ self.weights)

    def direction(self, weights: NDArray[np.floating], probs: NDArray[np.floating]) -> Floats:
        """Return the direction `(d,)` of the embedding in which the target grows, at one photo.

        `multi`: the class's own weights. `score`: the gradient of the mean. `single`, `tree`: the
        answer's weights less the mean of all others', since a softmax sees differences only. Rivals
        count alike: weighing them by their probability, as the gradient does, shows what tells the
        answer from its nearest rival alone, and such maps are less faithful (houses, 14 photos:
        area under deletion .53 instead of .48, insertion .73 instead of .74).

        Args:
            weights: `(k, d)` of the head, times the slope of the calibration.
            probs: `(k,)` of the photo; they weigh the leaves under a node, or a scale's steps.

        Source:
            Of a softmax, `dp_i/dz_j = p_i (1[i = j] - p_j)`.
        """
        table = np.asarray(weights, np.float64)
        if self.kind == "multi" or len(table) == 1:
            return np.asarray(self.weights @ table)
        p = np.asarray(probs, np.float64)
        if self.kind == "score":
            return np.asarray((p * (self.weights - p @ self.weights)) @ table)
        inside = p * self.weights
        outside = 1 - self.weights
        others = outside / max(outside.sum(), 1.0)
        return np.asarray((inside / max(inside.sum(), _FLOOR) - others) @ table)


def target_of(kind: Kind, classes: Sequence[str], name: str | None, probs: Floats) -> Target:
    """Return what to explain of a photo.

    Args:
        kind: of the task.
        classes: of the model: names, paths of leaves, or steps of the scale.
        name: a class, or a node of the tree; None for the likeliest class, or the deepest node
            that is likelier than not (of none, the likeliest at the top).
        probs: `(k,)` of the photo.

    Raises:
        NotFoundError: a class that the model does not have, or any with a score task.
    """
    if kind == "score":
        if name not in (None, MEAN_SCORE):
            raise NotFoundError(
                f"a score task explains its mean score and has no class {name!r}: leave it out"
            )
        return Target(MEAN_SCORE, kind, np.asarray(scale_of(classes), np.float64))
    if kind == "tree":
        return _node(classes, name, probs)
    index = int(np.argmax(probs)) if name is None else _index(classes, name)
    return Target(classes[index], kind, np.eye(len(classes))[index])


def _node(leaves: Sequence[str], name: str | None, probs: Floats) -> Target:
    """A node of a tree: the leaves at and under it."""
    lines = [ancestors(leaf) for leaf in leaves]
    nodes = list(dict.fromkeys(node for line in lines for node in line))
    member = {node: np.array([node in line for line in lines], np.float64) for node in nodes}
    if name is None:
        sure = [node for node in nodes if probs @ member[node] > 0.5]
        tops = [node for node in nodes if SEPARATOR not in node]
        name = (
            max(sure, key=lambda node: node.count(SEPARATOR))
            if sure
            else max(tops, key=lambda node: float(probs @ member[node]))
        )
    chosen = nodes[_index(nodes, name)]
    return Target(chosen, "tree", member[chosen])


def _index(names: Sequence[str], name: str) -> int:
    if name not in names:
        raise NotFoundError(f"the model has no class {name!r}. {suggest(name, names)}")
    return list(names).index(name)
