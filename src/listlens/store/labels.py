"""Annotations: what people answered, append-only, read back under today's classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.core.errors import InputError, LabelError
from listlens.core.types import Answer, Split
from listlens.store.database import Database, checked_id, chunks, clean_text
from listlens.store.schema import annotation, annotator
from listlens.store.tasks import Tasks, load_taxonomy
from listlens.store.taxonomies import Taxonomy
from listlens.store.tombstones import FILE, Tombstones, is_pseudonym

SubjectKind = Literal["content", "pair", "listing"]


@dataclass(frozen=True, slots=True)
class NewAnnotation:
    """One person's answer.

    Args:
        task_id: the question.
        subject_kind: ``content``, ``pair`` (two contents) or ``listing``.
        subject_ids: content ids, or the listing's `listing_pk`.
        answer: in names or aliases of open classes.
        annotator_id: from `Labels.annotator`.
        photo_pk: the photo that was looked at, where there was one.
        split: as the label file gave it.
        group: what must stay on one side of a split, as the label file gave it.
        at: where it was said, such as ``labels.csv:12``.
    """

    task_id: int
    subject_kind: SubjectKind
    subject_ids: Sequence[int]
    answer: Answer
    annotator_id: int
    photo_pk: int | None = None
    split: Split | None = None
    group: str | None = None
    at: str = ""

    def __post_init__(self) -> None:
        if len(self.subject_ids) != (2 if self.subject_kind == "pair" else 1):
            raise InputError(f"a {self.subject_kind} cannot be {list(self.subject_ids)}")

    @property
    def about(self) -> str:
        """What a later answer of the same annotator replaces: the photo, else the subject."""
        if self.photo_pk is not None:
            return f"photo:{self.photo_pk}"
        return f"{self.subject_kind}:{':'.join(map(str, self.subject_ids))}"


@dataclass(frozen=True, slots=True)
class AnnotationView:
    """An annotation as it reads today. `answer` says nothing where its class was split."""

    annotation_id: int
    task_id: int
    subject_kind: SubjectKind
    subject_ids: tuple[int, ...]
    photo_pk: int | None
    answer: Answer
    annotator_id: int
    split: Split | None
    group: str | None
    at: str
    taxonomy_version: int
    created_at: datetime


class Labels(Tasks):
    """Tasks with their classes, and the annotations of people."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._tombstones = Tombstones(database)

    def annotator(self, name: str) -> int:
        """Return an annotator's id, made if new; a forgotten one is met under the pseudonym."""
        name = checked_id(name, "annotator")
        with self._db.write() as connection:
            if self._tombstones.has_annotator(connection, name):
                name = self._tombstones.pseudonym(connection, name)
            row = {"name": name, "created_at": self._db.clock()}
            connection.execute(self._db.insert(annotator).values(row).on_conflict_do_nothing())
            query = sa.select(annotator.c.id).where(annotator.c.name == name)
            return int(connection.execute(query).scalar_one())

    def annotators(self) -> dict[str, int]:
        """Return how many answers each annotator gave, by name; later ones of equal photos too."""
        number = sa.func.count(annotation.c.id)
        query = (
            sa.select(annotator.c.name, number)
            .outerjoin(annotation, annotation.c.annotator_id == annotator.c.id)
            .group_by(annotator.c.name)
            .order_by(annotator.c.name)
        )
        with self._db.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def label_files(self) -> set[int]:
        """Return the ids of the annotators that are label files, `FILE` and a path, not people."""
        query = sa.select(annotator.c.id).where(annotator.c.name.startswith(FILE))
        with self._db.read() as connection:
            return set(connection.execute(query).scalars())

    def annotate(self, rows: Sequence[NewAnnotation]) -> int:
        """Append answers; return how many said something new.

        An answer equal to the annotator's latest about the same photo (or subject) is not
        appended, so a label file can be imported again. Within one call, of several answers of
        one annotator about one photo the last one counts.

        Raises:
            LabelError: a class that the task does not have, or an answer that does not fit its
                kind; nothing is stored then.
        """
        with self._db.write() as connection:
            return sum(
                self._annotate(connection, task_id, group)
                for task_id, group in _by_task(rows).items()
            )

    def annotations(self, task_id: int, batch: int = 1000) -> Iterator[AnnotationView]:
        """Yield the latest answer of every annotator about every photo or subject.

        In the order they were given; memory stays flat.
        """
        with self._db.read() as connection:
            known = load_taxonomy(connection, task_id)
        newer = annotation.alias("newer")
        replaced = sa.exists().where(
            newer.c.task_id == annotation.c.task_id,
            newer.c.about == annotation.c.about,
            newer.c.annotator_id == annotation.c.annotator_id,
            newer.c.id > annotation.c.id,
        )
        query = sa.select(annotation).where(annotation.c.task_id == task_id, ~replaced)
        query = query.order_by(annotation.c.id).limit(batch)
        last = 0
        while True:
            with self._db.read() as connection:
                page = connection.execute(query.where(annotation.c.id > last)).all()
            for row in page:
                yield _view(row, known)
            if len(page) < batch:
                return
            last = page[-1].id

    def _annotate(
        self, connection: Connection, task_id: int, rows: Mapping[tuple[str, int], NewAnnotation]
    ) -> int:
        known = load_taxonomy(connection, task_id)
        latest = _latest(connection, task_id, {about for about, _ in rows})
        nameless = _nameless(connection, {row.annotator_id for row in rows.values()})
        now = self._db.clock()
        new = []
        for key, row in rows.items():
            values = _values(row, known, now)
            if row.annotator_id in nameless:
                values["at"] = ""
            before = latest.get(key)
            if before is None or not _same(before, values, known):
                new.append(values)
        if new:
            connection.execute(sa.insert(annotation), new)
        return len(new)


