"""Label files of any form into annotations; here those of pairs of photos.

An annotation's subject is a pair of contents then, and its answer how often each was better.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from listlens.core.types import Reason, RejectedRow, Status
from listlens.labels.files import LabelFile, Unlabelled, read_labels
from listlens.labels.pairs import PairFile, PairRow, read_pairs, wins
from listlens.pipeline.label_report import LabelReport
from listlens.pipeline.labelling import Photos, Said, import_labels, place_of, withdraw
from listlens.sources.paths import printable
from listlens.store.labels import NewAnnotation
from listlens.store.tombstones import FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from listlens.core.types import Kind, Task
    from listlens.store.open import Store
    from listlens.store.photos import PhotoView

AnyLabelFile = LabelFile | PairFile
"""A label file, opened: of photos, or of pairs of photos."""


def open_labels(
    path: Path, *, kind: Kind | None = None, scale: Sequence[str] = (), **options: Any
) -> AnyLabelFile:
    """Look into a label file, of photos or of pairs of photos; and return what reads it.

    Args:
        path, kind, scale: see `labels.files.read_labels`.
        options: the others; of pairs only the mapping counts.

    Raises:
        LabelError, ConfigError: as `read_labels` and `labels.pairs.read_pairs`.
    """
    pairs = read_pairs(path, kind, options.get("mapping") or {}, scale)
    return pairs or read_labels(path, kind=kind, scale=scale, **options)


def import_any(
    store: Store,
    task: Task,
    file: AnyLabelFile,
    *,
    annotator: str | None = None,
    closed: bool,
    sole: bool = False,
) -> LabelReport:
    """Write the answers of a label file as annotations; see `labelling.import_labels`."""
    if isinstance(file, LabelFile):
        return import_labels(store, task, file, annotator=annotator, closed=closed, sole=sole)
    return import_pairs(store, task, file, annotator=annotator, sole=sole)


def import_pairs(
    store: Store, task: Task, file: PairFile, *, annotator: str | None = None, sole: bool = False
) -> LabelReport:
    """Write comparisons as annotations of pairs of contents.

    Rows about the same two pictures are counted together, whichever stands first. What the file
    said before and says no more is taken back.

    Args:
        store: where photos are and annotations go.
        task: a score.
        file: the checked table.
        annotator: the person whose answers these are; by default the file speaks for itself.
        sole: whether this is the task's only label file: what others said is taken back.
    """
    report = LabelReport()
    place = printable(os.path.abspath(file.path))  # noqa: PTH100  links stay as they are
    name = annotator or f"{FILE}{place}"
    annotator_id = store.labels.annotator(name)
    before = Said(store, task)
    if sole:
        others = [v for other in sorted(before.files - {annotator_id}) for v in before.by(other)]
        report.withdrawn = withdraw(store, others, place)
    told, at = _counted(file, Photos(store), report)
    steps = [c.name for c in task.classes]
    rows = [
        NewAnnotation(
            task_id=task.task_id,
            subject_kind="pair",
            subject_ids=ids,
            answer=wins(steps, first, second),
            annotator_id=annotator_id,
            at=place_of(place, at[ids]),
        )
        for ids, (first, second) in told.items()
    ]
    report.annotations = store.labels.annotate(rows) if rows else 0
    stale = [
        view
        for view in before.by(annotator_id)
        if (name.startswith(FILE) or view.at.startswith((f"{place}:", f"{place}/")))
        and (view.subject_kind != "pair" or view.subject_ids not in told)
    ]
    report.withdrawn += withdraw(store, stale, place)
    return report


def _counted(
    file: PairFile, photos: Photos, report: LabelReport
) -> tuple[dict[tuple[int, int], list[float]], dict[tuple[int, int], str]]:
    """How often each of two contents was better, the smaller id first; and where it was last said.

    What cannot be used goes into the report.
    """
    told: dict[tuple[int, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    at: dict[tuple[int, int], str] = {}
    for row in file.rows():
        report.rows += 1
        if row is None:
            report.unlabelled.append(f"row {report.rows}")
            continue
        if isinstance(row, RejectedRow):
            report.bad_rows.append(f"{row.at}: {row.detail}")
            continue
        found = [_content(photos, row, image, report) for image in row.images]
        first, second = found
        if first is None or second is None:
            continue
        if first == second:
            report.bad_rows.append(f"{row.at}: both photos are the same picture")
            continue
        ids = (min(first, second), max(first, second))
        share = row.share if first < second else 1 - row.share
        told[ids][0] += share
        told[ids][1] += 1 - share
        at[ids] = row.at
    return dict(told), at


def _content(photos: Photos, row: PairRow, image: str, report: LabelReport) -> int | None:
    """The content of a photo as a row names it, or None with the reason in the report."""
    match = photos.find(Unlabelled(image, at=row.at))
    if isinstance(match, RejectedRow):
        report.without_photo.append(f"{row.at}: {match.detail}")
        return None
    usable = [p.content_id for p in match if p.status is Status.OK and p.content_id is not None]
    if usable:
        return usable[0]
    _refuse(match[0], row, report)
    return None


def _refuse(photo: PhotoView, row: PairRow, report: LabelReport) -> None:
    if photo.reason is Reason.MISSING:
        report.without_photo.append(f"{row.at}: there is no photo {photo.photo_id!r}")
        return
    reason = photo.reason.value if photo.reason else photo.status.value
    report.unusable_photo.append(f"{row.at}: {photo.photo_id}: {reason}")
