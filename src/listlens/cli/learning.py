"""Commands that learn: task, labels, train, and auto, which does everything once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from listlens.cli.models import user
from listlens.cli.output import JsonOption, ProjectOption, progress, show, table
from listlens.cli.photos import pairs
from listlens.core.errors import InputError

KindOption = Annotated[
    str | None,
    typer.Option(
        help="single: one class a photo; multi: any number; tree: a node of a category tree; "
        "score: votes on a scale. Default: single or multi, seen from the labels."
    ),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Column with the labels; default: label or labels. Repeat it for a tree with a column "
        "a level, from the top down, and for a score with a column of votes a step."
    ),
]
SeparatorOption = Annotated[
    str | None,
    typer.Option(help="tree: what stands between the levels of a path in one column; default: >."),
]
ScaleOption = Annotated[
    str, typer.Option(help="score: LOW:HIGH or LOW:HIGH:STEP, such as 1:5 or 0:1:0.1.")
]
GroupOption = Annotated[
    str | None,
    typer.Option(
        help="Column of what must stay on one side of a split, besides the listing; default: group."
    ),
]
UnlistedOption = Annotated[
    str,
    typer.Option(
        help="multi: what a class means that a photo's labels do not mention: no or unknown."
    ),
]
AnnotatorOption = Annotated[
    str | None,
    typer.Option(
        help="Name of the person whose answers these are: they count as a vote, and `forget` takes "
        "the name. Default: the file speaks for itself, and is known by its path."
    ),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="OURS=THEIRS names a column of the label file: image, listing_id, split, group, and "
        "for a score count (number of votes) and deviation (their standard deviation), of pairs "
        "image_a, image_b and better.",
    ),
]
TargetOption = Annotated[
    str,
    typer.Option(help="What thresholds aim at: best-f1, precision>=0.95, or error<=0.02."),
]
SeedOption = Annotated[int, typer.Option(help="Makes splits and training repeatable.")]
FewOption = Annotated[
    bool,
    typer.Option(
        "--few",
        help="Learn classes of one or two labelled photos too. Answers that are a class of one "
        "listing are for a person to look at.",
    ),
]
PdfOption = Annotated[
    bool,
    typer.Option("--pdf", help="Write report.pdf beside report.html; needs listlens[report]."),
]

PromoteOption = Annotated[
    bool,
    typer.Option(
        "--promote",
        help="Let a later model answer at once, unless labelled photos say that it is worse than "
        "the one that does. Default: it is a candidate (listlens models promote).",
    ),
]

task_app = typer.Typer(no_args_is_help=True, help="The questions asked of each photo.")
labels_app = typer.Typer(no_args_is_help=True, help="Bring labels in and out.")


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(auto)
    app.add_typer(task_app, name="task")
    app.add_typer(labels_app, name="labels")
    app.command()(train)


def auto(
    photos: Annotated[Path, typer.Argument(help="Folder with the photos.")],
    labels: Annotated[
        Path | None,
        typer.Argument(
            help="Table with image and label (or labels); perhaps listing_id, split. Without it, "
            "the folders train/CLASS/ or CLASS/ are the labels; a plain folder gets checks and "
            "starter tags. Of a score also pairs: image_a, image_b, better."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where everything goes; becomes a project.")] = Path(
        "listlens-out"
    ),
    kind: KindOption = None,
    label: LabelOption = None,
    separator: SeparatorOption = None,
    scale: ScaleOption = "",
    group: GroupOption = None,
    unlisted: UnlistedOption = "no",
    mapping: MapOption = None,
    target: TargetOption = "best-f1",
    seed: SeedOption = 0,
    pdf: PdfOption = False,
    promote: PromoteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Photos in, tags out: ingest, check, train, evaluate, tag and report in one go.

    Writes report.html, report.json, predictions.csv, checks.jsonl and the model to OUT. The same
    OUT again goes on: unchanged inputs are reused, changed labels train again without embedding.
    LABELS is the task's only label file: what earlier ones said is taken back.

    The report and predictions.csv are of the newest model. The first one answers at once; where a
    later one is trained, search, tag and predict go on with the live one until it is promoted.

    Example: listlens auto photos labels.csv --out result
    """
    from listlens.one_shot import auto as run

    with progress("listlens auto", quiet=as_json) as update:
        result = run(
            photos,
            labels,
            out=out,
            kind=kind,
            label=label,
            separator=separator,
            scale=scale,
            group=group,
            unlisted=unlisted,
            mapping=pairs(mapping),
            target=target,
            seed=seed,
            pdf=pdf,
            promote=promote,
            who=user(),
            progress=lambda step, done, total: update(done, total, step),
        )
    show(result.as_dict(), result.text(), as_json=as_json)


