"""Commands for thresholds: policy list, set, restore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from listlens.cli.output import JsonOption, ProjectOption, show, table
from listlens.core.errors import InputError

TaskArgument = Annotated[str, typer.Argument(help="The task whose model it is.")]
VersionOption = Annotated[
    int | None, typer.Option(help="Of the model; default: the live one, else the newest.")
]

policy_app = typer.Typer(
    no_args_is_help=True,
    help="Thresholds: when a class is given, and when a person looks (docs/models.md).",
)


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(policy_app, name="policy")


@policy_app.command("list")
def list_policies(
    task: TaskArgument,
    version: VersionOption = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List the thresholds that a model ever had, the newest first; that one is in force."""
    import listlens.project

    with listlens.project.open(project) as opened:
        found = opened.policies(task, version)
    rows = [
        (p["version"], "in force" if p["in_force"] else "", p["at"], p["target"], _span(p))
        for p in found
    ]
    text = table(rows, ("policy", "", "since", "target", "thresholds"))
    show({"task": task, "policies": found}, text, as_json=as_json)


@policy_app.command("set")
def set_policy(
    task: TaskArgument,
    target: Annotated[
        str | None,
        typer.Option(help="What they aim at: best-f1, precision>=0.95, or error<=0.02."),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(help="CLASS=0.8 sets one by hand; repeat it. Not for trees."),
    ] = None,
    version: VersionOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would come of it; change nothing.")
    ] = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Choose other thresholds for a model without training again; they are in force at once.

    Stored probabilities stay as they are, so nothing is computed anew: decisions and the share of
    photos for a person change. Says what that does to stored and to held-out photos.

    Example: listlens policy set room --target "error<=0.02"
    """
    import listlens.project

    by_hand = parse_thresholds(threshold or [])
    with listlens.project.open(project) as opened:
        result = opened.set_policy(
            task, target=target, thresholds=by_hand, version=version, dry_run=dry_run
        )
    show(result.as_dict(), result.text(), as_json=as_json)


@policy_app.command("restore")
def restore(
    task: TaskArgument,
    policy: Annotated[int, typer.Argument(help="Number of the policy, as `policy list` has it.")],
    version: VersionOption = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Put earlier thresholds in force again; they get a number of their own.

    Example: listlens policy restore room 1
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        made = opened.restore_policy(task, policy, version)
    text = f"Policy {policy} of {task!r} is in force again, as number {made}."
    show({"task": task, "restored": policy, "version": made}, text, as_json=as_json)


def parse_thresholds(texts: list[str]) -> dict[str, float]:
    """Read ``CLASS=0.8``, the last sign of equality counts.

    Raises:
        InputError: anything else.

    Example:
        >>> parse_thresholds(["a=b=0.8"])
        {'a=b': 0.8}
    """
    found = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise InputError(f"--threshold {text!r}; it must be CLASS=NUMBER, such as kitchen=0.8")
    return found


def _span(policy: dict[str, object]) -> str:
    """All thresholds where they are few, else from where to where."""
    values: dict[str, float] = policy["thresholds"]  # type: ignore[assignment]
    if len(set(values.values())) == 1:
        return f"{next(iter(values.values())):.3f}"
    if len(values) > 6:
        return f"{min(values.values()):.3f} to {max(values.values()):.3f}"
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())
