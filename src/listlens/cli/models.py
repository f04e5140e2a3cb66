"""Commands for the models of a task: models list, history, promote, rollback, retire, register."""

from __future__ import annotations

import getpass
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from listlens.cli.output import JsonOption, ProjectOption, progress, show, table
from listlens.core.errors import InputError

TaskArgument = Annotated[str, typer.Argument(help="The task whose models these are.")]
VersionArgument = Annotated[
    int | None, typer.Argument(help="Of the model; default: the newest, unless it is retired.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")
]
WhyOption = Annotated[str, typer.Option(help="A reason, for the history.")]
WhoOption = Annotated[
    str, typer.Option(help="Who does it, for the history; default: the user of this process.")
]

models_app = typer.Typer(
    no_args_is_help=True, help="Which model answers a task, and which did (docs/models.md)."
)


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(models_app, name="models")


@models_app.command("list")
def list_models(
    task: Annotated[
        list[str] | None, typer.Argument(help="Only these tasks; default: all.")
    ] = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List the models of each task, the newest first, with their stages.

    live: answers. candidate: waits to be promoted, or answers a share of the pictures. shadow:
    answers beside, never given out. retired: answers no more.
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        found = opened.registry.list(task)
    rows = [
        (m["task"], m["version"], _stage(m), m["since"], m["who"], _metric(m), m["target"],
         m["answers"])
        for m in found
    ]  # fmt: skip
    header = ("task", "model", "stage", "since", "by", "held-out photos", "target", "answers")
    text = table(rows, header) if rows else "No models yet: listlens train TASK"
    show({"models": list(found)}, text, as_json=as_json)


@models_app.command("history")
def history(
    task: TaskArgument, project: ProjectOption = Path(), as_json: JsonOption = False
) -> None:
    """List every change of a task's models: when, who, from which stage to which, and why."""
    import listlens.project

    with listlens.project.open(project) as opened:
        found = opened.registry.history(task)
    rows = [
        (c["at"], c["version"], c["action"], c["from_stage"], c["to_stage"], c["who"], c["why"])
        for c in found
    ]
    header = ("at", "model", "action", "from", "to", "by", "why")
    text = table(rows, header) if rows else f"No models yet: listlens train {task}"
    show({"task": task, "changes": list(found)}, text, as_json=as_json)


@models_app.command("promote")
def promote(
    task: TaskArgument,
    version: VersionArgument = None,
    shadow: Annotated[
        bool,
        typer.Option(
            "--shadow", help="Let it answer beside the live one; its answers are never given out."
        ),
    ] = False,
    canary: Annotated[
        str | None,
        typer.Option(
            help="Let it answer this share of the pictures, such as 5%, always the same ones. 0% "
            "ends a canary or a shadow."
        ),
    ] = None,
    why: WhyOption = "",
    who: WhoOption = "",
    dry_run: DryRunOption = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Let a model answer; the one that did is retired, and `models rollback` returns to it.

    It answers every stored picture first, then takes over at once. Running servers and workers
    follow within a second, without a restart.

    Example: listlens models promote room
    """
    import listlens.project

    if shadow and canary is not None:
        raise InputError("--shadow and --canary are two ways to answer beside: say one of them.")
    with (
        listlens.project.open(project) as opened,
        progress(f"promote {task}", quiet=as_json) as update,
    ):
        named: dict[str, Any] = {"who": who or user(), "why": why, "dry_run": dry_run}
        if shadow or canary is not None:
            share = None if canary is None else parse_share(canary)
            moved = opened.registry.beside(task, version, share=share, **named)
        else:
            moved = opened.registry.promote(
                task, version, progress=lambda s, done, total: update(done, total, s), **named
            )
    show(moved.as_dict(), moved.text(), as_json=as_json)


@models_app.command("diff")
def diff(
    task: TaskArgument,
    version: VersionArgument = None,
    sample: Annotated[
        int | None,
        typer.Option(
            help="Look at so many photos, drawn at random; default: all, and 500 for a model that "
            "brings a network of its own.",
            min=1,
        ),
    ] = None,
    days: Annotated[
        float | None, typer.Option(help="Only photos that were answered in so many days.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page; default: reports/TASK.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Makes the sample repeatable.")] = 0,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Say what promoting a model would change: flips with photos, counts, work for people, cost.

    Both models answer the stored photos again, or lately answered ones; nothing that answers is
    changed. Writes upgrade.html and upgrade.json.

    Example: listlens models diff room
    """
    import listlens.project

    with (
        listlens.project.open(project) as opened,
        progress(f"diff {task}", quiet=as_json) as update,
    ):
        result = opened.registry.diff(
            task,
            version,
            sample=sample,
            days=days,
            out=out,
            seed=seed,
            progress=lambda step, done, total: update(done, total, step),
        )
    show(result.as_dict(), result.text(), as_json=as_json)


@models_app.command("rollback")
def rollback(
    task: TaskArgument,
    why: WhyOption = "",
    who: WhoOption = "",
    dry_run: DryRunOption = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Return to the model that answered before, at once; the one that does now is retired.

    Again: further back, never forth.

    Example: listlens models rollback room --why "takes cellars for bedrooms"
    """
    import listlens.project

    with (
        listlens.project.open(project) as opened,
        progress(f"roll back {task}", quiet=as_json) as update,
    ):
        moved = opened.registry.rollback(
            task,
            who=who or user(),
            why=why,
            dry_run=dry_run,
            progress=lambda step, done, total: update(done, total, step),
        )
    show(moved.as_dict(), moved.text(), as_json=as_json)


@models_app.command("retire")
def retire(
    task: TaskArgument,
    version: Annotated[int, typer.Argument(help="Of the model.")],
    force: Annotated[
        bool, typer.Option("--force", help="Although it is live: no model answers then.")
    ] = False,
    why: WhyOption = "",
    who: WhoOption = "",
    dry_run: DryRunOption = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Take a model out for good, and remove what only it needs.

    Its stored answers go, and the embeddings of its own network where no other model uses them;
    `rollback` passes over it. Its folder and history stay.
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        moved = opened.registry.retire(
            task, version, force=force, who=who or user(), why=why, dry_run=dry_run
        )
    show(moved.as_dict(), moved.text(), as_json=as_json)


@models_app.command("register")
def register_in_mlflow(
    task: TaskArgument,
    version: Annotated[
        int | None, typer.Argument(help="Of the model; default: the one trained last.")
    ] = None,
    mlflow: Annotated[
        str,
        typer.Option(
            "--mlflow",
            help="The tracking server, http://HOST:5000, or a store, sqlite:///FILE.",
            show_default=False,
        ),
    ] = ...,  # type: ignore[assignment]
    name: Annotated[str, typer.Option(help="Of the registered model; default: PROJECT-TASK.")] = "",
    report: Annotated[
        bool,
        typer.Option(
            help="Hand over the report too. It shows photos, which `forget` cannot reach there."
        ),
    ] = True,
    dry_run: DryRunOption = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Register a model in MLflow: a run with its numbers, and a version with its files.

    Needs the extra mlflow. The same model again changes nothing but tags and aliases, which follow
    the stages of the task's models.

    Example: listlens models register room 3 --mlflow http://127.0.0.1:5000
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        done = opened.registry.to_mlflow(
            task, version, uri=mlflow, name=name, report=report, dry_run=dry_run
        )
    show(done.as_dict(), done.text(), as_json=as_json)


def parse_share(text: str) -> float:
    """Read a share of the pictures, such as ``5%`` or ``0.05``.

    Raises:
        InputError: anything else, and all of them or more.

    Example:
        >>> parse_share("5%"), parse_share("0.05"), parse_share("0%")
        (0.05, 0.05, 0.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(%?)\s*", text)
    share = float(match[1]) / (100 if match[2] else 1) if match else 1.0
    if not 0 <= share < 1:
        raise InputError(f"share {text!r}; allowed: 0% or more and below 100%, such as 5% or 0.05.")
    return share


def user() -> str:
    """The name of the user of this process, empty where it has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _stage(model: dict[str, Any]) -> str:
    return f"canary {100 * model['share']:g} %" if model["share"] else str(model["stage"])


def _metric(model: dict[str, Any]) -> str:
    """The headline of its training: on the test split where there is one, else the five folds."""
    from listlens.evaluate.wording import card_numbers

    told = next(iter(card_numbers(model["metrics"])), None)
    return "" if told is None else f"{told['name']} {told['value']:.3f} ({told['n']})"
