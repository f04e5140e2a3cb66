"""Commands for the stream of events: work, events put, ledger."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import typer

from listlens.cli.output import (
    ExitCode,
    JsonOption,
    ProjectOption,
    json_text,
    note,
    show,
    table,
)
from listlens.core.amounts import counted
from listlens.core.errors import InputError, NotFoundError
from listlens.core.tracing import traced

events_app = typer.Typer(no_args_is_help=True, help="Events about photos and listings.")


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(work)
    app.add_typer(events_app, name="events")
    app.command()(ledger)


def work(
    once: Annotated[bool, typer.Option("--once", help="Work on one batch, then end.")] = False,
    drain: Annotated[bool, typer.Option("--drain", help="End when no event is due.")] = False,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Topic at a broker to read events from, such as nats://HOST:4222/photos; "
            "may be given again. Default: those of listlens.toml."
        ),
    ] = None,
    announce: Annotated[
        list[str] | None,
        typer.Option(help="Topic at a broker to send to what is announced; likewise."),
    ] = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Work on events: fetch each photo, look at it, answer every task, store and announce.

    Runs until it is told to stop (SIGTERM, control-C): it then finishes what it has in hand. It
    may be killed at any moment: what was not committed is done again, by it or by another worker.
    Several may run at once. docs/brokers.md says how topics at brokers are named. Exit code 5,
    with --once and --drain: a broker did not answer, and all else was done.

    Example: listlens work --drain
    """  # fmt: skip
    import listlens.project

    if once and drain:
        raise InputError("--once ends after a batch, --drain when nothing is due: say one of them.")
    until: Literal["stopped", "drained", "once"] = (
        "once" if once else "drained" if drain else "stopped"
    )
    with listlens.project.open(project) as opened, _told_to_stop() as stop, traced(note):
        from listlens.stream.running import work as run

        for message in opened.notices():
            note(message)
        if until == "stopped":
            note(f"working on the events of {opened.root}; control-C ends it")
        report = run(opened, stop, until, sources=source, announce=announce).as_dict()
    rows = sorted(report["outcomes"].items())
    text = "\n".join(
        [
            table(rows, ("outcome", "events")) if rows else "No event was due.",
            f"{counted(report['looked'], 'photos')} looked at, {report['recognised']} recognised, "
            f"in {report['seconds']:.1f} s.",
        ]
    )
    show(report, text, as_json=as_json)
    for trouble in report["troubles"]:
        note(f"{trouble.rstrip('.')}. Run the command again: nothing is lost.")
    if report["troubles"]:
        raise typer.Exit(ExitCode.TRY_AGAIN)


@contextmanager
def _told_to_stop() -> Iterator[Any]:
    """Give an event that SIGTERM and control-C set; a second one ends at once."""
    import signal
    import threading

    stop = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            raise SystemExit(ExitCode.INTERRUPTED)
        note("stopping: what is in hand is finished first; once more to end at once")
        stop.set()

    before = {name: signal.signal(name, on_signal) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@events_app.command()
def put(
    file: Annotated[
        str,
        typer.Argument(help="File of JSON lines, an event each; - reads them from standard input."),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is understood of each; take nothing in.")
    ] = False,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="New uploads go before these.")
    ] = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Take events in, each id once. Wrong ones go to the dead letters, with the reason.

    What a shop's own events look like is said in listlens.toml, under [events]; --dry-run shows
    what that makes of a file. Exit code 4: some events cannot be used.

    Example: listlens events put events.jsonl --dry-run
    """  # fmt: skip
    import listlens.project

    with listlens.project.open(project) as opened, _lines(file) as lines:
        from listlens.pipeline.event_door import let_in, read_lines

        found = read_lines(
            lines,
            opened.config.events,
            opened.store.clock(),
            priority="backfill" if backfill else None,
        )
        if dry_run:
            show_understood(found, as_json=as_json)
            return
        let = let_in(opened.store, found)
    result = {"new": let.new, "duplicates": let.duplicates, "dead": let.dead, "empty": let.empty}
    text = f"{counted(let.new, 'events')} taken in, {let.duplicates} had come in before"
    text += f", {let.empty} {'names' if let.empty == 1 else 'name'} no photo" if let.empty else ""
    text += f", {let.dead} cannot be used: listlens dead list" if let.dead else ""
    show(result, f"{text}.", as_json=as_json)
    if let.dead:
        raise typer.Exit(ExitCode.SOME_FAILED)


@contextmanager
def _lines(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as lines:
            yield lines
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(f"no file {file!r} to read events from: {error.strerror}") from None


def show_understood(found: Iterator[Any], *, as_json: bool) -> None:
    """Print one line an event: what it is in our form, or why it is none."""
    from listlens.pipeline.event_door import as_said
    from listlens.pipeline.events import Nothing, Wrong

    n_wrong = 0
    for one in found:
        if isinstance(one, Wrong):
            n_wrong += 1
            line = {"wrong": one.detail, "came": one.record.body.get("raw")}
            print(json_text(line) if as_json else f"wrong: {one.detail}")
        elif isinstance(one, Nothing):
            line = {"nothing": one.detail, "came": one.record.body.get("raw")}
            print(json_text(line) if as_json else f"nothing to do: {one.detail}")
        else:
            print(json_text(as_said(one)))
    if n_wrong:
        raise typer.Exit(ExitCode.SOME_FAILED)


def ledger(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """Count every event that ever came in, by where it stands; the counts must add up.

    Exit code 6: they do not, which is a fault to report.
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        counts = opened.store.events.ledger()
        n_announced = opened.store.outbox.count()
    result = {**counts.as_dict(), "announced": n_announced}
    rows = [("received", counts.received), *counts.states.items()]
    rows += [("pruned", counts.pruned), ("forgotten", counts.forgotten)]
    rows += [("removed", counts.n_removed)]
    lines = [table(rows, ("events", "number"))]
    lines += [f"done: {n} {name}" for name, n in sorted(counts.outcomes.items())]
    lines += [f"dead: {n} {name}" for name, n in sorted(counts.reasons.items())]
    lines += [f"removed: {n} {name}" for name, n in sorted(counts.removed.items())]
    lines += [f"put off: {n} {name}" for name, n in sorted(counts.put_off.items())]
    lines += [f"{counts.duplicates} came in more than once; {n_announced} announcements are kept."]
    lines += ["They add up." if counts.adds_up else "They do NOT add up."]
    show(result, "\n".join(lines), as_json=as_json)
    if not counts.adds_up:
        raise typer.Exit(ExitCode.CANNOT)
