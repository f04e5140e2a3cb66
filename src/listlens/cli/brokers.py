"""Commands for brokers: topics, events check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from listlens.cli.output import JsonOption, ProjectOption, note, show, table
from listlens.cli.stream import events_app, show_understood


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(topics)
    events_app.command()(check)


def topics(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """List the topics at brokers that workers read from and announce to, and what is wrong.

    Lag is what is still to come, or to be sent; lost is what grew too old before it was sent.

    Example: listlens topics
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        found = [one.as_dict() for one in opened.store.topics.list()]
    columns = ("way", "name", "messages", "duplicates", "dead", "lag", "lost", "trouble")
    rows = [
        (
            one["way"], one["name"], one.get("received", one.get("sent")), one.get("duplicates"),
            one.get("dead"), one["lag"], one.get("lost"),
            one["trouble"].removeprefix(f"{one['name']}: "),
        )
        for one in found
    ]  # fmt: skip
    show({"topics": found}, table(rows, columns) if rows else "None yet.", as_json=as_json)


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
