"""A task learnt within a budget: the same photos looked at otherwise, and other heads on them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from listlens.backbones.engine import EngineBackbone
from listlens.backbones.own_onnx import read_own_onnx
from listlens.backbones.views import View, root, write_view
from listlens.core.errors import InputError, ModelError
from listlens.core.types import Status
from listlens.images.decode import Limits
from listlens.learn.budget import NO_TIME, STORED
from listlens.learn.recipe import train
from listlens.learn.search import search
from listlens.learn.unlabelled import MOST
from listlens.pipeline.contents import CHUNK_FILES, batched, embed_all, load_files, worker_pool

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.core.types import EmbeddingSpace
    from listlens.learn.candidates import TrainOptions
    from listlens.learn.recipe import Trained
    from listlens.pipeline.dataset import Examples
    from listlens.pipeline.labelling import LabelledPhoto
    from listlens.store.open import Store

    Floats = NDArray[np.float32]

VIEWS = (
    View(root=True),
    View(larger=True, root=True),
    View(larger=True),
    View(crops=True, root=True),
    View(crops=True),
)
"""Tried in this order, the cheapest first: what is dearer must be clearly better."""

FEWEST = 20
"""Fewer photos without a label are not worth a trial."""

SHARE_FOR_EMBEDDING = 0.6
"""Of the time that is left, what embedding the photos once more may take: heads need some too."""


@dataclass(frozen=True)
class Learnt:
    """What a training learnt, and on which embeddings.

    Args:
        trained: the head and what it gave for photos it had not seen.
        examples: with the embeddings that the head is on.
        backbone: that gives these embeddings.
        own_backbone: its ONNX file where the model is to bring it; None: the project's own.
    """

    trained: Trained
    examples: Examples
    backbone: Backbone
    own_backbone: Path | None = None


def learn(
    examples: Examples,
    backbone: Backbone,
    options: TrainOptions,
    budget_s: float | None,
    folder: Path,
    limits: Limits,
    progress: Callable[[str, float], None] = lambda phrase, share: None,
    unlabelled: Floats | None = None,
) -> Learnt:
    """Train the default; with a budget, also search for a better head and a better look.

    Args:
        examples: labelled photos with the project's embeddings.
        backbone: the project's.
        options: how to train.
        budget_s: seconds; None: the default alone.
        folder: for the network of the view that is kept; must outlive the model's saving.
        limits: bounds for the photos, which are read again.
        progress: called with a phrase and the share done.
        unlabelled: `(m, dim)` embeddings of photos without a label, to learn from too.
    """
    if budget_s is None:
        return Learnt(train(examples.data, options, progress), examples, backbone)
    looks = _Looks(examples, backbone, folder, limits)
    spaces = [(view.name, looks.maker(view)) for view in VIEWS] if looks.possible else []
    found = search(examples.data, budget_s, spaces, options, progress, unlabelled)
    selection = found.trained.selection | {"search": found.as_dict()}
    trained = replace(found.trained, selection=selection)
    if found.space == STORED:
        return Learnt(trained, examples, backbone)
    view = next(v for v in VIEWS if v.name == found.space)
    data = replace(examples.data, embeddings=looks.made[view])
    path = looks.written(view)
    return Learnt(trained, replace(examples, data=data), looks.backbone(view), path)


def unlabelled_embeddings(store: Store, examples: Examples, space: EmbeddingSpace) -> Floats | None:
    """Embeddings of photos that nobody labelled, evenly thinned out; None where they are few."""
    labelled = {p.photo.content_id for p in examples.photos}
    others = [
        c.content_id
        for c in store.contents.scan()
        if c.status is Status.OK and c.content_id not in labelled
    ]
    others = others[:: -(-len(others) // MOST) or 1]
    absent = set(store.vectors.missing(space, others))
    there = [content_id for content_id in others if content_id not in absent]
    return store.vectors.get(space, there).astype(np.float32) if len(there) >= FEWEST else None


class _Looks:
    """The same photos as other views see them, each embedded once."""

    def __init__(
        self, examples: Examples, backbone: Backbone, folder: Path, limits: Limits
    ) -> None:
        self._examples, self._here = examples, backbone
        self._folder, self._limits = folder, limits
        self.made: dict[View, Floats] = {View(): examples.data.embeddings}

    @property
    def possible(self) -> bool:
        """Whether the backbone is one of ours that has feature maps."""
        return isinstance(self._here, EngineBackbone) and self._here.network.feature_map is not None

    def maker(self, view: View) -> Callable[[float], Floats | str]:
        """What embeds the photos in a view, given the seconds left."""
        return lambda seconds: self._make(view, seconds)

    def _make(self, view: View, seconds: float) -> Floats | str:
        plain = replace(view, root=False)
        if plain not in self.made:
            try:
                backbone = self.backbone(plain)
            except (InputError, ModelError) as error:
                return str(error)
            most = seconds * SHARE_FOR_EMBEDDING
            made = embedded_within(self._examples.photos, backbone, most, self._limits)
            if isinstance(made, str):
                return made
            self.made[plain] = made
        if view.root:
            # As the graph would give it: rounded to float16 like all embeddings.
            self.made[view] = root(self.made[plain]).astype(np.float16).astype(np.float32)
        return self.made[view]

    def written(self, view: View) -> Path:
        """The view's network as a file."""
        assert isinstance(self._here, EngineBackbone)
        path = self._folder / f"{view.name or 'plain'}.onnx"
        if not path.exists():
            write_view(self._here.network, view, path)
        return path

    def backbone(self, view: View) -> Backbone:
        """The view's network on the engine at hand."""
        assert isinstance(self._here, EngineBackbone)
        network = self._here.network
        derived = read_own_onnx(self.written(view), network.preprocessing.reduced_px)
        return self._here.with_network(replace(derived, name=f"{network.name}-{view.name}"))


def with_centre(store: Store, examples: Examples, space: EmbeddingSpace) -> Examples:
    """Return the examples with the mean embedding of the shop, which a few labels lean on."""
    rest = unlabelled_embeddings(store, examples, space)
    if rest is None:
        return examples
    centre = np.concatenate([examples.data.embeddings, rest]).mean(axis=0, dtype=np.float64)
    return replace(examples, data=replace(examples.data, centre=centre.astype(np.float32)))


def embedded_within(
    photos: list[LabelledPhoto], backbone: Backbone, seconds: float, limits: Limits
) -> Floats | str:
    """Embed photos `(n, dim)`, or say why not: it would take longer, or a file is gone."""
    started, parts, done = time.monotonic(), [], 0
    with worker_pool() as pool:
        for batch in batched(photos, CHUNK_FILES):
            (pixels,), errors = load_files(
                [p.photo.location for p in batch],
                [backbone.preprocessing],
                limits,
                pool,
                [p.photo.sha256 or "" for p in batch],
            )
            broken = next((str(e) for e in errors if e is not None), "")
            if broken:
                return f"a photo cannot be read again: {broken}"
            parts.append(embed_all(backbone, pixels))
            done += len(batch)
            if (time.monotonic() - started) / done * len(photos) > seconds:
                return NO_TIME
    return np.concatenate(parts).astype(np.float32)
