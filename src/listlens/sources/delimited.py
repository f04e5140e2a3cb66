"""CSV and TSV: streamed, with line numbers, and never more than one row lost to a bad quote."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from listlens.core.errors import InputError
from listlens.sources.paths import printable

MAX_LINE_CHARS = 1 << 20
"""A longer line is not a row of a table. Bounds memory on a file without line breaks."""
MAX_RECORD_LINES = 1000
"""A quoted field may hold line breaks; one that holds more is a quote that was not closed."""
_DELIMITERS = ",;\t|"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def header(path: Path) -> list[str]:
    """Return the column names of a CSV or TSV; InputError where there is no header."""
    with _open(path) as file:
        return [name for name in _header(_Lines(file), path)[0] if name]


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield `(line number, values)`, or `(line number, what is wrong)`; blank rows are no rows."""
    with _open(path) as file:
        lines = _Lines(file)
        names, delimiter = _header(lines, path)
        while True:
            try:
                record = lines.record(delimiter)
            except csv.Error as error:
                yield lines.start, str(error)
                continue
            if record is None:
                return
            yield lines.start, _values(names, record)


class _Lines:
    """The lines of a file, numbered, which can be given back when a record goes wrong."""

    def __init__(self, file: io.TextIOBase) -> None:
        self._file = file
        self._again: deque[tuple[int, str]] = deque()
        self._taken: list[tuple[int, str]] = []
        self._number = 0
        self.start = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._taken) >= MAX_RECORD_LINES:
            raise csv.Error("the quote is not closed")
        number, line = self._again.popleft() if self._again else self._read()
        self._taken.append((number, line))
        if not line:
            raise csv.Error(f"the line is longer than {MAX_LINE_CHARS:,} characters")
        return line

    def give_back(self) -> None:
        """Let the lines taken since the last record come again."""
        self._again.extendleft(reversed(self._taken))
        self._taken.clear()

    def _read(self) -> tuple[int, str]:
        """Return the next line, or an empty one in place of one that is too long."""
        line = self._file.readline(MAX_LINE_CHARS)
        if not line:
            raise StopIteration
        self._number += 1
        if len(line) == MAX_LINE_CHARS:
            while line and not line.endswith(("\n", "\r")):
                line = self._file.readline(MAX_LINE_CHARS)
            line = ""
        return self._number, line

    def record(self, delimiter: str) -> list[str] | None:
        """Return the next record, or None at the end.

        Raises:
            csv.Error: its first line cannot be read; the next call starts at the line after it.
        """
        self._taken.clear()
        try:
            record = next(csv.reader(self, delimiter=delimiter, strict=True), None)
        except csv.Error as error:
            # Only the first line is given up: a quote left open would swallow all that follow.
            self.start, first = self._taken.pop(0)
            self.give_back()
            return _lenient(first, delimiter, error)
        self.start = self._taken[0][0] if self._taken else self._number
        return record


def _lenient(line: str, delimiter: str, error: csv.Error) -> list[str]:
    """Read a line alone, quotes as they stand (``12" TV``), if that closes what is open."""
    if not line:
        raise error
    if line.count('"') % 2:
        raise csv.Error(f"a quote is not closed or stands in the middle of a field ({error})")
    return next(csv.reader([line], delimiter=delimiter))


def _header(lines: _Lines, path: Path) -> tuple[list[str], str]:
    """Return the names (empty ones stay, to keep their place) and the delimiter."""
    try:
        first = next(iter(lines))
        delimiter = _delimiter(first, path)
        lines.give_back()
        record = lines.record(delimiter)
    except (StopIteration, csv.Error):
        record = None
    names = [_text(name) for name in record or []]
    if not any(names):
        raise InputError(f"{printable(path)} has no header: its first line must name the columns")
    if any("\0" in name for name in names):
        raise InputError(f"{printable(path)} is not a text table (its first line holds NUL bytes)")
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InputError(f"{printable(path)} has two columns named {twice[0]!r}; rename one")
    return names, delimiter


def _delimiter(line: str, path: Path) -> str:
    if path.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    outside_quotes = "".join(line.split('"')[::2])
    return max(_DELIMITERS, key=outside_quotes.count)  # the first of equals


def _values(names: list[str], record: list[str]) -> dict[str, Any] | str:
    n = len(names)
    if len(record) != n:
        if not any(field.strip() for field in record):
            return {}
        if len(record) < n or any(field.strip() for field in record[n:]):
            return f"{len(record)} fields, but the header names {n} columns"
    values = {}
    for name, field in zip(names, record, strict=False):
        if name and field:
            text = _text(field)
            if text:
                values[name] = text
    return values


def _text(field: str) -> str:
    """Trim; a field that is not UTF-8 is taken for Windows-1252, as spreadsheets write it."""
    if not field.isascii() and any("\udc80" <= c <= "\udcff" for c in field):
        data = field.encode("utf-8", "surrogateescape")
        # Five bytes mean nothing in Windows-1252; Latin-1 gives every byte a meaning.
        try:
            field = data.decode("cp1252")
        except UnicodeDecodeError:
            field = data.decode("latin-1")
    return field.strip()


def _open(path: Path) -> io.TextIOWrapper:
    file = path.open("rb")
    start = file.peek(4)
    if start[:2] in _UTF16_MARKS:
        return io.TextIOWrapper(file, encoding="utf-16", errors="replace", newline="")
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
