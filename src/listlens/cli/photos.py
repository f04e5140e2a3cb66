"""Commands for a project and its photos: init, ingest, check, status, forget, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from listlens.cli.output import ExitCode, JsonOption, ProjectOption, note, progress, show, table
from listlens.core.amounts import counted, unit_of


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (init, ingest, check, status, forget, doctor):
        app.command()(command)


def init(
    directory: Annotated[Path, typer.Argument(help="Folder of the new project.")] = Path(),
    template: Annotated[
        str | None,
        typer.Option(help="Start with the usual questions of: homes, hotels, cars or goods."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a project: a folder with listlens.toml and a store.

    Example: listlens init shop --template homes
    """
    from listlens.scaffold import init as make

    with make(directory, template=template) as made:
        result = {"project": str(made.root), "tasks": [task.name for task in made.tasks()]}
    text = f"Made {result['project']}. Next: listlens ingest PHOTOS --project {directory}"
    show(result, text, as_json=as_json)


def ingest(
    photos: Annotated[Path, typer.Argument(help="Folder of photos, or a table that lists them.")],
    table_path: Annotated[
        Path | None,
        typer.Option(
            "--table",
            help="CSV, TSV, JSON, JSONL, Parquet or XLSX with a row a photo; paths "
            "in it are relative to PHOTOS.",
        ),
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", help="OURS=THEIRS names a column, such as listing_id=ad_number."),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="Regular expression on the path, with a group `(?P<listing>...)` and perhaps "
            "`(?P<position>...)`. Default: the folder is the listing."
        ),
    ] = None,
    fetch: Annotated[
        bool,
        typer.Option("--fetch", help="Fetch photos that the table names by URL; see [fetch]."),
    ] = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Bring photos in: read, check, measure and embed each new one once.

    Run it again at any time: unchanged photos cost a look at the file's date, deleted and moved
    ones are noticed, and an interrupted run goes on. A photo that cannot be used is a row with a
    status and a reason; nothing is skipped.

    Example: listlens ingest photos --table listings.csv --map listing_id=ad_number
    """
    import listlens.project

    with listlens.project.open(project) as opened, progress("ingest", quiet=as_json) as update:
        report = opened.ingest(
            photos,
            table=table_path,
            mapping=pairs(mapping),
            pattern=pattern,
            fetch=fetch,
            progress=lambda done, failed: update(done, None, f"{failed} failed"),
        )
    lines = [
        f"{report.new} new, {report.changed} changed, {report.unchanged} unchanged photos "
        f"in {report.seconds:.1f} s; {report.embedded} embedded.",
        f"{report.gone} gone from the source ({report.moved} of them moved)."
        if report.gone
        else "",
        f"{report.stale} of the unchanged could not be asked for again; they stay as they were."
        if report.stale
        else "",
        f"{report.failed} cannot be used, {counted(report.rejected, 'rows')} rejected: "
        + ", ".join(f"{n} {reason}" for reason, n in report.reasons.items())
        + ". See them: listlens check"
        if report.reasons
        else "Every row is usable.",
    ]
    show(report.as_dict(), "\n".join(filter(None, lines)), as_json=as_json)


def check(
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write the page; default: check.html in the project."),
    ] = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Report on the photos themselves: broken, dark, blurred, framed, tiny, doubled ones.

    Writes one HTML page with thumbnails.
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        report = opened.check(out)
    rows, n = list(report["flags"].items()), report["not_compared"]
    text = "\n".join(
        [
            f"{counted(report['photos'], 'photos')}, {report['failed']} cannot be used.",
            table(rows, ("flag", "photos")) if rows else "No flags.",
            *[f"Look-alikes were not searched among {n} files: too many."] * bool(n),
            f"Page with thumbnails: {report['page']}",
        ]
    )
    show(report, text, as_json=as_json)


def status(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """Say what the project holds: photos by status and reason, tasks, labels, models."""
    import listlens.project
    from listlens.pipeline.overview import in_words

    with listlens.project.open(project) as opened:
        result = opened.status()
    lines = [f"Project {result['project']} on {result['store']}"]
    lines += [f"{n:>9} {unit_of(n, 'photos')} {words}" for n, words in in_words(result["photos"])]
    if result["rejected"]:
        lines.append(
            f"{(n := result['rejected']):>9} {unit_of(n, 'rows')} of the sources were no photo"
        )
    lines.append(
        f"{result['listings']:>9} {unit_of(result['listings'], 'listings')}, "
        f"{counted(result['contents'], 'different contents')}"
    )
    lines += [
        f"task {task['name']} ({task['kind']}): {counted(len(task['classes']), 'classes')}, "
        f"{task['labels']} labelled photos, " + _models(task)
        for task in result["tasks"]
    ]
    lines += [f"{n:>9} answers by {name}" for name, n in result["annotators"].items()]
    show(result, "\n".join(lines), as_json=as_json)


def _models(task: dict[str, Any]) -> str:
    """Which model answers, and whether a newer one waits."""
    if not task["newest"]:
        return "no model yet"
    live = f"model {task['model']} of {task['trained']}" if task["model"] else "no model live"
    waits = f", {task['newest']} is newer (listlens models list)"
    return live + (waits if task["newest"] != task["model"] else "")


def forget(
    listing: Annotated[str | None, typer.Option(help="A listing and all its photos.")] = None,
    photo: Annotated[
        str | None, typer.Option(help="One photo, by its id: the column image of an export.")
    ] = None,
    seller: Annotated[str | None, typer.Option(help="A seller with all listings.")] = None,
    annotator: Annotated[
        str | None, typer.Option(help="A person who labelled; becomes a pseudonym.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Delete for good: rows, thumbnails, embeddings, predictions and annotations.

    What another photo still uses stays. A tombstone keeps the same photo from coming back in.
    The original files are yours and stay where they are.

    Example: listlens forget --seller 4711 --dry-run
    """
    import listlens.project
    from listlens.core.errors import ConfigError

    if as_json and not (yes or dry_run):
        raise ConfigError("with --json nobody is asked: say --yes, or --dry-run to see the plan.")
    with listlens.project.open(project) as opened:
        what = {"listing": listing, "photo": photo, "seller": seller, "annotator": annotator}
        plan = opened.forget(**what, dry_run=True)
        if not dry_run:
            if not yes and not _agreed(f"Forget {plan_text(plan)}? This cannot be undone"):
                note("Nothing was forgotten.")
                raise typer.Exit(ExitCode.INTERRUPTED)
            plan = opened.forget(**what, dry_run=False)
    verb = "Would forget" if dry_run else "Forgot"
    show(plan, f"{verb} {plan_text(plan)}.", as_json=as_json)


