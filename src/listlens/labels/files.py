"""Label files: what people said of photos, in any table, samples.json or folders of classes.

How the values of a row are read: `labels.answers`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from listlens.core.errors import ConfigError, LabelError, suggest
from listlens.core.types import Answer, Kind, PhotoRow, Reason, RejectedRow, Split
from listlens.labels.answers import MARK, Reading, Unlisted, is_between_steps
from listlens.sources import detect, layouts, tables
from listlens.sources.columns import NAMES, find_columns
from listlens.sources.paths import printable, real_path
from listlens.sources.table import id_text

N_ROWS_TO_GUESS = 1000
"""The kind is guessed from this many first rows: one list or ``|`` among them means multi."""


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
        kind: what is asked.
        guessed: whether the kind was guessed from the values.
        columns: role (`image`, `label`, ...) to column; empty for folders of classes.
        unlisted: what a multi-label answer says of classes that it does not name, where no column
            `unlisted` says it.
        labels: the label columns: one; tree: or one a level; score: or one a step.
        separator: tree: between the levels of a path in one column.
        scale: score: names of the steps.
        means: score: whether its numbers are means, see `Reading`.
    """

    path: Path
    kind: Kind
    guessed: bool
    columns: Mapping[str, str]
    unlisted: Unlisted
    labels: tuple[str, ...] = ()
    separator: str = MARK
    scale: tuple[str, ...] = ()
    means: bool = False

    @property
    def reading(self) -> Reading:
        """How its values are read."""
        return Reading(self.kind, self.separator, self.scale, self.means)

    def describe(self) -> str:
        """Say in one sentence what is read and how."""
        kind = f"{self.kind}{' (guessed from the values)' if self.guessed else ''}"
        if not self.columns:
            return f"folder names of {printable(self.path)}: {kind}"
        shown = ", ".join(map(repr, self.labels))
        return f"column {shown} of {printable(self.path.name)}: {kind}"

    def rows(self) -> Iterator[LabelRow | Unlabelled | RejectedRow]:
        """Yield every row in order; streams, and never raises for one bad row."""
        if not self.columns:
            yield from _folder_rows(self.path, self.reading, self.unlisted)
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
        answer = self.reading.answer(
            [values.get(column, missing) for column in self.labels],
            cast("Unlisted", unlisted),
            count=values.get(self.columns.get("count", "")),
            deviation=values.get(self.columns.get("deviation", "")),
        )
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
    label: str | Sequence[str] | None = None,
    mapping: Mapping[str, str] | None = None,
    unlisted: Unlisted = "no",
    group: str | None = None,
    separator: str | None = None,
    scale: Sequence[str] = (),
) -> LabelFile:
    """Look into a label file, and return what reads it.

    Args:
        path: a table with a photo column and `label` or `labels`, and if wanted `listing_id`,
            `split`, `group` and `unlisted`; Image ATM's samples.json; or a folder: with Hugging
            Face metadata, with samples.json, or with a folder for each class (ImageFolder).
        kind: what is asked; None guesses it, see N_ROWS_TO_GUESS.
        label: the label column, where it has another name; tree: or the columns of its levels, from
            the top; score: or the columns with the votes of each step.
        mapping: role to column, see `sources.columns.NAMES`.
        unlisted: what a multi-label answer says of the classes that it does not name; a column
            `unlisted` says it row by row.
        group: column whose equal values must stay on one side of a split.
        separator: tree: between the levels of a path in one column; ``>`` by default.
        scale: score: names of the steps.

    Returns:
        The checked file; `rows()` reads it.

    Raises:
        LabelError: no photo or label column, naming those that are there.
        NotFoundError, InputError, MissingExtraError: as `sources.tables.read_table`.
    """
    levels = (label,) if isinstance(label, str) else tuple(label or ())
    _check_levels(kind, levels, scale)
    chosen = dict(mapping or {})
    chosen |= {role: name for role, name in (("label", next(iter(levels), "")),
                                             ("group", group)) if name}  # fmt: skip
    how: dict[str, Any] = {"separator": separator or MARK, "scale": tuple(scale)}
    files = _tables(path)
    if not files:
        if not path.is_dir():
            raise LabelError(f"there is no label file {printable(path)}")
        return LabelFile(path, kind or "single", False, {}, unlisted, **how)
    columns = _label_columns(files[0], chosen, levels)
    guess = kind or _guess_kind(files[0], columns["label"])
    labels = levels if len(levels) > 1 else (columns["label"],)
    if kind == "score" and len(labels) == 1:
        how["means"] = _are_means(files, columns, scale)
    return LabelFile(path, guess, kind is None, columns, unlisted, labels, **how)


