"""Explain a task's answers for photos: evidence in the photo, and in the photos learnt from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.errors import ModelError, PhotoError
from listlens.core.types import Status
from listlens.explain.asked import Asked, Explanation, check_method, explain
from listlens.explain.heatmaps import overlay
from listlens.explain.pictures import seen_part, with_regions
from listlens.explain.target import target_of
from listlens.pipeline.apply import require_same_backbone
from listlens.pipeline.contents import THUMBNAIL_PX, batched, prepare_bytes, read_file
from listlens.pipeline.heldout import Heldout
from listlens.pipeline.labelling import LabelledPhoto, label_in_words, labelled_photos
from listlens.pipeline.named_photos import location_of
from listlens.sources.paths import printable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.core.types import Kind, Task
    from listlens.images.files import Limits
    from listlens.images.prepare import Prepared
    from listlens.learn.model import Model
    from listlens.learn.policies import Decision
    from listlens.pipeline.models import LiveModel
    from listlens.store.open import Store

N_NEIGHBOURS = 5
"""Labelled photos shown beside an explained one."""

N_PROBS = 5
"""Likeliest classes that are named."""

MAP_CELLS = 14
"""A heat-map in the JSON has at most this many cells a side."""

_BLOCK = 4096  # embeddings compared at once: 21 MB in float32


@dataclass(frozen=True)
class PhotoExplained:
    """What is known of one photo's answer.

    Args:
        facts: JSON-able, as `listlens explain --json` prints it.
        pictures: JPEGs by name: `photo`, `heatmap`, `regions`, and `neighbour 0` and on.
        curves: deletion and insertion of the map, and their means over the maps that know
            nothing, each `(steps + 1,)`; empty where the photo cannot be used.
    """

    facts: dict[str, Any]
    pictures: Mapping[str, bytes]
    curves: Mapping[str, Sequence[float]]

    @property
    def ok(self) -> bool:
        """Whether the photo could be used."""
        return bool(self.facts["status"] == Status.OK.value)


@dataclass(frozen=True)
class _Ready:
    """A photo that was read: its name, and what was made of it, or why nothing."""

    name: str
    sha256: str
    prepared: Prepared | PhotoError


def asked_of(model: Model, classes: tuple[str, ...], backbone: Backbone) -> Asked:
    """Return a model as explanations ask it.

    Args:
        model: of any kind.
        classes: its own, by today's names.
        backbone: must be the model's.

    Raises:
        ModelError: the model was trained on another backbone.
    """
    require_same_backbone(model.space, backbone.space)
    weights = model.head.weights * model.calibration.slope[:, None]
    return Asked(backbone, model.kind, classes, model.probs, weights)


def explain_photos(
    store: Store,
    root: Path,
    task: Task,
    live: LiveModel,
    backbone: Backbone,
    limits: Limits,
    photos: Sequence[str | os.PathLike[str]],
    *,
    name: str | None = None,
    method: str = "auto",
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[PhotoExplained]:
    """Explain the answers for photos; one that cannot be used keeps its place, with the reason.

    Args:
        store: where the labelled photos are.
        root: the project's folder.
        task: what is asked.
        live: the model that answers it.
        backbone: must be the model's.
        limits: bounds for the photos.
        photos: files, or ids of photos of the project.
        name: class or node to explain; None for the model's own answer.
        method: of the heat-map, see `explain.asked.METHODS`.
        seed: of masks and orders.
        progress: called with the photos done and their number.

    Raises:
        InputError: an unknown method, or `cam` with a backbone that has no feature maps.
        NotFoundError: the model has no such class.
        ModelError: the model was trained on another backbone.
    """
    check_method(method)
    assert live.model is not None  # starter tags are no task that can be explained
    asked = asked_of(live.model, live.classes, backbone)
    if name is not None:
        target_of(live.kind, live.classes, name, np.full(len(live.classes), 1 / len(live.classes)))
    read = [_read(store, photo, backbone, limits) for photo in photos]
    usable = [r for r in read if not isinstance(r.prepared, PhotoError)]
    pixels = [r.prepared.pixels for r in usable if not isinstance(r.prepared, PhotoError)]
    side = backbone.preprocessing.size_px
    vectors = backbone.embed(np.array(pixels, np.uint8).reshape(-1, side, side, 3))
    learnt = _learnt_from(store, root, task, live)
    near = iter(_nearest(store, backbone, learnt, vectors, [r.sha256 for r in usable]))
    probs = live.probs(vectors)
    answers = iter(zip(probs, live.decide(probs), strict=True))
    found = []
    for done, photo in enumerate(read):
        progress(done, len(read))
        if isinstance(photo.prepared, PhotoError):
            found.append(_failed(photo.name, photo.prepared))
            continue
        row, decision = next(answers)
        explained = explain(photo.prepared.pixels, asked, name=name, method=method, seed=seed)
        pictures = _pictures(photo.prepared, explained, backbone)
        neighbours = []
        for i, (labelled, similarity) in enumerate(next(near)):
            thumbnail = store.thumbnails.get(labelled.photo.sha256 or "")
            if thumbnail is not None:
                pictures[f"neighbour {i}"] = thumbnail
            neighbours.append(_neighbour(live.kind, labelled, similarity))
        facts = _facts(photo.name, live, row, decision, explained, neighbours)
        found.append(PhotoExplained(facts, pictures, _curves(explained)))
    progress(len(read), len(read))
    return found


def _read(
    store: Store, photo: str | os.PathLike[str], backbone: Backbone, limits: Limits
) -> _Ready:
    """Read a file, or the original of a photo of the project."""
    name = printable(os.fspath(photo))
    try:
        location = location_of(store, photo)
    except PhotoError as error:
        return _Ready(name, "", error)
    read = read_file(location, limits)
    if read.error is not None:
        return _Ready(name, "", read.error)
    prepared = prepare_bytes(
        read.data, backbone.preprocessing, limits, thumbnail_px=THUMBNAIL_PX, measure=False
    )
    return _Ready(name, read.sha256, prepared)


def _learnt_from(store: Store, root: Path, task: Task, live: LiveModel) -> list[LabelledPhoto]:
    """The labelled photos that the model saw in training; all of them where that is not known."""
    photos = labelled_photos(store, task)
    record = store.models.get(task.task_id, live.version)
    try:
        heldout = Heldout.of(root / record.folder)
    except ModelError:
        return photos
    return [p for p in photos if heldout.split_of(p.photo.photo_pk) not in (None, "test")]


def _nearest(
    store: Store,
    backbone: Backbone,
    learnt: Sequence[LabelledPhoto],
    vectors: NDArray[np.floating],
    own: Sequence[str],
) -> Iterator[list[tuple[LabelledPhoto, float]]]:
    """Yield the labelled photos whose embeddings have the largest cosine, other files only."""
    by_content = {p.photo.content_id: p for p in reversed(learnt)}
    ids = [c for c in by_content if c is not None]
    absent = set(store.vectors.missing(backbone.space, ids))
    ids = [content_id for content_id in ids if content_id not in absent]
    wanted = _unit(vectors)
    similar = [
        wanted @ _unit(store.vectors.get(backbone.space, block)).T for block in batched(ids, _BLOCK)
    ]
    table = np.hstack(similar) if similar else np.zeros((len(vectors), 0))
    for sha256, row in zip(own, table, strict=True):
        order = np.argsort(-row, kind="stable")[: N_NEIGHBOURS + 1].tolist()
        others = [i for i in order if by_content[ids[i]].photo.sha256 != sha256]
        yield [(by_content[ids[i]], float(row[i])) for i in others[:N_NEIGHBOURS]]


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    wide = vectors.astype(np.float32)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12))


def _pictures(prepared: Prepared, explained: Explanation, backbone: Backbone) -> dict[str, bytes]:
    seen = seen_part(prepared.thumbnail or b"", backbone.preprocessing)
    return {
        "photo": seen,
        "heatmap": overlay(seen, explained.heat),
        "regions": with_regions(seen, explained.labels, explained.shares.values),
    }


def _neighbour(kind: Kind, labelled: LabelledPhoto, similarity: float) -> dict[str, Any]:
    return {
        "image": labelled.photo.photo_id,
        "listing_id": labelled.photo.listing_id,
        "label": label_in_words(kind, labelled.label),
        "similarity": round(similarity, 4),
    }


def _facts(
    name: str,
    live: LiveModel,
    probs: NDArray[np.floating],
    decision: Decision,
    explained: Explanation,
    neighbours: list[dict[str, Any]],
) -> dict[str, Any]:
    likeliest = np.argsort(-probs, kind="stable")[:N_PROBS].tolist()
    chance = {
        "deletion": float(np.mean([f.deletion_auc for f in explained.chance])),
        "insertion": float(np.mean([f.insertion_auc for f in explained.chance])),
    }
    gains = explained.gain
    return {
        "image": name,
        "status": Status.OK.value,
        "reason": None,
        "detail": "",
        "classes": list(decision.classes),
        "probability": decision.probability,
        "score": decision.score,
        "review": decision.review,
        "likeliest": {live.classes[i]: round(float(probs[i]), 6) for i in likeliest},
        "explained": explained.target.name,
        "value": round(explained.value, 6),
        "method": explained.method,
        "heatmap": coarse(explained.heat).round(6).tolist(),
        "regions": [
            {
                "box": [round(x, 4) for x in region.box],
                "value": round(region.value, 6),
                "error": round(region.error, 6) if np.isfinite(region.error) else None,
            }
            for region in explained.regions()
        ],
        "with_nothing_seen": round(explained.shares.nothing, 6),
        "evidence": neighbours,
        "faithfulness": {
            **explained.faithful.as_dict(),
            "by_chance": {key: round(value, 6) for key, value in chance.items()},
            "better_than_chance": bool(min(gains) > 0),
        },
    }


def coarse(heat: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return a heat-map with at most MAP_CELLS cells a side, each the mean of what it covers."""
    wide = np.asarray(heat, np.float64)
    for axis in (0, 1):
        n = wide.shape[axis]
        cells = min(n, MAP_CELLS)
        edges = np.arange(cells) * n // cells
        sizes = np.diff([*edges, n])
        shape = (-1, 1) if axis == 0 else (1, -1)
        wide = np.add.reduceat(wide, edges, axis=axis) / sizes.reshape(shape)
    return wide


def _curves(explained: Explanation) -> dict[str, list[float]]:
    return {
        "deletion": explained.faithful.deletion.tolist(),
        "insertion": explained.faithful.insertion.tolist(),
        "deletion by chance": np.mean([f.deletion for f in explained.chance], axis=0).tolist(),
        "insertion by chance": np.mean([f.insertion for f in explained.chance], axis=0).tolist(),
    }


def _failed(name: str, error: PhotoError) -> PhotoExplained:
    facts = {
        "image": name,
        "status": Status.FAILED.value,
        "reason": error.reason.value,
        "detail": error.detail,
    }
    return PhotoExplained(facts, {}, {})
