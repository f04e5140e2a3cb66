"""Label files into annotations: matched to photos, checked, never written twice."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from listlens.core.errors import LabelError, suggest
from listlens.core.tree import SEPARATOR, Tree
from listlens.core.types import Answer, Kind, Reason, RejectedRow, Status
from listlens.labels.consensus import consensus
from listlens.labels.files import LabelFile, LabelRow, Unlabelled
from listlens.labels.histograms import mean_of
from listlens.labels.match import Matcher
from listlens.labels.pairs import votes_of_pairs
from listlens.pipeline.contents import batched
from listlens.pipeline.label_report import LabelReport
from listlens.sources.paths import printable
from listlens.store.labels import NewAnnotation
from listlens.store.taxonomies import UNKNOWN
from listlens.store.tombstones import FILE

if TYPE_CHECKING:
    from listlens.core.types import Task
    from listlens.labels.consensus import Label
    from listlens.store.labels import AnnotationView
    from listlens.store.open import Store
    from listlens.store.photos import PhotoView

ROWS_AT_ONCE = 2000
A_FEW_CLASSES, MOST_NEW_CLASSES = 50, 1000
"""New classes that an import always adds, and that it never adds more of. In between, not more
than half as many as there are labels: a column of ids or prices has nearly as many."""


def import_labels(
    store: Store,
    task: Task,
    file: LabelFile,
    *,
    annotator: str | None = None,
    closed: bool,
    sole: bool = False,
) -> LabelReport:
    """Write the answers of a label file as annotations.

    What a file said before and says no more is taken back. Files are no witnesses beside each
    other: of several that name a photo the newest answer counts, and what equals it is not written
    again, so that an exported file can be corrected and imported. Under a person's name the
    answers are that person's vote instead.

    Args:
        store: where photos are and annotations go.
        task: what the labels answer.
        file: the checked label file.
        annotator: the person whose answers these are; by default the file speaks for itself, and
            is known again by its absolute path.
        closed: whether classes that the task does not have are left out rather than added.
        sole: whether this is the task's only label file: what others said is taken back.

    Raises:
        LabelError: so many new classes that the label column cannot be meant; nothing is written.
    """
    report = LabelReport()
    place = printable(os.path.abspath(file.path))  # noqa: PTH100  links stay as they are
    name = annotator or f"{FILE}{place}"
    photos = Photos(store)
    allowed, short = None, {}
    if closed:
        allowed = {alias for c in task.classes for alias in (c.name, *c.aliases)}
        short = _nodes_by_name(task) if task.kind == "tree" else {}
    else:
        _add_classes(store, task, file, photos)
    annotator_id = store.labels.annotator(name)
    before = Said(store, task)
    if sole:
        others = [v for other in sorted(before.files - {annotator_id}) for v in before.by(other)]
        report.withdrawn = withdraw(store, others, place)
        before = Said(store, task) if others else before
    said: dict[int, Answer] = {}
    contents: set[int] = set()
    for batch in batched(_answers(file, photos, allowed, short, said, report), ROWS_AT_ONCE):
        rows = []
        for photo, row in batch:
            contents.add(photo.content_id or 0)
            if not before.nothing_new(photo, row, annotator_id):
                rows.append(_annotation(task, photo, row, annotator_id, place_of(place, row.at)))
        report.annotations += store.labels.annotate(rows)
    stale = [
        view
        for view in before.by(annotator_id)
        if (name.startswith(FILE) or view.at.startswith((f"{place}:", f"{place}/")))
        and view.photo_pk not in said
        and not (view.photo_pk in before.gone and view.subject_ids[0] in contents)
    ]
    report.withdrawn += withdraw(store, stale, place)
    return report


class Photos:
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


class Said:
    """What annotators say today, by photo.

    An answer that names no photo counts for every photo that shows its content. So does one whose
    photo is gone, where its annotator says nothing of the photo itself: the photo was moved, or
    came in again under another listing.
    """

    def __init__(self, store: Store, task: Task) -> None:
        self.files = store.labels.label_files()
        self.gone = {photo.photo_pk for photo in store.photos.scan(status=Status.GONE)}
        self._by_photo: dict[int, list[AnnotationView]] = defaultdict(list)
        self._by_content: dict[int, list[AnnotationView]] = defaultdict(list)
        self._of_gone: dict[int, list[AnnotationView]] = defaultdict(list)
        self.pairs: list[AnnotationView] = []
        for view in store.labels.annotations(task.task_id):
            if view.photo_pk is not None:
                self._by_photo[view.photo_pk].append(view)
                if view.photo_pk in self.gone:
                    self._of_gone[view.subject_ids[0]].append(view)
            elif view.subject_kind == "content":
                self._by_content[view.subject_ids[0]].append(view)
            elif view.subject_kind == "pair":
                self.pairs.append(view)

    def about(self, photo: PhotoView) -> list[AnnotationView]:
        """The answers that count for a photo, the newest of files last."""
        content_id = photo.content_id or -1
        own = self._by_photo.get(photo.photo_pk, [])
        heard = {view.annotator_id for view in own}
        moved = [v for v in self._of_gone.get(content_id, ()) if v.annotator_id not in heard]
        views = [*moved, *own, *self._by_content.get(content_id, ())]
        return [view for view in views if view.answer != UNKNOWN]

    def by(self, annotator_id: int) -> Iterator[AnnotationView]:
        """An annotator's answers about photos that stand, and about pairs."""
        for views in (*self._by_photo.values(), self.pairs):
            for view in views:
                if view.annotator_id == annotator_id and view.answer != UNKNOWN:
                    yield view

    def nothing_new(self, photo: PhotoView, row: LabelRow, annotator_id: int) -> bool:
        """Whether a file said so already. A person's own answers the store compares.

        A row without split or group takes back what its own file said of them, and leaves what
        another file said.
        """
        earlier = [view for view in self.about(photo) if view.annotator_id in self.files]
        if annotator_id not in self.files or not earlier:
            return False
        newest = earlier[-1]
        if not _same(row.answer, newest.answer):
            return False
        if newest.annotator_id == annotator_id:
            return (row.split, row.group) == (newest.split, newest.group)
        return row.split in (None, newest.split) and row.group in (None, newest.group)


