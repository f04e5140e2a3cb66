"""The models in force, and what they answer for contents: stored answers first, then the heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import ThreadpoolController

from listlens.core.types import STARTER
from listlens.pipeline.apply import require_same_backbone
from listlens.pipeline.live import gives_out
from listlens.pipeline.models import can_give_starter_tags, starter_model
from listlens.pipeline.results import result_of
from listlens.store.predictions import pack, unpack
from listlens.stream.work import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.core.types import EmbeddingSpace
    from listlens.learn.model import Model
    from listlens.pipeline.live import Answering
    from listlens.pipeline.models import LiveModel
    from listlens.store.open import Store


_BLAS = ThreadpoolController()
"""The products of a batch are too small for threads: BLAS spun for 47 ms of CPU over 14 photos that
take one thread 2 ms."""


@dataclass(frozen=True)
class Answerer:
    """A model in force, and what embeds for it."""

    live: LiveModel
    backbone: Backbone


@dataclass
class Answers:
    """What is said of some contents.

    Args:
        results: sha256 to task to the answer, JSON-able.
        fresh: model_id to sha256 to probabilities `(k,)` that are not stored yet.
    """

    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    fresh: dict[int, dict[str, NDArray[np.float32]]] = field(default_factory=dict)


def answerers(
    store: Store,
    now: Answering,
    here: Backbone,
    backbone_for: Callable[[Model | None], Backbone],
) -> list[Answerer]:
    """Return the models in force; the starter tags where there is no other and they can be given.

    Shadows and canaries are among them: their answers are stored beside.

    Raises:
        ModelError: a model was trained on another backbone than there is.
    """
    models = [*now.live.values(), *now.beside]
    trained = [model for model in models if model.task != STARTER]
    if not trained and can_give_starter_tags(here.space):
        trained = [starter_model(store, here.space)]
    found = [Answerer(model, backbone_for(model.model)) for model in trained]
    for one in found:
        require_same_backbone(one.live.space, one.backbone.space)
    return found


def backbones_of(models: Sequence[Answerer], here: Backbone) -> list[Backbone]:
    """What has to look at a photo: the project's backbone, and those that models bring."""
    all_of = [here, *(one.backbone for one in models)]
    return list({backbone.space.id: backbone for backbone in all_of}.values())


def answer(store: Store, models: Sequence[Answerer], works: Sequence[Work], top: int) -> Answers:
    """Answer every task for every work that shows a usable photo, each content once.

    Of a task, the live model's answer is told, or for its share the canary's; all are kept.

    Args:
        store: stored predictions, and embeddings of contents that are known.
        models: in force.
        works: usable ones; each with its content id, or with its embeddings.
        top: classes whose probabilities are told.
    """
    found = Answers()
    by_sha = {work.sha256: work for work in works}
    all_models = [one.live for one in models]
    for one in models:
        with _BLAS.limit(limits=1):
            rows = _probs(store, one, list(by_sha.values()), found.fresh)
        rows = {sha: p for sha, p in rows.items() if gives_out(one.live, all_models, sha)}
        decisions = one.live.decide(np.stack(list(rows.values()))) if rows else []
        for (sha, probs), decision in zip(rows.items(), decisions, strict=True):
            results = found.results.setdefault(sha, {})
            results[one.live.task] = result_of(one.live, probs, decision, top)
    return found


def _probs(
    store: Store,
    one: Answerer,
    works: list[Work],
    fresh: dict[int, dict[str, NDArray[np.float32]]],
) -> dict[str, NDArray[np.float32]]:
    """Return probabilities `(k,)` by sha256, and note those that are not stored yet."""
    ids = {work.content_id: work.sha256 for work in works if work.content_id is not None}
    stored = store.predictions.get(one.live.model_id, list(ids)) if ids else {}
    found = {ids[pk]: probs for pk, probs in stored.items()}
    todo = [work for work in works if work.sha256 not in found]
    if todo:
        vectors = _vectors(store, one.backbone.space, todo)
        # As they will be stored, so that the same content is answered the same ever after.
        rows = unpack(pack(one.live.probs(vectors)))
        computed = dict(zip((work.sha256 for work in todo), rows, strict=True))
        fresh[one.live.model_id] = computed
        found |= computed
    return found


def _vectors(store: Store, space: EmbeddingSpace, works: list[Work]) -> NDArray[np.float16]:
    """Embeddings `(n, dim)`: just made, or stored."""
    found = {work.sha256: work.vectors[space.id] for work in works if space.id in work.vectors}
    known = [work for work in works if work.sha256 not in found]
    if known:
        stored = store.vectors.get(space, [work.content_id or 0 for work in known])
        found |= dict(zip((work.sha256 for work in known), stored, strict=True))
    return np.stack([found[work.sha256] for work in works])
