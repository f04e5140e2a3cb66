"""All pairs of near vectors, exactly, in blocks of flat memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

Floats = NDArray[np.float32]
Worth = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]

_BLOCK = 2048  # rows compared with rows: 16 MB of similarities
_SHORT = 96  # length of the shortened vectors; see near_pairs
_SAMPLE = 4096  # vectors that the shortening is fitted on


def near_pairs(
    embeddings: NDArray[np.floating], at_least: float, worth: Worth | None = None
) -> Iterator[Pairs]:
    """Yield all pairs whose cosine is at least `at_least`.

    Vectors are scaled to length 1 and turned so that the first coordinates hold most of what
    differs between them. A distance over some coordinates is never more than over all, so pairs
    that are too far apart in the first 96 are dropped without looking at the rest: nothing is
    missed, and 100,000 vectors of length 1,280 need a tenth of the work.

    Args:
        embeddings: `(n, d)`, any float type; a zero vector is near nothing.
        at_least: cosine in (0, 1].
        worth: tells from rows i and j, each `(m,)`, which pairs are worth a full comparison, where
            something cheaper can (a hash, say). None means all.

    Yields:
        Blocks of `(i, j, cosine)`, each `(m,)`, with i < j; every pair once.

    Example:
        >>> import numpy as np
        >>> [(i.tolist(), j.tolist()) for i, j, c in near_pairs(np.eye(3)[[0, 1, 0]], 0.9)]
        [([0], [2])]
    """
    if not 0 < at_least <= 1:
        raise ValueError(f"a cosine to search for lies in (0, 1], got {at_least}")
    lengths = _lengths(embeddings)
    short = _shorten(embeddings, lengths)
    # |a - b|^2 = |a|^2 + |b|^2 - 2ab, with both squares put into the product as extra coordinates
    half, one = (short**2).sum(1, keepdims=True) / 2, np.ones((len(short), 1), dtype=np.float32)
    lefts, rights = np.hstack([short, half, one]), np.hstack([short, -one, -half])
    least = at_least - 1 - 1e-3  # -|a - b|^2 / 2 of a pair just near enough; loose for rounding
    for start in range(0, len(short), _BLOCK):
        left = lefts[start : start + _BLOCK]
        for begin in range(start, len(short), _BLOCK):
            rows, columns = np.nonzero(left @ rights[begin : begin + _BLOCK].T >= least)
            i, j = rows + start, columns + begin
            keep = i < j
            if worth is not None:
                keep[keep] = worth(i[keep], j[keep])
            yield from _verified(embeddings, lengths, i[keep], j[keep], at_least)


def _lengths(embeddings: NDArray[np.floating]) -> Floats:
    """Euclidean lengths; infinite for a zero vector, so that its cosines are 0."""
    out = np.empty(len(embeddings), dtype=np.float32)
    for at in range(0, len(out), _BLOCK):
        block = embeddings[at : at + _BLOCK].astype(np.float32)
        out[at : at + _BLOCK] = np.sqrt(np.einsum("nd,nd->n", block, block))
    out[out == 0] = np.inf
    return out


def _shorten(embeddings: NDArray[np.floating], lengths: Floats) -> Floats:
    """Project unit vectors on the main directions of a sample; small sets stay as they are."""
    n, d = embeddings.shape
    if n <= _SAMPLE or d <= _SHORT:
        return embeddings.astype(np.float32) / lengths[:, None]
    rows = np.sort(np.random.default_rng(0).choice(n, _SAMPLE, replace=False))
    sample = embeddings[rows].astype(np.float32) / lengths[rows, None]
    centre = sample.mean(0)
    _, axes = eigh(np.cov(sample.T), subset_by_index=(d - _SHORT, d - 1))
    turn = axes.astype(np.float32)
    out = np.empty((n, _SHORT), dtype=np.float32)
    for at in range(0, n, _BLOCK):
        part = slice(at, at + _BLOCK)
        out[part] = (embeddings[part].astype(np.float32) / lengths[part, None] - centre) @ turn
    return out


def _verified(
    embeddings: NDArray[np.floating],
    lengths: Floats,
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    at_least: float,
) -> Iterator[Pairs]:
    """Compute cosines of candidate pairs, a bounded number at a time."""
    for at in range(0, len(i), _BLOCK):
        a, b = i[at : at + _BLOCK], j[at : at + _BLOCK]
        left, right = embeddings[a].astype(np.float32), embeddings[b].astype(np.float32)
        cosine = np.einsum("nd,nd->n", left, right) / lengths[a] / lengths[b]
        near = cosine >= at_least - 1e-6
        if near.any():
            yield a[near], b[near], cosine[near]
