"""Commands for a task's classes: classes list, rename, merge, split, describe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from listlens.cli.output import JsonOption, ProjectOption, show, table

TaskArgument = Annotated[str, typer.Argument(help="The task whose classes these are.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")
]

classes_app = typer.Typer(
    no_args_is_help=True,
    help="Rename, merge and split the possible answers of a task (docs/models.md).",
)


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(classes_app, name="classes")


@classes_app.command("list")
def list_classes(
    task: TaskArgument, project: ProjectOption = Path(), as_json: JsonOption = False
) -> None:
    """List a task's classes with their other names, how many answers name each, and the changes."""
    import listlens.project

    with listlens.project.open(project) as opened:
        found = opened.classes(task)
    rows = [
        (c["class_id"], c["name"], c["answers"], ", ".join(c["aliases"]), c["description"])
        for c in found["classes"]
    ]
    text = table(rows, ("id", "class", "answers", "also called", "description"))
    changes = [f"{c['version']}: {c['change']}" for c in found["changes"]]
    show(found, "\n".join([text, "", "Changes:", *changes]), as_json=as_json)


@classes_app.command("rename")
def rename(
    task: TaskArgument,
    old: Annotated[str, typer.Argument(help="The class as it is called, or was.")],
    new: Annotated[str, typer.Argument(help="Its new name.")],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Give a class another name; label files may go on using the old one.

    Answers are given under the new name at once, without training: the class is the same.

    Example: listlens classes rename room "living room" lounge
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        change = opened.rename_class(task, old, new)
    show(change.as_dict(), change.text(), as_json=as_json)


@classes_app.command("merge")
def merge(
    task: TaskArgument,
    classes: Annotated[list[str], typer.Argument(help="The classes that become one.")],
    into: Annotated[
        str, typer.Option(help="What they become: one of them, another class, or a new one.")
    ],
    dry_run: DryRunOption = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Let several classes become one: their labels read as it, and the next training learns it.

    Example: listlens classes merge room cellar attic --into storage
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        change = opened.merge_classes(task, classes, into, dry_run=dry_run)
    show(change.as_dict(), change.text(), as_json=as_json)


@classes_app.command("split")
def split(
    task: TaskArgument,
    name: Annotated[str, typer.Argument(help="The class that becomes several.")],
    into: Annotated[list[str], typer.Option(help="A class that it becomes; repeat it.")],
    dry_run: DryRunOption = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Let one class become several: its labels say nothing until they are given again.

    Example: listlens classes split room bathroom --into bath --into toilet
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        change = opened.split_class(task, name, into, dry_run=dry_run)
    show(change.as_dict(), change.text(), as_json=as_json)


@classes_app.command("describe")
def describe(
    task: TaskArgument,
    name: Annotated[str, typer.Argument(help="The class.")],
    description: Annotated[
        str | None, typer.Option(help="What belongs to it, for people who label.")
    ] = None,
    alias: Annotated[
        list[str] | None,
        typer.Option(help="Another name that label files may use; repeat it. Replaces all others."),
    ] = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Say what a class means, or which other names label files may use."""
    import listlens.project

    with listlens.project.open(project) as opened:
        change = opened.describe_class(task, name, description=description, aliases=alias)
    show(change.as_dict(), change.text(), as_json=as_json)
