"""Labels that are likely wrong, as a list that a person corrects and `labels import` reads."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.learn.model import Model
from listlens.pipeline.dataset import build_examples
from listlens.pipeline.heldout import Heldout
from listlens.pipeline.judging import find_suspects, in_classes
from listlens.pipeline.labelling import LabelledPhoto, label_text
from listlens.pipeline.models import chosen_row, todays_classes
from listlens.pipeline.table_files import write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from listlens.core.types import EmbeddingSpace, Task
    from listlens.pipeline.dataset import Examples
    from listlens.store.open import Store

COLUMNS: dict[str, type] = {
    "image": str,
    "listing_id": str,
    "label": str,
    "given": str,
    "suggested": str,
    "probability": float,
    "reason": str,
}


def labels_to_fix(
    store: Store, root: Path, task: Task, space: EmbeddingSpace, limit: int
) -> list[dict[str, Any]]:
    """Return labels that the newest model disbelieves, the likeliest wrong first.

    Each is judged by models that saw neither the photo nor its group; photos labelled since the
    training are left out.

    Args:
        store: labels and embeddings.
        root: of the project.
        task: whose labels.
        space: of the stored embeddings, for the groups.
        limit: how many at most.

    Returns:
        Rows with the keys of `COLUMNS`. `label` is today's, as label files write it: the column to
        correct. `given` and `suggested` are the answer in doubt and what the model says instead;
        `probability` is of the given one.

    Raises:
        NotFoundError: the task has no model yet.
    """
    record = chosen_row(store, task)
    model = Model.load(root / record.folder, record.sha256)
    classes = todays_classes(task, model)
    heldout = Heldout.of(root / record.folder)
    examples = build_examples(store, task, space)
    at = heldout.rows_of([p.photo.photo_pk for p in examples.photos])
    probs = heldout.oof_probs[at]
    held = (at >= 0) & np.isfinite(probs).all(axis=1)
    given = in_classes(task.kind, examples.data.classes, classes, examples.given)
    given[~held] = np.nan if task.kind == "score" else -1
    probs = np.where(held[:, None], probs, np.float32(0.5))
    found = find_suspects(examples, classes, probs, given, limit)
    photos = _by_name(examples)
    return [
        {
            "image": s.image,
            "listing_id": p.photo.listing_id,
            "label": label_text(task.kind, p.label),
            **{k: v for k, v in s.as_dict().items() if k != "image"},
        }
        for s in found
        for p in [_next(photos[s.image])]
    ]


def _next(photos: list[LabelledPhoto]) -> LabelledPhoto:
    """The next photo of a name: listings may each have a photo of the same name."""
    return photos.pop(0) if len(photos) > 1 else photos[0]


def _by_name(examples: Examples) -> dict[str, list[LabelledPhoto]]:
    found: dict[str, list[LabelledPhoto]] = defaultdict(list)
    for photo in examples.photos:
        found[photo.photo.photo_id].append(photo)
    return found


def write_labels_to_fix(rows: Sequence[dict[str, Any]], path: Path) -> int:
    """Write the rows to .csv, .jsonl or .parquet; return how many."""
    return write_rows(path, COLUMNS, ({name: row[name] for name in COLUMNS} for row in rows))
