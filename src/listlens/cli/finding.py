"""Commands that find things nobody asked for: labels to correct, groups of photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from listlens.cli.learning import labels_app
from listlens.cli.output import JsonOption, ProjectOption, show, table
from listlens.core.amounts import counted


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(clusters)


@labels_app.command("suspects")
def suspects(
    task: Annotated[str, typer.Argument(help="The task whose labels to doubt.")],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write for correcting: .csv, .jsonl or .parquet."),
    ] = None,
    limit: Annotated[int, typer.Option(help="How many labels at most.", min=1)] = 100,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List labels that are likely wrong, the likeliest first; the task needs a model.

    Each is judged by models that saw neither the photo nor its listing. Correct the column `label`
    of the file, and `labels import` reads it back: rows left as they are change nothing.

    Example: listlens labels suspects room --out fix.csv
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        rows = opened.labels_to_fix(task, out, limit=limit)
    shown = [(r["image"], r["given"], r["suggested"], r["probability"], r["reason"]) for r in rows]
    text = table(shown, ("image", "given", "suggested", "probability", "reason"))
    if not rows:
        text = "No label is doubted."
    if out is not None:
        text += (
            f"\nWrote {counted(len(rows), 'rows')} to {out}. Correct the column label there, then: "
            f"listlens labels import {task} {out}"
        )
    show({"task": task, "suspects": rows}, text, as_json=as_json)


def clusters(
    number: Annotated[
        int | None,
        typer.Option("--number", "-n", help="How many. Default: by the number of photos.", min=2),
    ] = None,
    examples: Annotated[int, typer.Option(help="Photos named a cluster.", min=1)] = 3,
    seed: Annotated[int, typer.Option(help="Makes the clusters repeatable.")] = 0,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Group the photos by what they look like, to see what is there before labelling.

    Needs no label. A cluster is named by the starter tags and labels that are more frequent in it
    than elsewhere, with the share of its photos that have them.

    Example: listlens clusters --number 12
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        found = opened.clusters(number, n_examples=examples, seed=seed)
    rows = [
        (
            c["cluster"],
            c["photos"],
            ", ".join(f"{n['name']} {100 * n['share']:.0f} %" for n in c["tags"]) or "-",
            ", ".join(f"{n['name']} {100 * n['share']:.0f} %" for n in c["labels"]) or "-",
            ", ".join(c["examples"]),
        )
        for c in found
    ]
    text = table(rows, ("cluster", "photos", "tags", "labels", "examples"))
    show({"clusters": found}, text, as_json=as_json)
