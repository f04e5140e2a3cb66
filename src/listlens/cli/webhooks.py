"""The commands for webhooks, which tell other systems what happens."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from listlens.cli.output import ExitCode, JsonOption, ProjectOption, note, show, table
from listlens.core.amounts import counted

if TYPE_CHECKING:
    from listlens.store.webhook_rows import Webhook

webhooks_app = typer.Typer(no_args_is_help=True, help="Endpoints that are told what happens.")

IdArgument = Annotated[
    int, typer.Argument(help="Its id, as `listlens webhooks list` shows it.", metavar="ID")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(webhooks_app, name="webhooks")


@webhooks_app.command()
def add(
    url: Annotated[str, typer.Argument(help="Where it is; https, unless in your own network.")],
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Only events of this kind, such as photo.predicted; repeat it."),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Only answers of this task; repeat it.")
    ] = None,
    name: Annotated[str, typer.Option(help="What it is for, to tell endpoints apart.")] = "",
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Tell it what was announced before, too.")
    ] = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Add an endpoint. Its secret, with which it verifies what it is told, is on the last line.

    Private addresses are told nothing unless [fetch] private of listlens.toml names them.

    Example: listlens webhooks add https://shop.example/hooks --kind photo.predicted
    """
    import listlens.project
    from listlens.stream.webhooks import check_endpoint, check_kinds, check_tasks, webhook_rules

    with listlens.project.open(project) as opened:
        checked = check_endpoint(url, webhook_rules(opened.config.fetch))
        hook = opened.store.webhooks.add(
            checked,
            name=name,
            kinds=check_kinds(kind or ()),
            tasks=check_tasks(opened.store, task or ()),
            after=0 if from_start else None,
        )
    what = "was announced before, and what happens" if from_start else "happens"
    _show_secret(hook, as_json, f"Webhook {hook.webhook_id} is told what {what} from now on.")


@webhooks_app.command("list")
def list_webhooks(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """List the endpoints, with what waits for each and why one is disabled; never the secrets."""
    import listlens.project

    with listlens.project.open(project) as opened:
        rows = [hook.as_dict() for hook in opened.store.webhooks.list()]
    header = ("id", "url", "kinds", "tasks", "state", "waiting", "failed", "next_at", "detail")
    cells = [
        tuple(" ".join(v) if isinstance(v := row[c], list) else v for c in header) for row in rows
    ]
    text = table(cells, header) if rows else "No webhook yet: listlens webhooks add URL"
    show({"webhooks": rows}, text, as_json=as_json)


@webhooks_app.command()
def test(
    webhook_id: IdArgument,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Send an event of kind listlens.test to an endpoint, and show what it answers."""
    import listlens.project
    from listlens.stream.webhooks import Delivery, Poster, webhook_rules

    with listlens.project.open(project) as opened:
        hook = opened.store.webhooks.get(webhook_id)
        poster = Poster(webhook_rules(opened.config.fetch))
        try:
            sent, said = Delivery(opened.store, poster).test(hook)
        finally:
            poster.close()
    found = {"webhook": webhook_id, "delivered": sent.taken, "status": sent.status,
             "took_ms": sent.took_ms, "detail": sent.detail, **said}  # fmt: skip
    text = f"It answers {sent.status} after {sent.took_ms} ms." if sent.taken else sent.detail
    show(found, text, as_json=as_json)
    if not sent.taken:
        raise typer.Exit(ExitCode.CANNOT)


@webhooks_app.command()
def log(
    webhook_id: Annotated[int | None, typer.Argument(help="Of one endpoint.", metavar="ID")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")] = 50,
    failed: Annotated[bool, typer.Option("--failed", help="Only what was not delivered.")] = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show what was delivered, when, and what was answered: 30 days, 10,000 an endpoint."""
    import listlens.project

    with listlens.project.open(project) as opened:
        if webhook_id is not None:
            opened.store.webhooks.get(webhook_id)  # or it says that there is none
        found = opened.store.webhooks.log(webhook_id, limit=limit, failed=failed)
        rows = [one.as_dict() for one in found]
    header = ("at", "webhook", "position", "attempt", "outcome", "status", "took_ms", "detail")
    text = table([tuple(row[c] for c in header) for row in rows], header)
    show({"deliveries": rows}, text if rows else "Nothing yet.", as_json=as_json)


@webhooks_app.command()
def replay(
    webhook_id: IdArgument,
    after: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**63 - 1,
            help="Everything after this position, as the log shows it; 0 is all.",
        ),
    ] = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Deliver again what failed for good, or with --after all since a position.

    A receiver knows by webhook-id what it had already.
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        n = opened.store.webhooks.replay(webhook_id, after=after)
        hook = opened.store.webhooks.get(webhook_id)
    if hook.state == "disabled":
        note(f"It is disabled: listlens webhooks enable {webhook_id}")
    text = f"{counted(n, 'events')} to be delivered again."
    show({"webhook": webhook_id, "again": n}, text, as_json=as_json)


@webhooks_app.command()
def rotate(
    webhook_id: IdArgument,
    keep_hours: Annotated[
        float, typer.Option(min=0, max=24 * 365, help="How long the old secret stays valid too.")
    ] = 24.0,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Give an endpoint a new secret, shown on the last line. For a while both sign."""
    import listlens.project

    with listlens.project.open(project) as opened:
        hook = opened.store.webhooks.rotate(webhook_id, timedelta(hours=keep_hours))
    until: datetime | None = hook.former_until
    assert until is not None
    _show_secret(hook, as_json, f"The old secret is valid until {until:%Y-%m-%d %H:%M} UTC.")


@webhooks_app.command()
def enable(
    webhook_id: IdArgument, project: ProjectOption = Path(), as_json: JsonOption = False
) -> None:
    """Tell a disabled endpoint again, from where it stopped; one that is active stays as it is."""
    import listlens.project

    with listlens.project.open(project) as opened:
        hook, changed = opened.store.webhooks.enable(webhook_id)
    text = f"Webhook {webhook_id} is told again."
    if not changed:
        text = f"Webhook {webhook_id} is active already; nothing was changed."
        if hook.failures:
            text += f" It failed last: {hook.detail}"
    show({**hook.as_dict(), "changed": changed}, text, as_json=as_json)


@webhooks_app.command()
def remove(
    webhook_id: IdArgument, project: ProjectOption = Path(), as_json: JsonOption = False
) -> None:
    """Remove an endpoint, with its log and what waits for it."""
    import listlens.project

    with listlens.project.open(project) as opened:
        hook = opened.store.webhooks.remove(webhook_id)
    show(hook.as_dict(), f"{hook.url} is told nothing more.", as_json=as_json)


@webhooks_app.command()
def deliver(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """Deliver now what is due, and end: for a scheduler. `listlens work` delivers by itself."""
    import listlens.project
    from listlens.stream.relay import deliver_due
    from listlens.stream.webhooks import Poster, webhook_rules

    with listlens.project.open(project) as opened:
        poster = Poster(webhook_rules(opened.config.fetch))
        try:
            n = deliver_due(opened.store, poster)
        finally:
            poster.close()
        waiting = sum(hook.n_waiting for hook in opened.store.webhooks.list())
    show(
        {"tried": n, "waiting": waiting},
        f"{counted(n, 'deliveries')} tried; {waiting} to be tried again.",
        as_json=as_json,
    )


def _show_secret(hook: Webhook, as_json: bool, text: str) -> None:
    if not as_json:
        note(f"{text} Keep the secret safe: it proves that a delivery is ours.")
    found: dict[str, Any] = {**hook.as_dict(), "secret": hook.secret}
    show(found, hook.secret, as_json=as_json)
