"""Which photos are one picture, and which listings share one.

Equal content is one picture. Otherwise two contents are the same picture, re-encoded, resized,
brightened or cropped a little, when their perceptual hashes and their embeddings agree: either
alone is fooled (hashes by plain backgrounds, embeddings by two photos of one room).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from listlens.duplicates.search import near_pairs

Ints = NDArray[np.int64]

Level = Literal["same", "similar"]

RULES: dict[Level, tuple[tuple[int, float], ...]] = {
    "same": ((4, 0.86), (8, 0.93)),
    "similar": ((8, 0.80), (20, 0.90)),
}
"""Two contents match when, for one rule (bits, cosine) of the level, their hashes differ by at most
`bits` of 64 and their embeddings' cosine is at least `cosine`.

Chosen on 120 photos each of houses, cars and flipkart, altered, of which same / similar finds:
resized to 60 % .98 / 1.00, JPEG quality 60 1.00 / 1.00, brightness x 0.75 1.00 / 1.00 and x 1.25
.92 / .96, edges cropped by 5 % .85 / 1.00 and by 10 % .22 / .89. Among the unaltered photos' 2.4
million (houses), 0.5 million (flipkart) and 0.1 million (cars) pairs, same finds 24, 42 and 3:
all of houses' and the cars' are one scene; of flipkart's, some are one product in two colours.
Similar adds 0, 34 and 2: goods of one make photographed alike, and one car from two sides.
"""

CHAIN = 8
"""Groups up to this many contents are joined through any chain of matches; in larger ones every
content must match the group's centre, so that a few false matches cannot swallow a data set."""

MOST_LISTINGS = 50
"""A picture in more listings than this is a placeholder or a logo, and does not join them."""


def match(distance: ArrayLike, cosine: ArrayLike, level: Level = "similar") -> NDArray[np.bool_]:
    """Tell which pairs of contents match.

    Args:
        distance: differing bits of the two 64-bit perceptual hashes, 0 to 64.
        cosine: of the two embeddings.
        level: see `RULES`.

    Example:
        >>> match([2, 30], [0.99, 0.99]).tolist()
        [True, False]
    """
    bits, near = np.asarray(distance), np.asarray(cosine)
    rules = [(bits <= most) & (near >= least) for most, least in RULES[level]]
    return np.asarray(np.any(rules, axis=0))


def duplicate_groups(
    content_ids: ArrayLike,
    phashes: NDArray[np.uint64],
    embeddings: NDArray[np.floating],
    *,
    flat: ArrayLike | None = None,
    level: Level = "similar",
) -> Ints:
    """Group photos that show one picture.

    Args:
        content_ids: `(n,)` integers; equal ids are one content and always one group.
        phashes: `(n,)` uint64 perceptual hashes.
        embeddings: `(n, d)`, of one space.
        flat: `(n,)` bool, near-uniform pictures. Their hash is noise and their embeddings are all
            alike, so they join equal contents only. None means no picture is flat.
        level: ``similar`` for splits, where joining too much costs little and a leak costs much;
            ``same`` where a person is told that two photos are one.

    Returns:
        `(n,)` labels from 0 on, in order of first appearance.

    Raises:
        ValueError: lengths differ.

    Example:
        >>> import numpy as np
        >>> hashes = np.array([7, 7, 6, 2**40 - 1], dtype=np.uint64)
        >>> duplicate_groups([1, 1, 2, 3], hashes, np.ones((4, 2))).tolist()
        [0, 0, 0, 1]
    """
    ids = np.asarray(content_ids)
    n = len(ids)
    if not n == len(phashes) == len(embeddings) or (flat is not None and np.size(flat) != n):
        raise ValueError(
            f"one row per photo is needed in each: {n} ids, {len(phashes)} hashes, "
            f"{len(embeddings)} embeddings"
        )
    _, first, content = np.unique(ids, return_index=True, return_inverse=True)
    solid = np.ones(n, bool) if flat is None else ~np.asarray(flat, dtype=np.bool_)
    rows = np.flatnonzero(solid[first])  # contents that can be compared, as positions in `first`
    pairs = _matches(phashes[first[rows]], embeddings[first[rows]], level)
    label = np.arange(len(first))
    label[rows] = rows[_cluster(pairs, len(rows))] if len(rows) else rows
    return _relabel(label[content.reshape(-1)])