def _same(one: Answer, other: Answer) -> bool:
    """Whether answers say the same, in whichever order."""
    return (set(one.yes), set(one.no), one.unlisted, set(one.votes)) == (
        set(other.yes), set(other.no), other.unlisted, set(other.votes))  # fmt: skip


def place_of(place: str, at: str) -> str:
    """Where a row stands, by the whole path of its file: names are not unique."""
    name = place.rpartition("/")[2]
    return f"{place}{at[len(name) :]}" if at.startswith(f"{name}:") else f"{place}/{at}"


def _add_classes(store: Store, task: Task, file: LabelFile, photos: Photos) -> None:
    """Add the classes of rows whose photo is here; refuse what looks like a wrong column."""
    names: Counter[str] = Counter()
    for row in file.rows():
        if isinstance(row, LabelRow):
            match = photos.find(row)
            if isinstance(match, list) and any(p.status is Status.OK for p in match):
                names.update((*row.answer.yes, *row.answer.no))
    if task.kind == "tree":
        _check_nodes(file, task, names)
        store.labels.add_classes(task.task_id, sorted(names))
        return
    new = sorted(names.keys() - {alias for c in task.classes for alias in (c.name, *c.aliases)})
    most = max(A_FEW_CLASSES, min(MOST_NEW_CLASSES, names.total() // 2))
    if len(new) > most:
        raise LabelError(
            f"{file.describe()} would add {len(new)} classes to task {task.name!r}, such as "
            f"{', '.join(map(repr, new[:3]))}; at most {most} are added for its {names.total()} "
            "labels. Is it the right column (--label COLUMN)? If so, list the classes in "
            "listlens.toml."
        )
    if new:
        store.labels.add_classes(task.task_id, new)


def _check_nodes(file: LabelFile, task: Task, names: Counter[str]) -> None:
    """Refuse a tree with nearly as many nodes as labels: a column of ids, say."""
    nodes = Tree.of(names).paths
    if len(nodes) > max(A_FEW_CLASSES, names.total() * 3 // 4):
        raise LabelError(
            f"{file.describe()} would make a tree of {len(nodes)} nodes from {names.total()} "
            f"labels, such as {', '.join(map(repr, nodes[:3]))}. Are these the right columns "
            "(--label COLUMN, from the top level down)? If so, list the nodes in listlens.toml."
        )


def _nodes_by_name(task: Task) -> dict[str, str]:
    """The nodes of a tree by their own names, where these are unique: flat labels fit it so."""
    named: dict[str, list[str]] = defaultdict(list)
    for c in task.classes:
        named[c.name.rpartition(SEPARATOR)[2]].append(c.name)
    return {name: paths[0] for name, paths in named.items() if len(paths) == 1}


def _in_full(
    rows: Iterator[LabelRow | Unlabelled | RejectedRow], short: dict[str, str]
) -> Iterator[LabelRow | Unlabelled | RejectedRow]:
    """The same rows, with the paths of nodes that are named alone."""
    for row in rows:
        if isinstance(row, LabelRow) and row.answer.yes and row.answer.yes[0] in short:
            yield replace(row, answer=Answer((short[row.answer.yes[0]],)))
        else:
            yield row


def _answers(
    file: LabelFile,
    photos: Photos,
    allowed: set[str] | None,
    short: dict[str, str],
    said: dict[int, Answer],
    report: LabelReport,
) -> Iterator[tuple[PhotoView, LabelRow]]:
    """Yield each usable answer with its photo, and put the others in the report."""
    for row in _in_full(file.rows(), short):
        report.rows += 1
        if isinstance(row, RejectedRow):
            report.bad_rows.append(f"{row.at}: {row.detail}")
            continue
        if isinstance(row, Unlabelled):
            report.unlabelled.append(f"{row.at}: {row.image}")
            continue
        steps = {step for step, _ in row.answer.votes}
        said_names = {*row.answer.yes, *row.answer.no, *steps}
        if allowed is not None and (strange := said_names - allowed):
            name = min(strange)
            report.unknown_class.append(f"{row.at}: class {name!r}. {suggest(name, allowed)}")
            continue
        match = photos.find(row)
        if isinstance(match, RejectedRow):
            report.without_photo.append(f"{row.at}: {match.detail}")
            continue
        for photo in match:
            if photo.status is Status.OK:
                if _same(said.setdefault(photo.photo_pk, row.answer), row.answer):
                    yield photo, row
                else:
                    report.said_twice.append(f"{row.at}: {photo.photo_id}")
            elif photo.reason is Reason.MISSING:
                report.without_photo.append(f"{row.at}: there is no photo {photo.photo_id!r}")
            else:
                reason = photo.reason.value if photo.reason else photo.status.value
                report.unusable_photo.append(f"{row.at}: {photo.photo_id}: {reason}")


def _annotation(
    task: Task, photo: PhotoView, row: LabelRow, annotator_id: int, at: str
) -> NewAnnotation:
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
        at=at,
    )


def withdraw(store: Store, views: list[AnnotationView], at: str) -> int:
    """Take answers back: their annotators say nothing of these photos any more."""
    rows = [
        NewAnnotation(
            task_id=view.task_id,
            subject_kind=view.subject_kind,
            subject_ids=view.subject_ids,
            photo_pk=view.photo_pk,
            answer=UNKNOWN,
            annotator_id=view.annotator_id,
            split=None,
            group=None,
            at=at,
        )
        for view in views
    ]
    return store.labels.annotate(rows) if rows else 0


class LabelledPhoto(NamedTuple):
    """A photo with what people said of it, taken together."""

    photo: PhotoView
    label: Label
    split: str
    group: str


def labelled_photos(store: Store, task: Task) -> list[LabelledPhoto]:
    """Every usable photo with a label, in the order of listing, position and photo id."""
    known = Said(store, task)
    scale = [c.name for c in task.classes]
    ranked = votes_of_pairs(scale, [(view.subject_ids, view.answer) for view in known.pairs])
    result = []
    for photo in store.photos.scan(status=Status.OK):
        said = known.about(photo)
        # All files together have one voice, the newest; people have one each.
        votes = [("files" if v.annotator_id in known.files else v.annotator_id, v.answer)
                 for v in said]  # fmt: skip
        if photo.content_id in ranked:
            votes.append(("pairs", ranked[photo.content_id]))
        label = consensus(task.kind, votes)
        if label is not None:
            split = next((v.split for v in reversed(said) if v.split), "")
            group = next((v.group for v in reversed(said) if v.group), "")
            result.append(LabelledPhoto(photo, label, split, group))
    result.sort(key=lambda p: (p.photo.listing_id, p.photo.position or 0, p.photo.photo_id))
    return result


def label_in_words(kind: Kind, label: Label) -> str:
    """A label for people: as `label_text`, but of a score the mean of its votes."""
    if kind != "score" or not label.votes:
        return label_text(kind, label)
    steps, votes = zip(*((float(step), n) for step, n in label.votes), strict=True)
    return f"{mean_of(steps, votes):.4g}"


def label_text(kind: Kind, label: Label) -> str:
    """A label as label files write it: a class, a path, or classes with ``|`` and ``-`` for no.

    A score is a JSON object of steps and votes. Where a name holds a ``|`` or would begin a list,
    it is a JSON list.
    """
    if kind in ("single", "tree"):
        return label.yes[0] if label.yes else ""
    if kind == "score":
        return json.dumps({step: round(n, 6) for step, n in label.votes})
    no = [f"-{name}" for name in label.no] if label.unlisted == "unknown" else []
    names = [*label.yes, *no]
    if any("|" in name for name in names) or (names and names[0].startswith("[")):
        return json.dumps(names, ensure_ascii=False)
    return "|".join(names)
