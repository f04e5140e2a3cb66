"""Tables as rows: CSV, TSV, JSON, JSON Lines, Parquet and Excel, streamed where the format allows.

One row is `(at, values)`: where it stands (``labels.csv:12``) and the values by column; what is
null, and in CSV what is empty, is absent. A row that cannot be read is a `RejectedRow` in its
place, and the rows after it still come.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from listlens.core.errors import InputError, NotFoundError
from listlens.core.types import Reason, RejectedRow
from listlens.sources import columnar, delimited, json_tables
from listlens.sources.paths import printable

Row = tuple[str, dict[str, Any]]
"""Where the row stands, and its values by column; null and empty CSV fields are absent."""

_Reader = Callable[[Path], Iterator[tuple[int, dict[str, Any] | str]]]
_READERS: dict[str, tuple[str, _Reader]] = {
    ".csv": ("CSV", delimited.rows),
    ".tsv": ("TSV", delimited.rows),
    ".tab": ("TSV", delimited.rows),
    ".txt": ("CSV", delimited.rows),
    ".json": ("JSON", json_tables.rows),
    ".jsonl": ("JSON Lines", json_tables.line_rows),
    ".ndjson": ("JSON Lines", json_tables.line_rows),
    ".parquet": ("Parquet", columnar.parquet_rows),
    ".pq": ("Parquet", columnar.parquet_rows),
    ".xlsx": ("Excel", columnar.excel_rows),
    ".xls": ("Excel", columnar.excel_rows),
    ".ods": ("OpenDocument", columnar.excel_rows),
}
_TEXT_FORMATS = frozenset({"CSV", "TSV"})
N_ROWS_FOR_COLUMNS = 200
"""JSON has no header: its columns are the keys of this many first rows."""


def format_name(path: Path) -> str:
    """Return the table's format as a person says it, by its suffix.

    Raises:
        InputError: a suffix that is not a table's.
        NotFoundError: there is no such file.

    Example:
        >>> format_name(Path("labels.txt"))
        Traceback (most recent call last):
        listlens.core.errors.NotFoundError: there is no table labels.txt
    """
    return _reader(path)[0]


def is_text(path: Path) -> bool:
    """Whether the format has text only, so that numbers are still to be recognised."""
    return format_name(path) in _TEXT_FORMATS


def read_table(path: Path) -> Iterator[Row | RejectedRow]:
    """Yield the rows of a table, in order.

    Text is read as UTF-8, fields that are not UTF-8 as Windows-1252, and UTF-16 by its mark. The
    delimiter of a CSV is the most frequent of ``, ; tab |`` in its header. JSON is a list of
    objects, an object with one list of objects, or JSON Lines.

    Args:
        path: the table; its suffix says the format.

    Yields:
        `Row`, or RejectedRow (BAD_ROW) for a row that is ragged, too long, not an object, or holds
        characters that no database takes.

    Raises:
        NotFoundError: there is no such file.
        InputError: not a table, or the file as a whole cannot be read.
        MissingExtraError: Parquet or Excel without the extra `tables`.
    """
    reader = _reader(path)[1]
    name = printable(path.name)
    try:
        for number, values in reader(path):
            at = f"{name}:{number}"
            try:
                problem = values if isinstance(values, str) else _problem(values)
            except RecursionError:
                problem = "nested too deeply"
            if problem:
                yield RejectedRow(at, Reason.BAD_ROW, problem)
            elif values:
                assert not isinstance(values, str)
                yield at, values
    except OSError as error:
        raise InputError(f"cannot read the table {printable(path)}: {error.strerror}") from error


def columns(path: Path) -> list[str]:
    """Return the names of the columns, in order.

    Raises:
        NotFoundError, InputError, MissingExtraError: as `read_table`.
    """
    kind = format_name(path)
    try:
        if kind in _TEXT_FORMATS:
            return delimited.header(path)
        if kind == "Parquet":
            return columnar.parquet_columns(path)
        if kind in ("Excel", "OpenDocument"):
            return columnar.excel_columns(path)
    except OSError as error:
        raise InputError(f"cannot read the table {printable(path)}: {error.strerror}") from error
    found: dict[str, None] = {}
    for row in itertools.islice(read_table(path), N_ROWS_FOR_COLUMNS):
        if not isinstance(row, RejectedRow):
            found.update(dict.fromkeys(row[1]))
    return list(found)


def _reader(path: Path) -> tuple[str, _Reader]:
    if not path.exists():
        raise NotFoundError(f"there is no table {printable(path)}")
    if path.suffix.lower() not in _READERS:
        allowed = ", ".join(_READERS)
        raise InputError(f"{printable(path)} is not a table by its name. Allowed: {allowed}")
    return _READERS[path.suffix.lower()]


def _problem(values: dict[str, Any]) -> str:
    """Name what no database takes: NUL and half characters, at any depth."""
    for column, value in values.items():
        if isinstance(value, str):
            if _broken(value):
                return f"column {column!r} holds characters that are not text"
        elif isinstance(value, (dict, list)) and any(map(_broken, _texts(value))):
            return f"column {column!r} holds characters that are not text"
        if _broken(column):
            return "a column's name holds characters that are not text"
    return ""


def _broken(text: str) -> bool:
    if "\0" in text:
        return True
    return not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
