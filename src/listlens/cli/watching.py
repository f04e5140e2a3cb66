"""Commands for those who watch: budget, drift."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from listlens.cli.output import ExitCode, JsonOption, ProjectOption, note, show, table
from listlens.core.amounts import money, of_cap
from listlens.core.errors import suggest


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(budget)
    app.command()(drift)


def budget(
    ahead: Annotated[
        bool,
        typer.Option("--ahead", help="Say too which sources' waiting photos run into a cap."),
    ] = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show what each source used today and this month, what 1,000 photos cost, and its caps.

    Caps are set under [budget] in listlens.toml (docs/caps.md).

    Example: listlens budget
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        said = opened.budget(ahead=ahead)
    show(said, _budget_text(said), as_json=as_json)


def _budget_text(said: dict[str, Any]) -> str:
    if not said["sources"]:
        return f"Nothing was looked at in {said['month']}, and no source has a cap of its own."
    currency = said["currency"]
    rows, notes = [], []
    for one in said["sources"]:
        month = one["month"]
        row = [one["source"], one["today"]["photos"], month["photos"]]
        row += [money(month["cost"]), _a_1000(month)] if currency else []
        rows.append((*row, ", ".join(map(_cap, one["limits"])) or "no cap"))
        if not one["seen"]:
            others = [other["source"] for other in said["sources"] if other["seen"]]
            notes.append(
                f"{one['source']} has caps of its own, and none of its photos was ever looked at. "
                f"{suggest(one['source'], others, 'Sources of this month')}"
            )
        if one["reached"]:
            notes.append(f"{one['source']} is at its cap ({one['at_cap']}) until {one['goes_on']}.")
    cost = (f"{currency} this month", f"{currency} for 1,000") if currency else ()
    header = ("source", f"photos on {said['day']}", "this month", *cost, "caps")
    return "\n".join([table(rows, header), *notes, *map(capped, said["ahead"] or ())])


def _a_1000(spent: dict[str, Any]) -> str:
    """What 1,000 photos cost, where any was looked at."""
    cost = spent["cost_a_1000_photos"]
    return "" if cost is None else money(cost)


def _cap(limit: dict[str, Any]) -> str:
    """How much of a cap is used."""
    if limit["limit"].endswith("_photos"):
        return f"{limit['used']:,.0f} of {limit['cap']:,.0f} {limit['limit']}"
    return f"{of_cap(limit['used'], limit['cap'])} {limit['limit']}"


def capped(one: dict[str, Any]) -> str:
    """Say of a source that runs into a cap what happens to its waiting photos.

    Args:
        one: as `listlens.pipeline.budget.runs_into` returns it.
    """
    begin = f"Source {one['source']}: {one['waiting']:,} wait, {one['today']:,} fit into the cap"
    if one["at_cap"] == "embed-only":
        return f"{begin}; the rest is embedded, and answered by `listlens tag`."
    if one["at_cap"] == "sample":
        return f"{begin}; of the rest a sample goes on, and the others go to the dead letters."
    last = f"on {one['last_day']}" if one["last_day"] else "not within ten years"
    return f"{begin}; the last is looked at {last}."


def drift(
    task: Annotated[list[str] | None, typer.Option(help="Only these tasks.")] = None,
    source: Annotated[str | None, typer.Option(help="Only this source.")] = None,
    days: Annotated[
        int | None,
        typer.Option(
            help="The last days together. By default the newest day, and those before it until "
            "there are enough photos.",
            min=1,
            max=400,
        ),
    ] = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Compare the photos that came in with those that the live models were trained on.

    By source and task: how they look, which classes they got, how sure the answers were, and how
    many are for a person (docs/drift.md). Exit code 4: some have drifted.

    Example: listlens drift --days 7
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        said = opened.drift(task, source=source, days=days)
    for problem in said["problems"]:
        note(problem)
    show(said, _drift_text(said), as_json=as_json)
    if said["drifted"]:
        raise typer.Exit(ExitCode.SOME_FAILED)


_PARTS = ("look", "classes", "sureness", "review")


def _drift_text(said: dict[str, Any]) -> str:
    if not said["found"]:
        return "The worker has answered no new photo by a live model in these days."
    rows, notes = [], list[str]()
    for one in said["found"]:
        parts = [one["parts"].get(name) for name in _PARTS]
        cells = ["" if part is None else _part(part) for part in parts]
        rows.append((one["source"], one["model"], one["photos"], one["to"], *cells))
        notes.append(f"{one['source']}, {one['task']}: {one['advice']}")
        if one["drifted"]:
            moved = [f"{c['class']} {c['training']:.1%} to {c['now']:.1%}" for c in one["classes"]]
            review = one["review"]
            if review is not None:
                moved.append(f"for a person {review['training']:.1%} to {review['now']:.1%}")
            notes.append(f"  from training to now: {', '.join(moved)}")
    header = ("source", "model", "photos", "last day", *_PARTS)
    return "\n".join([table(rows, header), *notes])


def _part(part: dict[str, Any]) -> str:
    """A distance beside what it has to exceed, with a mark where it does."""
    return f"{part['distance']:.2f} of {part['threshold']:.2f}{' !' if part['found'] else ''}"
