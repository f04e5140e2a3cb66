"""Commands for those who watch: budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from listlens.cli.output import JsonOption, ProjectOption, show, table


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(budget)


def budget(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """Show what each source used today and this month, and its caps.

    Caps are set under [budget] in listlens.toml (docs/caps.md).

    Example: listlens budget
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        said = opened.budget()
    show(said, _budget_text(said), as_json=as_json)


def _budget_text(said: dict[str, Any]) -> str:
    if not said["sources"]:
        return f"Nothing was looked at in {said['month']}, and no source has a cap of its own."
    currency = said["currency"]
    rows, notes = [], []
    for one in said["sources"]:
        caps = ", ".join(
            f"{limit['used']:,.10g} of {limit['cap']:,.10g} {limit['limit']}"
            for limit in one["limits"]
        )
        row = [one["source"], one["today"]["photos"], one["month"]["photos"]]
        row += [f"{one['month']['cost']:.4g}"] if currency else []
        rows.append((*row, caps or "no cap"))
        if one["reached"]:
            notes.append(f"{one['source']} is at its cap ({one['at_cap']}) until {one['goes_on']}.")
    cost = (f"{currency} this month",) if currency else ()
    header = ("source", f"photos on {said['day']}", "this month", *cost, "caps")
    return "\n".join([table(rows, header), *notes])
