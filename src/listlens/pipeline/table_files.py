"""Write rows to CSV, JSON lines or Parquet, streaming; the file appears when it is whole."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from listlens.core.errors import InputError, ListlensError, MissingExtraError
from listlens.core.files import whole
from listlens.pipeline.contents import batched
from listlens.store.troubles import disk_error

FORMATS = (".csv", ".jsonl", ".parquet")
PARQUET_ROWS = 10_000


def write_rows(path: Path, columns: dict[str, type], rows: Iterable[dict[str, Any]]) -> int:
    """Write rows in the format that the suffix names; memory stays flat.

    Args:
        path: ends in .csv, .jsonl or .parquet.
        columns: name to type (str, int, float, bool); every row has these keys.
        rows: values may be None.

    Returns:
        How many rows were written.

    Raises:
        InputError: another suffix, or the folder is not there.
        MissingExtraError: Parquet without the extra `tables`.
    """
    writers = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
    check_suffix(path, FORMATS)
    with whole_file(path) as temporary:
        return writers[path.suffix.lower()](temporary, columns, rows)


def check_suffix(path: Path, allowed: tuple[str, ...]) -> None:
    """Raise InputError unless the file name ends in one of `allowed`."""
    if path.suffix.lower() not in allowed:
        raise InputError(f"cannot write {path.name!r}: the name must end in {', '.join(allowed)}.")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """`listlens.core.files.whole`, with what goes wrong in our words."""
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {str(path.parent)!r} to write {path.name!r} into.")
    try:
        with whole(path) as temporary:
            yield temporary
    except OSError as error:
        raise error if isinstance(error, ListlensError) else disk_error(error) from error


def _write_csv(path: Path, columns: dict[str, type], rows: Iterable[dict[str, Any]]) -> int:
    n = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        for n, row in enumerate(rows, 1):  # noqa: B007 - n is the result
            writer.writerow(row)
    return n


def _write_jsonl(path: Path, columns: dict[str, type], rows: Iterable[dict[str, Any]]) -> int:
    n = 0
    with path.open("w", encoding="utf-8") as file:
        for n, row in enumerate(rows, 1):  # noqa: B007 - n is the result
            file.write(json.dumps({name: row[name] for name in columns}, ensure_ascii=False) + "\n")
    return n


def _write_parquet(path: Path, columns: dict[str, type], rows: Iterable[dict[str, Any]]) -> int:
    try:
        import polars as pl
    except ModuleNotFoundError:
        raise MissingExtraError("writing Parquet", "tables") from None
    types = {str: pl.String, int: pl.Int64, float: pl.Float64, bool: pl.Boolean}
    schema = {name: types[kind] for name, kind in columns.items()}
    frames = (pl.DataFrame(batch, schema=schema) for batch in batched(rows, PARQUET_ROWS))
    return sink_frames(path, schema, frames)


def sink_frames(path: Path, schema: dict[str, Any], frames: Iterable[Any]) -> int:
    """Stream polars frames into one Parquet file; return the number of rows."""
    import polars as pl
    from polars.io.plugins import register_io_source

    n = 0
    failures: list[Exception] = []

    def generate(*_: Any) -> Iterator[Any]:
        nonlocal n
        try:
            for frame in frames:
                n += frame.height
                yield frame
        except Exception as error:  # raised below: polars would still be writing meanwhile
            failures.append(error)

    lazy = register_io_source(generate, schema=pl.Schema(schema))
    try:
        lazy.sink_parquet(path)
    except pl.exceptions.ComputeError as error:
        # polars wraps what the operating system said: only its text still names the number.
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
    if failures:
        raise failures[0]
    return n
