"""Label files into annotations: matched to photos, checked, never written twice."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from listlens.core.errors import suggest
from listlens.core.types import Answer, Kind, Reason, RejectedRow, Status
from listlens.labels.consensus import consensus
from listlens.labels.files import LabelFile, LabelRow, Unlabelled
from listlens.labels.match import Matcher
from listlens.pipeline.checks import Check, found
from listlens.pipeline.contents import batched
from listlens.store.labels import NewAnnotation
from listlens.store.taxonomies import UNKNOWN

if TYPE_CHECKING:
    from listlens.core.types import Task
    from listlens.labels.consensus import Label
    from listlens.store.labels import AnnotationView
    from listlens.store.open import Store
    from listlens.store.photos import PhotoView

ROWS_AT_ONCE = 2000


@dataclass
class LabelReport:
    """What one import of a label file did."""

    rows: int = 0
    annotations: int = 0
    withdrawn: int = 0
    unlabelled: list[str] = field(default_factory=list)
    without_photo: list[str] = field(default_factory=list)
    unusable_photo: list[str] = field(default_factory=list)
    unknown_class: list[str] = field(default_factory=list)
    bad_rows: list[str] = field(default_factory=list)
    said_twice: list[str] = field(default_factory=list)

    def checks(self) -> list[Check]:
        """The findings, each with what was done about it."""
        return [
            *found("bad_label_rows", "warning", "Rows of the label file that cannot be read: "
                   "{n}. They were left out.", self.bad_rows),
            *found("labels_without_photo", "warning", "Labels that name no photo here: {n}. "
                   "They were left out.", self.without_photo),
            *found("labels_of_unusable_photos", "warning", "Labels of photos that cannot be "
                   "used: {n}. They were left out.", self.unusable_photo),
            *found("unknown_classes", "warning", "Labels with a class that the task does not "
                   "have: {n}. They were left out.", self.unknown_class),
            *found("contradictory_rows", "warning", "Rows that label a photo otherwise than an "
                   "earlier row: {n}. The earlier one counts.",
                   self.said_twice),
            *found("rows_without_label", "note", "Rows with a photo but no label: {n}.",
                   self.unlabelled),
        ]  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "annotations": self.annotations,
            "withdrawn": self.withdrawn,
            "checks": [check.as_dict() for check in self.checks()],
        }

    def text(self) -> str:
        """For a person."""
        lines = [f"{self.rows} rows read, {self.annotations} new annotations."]
        if self.withdrawn:
            lines.append(f"{self.withdrawn} labels are not in the file any more: taken back.")
        lines += [f"{check.severity}: {check.message}" for check in self.checks()]
        return "\n".join(lines)


def import_labels(
    store: Store, task: Task, file: LabelFile, *, annotator: str, closed: bool
) -> LabelReport:
    """Write the answers of a label file as annotations.

    The file speaks for its annotator: what it said before and says no more is taken back. Files
    are no witnesses beside each other: of several that name a photo the newest answer counts, and
    what equals it is not written again, so that an exported file can be corrected and imported.

    Args:
        store: where photos are and annotations go.
        task: what the labels answer.
        file: the checked label file.
        annotator: whose answers these are.
        closed: whether classes that the task does not have are left out rather than added.
    """
    report = LabelReport()
    photos = _Photos(store)
    classes = _classes(file)
    known = {alias for c in task.classes for alias in (c.name, *c.aliases)}
    if closed:
        allowed = known
    else:
        allowed = known | classes
        if new := sorted(classes - known):
            store.labels.add_classes(task.task_id, new)
    annotator_id = store.labels.annotator(annotator)
    said: dict[int, Answer] = {}
    newest = _newest_of_files(store, task)
    for batch in batched(_answers(file, photos, allowed, said, report), ROWS_AT_ONCE):
        rows = [
            _annotation(task, photo, row, annotator_id)
            for photo, row in batch
            if not _says_nothing_new(row, newest.get(photo.photo_pk))
        ]
        report.annotations += store.labels.annotate(rows)
    report.withdrawn = _withdraw(store, task, annotator_id, set(said), file.path.name)
    return report


class _Photos:
    """The photos of the store by what a label file may call them."""

    def __init__(self, store: Store) -> None:
        self._by_id: dict[str, list[PhotoView]] = defaultdict(list)
        for photo in store.photos.scan():
            if photo.status is not Status.GONE:
                self._by_id[photo.photo_id].append(photo)
        self._matcher = Matcher(self._by_id)

    def find(self, row: LabelRow | Unlabelled) -> list[PhotoView] | RejectedRow:
        """The photos a row means: those of its listing, where one is named and fits."""
        photo_id = self._matcher.resolve(row.image, row.listing_id, row.at)
        if isinstance(photo_id, RejectedRow):
            return photo_id
        photos = self._by_id[photo_id]
        return [p for p in photos if p.listing_id == row.listing_id] or photos


def _classes(file: LabelFile) -> set[str]:
    """All classes that the file names."""
    rows = (row for row in file.rows() if isinstance(row, LabelRow))
    return {name for row in rows for name in (*row.answer.yes, *row.answer.no)}


def _answers(
    file: LabelFile,
    photos: _Photos,
    allowed: set[str],
    said: dict[int, Answer],
    report: LabelReport,
) -> Iterator[tuple[PhotoView, LabelRow]]:
    """Yield each usable answer with its photo, and put the others in the report."""
    for row in file.rows():
        report.rows += 1
        if isinstance(row, RejectedRow):
            report.bad_rows.append(f"{row.at}: {row.detail}")
            continue
        if isinstance(row, Unlabelled):
            report.unlabelled.append(f"{row.at}: {row.image}")
            continue
        if strange := {*row.answer.yes, *row.answer.no} - allowed:
            name = min(strange)
            report.unknown_class.append(f"{row.at}: class {name!r}. {suggest(name, allowed)}")
            continue
        match = photos.find(row)
        if isinstance(match, RejectedRow):
            report.without_photo.append(f"{row.at}: {match.detail}")
            continue
        for photo in match:
            if photo.status is Status.OK:
                if said.setdefault(photo.photo_pk, row.answer) == row.answer:
                    yield photo, row
                else:
                    report.said_twice.append(f"{row.at}: {photo.photo_id}")
            elif photo.reason is Reason.MISSING:
                report.without_photo.append(f"{row.at}: there is no photo {photo.photo_id!r}")
            else:
                reason = photo.reason.value if photo.reason else photo.status.value
                report.unusable_photo.append(f"{row.at}: {photo.photo_id}: {reason}")


def _newest_of_files(store: Store, task: Task) -> dict[int, AnnotationView]:
    """What label files say of each photo today."""
    return {
        view.photo_pk: view
        for view in store.labels.annotations(task.task_id)
        if view.at and view.photo_pk is not None and view.answer != UNKNOWN
    }


def _says_nothing_new(row: LabelRow, newest: AnnotationView | None) -> bool:
    """Whether a file said so already; a row without split or group leaves them as they are."""
    return (
        newest is not None
        and row.answer == newest.answer
        and row.split in (None, newest.split)
        and row.group in (None, newest.group)
    )


def _annotation(task: Task, photo: PhotoView, row: LabelRow, annotator_id: int) -> NewAnnotation:
    assert photo.content_id is not None
    return NewAnnotation(
        task_id=task.task_id,
        subject_kind="content",
        subject_ids=(photo.content_id,),
        photo_pk=photo.photo_pk,
        answer=row.answer,
        annotator_id=annotator_id,
        split=row.split,
        group=row.group,
        at=row.at,
    )


def _withdraw(store: Store, task: Task, annotator_id: int, said: set[int], at: str) -> int:
    """Take back this annotator's answers about photos that the file labels no more: say nothing."""
    rows = [
        NewAnnotation(
            task_id=task.task_id,
            subject_kind=view.subject_kind,
            subject_ids=view.subject_ids,
            photo_pk=view.photo_pk,
            answer=UNKNOWN,
            annotator_id=annotator_id,
            split=None,
            group=None,
            at=at,
        )
        for view in store.labels.annotations(task.task_id)
        if view.annotator_id == annotator_id
        and view.photo_pk not in said
        and view.answer != UNKNOWN
    ]
    return store.labels.annotate(rows) if rows else 0


