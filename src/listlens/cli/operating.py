"""Commands that operate a project: back it up, restore it, and say what work will cost."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listlens.cli.output import ExitCode, JsonOption, ProjectOption, note, progress, show
from listlens.cli.watching import capped
from listlens.core.amounts import counted, money

if TYPE_CHECKING:
    from listlens.pipeline.backup import BackupReport
    from listlens.stream.forecast import Forecast


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(backup)
    app.command()(restore)
    app.command()(forecast)


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


def forecast(
    sample: Annotated[
        int, typer.Option(help="Photos to fetch and look at for it.", min=1, max=1000)
    ] = 48,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Say what the waiting events will take, before a back-fill begins.

    Some of them, drawn by chance, are brought and looked at on this machine; nothing is stored.

    Example: listlens forecast
    """
    import listlens.project

    with listlens.project.open(project) as opened, ExitStack() as stack:
        from listlens.pipeline.inference import Inference
        from listlens.sources.fetching import Fetcher, FetchRules
        from listlens.stream.forecast import forecast as measure

        rules = FetchRules.of(opened.config.fetch, opened.limits.max_bytes)
        fetcher = stack.enter_context(Fetcher(rules))
        inference = Inference(opened.backbone, opened.limits)
        stack.callback(inference.close)
        said = measure(opened, inference, fetcher, sample)
    show(said.as_dict(), _expected(said), as_json=as_json)


def _expected(said: Forecast) -> str:
    if not said.waiting:
        return "No event that brings a photo waits."
    cost = "" if said.cost is None else f", {money(said.cost, said.currency)}"
    lines = [
        f"{counted(said.waiting, 'photos')} to come. Of {said.sampled} tried {said.usable} are "
        f"usable, {said.known} known already; {said.bytes_a_photo / 1024:,.0f} KiB a photo.",
        f"{1000 * said.core_s_a_photo:.1f} ms of a core a photo: {said.core_hours:,.2f} hours of a "
        f"core, {said.hours:,.2f} on this machine{cost}. Storing and announcing come on top.",
    ]
    lines += [capped(one) for one in said.capped]
    return "\n".join(lines)


def _size(report: BackupReport) -> str:
    return f"{counted(report.n_files, 'files')}, {report.n_bytes / 2**20:,.1f} MiB"
