"""Groups of photos that look alike, found without a label and named by what stands out in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE = 50_000
"""Photos that the centres are found on; the others go to the nearest centre."""

PCA_DIM = 64
"""Directions kept: distances in all 1,280 are ruled by noise."""

MOST = 40
"""Clusters proposed at most where no number is given."""

SEEN_TWICE = 1.5
"""A name stands out where it is at least so much more frequent within than among all photos."""


@dataclass(frozen=True)
class Clusters:
    """Which photo is in which cluster.

    Args:
        label: `(n,)` cluster of each photo, 0 being the largest.
        closeness: `(n,)` in [-1, 1], cosine with the centre: the most typical first.
        sizes: `(k,)`, falling.
    """

    label: NDArray[np.int64]
    closeness: NDArray[np.float32]
    sizes: NDArray[np.int64]

    def typical(self, cluster: int, n: int) -> NDArray[np.int64]:
        """Rows of the n most typical photos of a cluster."""
        rows = np.flatnonzero(self.label == cluster)
        return rows[np.argsort(-self.closeness[rows], kind="stable")[:n]]


def number_for(n: int) -> int:
    """How many clusters to look for among n photos: a person can look through so many.

    Example:
        >>> [number_for(n) for n in (3, 50, 2000, 1_000_000)]
        [2, 5, 31, 40]
    """
    return int(max(2, min(MOST, np.sqrt(n / 2))))


def find_clusters(
    embeddings: NDArray[np.floating], n_clusters: int | None = None, seed: int = 0
) -> Clusters:
    """Group photos by their embeddings: k-means on directions, after PCA.

    Args:
        embeddings: `(n, d)`, n at least 2.
        n_clusters: how many; None: `number_for(n)`.
        seed: equal seeds give equal clusters.

    Example:
        >>> x = np.repeat([[1.0, 0, 0], [0, 1, 0]], [4, 2], axis=0)
        >>> find_clusters(x + 0.01 * np.arange(18).reshape(6, 3) % 0.05, 2).label.tolist()
        [0, 0, 0, 0, 1, 1]
    """
    from sklearn.cluster import MiniBatchKMeans

    k = min(n_clusters or number_for(len(embeddings)), len(embeddings))
    rng = np.random.default_rng(seed)
    some = np.sort(rng.permutation(len(embeddings))[:SAMPLE])
    z = _directions(embeddings, some)
    found = MiniBatchKMeans(k, random_state=seed, n_init=5, batch_size=2048).fit(z[some])
    centres = found.cluster_centers_
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    cosine = z @ centres.T
    label = cosine.argmax(axis=1)
    sizes = np.bincount(label, minlength=k)
    order = np.argsort(-sizes, kind="stable")
    place = np.empty(k, np.int64)
    place[order] = np.arange(k)
    kept = sizes[order] > 0
    return Clusters(place[label], cosine.max(axis=1).astype(np.float32), sizes[order][kept])


def _directions(embeddings: NDArray[np.floating], some: NDArray[np.int64]) -> NDArray[np.float32]:
    """Leading principal components `(n, r)` of length 1, the axes found on some rows."""
    sample = embeddings[some].astype(np.float32)
    mean = sample.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov(sample - mean, rowvar=False) + 0.0)
    axes = axes[:, np.argsort(-values)[:PCA_DIM]].astype(np.float32)
    z = (embeddings.astype(np.float32) - mean) @ axes
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    return np.asarray(z, np.float32)


def names_of(
    clusters: Clusters, has: NDArray[np.bool_], names: Sequence[str], n: int = 3
) -> list[list[tuple[str, float]]]:
    """What stands out in each cluster.

    Args:
        clusters: k of them.
        has: `(n_photos, m)`, whether a photo has a name: a tag, or a label.
        names: m names.
        n: at most so many a cluster.

    Returns:
        Per cluster the names that are over-represented there, with the share of its photos that
        have them. Ordered by share times the logarithm of how much more frequent it is than among
        all photos, where at least a tenth of the photos has it.
    """
    overall = has.mean(axis=0)
    found = []
    for cluster in range(len(clusters.sizes)):
        share = has[clusters.label == cluster].mean(axis=0)
        lift = share / np.maximum(overall, 1e-12)
        worth = np.where((share >= 0.1) & (lift >= SEEN_TWICE), share * np.log(lift + 1e-12), 0)
        order = [int(i) for i in np.argsort(-worth, kind="stable")[:n] if worth[i] > 0]
        found.append([(names[i], round(float(share[i]), 4)) for i in order])
    return found
