"""Label files: what people said of photos, in any table, samples.json or folders of classes.

A single-label value is a class. A multi-label value is classes separated by ``|``, a JSON list, or
a list where the format has lists; ``-class`` means no.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from listlens.core.errors import ConfigError, LabelError, suggest
from listlens.core.types import Answer, Kind, PhotoRow, Reason, RejectedRow, Split
from listlens.sources import detect, layouts, tables
from listlens.sources.columns import NAMES, find_columns
from listlens.sources.paths import printable, real_path
from listlens.sources.table import id_text

N_ROWS_TO_GUESS = 1000
"""The kind is guessed from this many first rows: one list or ``|`` among them means multi."""

Unlisted = Literal["no", "unknown"]


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One answer about one photo.

    Args:
        image: as the file says it, printable; `labels.match.Matcher` finds the photo.
        listing_id: if the file says it.
        answer: what was said.
        split: if the file says it.
        group: value of the group column; equal means: keep on one side of a split.
        at: where it stands, such as ``labels.csv:12``.
    """

    image: str
    listing_id: str | None
    answer: Answer
    split: Split | None = None
    group: str | None = None
    at: str = ""


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """A row that names a photo and gives no label. Not an error: the photo has no label yet."""

    image: str
    listing_id: str | None = None
    split: Split | None = None
    group: str | None = None
    at: str = ""


@dataclass(frozen=True)
class LabelFile:
    """A label file that can be read: its columns are there and its kind is known.

    Args:
        path: the file, or the folder of classes.
        kind: ``single`` or ``multi``.
        guessed: whether the kind was guessed from the values.
        columns: role (`image`, `label`, ...) to column; empty for folders of classes.
        unlisted: what a multi-label answer says of classes that it does not name, where no column
            `unlisted` says it.
    """

    path: Path
    kind: Kind
    guessed: bool
    columns: Mapping[str, str]
    unlisted: Unlisted

    def describe(self) -> str:
        """Say in one sentence what is read and how."""
        kind = f"{self.kind}-label{' (guessed from the values)' if self.guessed else ''}"
        if not self.columns:
            return f"folder names of {printable(self.path)}: {kind}"
        return f"column {self.columns['label']!r} of {printable(self.path.name)}: {kind}"

    def rows(self) -> Iterator[LabelRow | Unlabelled | RejectedRow]:
        """Yield every row in order; streams, and never raises for one bad row."""
        if not self.columns:
            yield from _folder_rows(self.path, self.kind, self.unlisted)
            return
        for table in _tables(self.path):
            # An empty cell of a text table is a value; in JSON and Parquet null is no value.
            missing = None if _has_null(table) else ""
            for row in tables.read_table(table):
                yield row if isinstance(row, RejectedRow) else self._row(*row, table, missing)

    def _row(
        self, at: str, values: dict[str, Any], table: Path, missing: str | None
    ) -> LabelRow | Unlabelled | RejectedRow:
        image = self._text("image", values)
        if not image:
            return RejectedRow(at, Reason.BAD_ROW, f"column {self.columns['image']!r} is empty")
        image = printable(real_path(image))
        split_text = self._text("split", values)
        if table.parent != self.path and self.path.is_dir():
            # Hugging Face: a file in each split's folder, whose name is the split.
            image = f"{printable(table.parent.relative_to(self.path))}/{image}"
            split_text = split_text or table.parent.name
        split = layouts.SPLITS.get(split_text.lower())
        if split_text and split is None:
            allowed = suggest(split_text, layouts.SPLITS)
            return RejectedRow(at, Reason.BAD_ROW, f"unknown split {split_text!r}. {allowed}")
        unlisted = self._text("unlisted", values).lower() or self.unlisted
        if unlisted not in ("no", "unknown"):
            detail = f"column {self.columns['unlisted']!r} is {unlisted!r}; allowed: no, unknown"
            return RejectedRow(at, Reason.BAD_ROW, detail)
        value = values.get(self.columns["label"], missing)
        answer = parse_answer(value, self.kind, cast("Unlisted", unlisted))
        if isinstance(answer, str):
            return RejectedRow(at, Reason.BAD_ROW, answer)
        listing_id = self._text("listing_id", values) or None
        group = self._text("group", values) or None
        if answer is None:
            return Unlabelled(image, listing_id, split, group, at)
        return LabelRow(image, listing_id, answer, split, group, at)

    def _text(self, role: str, values: Mapping[str, Any]) -> str:
        return id_text(values.get(self.columns.get(role, "")))


def read_labels(
    path: Path,
    *,
    kind: Kind | None = None,
    label: str | None = None,
    mapping: Mapping[str, str] | None = None,
    unlisted: Unlisted = "no",
    group: str | None = None,
) -> LabelFile:
    """Look into a label file, and return what reads it.

    Args:
        path: a table with a photo column and `label` or `labels`, and if wanted `listing_id`,
            `split`, `group` and `unlisted`; Image ATM's samples.json; or a folder: with Hugging
            Face metadata, with samples.json, or with a folder for each class (ImageFolder).
        kind: what is asked; None guesses it, see N_ROWS_TO_GUESS.
        label: the label column, where it has another name.
        mapping: role to column, see `sources.columns.NAMES`.
        unlisted: what a multi-label answer says of the classes that it does not name; a column
            `unlisted` says it row by row.
        group: column whose equal values must stay on one side of a split.

    Returns:
        The checked file; `rows()` reads it.

    Raises:
        LabelError: no photo or label column, naming those that are there.
        NotFoundError, InputError, MissingExtraError: as `sources.tables.read_table`.
    """
    chosen = dict(mapping or {})
    chosen |= {role: name for role, name in (("label", label), ("group", group)) if name}
    files = _tables(path)
    if not files:
        if not path.is_dir():
            raise LabelError(f"there is no label file {printable(path)}")
        return LabelFile(path, kind or "single", False, {}, unlisted)
    columns = _label_columns(files[0], chosen)
    guess = kind or _guess_kind(files[0], columns["label"])
    return LabelFile(path, guess, kind is None, columns, unlisted)


