"""Parquet and Excel as rows, through polars and fastexcel (the extra `tables`)."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from listlens.core.errors import InputError, MissingExtraError
from listlens.sources.paths import printable

_ROWS_AT_ONCE = 20_000


def parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield `(row number from 1, values)` of a Parquet file, a bounded part of it in memory."""
    polars = _polars("reading Parquet")
    try:
        start = 0
        while True:
            part = polars.scan_parquet(path, glob=False).slice(start, _ROWS_AT_ONCE).collect()
            for number, row in enumerate(part.iter_rows(named=True), start + 1):
                yield number, _values(row)
            start += len(part)
            if len(part) < _ROWS_AT_ONCE:
                return
    except polars.exceptions.PolarsError as error:
        raise InputError(f"{printable(path)} is not a readable Parquet file: {error}") from error


def parquet_columns(path: Path) -> list[str]:
    """Return the names of a Parquet file's columns."""
    polars = _polars("reading Parquet")
    try:
        return [name.strip() for name in polars.read_parquet_schema(path)]
    except polars.exceptions.PolarsError as error:
        raise InputError(f"{printable(path)} is not a readable Parquet file: {error}") from error


def excel_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield `(row number as the spreadsheet shows it, values)` of the first sheet."""
    frame = _sheet(path, None)
    for number, row in enumerate(frame.iter_rows(named=True), 2):
        yield number, _values(row)


def excel_columns(path: Path) -> list[str]:
    """Return the first row of the first sheet."""
    return [name.strip() for name in _sheet(path, 1).columns if not _unnamed(name)]


def _sheet(path: Path, n_rows: int | None) -> Any:
    _polars("reading Excel")
    try:
        import fastexcel
    except ImportError:
        raise MissingExtraError("reading Excel", "tables") from None
    try:
        book = fastexcel.read_excel(path)
        # Empty rows are kept, so that the row numbers are those of the spreadsheet.
        return book.load_sheet(0, n_rows=n_rows, skip_whitespace_tail_rows=True).to_polars()
    except fastexcel.FastExcelError as error:
        raise InputError(f"{printable(path)} is not a readable spreadsheet: {error}") from error


def _polars(feature: str) -> ModuleType:
    try:
        import polars
    except ImportError:
        raise MissingExtraError(feature, "tables") from None
    return polars


def _unnamed(name: str) -> bool:
    return name.startswith("__UNNAMED__")  # fastexcel's name for a column without a header


def _values(row: dict[str, Any]) -> dict[str, Any]:
    plain = {name.strip(): _plain(value) for name, value in row.items() if not _unnamed(name)}
    return {name: value for name, value in plain.items() if value is not None}


def _plain(value: Any) -> Any:
    """Return the value as JSON knows it; None for what is empty."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return _plain(float(value))
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value if isinstance(value, (int, bool)) else None
