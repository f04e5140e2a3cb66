"""Commands that operate a project: back it up and restore it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listlens.cli.output import ExitCode, JsonOption, ProjectOption, note, progress, show

if TYPE_CHECKING:
    from listlens.pipeline.backup import BackupReport


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(backup)
    app.command()(restore)


def backup(
    file: Annotated[Path, typer.Argument(help="Archive to write, such as shop.tar.")],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write the project into one archive, while it goes on working.

    Settings, database, models, embeddings and thumbnails, as they are at one moment; not the photos
    themselves, nor reports. On PostgreSQL the database is dumped by pg_dump: run the line that is
    printed, before this command is repeated. The archive holds secrets: keep it safe.

    Example: listlens backup shop.tar
    """
    import listlens.project
    from listlens.pipeline.backup import backup as write

    with (
        listlens.project.open(project) as opened,
        progress("backing up", quiet=as_json) as bar,
    ):
        report = write(opened, file, lambda done, total: bar(done, total, ""))
    if report.database:
        note("The archive holds no database. A dump that was taken before it belongs to it:")
        note(f"  {report.database}")
    show(report.as_dict(), f"{_size(report)} in {report.path}", as_json=as_json)


def restore(
    file: Annotated[Path, typer.Argument(help="Archive that `listlens backup` wrote.")],
    folder: Annotated[Path, typer.Argument(help="Project to make; absent or empty.")],
    store: Annotated[
        str, typer.Option(help="Put the rows into another database, such as PostgreSQL; its URL.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a project from a backup; each file is checked by its hash first.

    What was forgotten on request after the backup comes back with it: forget it again. Exit code 4:
    rows name files that the archive lacks. With --store a project moves from SQLite to PostgreSQL.

    Example: listlens restore shop.tar shop-again
    """
    from listlens.pipeline.backup import restore as read

    with progress("restoring", quiet=as_json) as bar:
        report = read(
            file, folder, lambda done, total: bar(done, total or None, ""), store_url=store
        )
    if report.database:
        note(f"The database is not in the archive; restore its dump: {report.database}")
    for name in report.absent:
        note(f"absent: {name}")
    show(report.as_dict(), f"{_size(report)} in {report.path}", as_json=as_json)
    if report.absent:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _size(report: BackupReport) -> str:
    return f"{report.n_files:,} files, {report.n_bytes / 2**20:,.1f} MiB"
