"""Commands for brokers: topics, events check."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listlens.cli.output import JsonOption, ProjectOption, note, show, table
from listlens.cli.stream import events_app, show_understood
from listlens.core.errors import ConfigError

if TYPE_CHECKING:
    from listlens.core.stream_config import BrokersConfig


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(topics)
    events_app.command()(check)


def topics(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """List the topics at brokers that workers read from and announce to, and what is wrong.

    Lag is what is still to come, or to be sent; lost is what grew too old before it was sent.
    `heard` is how long ago a worker last spoke of the topic; `settings`, whether these name it.

    Example: listlens topics
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        now, named = opened.store.clock(), _named(opened.config.brokers)
        found = [
            {
                **one.as_dict(),
                "in_settings": None if named is None else (one.way, one.name) in named,
            }
            for one in opened.store.topics.list()
        ]
    columns = ("way", "name", "messages", "duplicates", "dead", "lag", "lost", "heard", "settings",
               "trouble")  # fmt: skip
    rows = [
        (
            one["way"], one["name"], one.get("received", one.get("sent")), one.get("duplicates"),
            one.get("dead"), one["lag"], one.get("lost"),
            _ago(now - datetime.fromisoformat(one["told_at"])),
            {True: "yes", False: "no"}.get(one["in_settings"], ""),
            one["trouble"].removeprefix(f"{one['name']}: "),
        )
        for one in found
    ]  # fmt: skip
    show({"topics": found}, table(rows, columns) if rows else "None yet.", as_json=as_json)


def _named(config: BrokersConfig) -> set[tuple[str, str]] | None:
    """The topics that the settings name; None where an address needs what is not there now."""
    from listlens.brokers.registry import parse

    ways = [*(("in", url) for url in config.sources), *(("out", url) for url in config.announce)]
    try:
        return {(way, parse(url, way).shown) for way, url in ways}
    except ConfigError:
        return None


def _ago(passed: timedelta) -> str:
    """How long ago, in its largest unit."""
    minutes = int(passed.total_seconds() // 60)
    for unit, size in (("days", 1440), ("h", 60), ("min", 1)):
        if minutes >= 2 * size or (unit == "min" and minutes):
            return f"{minutes // size} {unit} ago"
    return "just now"


def check(
    source: Annotated[
        str, typer.Argument(help="Topic at a broker, such as nats://HOST:4222/photos.")
    ],
    limit: Annotated[int, typer.Option(help="Messages at most.", min=1, max=1000)] = 10,
    wait: Annotated[float, typer.Option(help="Seconds to wait for them.", min=0.1)] = 5.0,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show what the next messages of a topic are understood as, and leave them there.

    Nothing is taken in, and nothing is made or moved at the broker; RabbitMQ and SQS count that
    they handed a message out. What a shop's own events look like is said in listlens.toml, under
    [events]. Exit code 3: there is no such topic; 4: some messages cannot be used.

    Example: listlens events check nats://127.0.0.1:4222/photos
    """
    import listlens.project
    from listlens.brokers.registry import look, parse
    from listlens.pipeline.event_door import read_body

    with listlens.project.open(project) as opened:
        priority, now = parse(source, "in").text("priority"), opened.store.clock()
        config = opened.config.events
        messages = look(source, limit, wait, opened.store.positions)
        note(f"{len(messages)} messages came; they stay there" if messages
             else f"no message came within {wait:g} s")  # fmt: skip
        found = [
            (number, one)
            for number, message in enumerate(messages, 1)
            for one in read_body(message.body, config, now, priority=priority)
        ]
    show_understood(found, config, unit="message", as_json=as_json)
