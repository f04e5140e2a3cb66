"""Groups of classes that look alike and are mistaken for each other: a tree, proposed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NAMED = 2
"""Classes that a group is named after, its most typical ones; the others are counted."""


def class_distances(
    embeddings: NDArray[np.floating], probs: NDArray[np.floating], targets: NDArray[np.integer]
) -> Floats:
    """Return how far classes are apart `(k, k)`: half by their pictures, half by their answers.

    Pictures: one minus the cosine of the classes' mean embeddings, each number standardised over
    the photos. Answers: one minus the overlap (Bhattacharyya) of the mean held-out probabilities
    that the classes' photos get. Both are in units of their median.

    Args:
        embeddings: `(n, d)`.
        probs: `(n, k)` of models that had not seen the photo.
        targets: `(n,)` class index, -1 is left out; every class has a photo.

    Example:
        >>> x = np.array([[1.0, 0], [0.9, 0.1], [-1, -1]])
        >>> p = np.array([[0.6, 0.3, 0.1], [0.4, 0.5, 0.1], [0, 0.1, 0.9]])
        >>> d = class_distances(x, p, np.arange(3))
        >>> bool(d[0, 1] < d[0, 2])
        True
    """
    rows, k = np.flatnonzero(targets >= 0), probs.shape[1]
    label = targets[rows]
    number = np.maximum(np.bincount(label, minlength=k), 1)[:, None]
    pictures, answers = np.zeros((k, embeddings.shape[1])), np.zeros((k, k))
    np.add.at(pictures, label, embeddings[rows].astype(np.float64))
    np.add.at(answers, label, probs[rows].astype(np.float64))
    scale = embeddings[rows].astype(np.float64).std(axis=0)
    means = pictures / number / np.where(scale > 0, scale, 1)
    means -= means.mean(axis=0)
    length = np.linalg.norm(means, axis=1, keepdims=True)
    means /= np.where(length > 0, length, 1)
    roots = np.sqrt(answers / np.maximum(answers.sum(axis=1, keepdims=True), 1e-12))
    parts = [np.clip(1 - means @ means.T, 0, 2), np.clip(1 - roots @ roots.T, 0, 1)]
    apart = ~np.eye(k, dtype=np.bool_)
    found = np.zeros((k, k))
    for part in parts:
        found += part / max(float(np.median(part[apart])) if k > 1 else 1.0, 1e-12) / 2
    np.fill_diagonal(found, 0)
    return (found + found.T) / 2


def nested_groups(distances: Floats, n_levels: int) -> list[NDArray[np.int64]]:
    """Cut classes into groups level by level, from the top; each level is finer than the one above.

    Levels have `k ** (i / (n_levels + 1))` groups, so that every node has about as many children.

    Args:
        distances: `(k, k)` symmetric.
        n_levels: of groups, above the classes.

    Returns:
        Group of each class `(k,)`, a level each.

    Source: average linkage, Sokal and Michener (1958), by scipy.

    Example:
        >>> d = np.abs(np.subtract.outer([0, 1, 10, 11], [0, 1, 10, 11])).astype(float)
        >>> (groups,) = nested_groups(d, 1)
        >>> groups.tolist()
        [0, 0, 1, 1]
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    k = len(distances)
    if k < 2:
        return []
    merged = linkage(squareform(distances, checks=False), method="average")
    levels = []
    for i in range(1, n_levels + 1):
        wanted = max(2, round(k ** (i / (n_levels + 1))))
        group = fcluster(merged, wanted, criterion="maxclust")
        first = {int(g): n for n, g in enumerate(dict.fromkeys(group.tolist()))}
        levels.append(np.array([first[int(g)] for g in group], np.int64))
    return levels


def proposed_nodes(
    classes: Sequence[str], distances: Floats, n_levels: int
) -> list[tuple[str, str]]:
    """Return (node, parent) pairs of a proposed tree, parents before their children.

    A group is named after its most typical classes. A group of one class, or one as large as its
    parent, is left out.

    Example:
        >>> d = np.abs(np.subtract.outer([0, 1, 10, 11, 12], [0, 1, 10, 11, 12])).astype(float)
        >>> proposed_nodes(["cup", "mug", "sofa", "chair", "bench"], d, 1)[:3]
        [('cup + mug', ''), ('chair + sofa + 1 more', ''), ('cup', 'cup + mug')]
    """
    nodes: list[tuple[str, str]] = []
    above = [""] * len(classes)
    size = {"": len(classes)}
    for group in nested_groups(distances, n_levels):
        for g in dict.fromkeys(group.tolist()):
            members = np.flatnonzero(group == g)
            if not 1 < len(members) < size[above[members[0]]]:
                continue
            name = _group_name(classes, members, distances)
            nodes.append((name, above[members[0]]))
            size[name] = len(members)
            for i in members.tolist():
                above[i] = name
    return nodes + list(zip(classes, above, strict=True))


def _group_name(classes: Sequence[str], members: NDArray[np.int64], distances: Floats) -> str:
    """The classes nearest to all others of the group, and how many more there are."""
    near = distances[np.ix_(members, members)].sum(axis=1)
    order = members[np.argsort(near, kind="stable")]
    named = [classes[i] for i in order[:NAMED].tolist()]
    left = len(members) - len(named)
    return " + ".join([*named, *([f"{left} more"] if left else [])])