def _check_levels(kind: Kind | None, levels: Sequence[str], scale: Sequence[str]) -> None:
    """Raise LabelError where several label columns, or none of a scale, do not fit the kind."""
    if len(levels) > 1 and kind not in ("tree", "score"):
        raise LabelError(
            f"{len(levels)} label columns ({', '.join(levels)}) need --kind tree, one a level, or "
            f"--kind score, one a step; the kind is {kind or 'not stated'}."
        )
    if kind == "score" and not scale:
        raise LabelError(
            "a score needs its scale: --scale LOW:HIGH or LOW:HIGH:STEP, such as --scale 1:5."
        )
    if kind == "score" and len(levels) > 1 and len(levels) != len(scale):
        raise LabelError(
            f"{len(levels)} label columns for the {len(scale)} steps {', '.join(scale)}: give the "
            "column of the means, or one column of votes a step."
        )


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


def _tables(path: Path) -> list[Path]:
    """Return the tables that hold the labels; none for folders of classes."""
    if not path.is_dir():
        return [path] if path.exists() else []
    samples = detect.image_atm_samples(path)
    return layouts.metadata_files(path) or ([samples[0]] if samples else [])


def _has_null(table: Path) -> bool:
    return tables.format_name(table) in ("JSON", "JSON Lines", "Parquet")


def _label_columns(table: Path, chosen: Mapping[str, str], levels: Sequence[str]) -> dict[str, str]:
    found = tables.columns(table)
    absent = [name for name in levels if name not in found] if len(levels) > 1 else []
    if absent:
        raise LabelError(
            f"{printable(table)} has no column {absent[0]!r}. {suggest(absent[0], found)}"
        )
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


def _are_means(files: Iterable[Path], columns: Mapping[str, str], scale: Sequence[str]) -> bool:
    """Whether a score's numbers are means: their votes are counted, or one is between two steps.

    Decided for all rows together, or 3 and 3.01 would be learnt as quite different answers. Reads
    the rows up to the first between two steps, which are all rows of a file of ratings.
    """
    if "count" in columns or "deviation" in columns:
        return True
    return any(
        is_between_steps(scale, row[1].get(columns["label"]))
        for table in files
        for row in tables.read_table(table)
        if not isinstance(row, RejectedRow)
    )


def _folder_rows(
    root: Path, reading: Reading, unlisted: Unlisted
) -> Iterator[LabelRow | Unlabelled | RejectedRow]:
    for row in layouts.ImageFolderSource(root).rows():
        if isinstance(row, RejectedRow):
            yield row
        elif isinstance(row, PhotoRow):
            name, split = layouts.folder_answer(row.photo_id)
            if name is None:
                yield Unlabelled(row.photo_id, split=split, at=row.at)
            else:
                answer = _folder_answer(name, reading, unlisted)
                if isinstance(answer, Answer):
                    yield LabelRow(row.photo_id, None, answer, split, at=row.at)
                else:
                    detail = answer or "the folder's name says nothing"
                    yield RejectedRow(row.at, Reason.BAD_ROW, detail)


def _folder_answer(name: str, reading: Reading, unlisted: Unlisted) -> Answer | str | None:
    """A folder's name is a class, whatever signs it holds; or a path, or a step."""
    if reading.kind in ("single", "multi"):
        return Answer((name,), unlisted=unlisted if reading.kind == "multi" else "no")
    return reading.answer([name])
