"""JSON and JSON Lines as rows, read piece by piece."""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, TextIO

from listlens.core.errors import InputError
from listlens.sources.paths import printable

MAX_ROW_CHARS = 1 << 20
"""One row may not be longer: bounds memory on a file without line breaks or closing brackets."""
_CHUNK_CHARS = 1 << 16
_SPACE = " \t\r\n"


def line_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield `(line number, values)`, or `(line number, what is wrong)`, of a JSON Lines file."""
    with _open(path) as file:
        number = 0
        while line := file.readline(MAX_ROW_CHARS):
            number += 1
            if len(line) == MAX_ROW_CHARS:
                while line and not line.endswith("\n"):
                    line = file.readline(MAX_ROW_CHARS)
                yield number, f"the line is longer than {MAX_ROW_CHARS:,} characters"
            elif line.strip():
                yield number, _line(line)


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield `(row number from 1, values or what is wrong)` of a JSON file.

    It is a list of objects, an object with a list of objects, or JSON Lines after all.
    """
    if _is_lines(path):
        yield from line_rows(path)
        return
    with _open(path) as file:
        text = _Text(file)
        first = text.peek()
        if first == "[":
            n = yield from text.items(0)
            if n is not None and text.peek():
                yield n + 1, "what follows the list is not read"
        elif first == "{":
            yield from _lists(text, path)
        else:
            raise InputError(f"{printable(path)} is not JSON: a list of objects is needed")


def _lists(text: _Text, path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield the rows of the first list in an object; name any further list, which is not read."""
    found: str | None = None
    text.take("{")
    n = 0
    try:
        while text.peek() == '"':
            key = text.value()
            text.take(":")
            if text.peek() != "[":
                text.value()
            elif found is None:
                found = key
                for n, row in text.items(0):
                    yield n, row
            else:
                yield n + 1, f"the list {key!r} is not read: the rows are taken from {found!r}"
                return
            if text.peek() == ",":
                text.take(",")
    except ValueError as error:
        if found is not None:
            yield n + 1, f"from here on the file cannot be read: {error}"
    if found is None:
        raise InputError(
            f"{printable(path)} holds no rows: a list of objects is needed, such as "
            '[{"image": "a.jpg", "label": "kitchen"}], or an object with one such list'
        )


class _Text:
    """A JSON text of which a bounded part is in memory."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._buffer = ""
        self._at = 0
        self._end = False
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """Return the next character that is not white space, or '' at the end."""
        while True:
            while self._at < len(self._buffer):
                if self._buffer[self._at] not in _SPACE:
                    return self._buffer[self._at]
                self._at += 1
            if not self._more():
                return ""

    def take(self, char: str) -> None:
        found = self.peek()
        if found != char:
            raise ValueError(f"{char!r} expected, {found or 'the end'!r} found")
        self._at += 1

    def value(self) -> Any:
        """Return the next value; ValueError where there is none within the bound."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except RecursionError:
                raise ValueError("nested too deeply") from None
            except ValueError as error:
                if len(self._buffer) - self._at > MAX_ROW_CHARS:
                    raise ValueError(f"a row longer than {MAX_ROW_CHARS:,} characters") from None
                if not self._more():
                    raise ValueError(str(error)) from None
                continue
            # A number at the end of the buffer may go on in the next part.
            if end == len(self._buffer) and not self._end and self._more():
                continue
            self._at = end
            return value

    def items(self, n: int) -> Generator[tuple[int, dict[str, Any] | str], None, int | None]:
        """Yield the items of the list that starts here, numbered from n + 1.

        Returns:
            The last number, or None where the list could not be read to its end.
        """
        self.take("[")
        try:
            while self.peek() != "]":
                row = _row(self.value())
                n += 1
                yield n, row
                if self.peek() != "]":
                    self.take(",")
            self.take("]")
        except ValueError as error:
            yield n + 1, f"from here on the file cannot be read: {error}"
            return None
        return n

    def _more(self) -> bool:
        """Read on, twice as much as is kept, so that a long row costs linear time."""
        kept = self._buffer[self._at :]
        chunk = self._file.read(max(_CHUNK_CHARS, len(kept)))
        self._end = not chunk
        self._buffer, self._at = kept + chunk, 0
        return bool(chunk)


def _is_lines(path: Path) -> bool:
    """Whether a .json file holds an object a line: two complete ones, one below the other."""
    with _open(path) as file:
        first, second = file.readline(MAX_ROW_CHARS), file.readline(MAX_ROW_CHARS)
    if not (first.startswith("{") and second.startswith("{")):
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _line(line: str) -> dict[str, Any] | str:
    try:
        return _row(json.loads(line))
    except RecursionError:
        return "nested too deeply"
    except ValueError as error:
        return f"not JSON: {error}"


def _row(value: Any) -> dict[str, Any] | str:
    if not isinstance(value, dict):
        return f"an object is needed, {type(value).__name__} found"
    return {key: inner for key, inner in value.items() if not _absent(inner)}


def _absent(value: Any) -> bool:
    """Null, and NaN or infinity, which JSON proper and databases do not know."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _open(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", errors="surrogateescape")