def parse_answer(value: Any, kind: Kind, unlisted: Unlisted = "no") -> Answer | str | None:
    """Read one label value.

    Args:
        value: text, number or list; None and, for `single`, empty text are no label.
        kind: what is asked.
        unlisted: see `Answer`. An empty `multi` value says "no class" where it is ``no``, and
            nothing at all where it is ``unknown``.

    Returns:
        The answer, None where there is none, or a sentence on what is wrong.

    Example:
        >>> parse_answer("bed| lamp |-tv", "multi").yes, parse_answer("bed", "single").yes
        (('bed', 'lamp'), ('bed',))
    """
    if isinstance(value, dict):
        return "a label is a text or a list of texts, not an object"
    if value is None:
        return None
    names = _names(value, kind)
    if isinstance(names, str):
        return names
    if kind == "single":
        if len(names) > 1:
            return f"one label is needed, {len(names)} found: is this a multi-label file?"
        return Answer(yes=(names[0],)) if names else None
    no = tuple(name for name in (n[1:].strip() for n in names if n.startswith("-")) if name)
    yes = tuple(name for name in names if not name.startswith("-"))
    both = sorted(set(yes) & set(no))
    if both:
        return f"both yes and no: {', '.join(both)}"
    if not yes and not no and unlisted == "unknown":
        return None
    return Answer(yes, no, unlisted)


def similar_classes(classes: Iterable[str]) -> list[tuple[str, ...]]:
    """Return classes that differ in case, spaces, hyphens or underscores alone: likely one class.

    Example:
        >>> similar_classes(["Living room", "living_room", "kitchen"])
        [('Living room', 'living_room')]
    """
    alike: dict[str, list[str]] = {}
    for name in sorted(set(classes)):
        plain = "".join(name.casefold().replace("_", " ").replace("-", " ").split())
        alike.setdefault(plain, []).append(name)
    return [tuple(names) for names in alike.values() if len(names) > 1]


def _names(value: Any, kind: Kind) -> list[str] | str:
    """Return the distinct names in a value, in order, or what is wrong with it."""
    parts: list[Any]
    if isinstance(value, list):
        parts = value
    elif kind == "multi" and isinstance(value, str):
        parts = value.split("|")
        if value.lstrip().startswith("["):
            try:
                parts = json.loads(value)
            except (ValueError, RecursionError) as error:
                return f"not a JSON list: {error}"
    else:
        parts = [value]
    if any(isinstance(part, (list, dict)) for part in parts):
        return "a label is a text or a list of texts"
    return list(dict.fromkeys(name for name in map(id_text, parts) if name))


def _tables(path: Path) -> list[Path]:
    """Return the tables that hold the labels; none for folders of classes."""
    if not path.is_dir():
        return [path] if path.exists() else []
    samples = detect.image_atm_samples(path)
    return layouts.metadata_files(path) or ([samples[0]] if samples else [])


def _has_null(table: Path) -> bool:
    return tables.format_name(table) in ("JSON", "JSON Lines", "Parquet")


def _label_columns(table: Path, chosen: Mapping[str, str]) -> dict[str, str]:
    found = tables.columns(table)
    try:
        columns = find_columns(found, chosen, tuple(NAMES))
    except ConfigError as error:
        raise LabelError(f"{printable(table)}: {error}") from error
    wanted = {"image": "photo", "label": "label"}
    missing = [role for role in wanted if role not in columns]
    if missing:
        role = missing[0]
        flag = "--label COLUMN" if role == "label" else "--map image=COLUMN"
        raise LabelError(
            f"{printable(table)} has no column for the {wanted[role]}. Give it one of the names "
            f"{', '.join(NAMES[role])}, or say which it is ({flag}). {suggest(role, found)}"
        )
    return columns


def _guess_kind(table: Path, column: str) -> Kind:
    if column.strip().lower() == "labels":
        return "multi"
    for row in itertools.islice(tables.read_table(table), N_ROWS_TO_GUESS):
        value = None if isinstance(row, RejectedRow) else row[1].get(column)
        if isinstance(value, list) or (
            isinstance(value, str) and ("|" in value or value.startswith(("[", "-")))
        ):
            return "multi"
    return "single"


def _folder_rows(
    root: Path, kind: Kind, unlisted: Unlisted
) -> Iterator[LabelRow | Unlabelled | RejectedRow]:
    for row in layouts.ImageFolderSource(root).rows():
        if isinstance(row, RejectedRow):
            yield row
        elif isinstance(row, PhotoRow):
            name, split = layouts.folder_answer(row.photo_id)
            if name is None:
                yield Unlabelled(row.photo_id, split=split, at=row.at)
            else:
                answer = Answer((name,), unlisted=unlisted if kind == "multi" else "no")
                yield LabelRow(row.photo_id, None, answer, split, at=row.at)
