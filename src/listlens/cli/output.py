"""What all commands share: options, exit codes, how results, progress and errors are shown."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from listlens.core.errors import InputError, ListlensError, NotFoundError, Retryable


class ExitCode(IntEnum):
    """What a script may rely on; `docs/cli.md` lists them."""

    DONE = 0
    BUG = 1
    WRONG_INPUT = 2
    NOT_FOUND = 3
    SOME_FAILED = 4
    TRY_AGAIN = 5
    CANNOT = 6
    INTERRUPTED = 130


ProjectOption = Annotated[
    Path,
    typer.Option("--project", "-p", envvar="LISTLENS_PROJECT", help="Folder of the project."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]


def exit_code(error: ListlensError) -> ExitCode:
    """The exit code that tells a script what kind of error this is."""
    if isinstance(error, Retryable):
        return ExitCode.TRY_AGAIN
    if isinstance(error, NotFoundError):
        return ExitCode.NOT_FOUND
    if isinstance(error, InputError):
        return ExitCode.WRONG_INPUT
    return ExitCode.CANNOT


def show(result: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print a result once: as JSON for scripts, or as text for a person."""
    print(json_text(result, indent=2) if as_json else text)


def json_text(value: Any, indent: int | None = None) -> str:
    """Write JSON that standard output can carry: on a terminal without Unicode, escaped."""
    plain = not (sys.stdout.encoding or "").lower().startswith("utf")
    return json.dumps(value, ensure_ascii=plain, indent=indent, default=str)


def carry_any_text() -> None:
    """Let names of any language through to a terminal without Unicode, escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors="backslashreplace")


def note(message: str) -> None:
    """Tell a person something beside the result, on standard error."""
    if message:
        print(message, file=sys.stderr)


def table(rows: list[tuple[Any, ...]], header: tuple[str, ...]) -> str:
    """Align columns with spaces; numbers to the right."""
    cells = [header, *[tuple("" if v is None else str(v) for v in row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    numeric = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
    lines = []
    for row in cells:
        parts = [
            c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


@contextmanager
def progress(
    title: str, *, quiet: bool = False
) -> Iterator[Callable[[int, int | None, str], None]]:
    """Show a bar with rate and time left on a terminal; nothing where nobody looks.

    Yields:
        A function to call with what is done, the total (None: not known) and a remark.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda done, total, remark: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, rate="", remark="")

        def update(done: int, total: int | None, remark: str) -> None:
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            rate = f"{speed:.0f}/s" if speed else ""
            bar.update(task, completed=done, total=total, rate=rate, remark=remark)

        yield update
