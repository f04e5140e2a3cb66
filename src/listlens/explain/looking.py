"""What a class looks for: the photos that its direction of the head likes best, and where in them.

A linear head has one direction an answer: the dot product with an embedding is what the photo
contributes to it. So the photos with the largest products show what the answer rests on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from listlens.core.scale import scale_of
from listlens.core.types import Kind
from listlens.explain.heatmaps import contrast

Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]

HIGH, LOW = "high scores", "low scores"
"""Names of the two directions of a score task."""

_PEAK_SHARE = 0.6
"""Of the way from a map's mean to its peak; what is above and joined to the peak is the region."""


@dataclass(frozen=True)
class Liked:
    """A photo that a direction likes.

    Args:
        content_id: of the photo.
        contribution: dot product of direction and embedding, less its mean over all photos.
    """

    content_id: int
    contribution: float


def directions(
    kind: Kind, classes: Sequence[str], weights: NDArray[np.floating]
) -> dict[str, Floats]:
    """Return what each answer looks for, `(d,)` by name.

    `multi`: a class's weights. `single` and `tree`: a class's, or leaf's, less the mean of the
    others. `score`: from low steps to high ones, and back.

    Args:
        kind: of the task.
        classes: k names.
        weights: `(k, d)` of the head.
    """
    table = np.asarray(weights, np.float64)
    if kind == "score":
        steps = np.asarray(scale_of(classes), np.float64)
        up = (steps - steps.mean()) @ table / len(steps)
        return {HIGH: up, LOW: -up}
    if kind == "multi":
        return dict(zip(classes, table, strict=True))
    return {name: contrast(table, i) for i, name in enumerate(classes)}


def most_liked(
    blocks: Iterable[tuple[NDArray[np.int64], NDArray[np.floating]]],
    directions: NDArray[np.floating],
    n: int,
) -> list[list[Liked]]:
    """Return the n photos that each direction likes most, the best first.

    Args:
        blocks: ids `(m,)` and embeddings `(m, d)`, as `Vectors.scan` yields them.
        directions: `(k, d)`.
        n: photos a direction.

    Example:
        >>> found = most_liked([(np.array([7, 8]), np.array([[1.0], [3.0]]))], np.eye(1), 1)
        >>> found[0][0]
        Liked(content_id=8, contribution=1.0)
    """
    k = len(directions)
    ids: NDArray[np.int64] = np.zeros((k, 0), np.int64)
    values: Floats = np.zeros((k, 0))
    total, count = np.zeros(k), 0
    for block_ids, embeddings in blocks:
        found = directions @ embeddings.astype(np.float64).T
        total += found.sum(axis=1)
        count += len(block_ids)
        values = np.hstack([values, found])
        ids = np.hstack([ids, np.broadcast_to(block_ids, (k, len(block_ids)))])
        best = np.argsort(-values, axis=1, kind="stable")[:, :n]
        ids = np.take_along_axis(ids, best, axis=1)
        values = np.take_along_axis(values, best, axis=1)
    centred = values - (total / max(count, 1))[:, None]
    return [
        [Liked(int(i), float(v)) for i, v in zip(*row, strict=True)]
        for row in zip(ids, centred, strict=True)
    ]


def peak_box(heat: NDArray[np.floating]) -> Box:
    """Return the box around a map's peak: left, top, right, bottom as shares of the photo.

    Args:
        heat: `(h, w)`.

    Example:
        >>> heat = np.zeros((4, 4))
        >>> heat[1, 2:] = 1
        >>> peak_box(heat)
        (0.5, 0.25, 1.0, 0.5)
    """
    wide = np.asarray(heat, np.float64)
    mean, top = wide.mean(), wide.max()
    parts = ndimage.label(wide >= mean + _PEAK_SHARE * (top - mean))[0]
    rows, columns = np.nonzero(parts == parts.flat[int(wide.argmax())])
    height, width = wide.shape
    return (
        float(columns.min() / width),
        float(rows.min() / height),
        float((columns.max() + 1) / width),
        float((rows.max() + 1) / height),
    )
