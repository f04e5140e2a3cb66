"""Commands for events that cannot be used: dead list|show|replay|remove."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from listlens.cli.output import ExitCode, JsonOption, ProjectOption, json_text, show, table
from listlens.core.errors import InputError

dead_app = typer.Typer(no_args_is_help=True, help="Events that cannot be used, and why.")


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(dead_app, name="dead")


@dead_app.command("list")
def list_dead(
    reason: Annotated[str | None, typer.Option(help="Only those with this reason.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 100,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List dead letters, the oldest first, with the reason why each cannot be used.

    Example: listlens dead list --reason missing
    """
    import listlens.project
    from listlens.pipeline.dead_letters import said_reasons

    with listlens.project.open(project) as opened:
        letters = opened.dead_letters(reason, limit)
        reasons = opened.store.dead.reasons()
    names = ("id", "sent_id", "listing_id", "photo_id", "reason", "detail", "excerpt")
    rows = [tuple(letter[name] for name in names) for letter in letters]
    heads = ("id", "sender's id", "listing", "photo", "reason", "detail", "what came")
    shown = table(rows, heads) if rows else "None."
    n = sum(reasons.values())
    text = f"{shown}\n{n} in all. " if rows else f"{shown} "
    text = f"{text}{said_reasons(reasons)}" if reasons else shown
    show({"dead": letters, "reasons": reasons}, text, as_json=as_json)


@dead_app.command("show")
def show_dead(
    event_id: Annotated[
        str,
        typer.Argument(help="Id of the event; of a dead letter its beginning is enough."),
    ],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show one event with all that is known of it, whatever its state.

    Example: listlens dead show 7f3a
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        letter = opened.event(event_id)
    text = "\n".join(f"{name}: {json_text(value)}" for name, value in letter.items())
    show(letter, text, as_json=as_json)


@dead_app.command("replay")
def replay_dead(
    event_id: Annotated[
        list[str] | None, typer.Argument(help="Ids of dead letters, or their beginnings.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="All with this reason.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Let dead letters wait again, as if they had just come in.

    Those that were not understood are read again with the [events] of today. They go back a
    portion at a time: stopped midway, the same command goes on with those that are left. Exit code
    4: some still are not understood, and stay.

    Example: listlens dead replay --reason missing
    """
    import listlens.project
    from listlens.pipeline.dead_letters import said_reasons

    if sum((bool(event_id), reason is not None, every)) != 1:
        raise InputError("say which: ids, --reason REASON, or --all; and only one of them.")
    with listlens.project.open(project) as opened:
        done = opened.replay(event_id or None, reason=reason)
        none = reason is not None and not done.again + done.left
        others = f" {said_reasons(opened.store.dead.reasons())}" if none else ""
    text = f"{done.again} wait again" + (f", {done.left} are still wrong" if done.left else "")
    show({"again": done.again, "left": done.left}, f"{text}.{others}", as_json=as_json)
    if done.left:
        raise typer.Exit(ExitCode.SOME_FAILED)


@dead_app.command("remove")
def remove_dead(
    event_id: Annotated[
        list[str] | None, typer.Argument(help="Ids of dead letters, or their beginnings.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Only those with this reason.")] = None,
    days: Annotated[
        float | None,
        typer.Option(help="Only those that have been dead for more days.", min=0, max=36_500),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many there are; remove nothing.")
    ] = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Remove dead letters for good; the ledger goes on counting them.

    Workers do the same with those that are older than [worker] dead_days. --reason and --days may
    stand together.

    Example: listlens dead remove --reason missing --days 90 --dry-run
    """
    import listlens.project

    filtered = reason is not None or days is not None
    if sum((bool(event_id), filtered, every)) != 1:
        raise InputError("say which: ids, --reason and --days, or --all; and only one of them.")
    with listlens.project.open(project) as opened:
        gone = opened.remove_dead_letters(
            event_id or None, reason=reason, days=days or 0.0, dry_run=dry_run
        )
    n = sum(gone.values())
    rows = sorted(gone.items())
    verb = "would be removed" if dry_run else "removed"
    lines = [table(rows, ("reason", "letters"))] if rows else []
    text = "\n".join([*lines, f"{n} {verb}."])
    show({"removed": n, "reasons": gone, "dry_run": dry_run}, text, as_json=as_json)