class LabelledPhoto(NamedTuple):
    """A photo with what people said of it, taken together."""

    photo: PhotoView
    label: Label
    split: str
    group: str


def labelled_photos(store: Store, task: Task) -> list[LabelledPhoto]:
    """Every usable photo with a label, in the order of listing, position and photo id.

    An annotation that names no photo counts for every photo that shows its content.
    """
    by_photo: dict[int, list[Any]] = defaultdict(list)
    by_content: dict[int, list[Any]] = defaultdict(list)
    for view in store.labels.annotations(task.task_id):
        if view.photo_pk is not None:
            by_photo[view.photo_pk].append(view)
        elif view.subject_kind == "content":
            by_content[view.subject_ids[0]].append(view)
    result = []
    for photo in store.photos.scan(status=Status.OK):
        views = [*by_photo.get(photo.photo_pk, ()), *by_content.get(photo.content_id or -1, ())]
        said = [v for v in views if v.answer != UNKNOWN]
        # What came from files has a place in one; all files together have one voice, the newest.
        votes = [("files" if v.at else v.annotator_id, v.answer) for v in said]
        label = consensus(task.kind, votes)
        if label is not None:
            split = next((v.split for v in reversed(said) if v.split), "")
            group = next((v.group for v in reversed(said) if v.group), "")
            result.append(LabelledPhoto(photo, label, split, group))
    result.sort(key=lambda p: (p.photo.listing_id, p.photo.position or 0, p.photo.photo_id))
    return result


def label_text(kind: Kind, label: Label) -> str:
    """A label as label files write it: a class, or classes with ``|`` and ``-`` for no.

    Where a name holds a ``|`` or would begin a list, it is a JSON list.
    """
    if kind == "single":
        return label.yes[0] if label.yes else ""
    no = [f"-{name}" for name in label.no] if label.unlisted == "unknown" else []
    names = [*label.yes, *no]
    if any("|" in name for name in names) or (names and names[0].startswith("[")):
        return json.dumps(names, ensure_ascii=False)
    return "|".join(names)
