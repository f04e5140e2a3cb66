"""Embeddings to predictions: a model over every stored content, resumable at any moment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from listlens.core.types import Status
from listlens.pipeline.apply import embed_files, require_same_backbone
from listlens.pipeline.contents import CHUNK_FILES, batched, worker_pool

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.core.types import EmbeddingSpace
    from listlens.images.decode import Limits
    from listlens.learn.model import Model
    from listlens.pipeline.models import LiveModel
    from listlens.store.open import Store

PREDICT_BLOCK = 4096
"""Contents a transaction: 4,096 x 1280 float32 are 21 MB."""


@dataclass(frozen=True)
class TagReport:
    """What one `tag` did."""

    predicted: int
    already: int
    without_embedding: int


def tag_all(
    store: Store,
    models: Sequence[LiveModel],
    backbone_for: Callable[[Model | None], Backbone],
    limits: Limits,
    progress: Callable[[str, int, int | None], None] = lambda task, done, total: None,
) -> dict[str, TagReport]:
    """Tag with each model; photos are embedded first for one with its own network.

    Returns:
        Task to report; of a model that is not live, task and version, as in ``room/3``.

    Raises:
        ModelError: a model was trained on another backbone than there is.
    """

    def say(what: str, total: int | None) -> Callable[[int], None]:
        return lambda done: progress(what, done, total)

    for model in models:
        require_same_backbone(model.space, backbone_for(model.model).space)
    total, reports = sum(1 for _ in store.contents.scan()), {}
    for model in models:
        backbone = backbone_for(model.model)
        if model.model is not None and model.model.own_backbone is not None:
            embed_missing(store, backbone, limits, say(f"embedding for {model.task}", None))
        name = model.task if model.stage == "live" else model.name
        reports[name] = tag(store, model.model_id, model.probs, backbone.space, say(name, total))
    return reports


def tag(
    store: Store,
    model_id: int,
    probs: Callable[[NDArray[np.float16]], NDArray[np.float32]],
    space: EmbeddingSpace,
    progress: Callable[[int], None] = lambda done: None,
) -> TagReport:
    """Predict every usable content that has no prediction of this model yet.

    Each block is committed, so an interrupted run goes on where it stopped.

    Args:
        store: embeddings in, predictions out.
        model_id: the row of the model in the store.
        probs: embeddings `(n, dim)` to calibrated probabilities `(n, k)`.
        space: the embeddings to read.
        progress: called with the contents passed so far.
    """
    predicted = already = without = 0
    for block in batched(_usable(store), PREDICT_BLOCK):
        todo = store.predictions.missing(model_id, block)
        absent = set(store.vectors.missing(space, todo))
        ready = [content_id for content_id in todo if content_id not in absent]
        if ready:
            store.predictions.save(model_id, ready, probs(store.vectors.get(space, ready)))
        already += len(block) - len(todo)
        without += len(absent)
        predicted += len(ready)
        progress(predicted + already + without)
    return TagReport(predicted, already, without)


def _usable(store: Store):  # type: ignore[no-untyped-def]
    """Ids of the contents that decoded."""
    return (c.content_id for c in store.contents.scan() if c.status is Status.OK)


def embed_missing(
    store: Store,
    backbone: Backbone,
    limits: Limits,
    progress: Callable[[int], None] = lambda done: None,
    only: Collection[int] | None = None,
) -> tuple[int, int]:
    """Embed contents that have no embedding in this backbone's space (it was changed since).

    Args:
        store: contents in, embeddings out.
        backbone: what embeds.
        limits: bounds for the photos.
        progress: called with the contents passed so far.
        only: ids of contents; None: all.

    Returns:
        How many were embedded, and how many could not be: their file is gone or has other bytes.
    """
    embedded = failed = 0
    with worker_pool() as pool:
        todo = store.contents.without_vector(backbone.space.id)
        wanted = todo if only is None else (one for one in todo if one.content_id in only)
        for batch in batched(wanted, CHUNK_FILES):
            locations, shas = [b.location for b in batch], [b.sha256 for b in batch]
            vectors, errors = embed_files(locations, backbone, limits, pool, expected=shas)
            ids = [b.content_id for b, e in zip(batch, errors, strict=True) if e is None]
            if ids:
                store.vectors.put(backbone.space, ids, vectors)
            embedded += len(ids)
            failed += len(batch) - len(ids)
            progress(embedded + failed)
    return embedded, failed
