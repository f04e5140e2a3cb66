"""The command that reads the text in photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from listlens.cli.output import ExitCode, JsonOption, ProjectOption, progress, show
from listlens.core.amounts import counted


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(text)


def text(
    page: Annotated[
        bool,
        typer.Option("--page", help="Write text.html too: the photos with boxes and words."),
    ] = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Read the text in every stored photo: banners, prices, signs.

    Each picture is read once; interrupt and resume at will. Then listlens search --words SALE finds
    photos by what is written on them. Exit code 4: some files are gone or were changed.
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        with progress("text", quiet=as_json) as update:
            report = opened.text.read(update)
        made = opened.text.page(opened.root / "text.html") if page and report.any_read else {}
    result = {**vars(report), **made}
    lines = [
        f"{counted(report.read, 'pictures')} read now in {report.seconds:.1f} s, {report.already} "
        f"before; {report.with_text} hold text.",
        f"{report.failed} could not be read: their file is gone or was changed. Bring it in "
        "again: listlens ingest PHOTOS"
        if report.failed
        else "",
        f"Page: {made['page']}" if made else "",
    ]
    show(result, "\n".join(filter(None, lines)), as_json=as_json)
    if report.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)
