"""A model applied to photos that are in no store: files or bytes in, predictions out.

The same `prepare`, the same backbone port and the same head as on the stored line, so the same
bytes get the same probabilities.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.backbones.network import MODEL_NAME
from listlens.backbones.registry import load_backbone
from listlens.core.errors import ModelError, PhotoError
from listlens.core.types import Reason, Status
from listlens.images.decode import Limits
from listlens.learn.model import Model
from listlens.pipeline.brought import backbone_for
from listlens.pipeline.contents import (
    CHUNK_FILES,
    batched,
    embed_all,
    load_files,
    worker_pool,
)
from listlens.pipeline.notebook import PhotoList, card_html, predictions
from listlens.sources.paths import printable

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.core.types import EmbeddingSpace

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's answer for one photo.

    Args:
        image: the path as given, printable.
        status: ``ok``, or ``failed`` with a reason.
        classes: the decision under the policy; `single`: one class, `multi`: any number, `tree`:
            the path of a node or none, `score`: none.
        probability: of the decided class (`single`) or node (`tree`), or of the least sure decided
            class.
        review: whether a person should look.
        probs: calibrated probability of every class, in [0, 1]; `tree`: of its leaves, `score`: the
            share of votes that each step would get.
        score: mean of these votes; None save for `score`.
        spread: their standard deviation.
        percentile: share of the shop's photos that are scored lower, in [0, 1]; None where the
            shop is not at hand.
    """

    image: str
    status: Status
    reason: Reason | None = None
    detail: str = ""
    classes: tuple[str, ...] = ()
    probability: float | None = None
    review: bool = False
    probs: dict[str, float] = field(default_factory=dict)
    score: float | None = None
    spread: float | None = None
    percentile: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as `listlens predict --json` prints it."""
        return {
            "image": self.image,
            "status": self.status.value,
            "reason": self.reason.value if self.reason else None,
            "detail": self.detail,
            "classes": list(self.classes),
            "probability": self.probability,
            "review": self.review,
            "probs": self.probs,
            **({"score": self.score, "spread": self.spread, "percentile": self.percentile}
               if self.score is not None else {}),
        }  # fmt: skip


def embed_files(
    locations: Sequence[str],
    backbone: Backbone,
    limits: Limits,
    pool: Executor,
    expected: Sequence[str] | None = None,
) -> tuple[NDArray[np.float16], list[PhotoError | None]]:
    """Embed files given by their printable locations.

    Args:
        locations: printable absolute paths.
        backbone: what embeds.
        limits: bounds for the photos.
        pool: threads that decode and embed.
        expected: sha256 (hex) of each file, where only these bytes will do.

    Returns:
        Embeddings `(n_usable, dim)`, and for each location its error or None; the embeddings are
        those of the locations without an error, in order.
    """
    (pixels,), errors = load_files(locations, [backbone.preprocessing], limits, pool, expected)
    return embed_all(backbone, pixels), errors


class PhotoModel:
    """A trained model with the backbone it needs: photos in, predictions out.

    Args:
        model: the head with its calibration, policy and taxonomy.
        backbone: must be the model's own; another engine or precision is allowed, at a small
            measured loss that `notice` states.
        limits: bounds for the photos.

    Raises:
        ModelError: the backbone or its preprocessing is not the model's.
    """

    def __init__(self, model: Model, backbone: Backbone, limits: Limits | None = None) -> None:
        require_same_backbone(model.space, backbone.space)
        self.model, self.backbone, self.limits = model, backbone, limits or Limits()

    @property
    def classes(self) -> tuple[str, ...]:
        return self.model.classes

    @property
    def notice(self) -> str:
        """What the user should know of applying this model here; empty if nothing."""
        return engine_notice(self.model, self.backbone)

    def predict(self, paths: Iterable[PathLike]) -> PhotoList[Prediction]:
        """Predict files; a broken one gets its status and reason, in its place.

        Args:
            paths: any number of files.

        Returns:
            One prediction a path, in order.
        """
        return predictions(list(self.stream(paths)))

    def _repr_html_(self) -> str:
        """What a notebook shows: the model's card."""
        return card_html(self.model.card)

    def predict_proba(self, paths: Iterable[PathLike]) -> NDArray[np.float32]:
        """Return calibrated probabilities `(n, n_classes)`; a broken photo's row is NaN."""
        rows = [
            [p.probs[c] for c in self.classes] if p.probs else [np.nan] * len(self.classes)
            for p in self.stream(paths)
        ]
        return np.asarray(rows, np.float32).reshape(-1, len(self.classes))

    def stream(self, paths: Iterable[PathLike]) -> Iterator[Prediction]:
        """Predict lazily, a bounded number of photos in memory at a time."""
        answers = predict_files({"": self.model}, lambda _: self.backbone, self.limits, paths)
        return (prediction for _, prediction in answers)


