"""Find the stored photos nearest to an example, each picture once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.errors import NotFoundError
from listlens.duplicates.groups import duplicate_groups
from listlens.images.measures import Measures
from listlens.pipeline.contents import embed_all, prepare_bytes, read_file
from listlens.pipeline.dataset import is_flat
from listlens.pipeline.named_photos import is_file, stored_photo
from listlens.sources.paths import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.core.types import EmbeddingSpace
    from listlens.images.files import Limits
    from listlens.pipeline.named_photos import PhotoName
    from listlens.store.open import Store

SPARE = 4
"""Contents kept for each photo that is asked for, since several may be one picture."""

MOST_KEPT = 4096
"""Contents kept at most, 10 MB of embeddings: of a picture in more listings than this the rest of
the shop may not be reached."""


def search_like(
    store: Store, backbone: Backbone, limits: Limits, photo: PhotoName, limit: int
) -> list[dict[str, Any]]:
    """Return the stored photos that look most like an example.

    The cosine is that of the embeddings as they are: less their mean, or standardised, they find no
    more of the example's class (of 10 neighbours houses .965 against .968 and .962, cars .728,
    .727, .718, flipkart .791, .794, .790, grocery .473, .478, .466).

    Args:
        store: photos and embeddings.
        backbone: whose embeddings, and what embeds a file.
        limits: bounds for the file.
        photo: a file, which need not be in the project, or the id of a photo that is.
        limit: how many pictures at most.

    Returns:
        listing_id, image, similarity (cosine, at most 1), n_photos (of the project that show this
        picture) and location, the most alike first: the example itself, where it is stored.

    Raises:
        PhotoError: the example cannot be used.
        NotFoundError: no photo has an embedding.
    """
    return nearest_photos(store, backbone.space, _embedding(store, backbone, limits, photo), limit)


def _embedding(
    store: Store, backbone: Backbone, limits: Limits, photo: PhotoName
) -> NDArray[np.float16]:
    """The stored embedding of a photo that came in, or else one made now, `(d,)`."""
    location = printable(os.fspath(photo))
    if not is_file(photo):
        view = stored_photo(store, photo)
        ids = [view.content_id or 0]
        if not store.vectors.missing(backbone.space, ids):
            return np.asarray(store.vectors.get(backbone.space, ids)[0])
        location = view.location
    read = read_file(location, limits)
    if read.error is not None:
        raise read.error
    prepared = prepare_bytes(
        read.data, backbone.preprocessing, limits, thumbnail_px=0, measure=False
    )
    if isinstance(prepared, Exception):
        raise prepared
    return np.asarray(embed_all(backbone, [prepared.pixels])[0])


def nearest_photos(
    store: Store, space: EmbeddingSpace, query: NDArray[np.floating], limit: int
) -> list[dict[str, Any]]:
    """Return the photos whose embeddings are nearest to a vector `(d,)`; see `search_like`."""
    n_kept = min(SPARE * limit, MOST_KEPT)
    while True:
        found = _nearest(store, space, query, n_kept)
        pictures = _pictures(store, found)
        if len(pictures) >= limit or len(found.ids) < n_kept or n_kept == MOST_KEPT:
            break
        n_kept = min(n_kept * SPARE, MOST_KEPT)
    if not pictures:
        raise NotFoundError("no photo has an embedding to compare: listlens ingest PHOTOS")
    by_content = store.photos.by_content(found.ids.tolist())
    shown = [
        (cosine, photos)
        for cosine, ids in pictures
        if (photos := [photo for pk in ids for photo in by_content.get(pk, ())])
    ]
    return [
        {
            "listing_id": photos[0].listing_id,
            "image": photos[0].photo_id,
            "similarity": round(cosine, 4),
            "n_photos": len(photos),
            "location": photos[0].location,
        }
        for cosine, photos in shown[:limit]
    ]


@dataclass(frozen=True)
class _Found:
    """The nearest contents so far: ids `(m,)`, cosines `(m,)` falling, embeddings `(m, d)`."""

    ids: NDArray[np.int64]
    cosine: NDArray[np.float32]
    vectors: NDArray[np.float16]

    def with_block(
        self, ids: NDArray[np.int64], cosine: NDArray[np.float32], vectors: NDArray[np.float16]
    ) -> _Found:
        """These and others, in order; of equal ones the first that came in."""
        all_ids, every = np.concatenate([self.ids, ids]), np.concatenate([self.cosine, cosine])
        order = np.lexsort((all_ids, -every))
        return _Found(all_ids[order], every[order], np.concatenate([self.vectors, vectors])[order])

    def rows(self, which: NDArray[np.bool_] | slice) -> _Found:
        return _Found(self.ids[which], self.cosine[which], self.vectors[which])


def _nearest(
    store: Store, space: EmbeddingSpace, query: NDArray[np.floating], n_kept: int
) -> _Found:
    """The nearest contents that a photo of the project shows; memory stays flat."""
    direction = _unit(query.astype(np.float32)[None])[0]
    best = _Found(
        np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((0, space.dim), np.float16)
    )
    for ids, vectors in store.vectors.scan(space):
        cosine = _unit(vectors.astype(np.float32)) @ direction
        least = best.cosine[-1] if len(best.ids) == n_kept else -np.inf
        near = np.flatnonzero(cosine >= least)
        while len(near):
            near = near[np.argsort(-cosine[near], kind="stable")]
            tried, near = near[:n_kept], near[n_kept:]
            live = store.photos.by_content(ids[tried].tolist())
            rows = tried[[int(pk) in live for pk in ids[tried]]]
            best = best.with_block(ids[rows], cosine[rows], vectors[rows]).rows(slice(n_kept))
            if len(best.ids) == n_kept:
                near = near[cosine[near] > best.cosine[-1]]
    return best


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1; a row of zeros stays."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)


def _pictures(store: Store, found: _Found) -> list[tuple[float, list[int]]]:
    """Similarity and contents of each picture, the most alike first."""
    views = store.contents.get(found.ids.tolist())
    found = found.rows(np.array([pk in views for pk in found.ids.tolist()], bool))
    measures = [Measures.from_dict(views[pk].measures or {}) for pk in found.ids.tolist()]
    groups = duplicate_groups(
        found.ids,
        np.array([m.phash for m in measures], np.uint64),
        found.vectors.astype(np.float32),
        flat=np.array([is_flat(m) for m in measures], bool),
    )
    pictures: dict[int, tuple[float, list[int]]] = {}
    for group, pk, cosine in zip(groups.tolist(), found.ids.tolist(), found.cosine, strict=True):
        pictures.setdefault(group, (float(min(cosine, 1.0)), []))[1].append(pk)
    return list(pictures.values())
