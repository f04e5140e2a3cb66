"""The commands for tokens, which let callers of the API in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from listlens.cli.output import JsonOption, ProjectOption, note, show, table

token_app = typer.Typer(no_args_is_help=True, help="Tokens that let callers of the API in.")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(token_app, name="token")


@token_app.command()
def create(
    scope: Annotated[
        list[str],
        typer.Option(
            help="What it allows; repeat it: predict (ask for predictions), read (what is stored), "
            "write (bring in and delete), admin (everything)."
        ),
    ],
    name: Annotated[str, typer.Option(help="What it is for, to tell tokens apart.")] = "",
    days: Annotated[
        float | None, typer.Option(help="Days until it expires. Default: it does not.")
    ] = None,
    per_minute: Annotated[
        int | None, typer.Option(help="Calls a minute at most. Default: any number.")
    ] = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Make a token. It is shown this once: only a hash of it is kept.

    The token stands alone on the last line.

    Example: listlens token create --scope predict --name shop-backend
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        text, made = opened.store.tokens.create(scope, name=name, days=days, per_minute=per_minute)
    if not as_json:
        note("Keep it safe: it is shown this once. Send it as `Authorization: Bearer TOKEN`.")
    show({"token": text, **made.as_dict()}, text, as_json=as_json)


@token_app.command("list")
def list_tokens(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """List the tokens, the revoked and expired ones too; never the tokens themselves."""
    import listlens.project

    with listlens.project.open(project) as opened:
        rows = [one.as_dict() for one in opened.store.tokens.list()]
    header = ("id", "name", "scopes", "per_minute", "created_at", "expires_at", "revoked_at")
    cells = [tuple(" ".join(row[c]) if c == "scopes" else row[c] for c in header) for row in rows]
    text = table(cells, header) if rows else "No token yet: listlens token create --scope predict"
    show({"tokens": rows}, text, as_json=as_json)


@token_app.command()
def revoke(
    token_id: Annotated[int, typer.Argument(help="Its id, as `listlens token list` shows it.")],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Take a token back; a running server refuses it within a second."""
    import listlens.project

    with listlens.project.open(project) as opened:
        revoked = opened.store.tokens.revoke(token_id)
    show(revoked.as_dict(), f"Token {revoked.token_id} lets nobody in any more.", as_json=as_json)
