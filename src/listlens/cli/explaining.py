"""Commands that judge models and say why: evaluate, explain, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from listlens.cli.learning import PdfOption
from listlens.cli.output import ExitCode, JsonOption, ProjectOption, progress, show


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(evaluate)
    app.command()(explain)
    app.command()(compare)


def evaluate(
    task: Annotated[str, typer.Argument(help="The task whose model to evaluate.")],
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness",
            help="Also ask about up to 200 held-out photos made darker, blurred, cropped, rotated, "
            "written over and so on; takes a minute or two.",
        ),
    ] = False,
    version: Annotated[
        int | None,
        typer.Option(help="Of the model; default: the one trained last, live or not."),
    ] = None,
    pdf: PdfOption = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Measure a model against the labels as they are now, and write its report again.

    Photos it was trained on are judged by models that had not seen them; photos labelled since
    are judged by the model itself.
    """
    import listlens.project

    with (
        listlens.project.open(project) as opened,
        progress(f"evaluate {task}", quiet=as_json or not robustness) as update,
    ):
        result = opened.evaluate(
            task,
            version=version,
            pdf=pdf,
            robustness=robustness,
            progress=lambda done, total: update(done, total, "changing photos"),
        )
    show(result.as_dict(), result.text(), as_json=as_json)


def explain(
    task: Annotated[str, typer.Argument(help="The task whose answers to explain.")],
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, or ids of photos of the project. Without any: what each class looks for."
        ),
    ] = None,
    class_name: Annotated[
        str | None,
        typer.Option(
            "--class", help="Explain this class or node; default: the model's own answer."
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="Of the heat-map: auto, cam (class activation), rise, occlusion or shapley. auto: "
            "cam where the backbone has a feature map, else rise."
        ),
    ] = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page; default: reports/TASK.")
    ] = None,
    version: Annotated[
        int | None, typer.Option(help="Of the model; default: the live one.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Makes the random parts repeatable.")] = 0,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show why: where the evidence is, which regions argue, and which photos it was learnt from.

    Takes some seconds a photo. Writes explain.html and explain.json; without photos classes.html
    and classes.json, with the stored photos that each class likes best. Exit code 4: some photos
    could not be used.

    Example: listlens explain room new/1.jpg
    """
    import listlens.project

    with (
        listlens.project.open(project) as opened,
        progress(f"explain {task}", quiet=as_json) as update,
    ):
        result = opened.explain(
            task,
            photos or (),
            name=class_name,
            method=method,
            version=version,
            out=out,
            seed=seed,
            progress=lambda done, total: update(done, total, "explaining"),
        )
    show(result.as_dict(), result.text(), as_json=as_json)
    if result.n_failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def compare(
    task: Annotated[str, typer.Argument(help="The task whose models to compare.")],
    models: Annotated[
        tuple[int, int] | None,
        typer.Option(help="Two versions, the earlier first; default: the two newest."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page; default: reports/TASK.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Makes the interval repeatable.")] = 0,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Compare two models of a task on the same photos, and show what flips both ways.

    Each photo is answered by copies of the models that had not seen it. Writes compare.html and
    compare.json.

    Example: listlens compare room --models 1 2
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        result = opened.compare(task, models or (), out=out, seed=seed)
    show(result.as_dict(), result.text(), as_json=as_json)