def _by_task(
    rows: Sequence[NewAnnotation],
) -> dict[int, dict[tuple[str, int], NewAnnotation]]:
    """Group by task; of one annotator's answers about one thing keep the last."""
    grouped: dict[int, dict[tuple[str, int], NewAnnotation]] = {}
    for row in rows:
        group = grouped.setdefault(row.task_id, {})
        group.pop((row.about, row.annotator_id), None)
        group[row.about, row.annotator_id] = row
    return grouped


def _latest(connection: Connection, task_id: int, abouts: set[str]) -> dict[tuple[str, int], Any]:
    found: dict[tuple[str, int], Any] = {}
    query = sa.select(annotation).where(annotation.c.task_id == task_id).order_by(annotation.c.id)
    for block in chunks(sorted(abouts)):
        for row in connection.execute(query.where(annotation.c.about.in_(block))):
            found[row.about, row.annotator_id] = row
    return found


def _nameless(connection: Connection, annotator_ids: set[int]) -> set[int]:
    """Return the forgotten annotators: the file they wrote may be called after them."""
    query = sa.select(annotator.c.id, annotator.c.name)
    return {
        pk
        for block in chunks(sorted(annotator_ids))
        for pk, name in connection.execute(query.where(annotator.c.id.in_(block)))
        if is_pseudonym(name)
    }


def _values(row: NewAnnotation, known: Taxonomy, now: datetime) -> dict[str, Any]:
    try:
        answer = known.encode(row.answer)
    except LabelError as error:
        raise LabelError(f"{row.at}: {error}" if row.at else str(error)) from None
    ids = [*row.subject_ids, None]
    return {
        "task_id": row.task_id,
        "about": row.about,
        "subject_kind": row.subject_kind,
        "subject_id": ids[0],
        "other_subject_id": ids[1],
        "photo_id": row.photo_pk,
        "answer": answer,
        "annotator_id": row.annotator_id,
        "given_split": row.split,
        "given_group": None if row.group is None else clean_text(row.group),
        "at": clean_text(row.at),
        "taxonomy_version": known.version,
        "created_at": now,
    }


def _same(before: Any, values: Mapping[str, Any], known: Taxonomy) -> bool:
    """Whether an answer was given already. Said again under new classes, "no others" is news."""
    names = ("subject_kind", "subject_id", "other_subject_id", "given_split", "given_group")
    if before.answer != values["answer"]:
        return False
    if any(getattr(before, name) != values[name] for name in names):
        return False
    closed_world = known.kind == "multi" and values["answer"]["unlisted"] == "no"
    return not closed_world or before.taxonomy_version >= known.last_change


def _view(row: Any, known: Taxonomy) -> AnnotationView:
    ids = (row.subject_id,) if row.other_subject_id is None else (
        row.subject_id, row.other_subject_id)  # fmt: skip
    return AnnotationView(
        row.id, row.task_id, row.subject_kind, ids, row.photo_id,
        known.decode(row.answer, row.taxonomy_version), row.annotator_id, row.given_split,
        row.given_group, row.at, row.taxonomy_version, row.created_at,
    )  # fmt: skip
