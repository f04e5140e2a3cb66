"""Networks that models bring: a fine-tuned one embeds for its own model alone.

A model without one is applied to the embeddings of the project's backbone. Whoever applies a model
asks here which backbone that takes, and finds or makes the embeddings in its space.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from listlens.backbones.engine import EngineBackbone
from listlens.backbones.own_onnx import read_own_onnx
from listlens.core.errors import ModelError, TrainingError
from listlens.pipeline.checks import photos_left_out
from listlens.pipeline.contents import CHUNK_FILES, batched, embed_all, load_files, worker_pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from listlens.backbones.network import Network
    from listlens.core.ports import Backbone
    from listlens.images.decode import Limits
    from listlens.learn.model import Model
    from listlens.pipeline.dataset import Examples
    from listlens.pipeline.labelling import LabelledPhoto
    from listlens.store.open import Store


def brought_network(model: Model) -> Network | None:
    """Return the network that a model brings, under the name of its space; None without one.

    Raises:
        ModelError: the files are damaged, or are not what the model was trained on.
    """
    if model.own_backbone is None:
        return None
    network = read_own_onnx(model.own_backbone, model.preprocessing.reduced_px)
    if network.sha256 != model.space.weights_sha256:
        raise ModelError(
            f"{model.own_backbone} is not the network that the model was trained on: it has "
            f"identity {network.sha256[:12]}, expected {model.space.weights_sha256[:12]}."
        )
    return replace(network, name=model.space.backbone)


def backbone_for(model: Model | None, here: Backbone) -> Backbone:
    """Return what embeds photos for a model.

    Args:
        model: a loaded model; None for one that has no folder, such as the starter tags.
        here: the backbone at hand, whose engine, precision and threads a brought network takes.

    Returns:
        The network that the model brings, or else the backbone at hand. Whether that is the
        model's is for `require_same_backbone` to say.

    Raises:
        ModelError: the network is damaged, or the backbone at hand runs on no engine of ours.
    """
    network = None if model is None else brought_network(model)
    if network is None:
        return here
    if not isinstance(here, EngineBackbone):
        raise ModelError(f"{network.name} needs an engine to run on, and {here!r} is none.")
    return here.with_network(network)


class Backbones:
    """`backbone_for`, with each network loaded once.

    Args:
        here: the backbone at hand.
    """

    def __init__(self, here: Backbone) -> None:
        self._here = here
        self._brought: dict[str, Backbone] = {}

    def __call__(self, model: Model | None) -> Backbone:
        if model is None or model.own_backbone is None:
            return self._here
        key = model.space.weights_sha256
        if key not in self._brought:
            self._brought[key] = backbone_for(model, self._here)
        return self._brought[key]


def examples_in(
    store: Store, examples: Examples, model: Model, backbone: Backbone, limits: Limits
) -> tuple[Examples, NDArray[np.floating]]:
    """Return the examples that a model's backbone can embed, and their embeddings `(n, d)`.

    Photos of a brought network are embedded now where they were not yet, and kept in the store.
    Those whose file is gone are left out, which is among the findings.

    Raises:
        TrainingError: none is left.
    """
    if model.own_backbone is None:
        return examples, examples.data.embeddings
    embed_photos(store, examples.photos, backbone, limits)
    ids = [p.photo.content_id or 0 for p in examples.photos]
    absent = set(store.vectors.missing(backbone.space, ids))
    keep = np.array([content_id not in absent for content_id in ids], bool)
    if not keep.any():
        raise TrainingError(
            f"none of the {len(ids)} labelled photos can be embedded by the network of this model: "
            "their files are gone, or larger than [limits] allows. Bring them back, or train again."
        )
    lost = photos_left_out(np.array(examples.data.names)[~keep].tolist())
    left = replace(examples.rows(keep), checks=[*examples.checks, *lost])
    there = [content_id for content_id in ids if content_id not in absent]
    return left, store.vectors.get(backbone.space, there)


def embed_photos(
    store: Store, photos: Sequence[LabelledPhoto], backbone: Backbone, limits: Limits
) -> None:
    """Embed those of some photos that have no embedding in a backbone's space, and keep it."""
    by_id = {p.photo.content_id or 0: p.photo for p in photos}
    todo = [by_id[i] for i in store.vectors.missing(backbone.space, list(by_id))]
    with worker_pool() as pool:
        for batch in batched(todo, CHUNK_FILES):
            (pixels,), errors = load_files(
                [p.location for p in batch],
                [backbone.preprocessing],
                limits,
                pool,
                [p.sha256 or "" for p in batch],
            )
            usable = [p for p, e in zip(batch, errors, strict=True) if e is None]
            if usable:
                ids = [p.content_id or 0 for p in usable]
                store.vectors.put(backbone.space, ids, embed_all(backbone, pixels))