def _agreed(question: str) -> bool:
    """Ask on standard error; no answer at all means no."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        return False


def plan_text(plan: dict[str, object]) -> str:
    """The counts of a forget plan as words."""
    counts = [f"{n} {name}" for name, n in plan.items() if type(n) is int and n]
    return ", ".join(counts) or "nothing"


def doctor(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """Say what this machine runs on: engine, precision, formats, optional packages.

    In a project, its backbone settings are tried; elsewhere the default ones.
    """
    from listlens.doctor import examine

    result = examine(project)
    lines = [f"listlens {result['version']} on Python {result['python']}, {result['cores']} cores"]
    lines += [f"  {name}: {value}" for name, value in result["engine"].items()]
    lines.append("formats: " + ", ".join(result["formats"]))
    lines += [f"{'have' if have else 'lack'} {name}" for name, have in result["optional"].items()]
    show(result, "\n".join(lines), as_json=as_json)
    if not result["ok"]:
        note(result["problem"])
        raise typer.Exit(ExitCode.CANNOT)


def pairs(mapping: list[str] | None) -> dict[str, str]:
    """`--map ours=theirs` as a dict."""
    from listlens.core.errors import ConfigError

    result = {}
    for item in mapping or []:
        ours, equals, theirs = item.partition("=")
        if not equals or not ours or not theirs:
            raise ConfigError(
                f"--map takes OURS=THEIRS, such as listing_id=ad_number; got {item!r}."
            )
        result[ours] = theirs
    return result