def predict_files(
    models: Mapping[str, Model],
    backbone_for: Callable[[Model], Backbone],
    limits: Limits,
    paths: Iterable[PathLike],
) -> Iterator[tuple[str, Prediction]]:
    """Answer several tasks for files, each of which is read once and embedded once a backbone.

    Args:
        models: task to model.
        backbone_for: what embeds for a model.
        limits: bounds for the photos.
        paths: any number of files.

    Yields:
        (task, prediction): file by file, the tasks in their order.

    Raises:
        ModelError: a model was trained on another backbone.
    """
    needed = {task: backbone_for(model) for task, model in models.items()}
    for task, model in models.items():
        require_same_backbone(model.space, needed[task].space)
    backbones = {backbone.space.id: backbone for backbone in needed.values()}
    ways = list(dict.fromkeys(backbone.preprocessing for backbone in backbones.values()))
    with worker_pool() as pool:
        for batch in batched((printable(os.fspath(path)) for path in paths), CHUNK_FILES):
            pixels, errors = load_files(batch, ways, limits, pool)
            vectors = {
                name: embed_all(backbone, pixels[ways.index(backbone.preprocessing)])
                for name, backbone in backbones.items()
            }
            columns = [
                _answers(model, batch, vectors[needed[task].space.id], errors)
                for task, model in models.items()
            ]
            for row in zip(*columns, strict=True):
                yield from zip(models, row, strict=True)


def _answers(
    model: Model,
    names: Sequence[str],
    vectors: NDArray[np.float16],
    errors: list[PhotoError | None],
) -> Iterator[Prediction]:
    """Predictions in the order of names; the usable ones are those of `vectors`."""
    probs = model.probs(vectors)
    answers = iter(zip(probs, model.decide(probs), strict=True))
    for name, error in zip(names, errors, strict=True):
        if error is not None:
            yield Prediction(name, Status.FAILED, error.reason, error.detail)
            continue
        row, decision = next(answers)
        yield Prediction(
            name,
            Status.OK,
            classes=decision.classes,
            probability=decision.probability,
            review=decision.review,
            probs=dict(zip(model.classes, map(float, row), strict=True)),
            score=decision.score,
            spread=decision.spread,
        )


def require_same_backbone(trained: EmbeddingSpace, here: EmbeddingSpace) -> None:
    """Raise ModelError where a model's embeddings are of another backbone than those at hand."""
    if not trained.comparable(here):
        raise ModelError(
            f"the model was trained on embeddings of {trained.backbone} "
            f"({trained.weights_sha256[:12]}), not of {here.backbone} "
            f"({here.weights_sha256[:12]}). Train it again on this backbone."
        )


def load_model(
    path: PathLike,
    *,
    backbone: PathLike | None = None,
    engine: str = "auto",
    precision: str = "auto",
) -> PhotoModel:
    """Load a model folder, ready for photos.

    Args:
        path: a model folder, `models/<task>/<version>` of a project.
        backbone: ONNX file of the backbone, where the model was trained on one of your own.
        engine: ``auto``, ``openvino`` or ``onnxruntime``.
        precision: ``auto``, ``bf16`` or ``f32``.

    Raises:
        ModelError: the folder is damaged, or its backbone is not here.
    """
    model = Model.load(Path(path))
    if backbone is None and model.own_backbone is not None:
        at_hand = load_backbone(engine=engine, precision=precision)  # type: ignore[arg-type]
        return PhotoModel(model, backbone_for(model, at_hand))
    if backbone is None and model.space.backbone != MODEL_NAME:
        raise ModelError(
            f"the model was trained on a backbone of your own, {model.space.backbone}. Give its "
            "ONNX file: --backbone FILE, or backbone= in Python."
        )
    loaded = load_backbone(
        os.fspath(backbone) if backbone is not None else model.space.backbone,
        engine=engine,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        reduced_px=model.preprocessing.reduced_px,
    )
    return PhotoModel(model, loaded)


def engine_notice(model: Model, backbone: Backbone) -> str:
    """Say so where a model is applied on another engine, precision or decoding than its own."""
    trained, here = model.space, backbone.space
    if trained == here:
        return ""
    was = f"{trained.engine} {trained.precision} {trained.preprocessing}"
    now = f"{here.engine} {here.precision} {here.preprocessing}"
    return (
        f"The model was trained on {was} and runs on {now}: a few decisions in a hundred may "
        "differ (docs/performance.md has the measured share). Train again here to avoid it."
    )