@task_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Name of the task, such as room.")],
    kind: Annotated[
        str,
        typer.Option(
            help="single: one class a photo; multi: any number; tree: a node of a category tree; "
            "score: votes on a scale."
        ),
    ] = "single",
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="A possible answer, of a tree a path such as 'Fruit > Apple'; repeat it. None: "
            "taken from the labels.",
        ),
    ] = None,
    nodes: Annotated[
        Path | None,
        typer.Option(
            help="tree: a table with the columns class and parent, empty for a class at the top."
        ),
    ] = None,
    scale: ScaleOption = "",
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Add a question to the project, in listlens.toml and in the store.

    Example: listlens task add season --class winter --class other
    """
    import listlens.project
    from listlens.pipeline.declared import nodes_in

    given = tuple(classes or ())
    if nodes is not None:
        if kind != "tree":
            raise InputError(f"--nodes goes with --kind tree, and the kind is {kind}.")
        given += nodes_in(nodes)
    with listlens.project.open(project) as opened:
        task = opened.add_task(name, kind, given, scale)
    result = {"name": task.name, "kind": task.kind, "classes": [c.name for c in task.classes]}
    show(result, f"Added task {name}. Next: listlens labels import {name} FILE", as_json=as_json)


@task_app.command("list")
def list_tasks(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """List the project's tasks and their classes."""
    import listlens.project

    with listlens.project.open(project) as opened:
        found = opened.tasks()
    result = [
        {"name": t.name, "kind": t.kind, "classes": [c.name for c in t.classes]} for t in found
    ]
    rows = [(t["name"], t["kind"], ", ".join(t["classes"])) for t in result]
    text = table(rows, ("task", "kind", "classes")) if rows else "No tasks yet: listlens task add"
    show({"tasks": result}, text, as_json=as_json)


@task_app.command("propose-tree")
def propose_tree(
    task: Annotated[str, typer.Argument(help="A task of kind single that has a model.")],
    out: Annotated[Path, typer.Option(help="Table to write: .csv, .jsonl or .parquet.")] = Path(
        "tree.csv"
    ),
    levels: Annotated[int, typer.Option(help="Levels of groups above the classes: 1 to 4.")] = 2,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Propose a category tree of a task's flat classes, for a person to edit.

    Classes that look alike and that the model takes for each other stand together. The table has
    the columns class and parent: rename groups, move classes, then `task add NAME --kind tree
    --nodes FILE` and `labels import NAME LABELS` with the flat labels.

    Example: listlens task propose-tree room --out tree.csv
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        proposal = opened.propose_tree(task, out, levels)
    show(proposal.as_dict(), proposal.text(), as_json=as_json)


@labels_app.command("import")
def import_labels(
    task: Annotated[str, typer.Argument(help="The task that the labels answer.")],
    path: Annotated[
        Path,
        typer.Argument(
            help="Table with image and label (or labels); of a score also with image_a, image_b "
            "and better: a, b, tie or the better photo's name."
        ),
    ],
    label: LabelOption = None,
    separator: SeparatorOption = None,
    scale: ScaleOption = "",
    group: GroupOption = None,
    unlisted: UnlistedOption = "no",
    annotator: AnnotatorOption = None,
    mapping: MapOption = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Import a label file; the same file again changes only what changed in it.

    Several labels are separated by | or are a JSON list; -class means no. The levels of a tree are
    one column a level or a path, or the name alone of a node in a tree that was given; a score is
    a number, a JSON list or object of votes, or comes of pairs of photos. Rows that fit no photo
    or no class are listed, and the rest is imported.
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        report = opened.import_labels(
            task,
            path,
            annotator=annotator,
            label=label,
            separator=separator,
            scale=scale,
            group=group,
            unlisted=unlisted,
            mapping=pairs(mapping),
        )
    show(report.as_dict(), report.text(), as_json=as_json)


@labels_app.command("export")
def export_labels(
    task: Annotated[str, typer.Argument(help="The task whose labels to write.")],
    path: Annotated[Path, typer.Argument(help="File to write: .csv, .jsonl or .parquet.")],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write the labels, one row a photo, in the form that `labels import` reads."""
    import listlens.project

    with listlens.project.open(project) as opened:
        n = opened.export_labels(task, path)
    show({"path": str(path), "rows": n}, f"Wrote {n} labelled photos to {path}.", as_json=as_json)


def train(
    task: Annotated[str, typer.Argument(help="The task to learn.")],
    target: TargetOption = "best-f1",
    seed: SeedOption = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Train although nothing changed since the last model.")
    ] = False,
    pdf: PdfOption = False,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Search so long for something better than the default: 90s, 5m, 1h. What is kept "
            "may look at photos more than once, so that tagging takes longer."
        ),
    ] = None,
    few: FewOption = False,
    finetune: Annotated[
        bool,
        typer.Option(
            "--finetune",
            help="Train the network too, and use it where it wins on listings that it never saw. "
            "Takes minutes.",
        ),
    ] = False,
    finetune_seconds: Annotated[
        float | None,
        typer.Option(
            help="The same with another time for its training than 240 s.", show_default=False
        ),
    ] = None,
    promote: PromoteOption = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Learn a task from its labels; writes a model and a report.

    No choice is needed: the head, its regularisation, calibration and thresholds are chosen on
    listings held out from training. Takes seconds, since photos were embedded by `ingest`;
    fine-tuning takes minutes and needs PyTorch (pip install 'listlens[finetune]'). With --budget
    other heads and other looks at the photos are tried, and kept where they clearly win.

    A task's first model answers at once; a later one is a candidate until it is promoted.
    """
    import listlens.project
    from listlens.learn.budget import parse_budget

    budget_s = None if budget is None else parse_budget(budget)
    with (
        listlens.project.open(project) as opened,
        progress(f"train {task}", quiet=as_json) as update,
    ):
        result = opened.train(
            task,
            target=target,
            seed=seed,
            force=force,
            pdf=pdf,
            finetune=finetune if finetune_seconds is None else finetune_seconds,
            budget_s=budget_s,
            few=few,
            promote=promote,
            who=user(),
            progress=lambda step, done, total: update(done, total, step),
        )
    show(result.as_dict(), result.text(), as_json=as_json)