def join_groups(listings: ArrayLike, duplicates: ArrayLike) -> Ints:
    """Join photos that share a listing or a duplicate group, directly or through others.

    What comes out may be split freely: neither a listing nor a picture lies in two groups. One
    exception: a picture in more than 50 listings is a placeholder. It does not glue those
    listings together, which might leave a single group; its photos form a group of their own,
    apart from their listings'.

    Args:
        listings: `(n,)` any labels.
        duplicates: `(n,)` labels of `duplicate_groups`.

    Returns:
        `(n,)` labels from 0 on, in order of first appearance.

    Example:
        >>> join_groups(["a", "a", "b", "c"], [0, 1, 1, 2]).tolist()
        [0, 0, 0, 1]
    """
    _, listing = np.unique(np.asarray(listings), return_inverse=True)
    _, picture = np.unique(np.asarray(duplicates), return_inverse=True)
    if not len(listing):
        return np.zeros(0, dtype=np.int64)
    n_pictures = int(picture.max()) + 1
    uses = np.unique(np.stack([picture, listing], 1), axis=0)
    placeholder = np.bincount(uses[:, 0], minlength=n_pictures) > MOST_LISTINGS
    joins = ~placeholder[uses[:, 0]]
    size = n_pictures + int(listing.max()) + 1
    component = _components(uses[joins, 0], uses[joins, 1] + n_pictures, size)
    return _relabel(np.where(placeholder[picture], size + picture, component[picture]))


def _matches(phashes: NDArray[np.uint64], embeddings: NDArray[np.floating], level: Level) -> Ints:
    """Pairs `(m, 2)` of rows that match."""
    bits, least = max(b for b, _ in RULES[level]), min(c for _, c in RULES[level])

    def worth(i: Ints, j: Ints) -> NDArray[np.bool_]:
        return np.asarray(np.bitwise_count(phashes[i] ^ phashes[j]) <= bits)

    found = [np.zeros((0, 2), dtype=np.int64)]
    for i, j, cosine in near_pairs(embeddings, least, worth):
        keep = match(np.bitwise_count(phashes[i] ^ phashes[j]), cosine, level)
        found.append(np.stack([i[keep], j[keep]], 1))
    return np.concatenate(found)


def _cluster(pairs: Ints, n: int) -> Ints:
    """Label rows by connected component, large components by their centres."""
    label = _components(pairs[:, 0], pairs[:, 1], n)
    large = np.flatnonzero(np.bincount(label, minlength=1) > CHAIN)
    if not large.size:
        return label
    pairs = pairs[np.isin(label[pairs[:, 0]], large)]
    both = np.concatenate([pairs, pairs[:, ::-1]])
    neighbours: Any = coo_array((np.ones(len(both), bool), both.T), shape=(n, n)).tocsr()
    degree = np.diff(neighbours.indptr)
    rows = np.flatnonzero(np.isin(label, large))
    out, taken = label.copy(), np.zeros(n, dtype=bool)
    for step, centre in enumerate(rows[np.argsort(-degree[rows], kind="stable")]):
        if taken[centre]:
            continue
        near = neighbours.indices[neighbours.indptr[centre] : neighbours.indptr[centre + 1]]
        star = np.append(near[~taken[near]], centre)
        out[star], taken[star] = n + step, True
    return _relabel(out)


def _components(left: Ints, right: Ints, n: int) -> Ints:
    edges = coo_array((np.ones(len(left), bool), (left, right)), shape=(n, n))
    return np.asarray(connected_components(edges, directed=False)[1], dtype=np.int64)


def _relabel(label: NDArray[np.integer]) -> Ints:
    """Number labels 0, 1, 2, ... in order of first appearance."""
    _, first, index = np.unique(label, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return np.asarray(rank[index.reshape(-1)])
