"""A table with a row for each photo: where it is, whose it is, and what is known."""

# pathlib is slow for a photo each, and cannot normalise a path without following links.
# ruff: noqa: PTH100, PTH118

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from listlens.core.errors import ConfigError, PhotoError, suggest
from listlens.core.types import ListingRow, PhotoRow, Reason, RejectedRow, SourceRow
from listlens.sources import tables
from listlens.sources.columns import NAMES, PHOTO_LEVEL, find_columns
from listlens.sources.inside import Inside
from listlens.sources.objects import is_object
from listlens.sources.paths import printable, real_path
from listlens.sources.seen import FirstSeen
from listlens.sources.urls import is_url, parse_url

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# Codes stay text: a leading zero (zip codes) or more digits than an account of 64 bits holds.
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}([eE][+-]?[0-9]{1,2})?")
N_ROWS_TO_FIND_BASE = 20
"""How many rows are tried to see what paths are relative to."""
_ROLES = ("image", "listing_id", "seller_id", "position")


class TableSource:
    """Photos and listings from a table.

    Columns: the photo (`image`, `photo`, `path`, `file_name`, `filename`, `url`, or `image_id`),
    and if there, `listing_id`, `seller_id` and `position`. Every other column is an attribute of
    the listing, save those that speak of one photo (`columns.PHOTO_LEVEL` and `not_attributes`).
    Without `listing_id` every photo is a listing of its own. A row with a listing and no photo is a
    ListingRow.

    Args:
        path: CSV, TSV, JSON, JSON Lines, Parquet or Excel.
        photos: the photos' folder; default the table's own. Paths are relative to it (or to the
            table's folder, where only that finds photos) and may not leave it.
        mapping: role to column where the column has another name (`columns.NAMES` has the roles).
        base: what paths are relative to, where that is a folder inside `photos`.
        not_attributes: further columns that are no attributes, such as a task's labels.
        allow_outside: take paths that lead out of the photos' folder.
        fetch: take URLs; else they are rejected as ``remote``.

    Raises:
        ConfigError: no photo column, a wrong mapping, or no such folder.
        NotFoundError, InputError, MissingExtraError: as `tables.read_table`.
    """

    def __init__(
        self,
        path: Path,
        photos: Path | None = None,
        mapping: Mapping[str, str] | None = None,
        *,
        base: Path | None = None,
        not_attributes: Collection[str] = (),
        allow_outside: bool = False,
        fetch: bool = False,
    ) -> None:
        self._path, self._fetch = path, fetch
        found = tables.columns(path)
        self._columns = find_columns(found, mapping or {}, _ROLES)
        if "image" not in self._columns:
            raise ConfigError(_no_photo_column(path, found))
        root = photos or path.parent
        if not root.is_dir():
            raise ConfigError(f"there is no folder of photos {printable(root)}")
        self._inside = Inside(root)
        self._base = os.path.abspath(base or self._find_base(root))
        self._allow_outside = allow_outside
        self._parse_numbers = tables.is_text(path)
        self._not_attributes = {*self._columns.values(), *not_attributes}
        self.name = f"table:{printable(os.path.abspath(path))}"

    def describe(self) -> str:
        """Say in one sentence what is read and how."""
        grouped = (
            f"listings by column {self._columns['listing_id']!r}"
            if "listing_id" in self._columns
            else "every photo a listing of its own"
        )
        return (
            f"{tables.format_name(self._path)} table {printable(self._path.name)}: photos by "
            f"column {self._columns['image']!r} relative to {printable(self._base)}, {grouped}"
        )

    def rows(self) -> Iterator[SourceRow]:
        """Yield a row for each row of the table, in its order."""
        seen = FirstSeen()
        for row in tables.read_table(self._path):
            if isinstance(row, RejectedRow):
                yield row
                continue
            at, values = row
            made = self._row(at, values)
            if isinstance(made, PhotoRow):
                # Row numbers in a table name lines; `at` ends in them.
                place = int(at.rpartition(":")[2])
                before = seen.first(f"{made.listing_id}\0{made.photo_id}", place)
                if before is not None:
                    detail = f"listing {made.listing_id!r}, photo {made.photo_id!r} came in row "
                    made = RejectedRow(at, Reason.DUPLICATE_ROW, f"{detail}{before} already")
            yield made

    def _find_base(self, root: Path) -> Path:
        """Return what paths are relative to: the photos' folder, or plainly the table's own.

        With ``shop/images`` and ``shop/labels.csv``, paths are often written as ``images/a.jpg``.
        The table's folder is taken where none of the first paths is there from the photos' folder,
        and one is there from the table's.
        """
        if os.path.abspath(root) == os.path.abspath(self._path.parent):
            return root
        from_table = False
        for row in itertools.islice(tables.read_table(self._path), N_ROWS_TO_FIND_BASE):
            image = None if isinstance(row, RejectedRow) else self._value("image", row[1])
            text = real_path(str(image or ""))
            if not text or "\0" in text:
                continue
            if os.path.lexists(os.path.join(root, text)):
                return root
            beside = os.path.normpath(os.path.join(os.path.abspath(self._path.parent), text))
            from_table = from_table or (self._inside.by_name(beside) and os.path.lexists(beside))
        return self._path.parent if from_table else root

    def _row(self, at: str, values: dict[str, Any]) -> SourceRow:
        listing_id = id_text(self._value("listing_id", values))
        seller_id = id_text(self._value("seller_id", values)) or None
        image = self._value("image", values)
        if image is None or image == "":
            if listing_id:
                return ListingRow(listing_id, seller_id, self._attributes(values), at)
            return RejectedRow(at, Reason.BAD_ROW, f"column {self._columns['image']!r} is empty")
        place = self._place(image)
        if isinstance(place, tuple):
            return RejectedRow(at, *place)
        position = _position(self._value("position", values))
        if isinstance(position, str):
            return RejectedRow(at, Reason.BAD_ROW, position)
        photo_id = printable(str(image).strip()) if is_url(place) else self._photo_id(place)
        return PhotoRow(
            listing_id=listing_id or photo_id,
            photo_id=photo_id,
            location=printable(place),
            position=position,
            seller_id=seller_id,
            attributes=self._attributes(values),
            at=at,
        )

    def _value(self, role: str, values: dict[str, Any]) -> Any:
        return values.get(self._columns[role]) if role in self._columns else None

    def _place(self, image: Any) -> str | tuple[Reason, str]:
        """Return the photo's absolute path or URL, or why it cannot be used."""
        if not isinstance(image, (str, int)) or isinstance(image, bool):
            kind = type(image).__name__
            return Reason.BAD_ROW, f"column {self._columns['image']!r} holds {kind}, not a path"
        text = real_path(str(image))
        if _URL.match(text):
            if not text.lower().startswith("file://"):
                return self._behind_url(text)
            text = real_path(printable(unquote(text[len("file://") :], errors="surrogateescape")))
        if "\0" in text:
            return Reason.BAD_ROW, "the path holds a NUL byte"
        path = os.path.normpath(os.path.join(self._base, text))
        if not self._allow_outside and not (
            self._inside.by_name(path) and self._inside.by_link(path)
        ):
            return (
                Reason.OUTSIDE,
                f"{printable(text)} leads out of the photos' folder {printable(self._inside.root)}",
            )
        return path

    def _behind_url(self, text: str) -> str | tuple[Reason, str]:
        """Return a URL as it is asked for, or why it is not."""
        if not self._fetch:
            return (
                Reason.REMOTE,
                f"{printable(text)} is a URL, and URLs are not fetched unless asked to: ingest "
                "--fetch, or [fetch] enabled in listlens.toml",
            )
        if is_object(text):
            return printable(text)
        try:
            return parse_url(text).url
        except PhotoError as error:
            return error.reason, error.detail

    def _photo_id(self, path: str) -> str:
        if self._inside.by_name(path):
            return printable(self._inside.relative(path))
        return printable(path)

    def _attributes(self, values: dict[str, Any]) -> dict[str, Any]:
        return {
            name: _number(value) if self._parse_numbers else value
            for name, value in values.items()
            if value != "" and name not in self._not_attributes and name.lower() not in PHOTO_LEVEL
        }


def id_text(value: Any) -> str:
    """Return an id as text: 7, 7.0 and "7" are one listing; empty where there is none."""
    if value is None or isinstance(value, (list, dict)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _position(value: Any) -> int | str | None:
    """Return the position, or what is wrong with it."""
    if value is None or value == "":
        return None
    text = id_text(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 10):
        return f"position {value!r} is not a whole number from 0 up"
    return int(text)


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if _INTEGER.fullmatch(value):
        return int(value)
    return float(value) if _DECIMAL.fullmatch(value) else value


def _no_photo_column(path: Path, found: list[str]) -> str:
    near = suggest("image", found)
    return (
        f"{printable(path)} has no column for the photo. Give it one of the names "
        f"{', '.join(NAMES['image'])}, or say which it is (--map image=COLUMN). {near}"
    )
