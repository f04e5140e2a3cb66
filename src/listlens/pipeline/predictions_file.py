"""`predictions.csv` of `auto`: every photo with its status, its label and what the model says.

Photos that the model was trained on carry the answer of models that had not seen them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.types import STARTER, Status
from listlens.learn.policies import answers, named
from listlens.pipeline.contents import batched
from listlens.pipeline.heldout import Heldout
from listlens.pipeline.labelling import label_in_words, labelled_photos
from listlens.pipeline.models import LiveModel, newest_model
from listlens.pipeline.places import SCORED, place_columns, placed_by
from listlens.pipeline.table_files import write_rows

if TYPE_CHECKING:
    from listlens.core.types import Task
    from listlens.learn.policies import Decided
    from listlens.store.open import Store
    from listlens.store.photos import PhotoView

PHOTOS_AT_ONCE = 1000


def write_predictions(store: Store, root: Path, task: Task | None, path: Path) -> int:
    """Write one row a photo that is in its source still, by the newest model; return their number.

    Columns: image, status, split, label, prediction, probability, then ``p:CLASS`` for each
    class, then review and reason. Without a task the prediction is the starter tags. Of a tree the
    prediction is a path, and the classes are its leaves. Of a score it is the
    score, and score, spread, percentile, category and what pulls it down stand in place of the
    probability.
    """
    task = task or store.labels.task(STARTER)
    model = newest_model(store, root, task)
    assert model is not None  # written right after tagging
    columns: dict[str, type] = {
        "image": str,
        "status": str,
        "split": str,
        "label": str,
        "prediction": str,
    }
    scored = model.kind == "score"
    columns |= {"score": float} | SCORED if scored else {"probability": float}
    if model.task != STARTER:
        columns |= {f"p:{name}": float for name in model.classes}
    columns |= {"review": bool, "reason": str}
    return write_rows(path, columns, _rows(store, root, task, model, columns))


def _rows(
    store: Store, root: Path, task: Task, model: LiveModel, columns: dict[str, type]
) -> Iterator[dict[str, Any]]:
    labels = {
        p.photo.photo_pk: label_in_words(task.kind, p.label) for p in labelled_photos(store, task)
    }
    row_of_model = store.models.latest(task.task_id)
    held = Heldout.of(root / row_of_model.folder) if row_of_model and row_of_model.folder else None
    if held is not None and model.model is not None and model.policy != model.model.policy:
        held = held.under(model.policy, model.kind, model.model.classes)
    places = placed_by(store, model, held) if model.kind == "score" else {}
    empty = dict.fromkeys(columns)
    for photos in batched(store.photos.scan(), PHOTOS_AT_ONCE):
        probs = _probs(store, model, photos, held)
        for photo in photos:
            if photo.status is Status.GONE:
                continue  # its picture may be here under another listing: a row an image
            row = empty | {
                "image": photo.photo_id,
                "status": photo.status.value,
                "reason": photo.reason.value if photo.reason else None,
                "split": held.split_of(photo.photo_pk) if held else None,
                "label": labels.get(photo.photo_pk),
            }
            if photo.photo_pk in probs:
                decided = held.decided_of(photo.photo_pk) if held else None
                row |= _answer(model, probs[photo.photo_pk], decided, columns)
            if photo.photo_pk in places:
                row |= place_columns(places[photo.photo_pk])
            yield row


def _probs(
    store: Store, model: LiveModel, photos: list[PhotoView], held: Heldout | None
) -> dict[int, Any]:
    """Probabilities by photo: held-out ones where there are, else the model's stored ones."""
    stored = store.predictions.get(model.model_id, [p.content_id for p in photos if p.content_id])
    result: dict[int, Any] = {}
    for photo in photos:
        honest = held.probs_of(photo.photo_pk) if held else None
        if honest is not None:
            result[photo.photo_pk] = honest
        elif photo.status is Status.OK and photo.content_id in stored:
            result[photo.photo_pk] = stored[photo.content_id]
    return result


def _answer(
    model: LiveModel, probs: Any, decided: Decided | None, columns: dict[str, type]
) -> dict[str, Any]:
    """The columns of an answer: as it was decided when held out, else by the policy in force."""
    row = np.asarray(probs)[None]
    decided = decided or answers(row, model.policy, model.kind, model.classes)
    decision = named(row, decided, model.kind, model.classes)[0]
    answer: dict[str, Any] = {
        "prediction": "|".join(decision.classes),
        "review": decision.review,
    }
    if decision.score is not None:
        answer |= {"prediction": f"{decision.score:.4f}", "score": round(decision.score, 4)}
    if decision.probability is not None:
        answer["probability"] = round(decision.probability, 5)
    for name, value in zip(model.classes, np.asarray(probs).tolist(), strict=True):
        if f"p:{name}" in columns:
            answer[f"p:{name}"] = round(value, 5)
    return answer
