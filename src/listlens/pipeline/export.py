"""Answers and embeddings out of the store, a row a photo, streaming."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.errors import MissingExtraError
from listlens.core.types import Status
from listlens.pipeline.contents import batched
from listlens.pipeline.labelling import label_text, labelled_photos
from listlens.pipeline.places import SCORED, place_columns, placed_by
from listlens.pipeline.table_files import check_suffix, sink_frames, whole_file, write_rows

if TYPE_CHECKING:
    from listlens.core.types import EmbeddingSpace, Task
    from listlens.labels.consensus import Label
    from listlens.pipeline.models import LiveModel
    from listlens.store.open import Store
    from listlens.store.photos import PhotoView

PHOTOS_AT_ONCE = 1000
BASE: dict[str, type] = {
    "listing_id": str,
    "image": str,
    "position": int,
    "status": str,
    "reason": str,
    "sha256": str,
}


def export_answers(store: Store, models: list[LiveModel], path: Path, *, probs: bool) -> int:
    """Write every photo with its status and every task's answer; return the number of rows.

    Columns: those of BASE, then for each task its decision (several classes joined by ``|``;
    ``TASK:answer`` where BASE has the task's name), ``TASK:probability``, ``TASK:review`` and
    ``TASK:model``; with `probs`, ``p:TASK:CLASS`` too. Of a score, the score and
    ``TASK:percentile``, ``TASK:spread``, ``TASK:category``, ``TASK:pulled_down_by``.
    """
    columns = dict(BASE)
    for model in models:
        if model.kind == "score":
            columns |= {_answer_column(model): float}
            columns |= {f"{model.task}:{name}": kind for name, kind in SCORED.items()}
        else:
            columns |= {
                _answer_column(model): str,
                f"{model.task}:probability": float,
                f"{model.task}:review": bool,
            }
        columns |= {f"{model.task}:model": int}
        if probs:
            columns |= {f"p:{model.task}:{name}": float for name in model.classes}
    return write_rows(path, columns, _answers(store, models, columns))


def _answers(
    store: Store, models: list[LiveModel], columns: dict[str, type]
) -> Iterator[dict[str, Any]]:
    empty = dict.fromkeys(columns)
    places = {m.task: placed_by(store, m) for m in models if m.kind == "score"}
    for photos in batched(store.photos.scan(), PHOTOS_AT_ONCE):
        ids = [p.content_id for p in photos if p.content_id is not None]
        rows = [empty | _base(photo) for photo in photos]
        for model in models:
            stored = store.predictions.get(model.model_id, ids)
            known = [(r, stored[p.content_id]) for r, p in zip(rows, photos, strict=True)
                     if p.content_id in stored and p.status is Status.OK]  # fmt: skip
            _fill(model, known, with_probs=f"p:{model.task}:{model.classes[0]}" in columns)
            for row, photo in zip(rows, photos, strict=True):
                place = places.get(model.task, {}).get(photo.photo_pk)
                if place is not None:
                    row |= {f"{model.task}:{k}": v for k, v in place_columns(place).items()}
        yield from rows


def _base(photo: PhotoView) -> dict[str, Any]:
    return {
        "listing_id": photo.listing_id,
        "image": photo.photo_id,
        "position": photo.position,
        "status": photo.status.value,
        "reason": photo.reason.value if photo.reason else None,
        "sha256": photo.sha256,
    }


def _answer_column(model: LiveModel) -> str:
    """The task's name, where that is not a column of every photo."""
    return f"{model.task}:answer" if model.task in BASE else model.task


def _fill(model: LiveModel, known: list[tuple[dict[str, Any], Any]], *, with_probs: bool) -> None:
    """Put one model's answers into the rows they belong to."""
    if not known:
        return
    decisions = model.decide(np.stack([probs for _, probs in known]))
    for (row, probs), decision in zip(known, decisions, strict=True):
        row[f"{model.task}:model"] = model.version
        if decision.score is not None:
            row[_answer_column(model)] = round(decision.score, 4)
        elif decision.probability is not None:
            row[_answer_column(model)] = "|".join(decision.classes)
            row[f"{model.task}:probability"] = round(decision.probability, 5)
            row[f"{model.task}:review"] = decision.review
        if with_probs:
            for name, value in zip(model.classes, probs.tolist(), strict=True):
                row[f"p:{model.task}:{name}"] = round(value, 5)


def export_labels(store: Store, task: Task, path: Path) -> int:
    """Write a task's labels in the form that `labels import` reads; return the number of rows.

    What is tied stays undecided: the other classes are then named, and the rest is unknown.
    """
    columns: dict[str, type] = {
        "image": str,
        "label": str,
        **({"unlisted": str} if task.kind == "multi" else {}),
        "listing_id": str,
        "split": str,
        "group": str,
        "confidence": float,
        "n_annotators": int,
    }
    rows = (
        {
            "image": p.photo.photo_id,
            "label": label_text(task.kind, label),
            "unlisted": label.unlisted,
            "listing_id": p.photo.listing_id,
            "split": p.split or None,
            "group": p.group or None,
            "confidence": round(label.confidence, 4),
            "n_annotators": label.n_annotators,
        }
        for p in labelled_photos(store, task)
        for label in [_without_ties(task, p.label)]
    )
    return write_rows(path, columns, ({name: row[name] for name in columns} for row in rows))


def _without_ties(task: Task, label: Label) -> Label:
    """A label that says no to each class it says no to, where the tied ones must stay open."""
    if task.kind != "multi" or not label.tied or label.unlisted == "unknown":
        return label
    no = tuple(c.name for c in task.classes if c.name not in {*label.yes, *label.tied})
    return replace(label, no=no, unlisted="unknown")


def export_embeddings(store: Store, space: EmbeddingSpace, path: Path) -> int:
    """Write the embedding of every photo; return the number of rows.

    ``.parquet``: listing_id, image, sha256 and `embedding` (float32). ``.npy``: the array
    `(n, dim)` float16; ``.npy.csv`` beside it says which photo each row is.
    """
    check_suffix(path, (".npy", ".parquet"))
    photos = _embedded(store, space)
    if path.suffix.lower() == ".npy":
        return _write_npy(store, space, photos, path)
    try:
        import polars as pl
    except ModuleNotFoundError:
        raise MissingExtraError("writing Parquet", "tables") from None
    schema: Any = {"listing_id": pl.String, "image": pl.String, "sha256": pl.String,
              "embedding": pl.Array(pl.Float32, space.dim)}  # fmt: skip
    frames = (
        pl.DataFrame(
            {
                "listing_id": [p.listing_id for p in batch],
                "image": [p.photo_id for p in batch],
                "sha256": [p.sha256 for p in batch],
                "embedding": _vectors(store, space, batch).astype(np.float32),
            },
            schema=schema,
        )
        for batch in batched(photos, PHOTOS_AT_ONCE)
    )
    with whole_file(path) as temporary:
        return sink_frames(temporary, schema, frames)


def _embedded(store: Store, space: EmbeddingSpace) -> Iterator[PhotoView]:
    """Usable photos whose content has an embedding in the space."""
    for batch in batched(store.photos.scan(status=Status.OK), PHOTOS_AT_ONCE):
        absent = set(store.vectors.missing(space, [p.content_id or 0 for p in batch]))
        yield from (p for p in batch if p.content_id not in absent)


def _vectors(store: Store, space: EmbeddingSpace, photos: list[PhotoView]) -> Any:
    return store.vectors.get(space, [p.content_id or 0 for p in photos])


def _write_npy(store: Store, space: EmbeddingSpace, photos: Iterator[PhotoView], path: Path) -> int:
    """One pass for the array and its index, so that they agree whatever changes meanwhile.

    Not through a memory map: a full disk would kill the process there, without an error to catch.
    """
    columns: dict[str, type] = {"listing_id": str, "image": str, "sha256": str}
    with whole_file(path) as temporary, temporary.open("wb") as file:

        def written() -> Iterator[dict[str, Any]]:
            for batch in batched(photos, PHOTOS_AT_ONCE):
                file.write(_vectors(store, space, batch).astype("<f2").tobytes())
                yield from ({name: _base(photo)[name] for name in columns} for photo in batch)

        file.write(_npy_header(0, space.dim))
        n = write_rows(path.with_name(f"{path.name}.csv"), columns, written())
        file.seek(0)
        file.write(_npy_header(n, space.dim))
    return n


def _npy_header(n: int, dim: int) -> bytes:
    """The first 128 bytes of an `.npy` file of `(n, dim)` float16, however large n is.

    Source:
        NumPy Enhancement Proposal 1, format version 1.0.
    """
    about = f"{{'descr': '<f2', 'fortran_order': False, 'shape': ({n}, {dim}), }}"
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + f"{about:<117}\n".encode("ascii")
