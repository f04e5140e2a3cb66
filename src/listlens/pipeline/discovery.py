"""What is in a shop nobody has labelled: clusters of its photos, named by tags and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.errors import NotFoundError
from listlens.core.types import STARTER, Status
from listlens.labels.starter import SHOW_AT, StarterTags
from listlens.learn.clusters import find_clusters, names_of
from listlens.pipeline.labelling import labelled_photos
from listlens.pipeline.models import can_give_starter_tags

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.types import EmbeddingSpace
    from listlens.store.open import Store

MOST_PHOTOS = 200_000
"""Contents that are clustered: 512 MB of embeddings. Of more, every so many-th is taken."""


def clusters(
    store: Store,
    space: EmbeddingSpace,
    *,
    n_clusters: int | None = None,
    n_examples: int = 3,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Group the stored photos by their embeddings, and say what stands out in each group.

    Args:
        store: photos and embeddings.
        space: whose embeddings.
        n_clusters: how many; None: by the number of photos.
        n_examples: photos shown a cluster, the most typical first.
        seed: of the clustering.

    Returns:
        Per cluster, the largest first: `cluster`, `photos`, `share`, `tags` and `labels` (name and
        share of its photos, where over-represented), `examples` (photo ids).

    Raises:
        NotFoundError: fewer than two photos have an embedding.
    """
    ids = _embedded(store, space)
    if len(ids) < 2:
        raise NotFoundError(
            f"{len(ids)} photos have an embedding, and clusters need two or more: "
            "listlens ingest PHOTOS"
        )
    vectors = store.vectors.get(space, ids.tolist())
    found = find_clusters(vectors, n_clusters, seed)
    tags = _tags(vectors, space)
    labels = _labels(store, ids)
    typical = [found.typical(c, n_examples) for c in range(len(found.sizes))]
    shown = {int(ids[row]) for rows in typical for row in rows}
    photos = store.photos.by_content(shown)
    named = [names_of(found, has, names) for has, names in (tags, labels)]
    return [
        {
            "cluster": c + 1,
            "photos": int(size),
            "share": round(float(size) / len(ids), 4),
            "tags": [{"name": n, "share": s} for n, s in named[0][c]],
            "labels": [{"name": n, "share": s} for n, s in named[1][c]],
            "examples": [photos[int(ids[row])][0].photo_id for row in typical[c]
                         if int(ids[row]) in photos],
        }
        for c, size in enumerate(found.sizes)
    ]  # fmt: skip


def _embedded(store: Store, space: EmbeddingSpace) -> NDArray[np.int64]:
    """Contents that decoded and have an embedding, evenly thinned out where there are too many."""
    known = [c.content_id for c in store.contents.scan() if c.status is Status.OK]
    known = known[:: -(-len(known) // MOST_PHOTOS) or 1]
    absent = set(store.vectors.missing(space, known))
    return np.array([c for c in known if c not in absent], np.int64)


Named = tuple["NDArray[np.bool_]", list[str]]


def _tags(vectors: NDArray[np.float16], space: EmbeddingSpace) -> Named:
    """Starter tags of the photos, where the backbone can give them."""
    if not can_give_starter_tags(space):
        return np.zeros((len(vectors), 0), np.bool_), []
    from listlens.backbones.registry import imagenet_head

    tags, (weights, bias, _) = StarterTags.load(), imagenet_head()
    blocks = (vectors[i : i + 4096] for i in range(0, len(vectors), 4096))
    has = [tags.probs(block, (weights, bias)) >= SHOW_AT for block in blocks]
    return np.concatenate(has), list(tags.names)


def _labels(store: Store, ids: NDArray[np.int64]) -> Named:
    """What people said of the photos, as ``task:class``."""
    place = {int(content): i for i, content in enumerate(ids)}
    said: dict[str, set[int]] = {}
    for task in store.labels.tasks():
        if task.name == STARTER or task.kind == "score":
            continue
        for p in labelled_photos(store, task):
            row = place.get(p.photo.content_id or -1)
            if row is not None:
                for name in p.label.yes:
                    said.setdefault(f"{task.name}:{name}", set()).add(row)
    return _matrix(said, len(ids)), list(said)


def _matrix(said: dict[str, set[int]], n: int) -> NDArray[np.bool_]:
    has = np.zeros((n, len(said)), np.bool_)
    for column, rows in enumerate(said.values()):
        has[sorted(rows), column] = True
    return has
