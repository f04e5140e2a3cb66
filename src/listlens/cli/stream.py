"""Commands for the stream of events: work, events put, ledger."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

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

if TYPE_CHECKING:
    from listlens.core.stream_config import EventsConfig
    from listlens.store.ledger import Left

events_app = typer.Typer(no_args_is_help=True, help="Events about photos and listings.")

MOST_WRONG = 10
"""Wrong events that a dry run lists for a person."""


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
    Several may run at once. docs/brokers.md says how topics at brokers are named. What is left, in
    another worker's hands or put off, is said in the end. Exit code 5, with --once and --drain: a
    broker did not answer, and all else was done.

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
        done = run(opened, stop, until, sources=source, announce=announce)
        left = opened.store.events.left()
    report = {**done.as_dict(), "left": left.as_dict()}
    rows = sorted(report["outcomes"].items())
    text = "\n".join(
        [
            table(rows, ("outcome", "events")) if rows else "No event was due.",
            f"{counted(report['looked'], 'photos')} looked at, {report['recognised']} recognised, "
            f"in {report['seconds']:.1f} s.",
            *_unfinished(report["reasons"], left),
        ]
    )
    show(report, text, as_json=as_json)
    for trouble in report["troubles"]:
        note(f"{trouble.rstrip('.')}. Run the command again: nothing is lost.")
    if report["troubles"]:
        raise typer.Exit(ExitCode.TRY_AGAIN)


def _unfinished(reasons: dict[str, int], left: Left) -> list[str]:
    """Say why events failed, and how many are not at their end."""
    lines = []
    if reasons:
        named = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
        lines += [f"Among the dead letters now: {named}. See them: listlens dead list"]
    if left.leased and left.leased_until:
        lines += [f"{counted(left.leased, 'events')} left in another worker's hands, leased until "
                  f"{left.leased_until:%Y-%m-%d %H:%M:%S} UTC."]  # fmt: skip
    if left.put_off and left.due_at:
        lines += [f"{counted(left.put_off, 'events')} put off, the first until "
                  f"{left.due_at:%Y-%m-%d %H:%M:%S} UTC."]  # fmt: skip
    if left.due:
        lines += [f"{counted(left.due, 'events')} left that are due."]
    return lines


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
        from listlens.pipeline.event_door import let_in, numbered

        config = opened.config.events
        found = numbered(
            lines,
            config,
            opened.store.clock(),
            priority="backfill" if backfill else None,
        )
        if dry_run:
            show_understood(found, config, as_json=as_json)
            return
        let = let_in(opened.store, (one for _, one in found))
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


def show_understood(
    found: Iterable[tuple[int, Any]], config: EventsConfig, *, unit: str = "line", as_json: bool
) -> None:
    """Print one line an event: what it is in our form, or why it is none; and totals, as a note.

    Args:
        found: what came, each with its number.
        config: `[events]`.
        unit: what is numbered.
        as_json: a JSON object a line, whatever it is; else only the first wrong ones are listed.
    """
    from listlens.pipeline.event_door import as_said
    from listlens.pipeline.events import Nothing, Wrong
    from listlens.pipeline.unread import sent_id

    counts = {"understood": 0, "without a photo": 0, "wrong": 0}
    no_json = 0
    for number, one in found:
        if not isinstance(one, Wrong | Nothing):
            counts["understood"] += 1
            print(json_text(as_said(one)))
            continue
        is_wrong = isinstance(one, Wrong)
        counts["wrong" if is_wrong else "without a photo"] += 1
        no_json += one.detail.startswith("no JSON")
        raw = one.record.body.get("raw")
        theirs = sent_id(raw, config)
        if as_json:
            what = {"wrong" if is_wrong else "nothing": one.detail, "came": raw}
            print(json_text({unit: number, "sent_id": theirs, **what}))
        elif not is_wrong or counts["wrong"] <= MOST_WRONG:
            named = f"{unit} {number}" + (f", id {theirs!r}" if theirs is not None else "")
            print(f"{'wrong' if is_wrong else 'nothing to do'}: {named}: {one.detail}")
    if any(counts.values()):
        note(_totals(counts, no_json, listed=as_json))
    if counts["wrong"]:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _totals(counts: dict[str, int], no_json: int, *, listed: bool) -> str:
    n = sum(counts.values())
    said = ", ".join(f"{number:,} {name}" for name, number in counts.items() if number)
    text = f"{counted(n, 'events')}: {said}."
    if not listed and counts["wrong"] > MOST_WRONG:
        text += f" The first {MOST_WRONG} wrong ones are listed; --json lists all."
    if no_json == n > 1:
        text += " Nothing here is JSON: one JSON object a line is needed, no table."
    return text


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
