"""Commands that use what was learned: tag, predict, export, search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from listlens.cli.output import (
    ExitCode,
    JsonOption,
    ProjectOption,
    json_text,
    note,
    progress,
    show,
    table,
)
from listlens.core.amounts import counted
from listlens.core.errors import InputError

if TYPE_CHECKING:
    from listlens.pipeline.apply import Prediction


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (tag, predict, export, search):
        app.command()(command)


def tag(
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Only this task; repeat it. Default: all.")
    ] = None,
    starter: Annotated[
        bool,
        typer.Option(
            "--starter", help="Starter tags too: plain words that need no label (docs/starter.md)."
        ),
    ] = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Answer every task that has a model for every photo in the store.

    Only what has no answer by the current model yet is computed; interrupt and resume at will.
    Without any model, the starter tags are given.
    """
    import listlens.project

    with listlens.project.open(project) as opened, progress("tag", quiet=as_json) as update:
        reports = opened.tag(
            tasks=task,
            starter=starter,
            progress=lambda step, done, total: update(done, total, step),
        )
        notices = opened.notices()
    lines = [
        f"{name}: {counted(r.predicted, 'pictures')} answered now, {r.already} before"
        + (
            f", {r.without_embedding} have no embedding (listlens ingest)"
            if r.without_embedding
            else ""
        )
        for name, r in reports.items()
    ]
    for message in notices:
        note(message)
    result = {name: vars(r) for name, r in reports.items()}
    show(result, "\n".join(lines), as_json=as_json)


def predict(
    files: Annotated[list[Path], typer.Argument(help="Photos; they need not be in the project.")],
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Only this task; repeat it. Default: all.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="A model folder, instead of the project's models.")
    ] = None,
    backbone: Annotated[
        Path | None,
        typer.Option(help="With --model: your own ONNX file that the model was trained on."),
    ] = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Answer for single files, without storing anything.

    With --json, one line a photo and task. Exit code 4: some photos could not be used.

    Example: listlens predict new/*.jpg --json
    """
    failed: set[str] = set()
    for name, prediction in _predictions(files, project, task, model, backbone):
        if as_json:
            print(json_text({"task": name, **prediction.as_dict()}))
        elif prediction.reason is not None:
            if prediction.image not in failed:  # it fails for every task alike
                print(f"{prediction.image}: {prediction.reason.value}: {prediction.detail}")
        else:
            print(f"{prediction.image}: {name}: {_said(prediction)}")
        if prediction.reason is not None:
            failed.add(prediction.image)
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _said(prediction: Prediction) -> str:
    """An answer in words; of a score first its place, since scores bunch in the middle."""
    if prediction.score is not None:
        place = ""
        if prediction.percentile is not None:
            place = f"better than {int(100 * prediction.percentile)} % of the shop, "
        return f"{place}{prediction.score:.2f} ± {prediction.spread:.2f}"
    answer = ", ".join(prediction.classes) or "none"
    sure = "" if prediction.probability is None else f" {prediction.probability:.2f}"
    return f"{answer}{sure}{' (a person should look)' if prediction.review else ''}"


def _predictions(
    files: list[Path],
    project: Path,
    tasks: list[str] | None,
    model: Path | None,
    backbone: Path | None,
) -> Iterator[tuple[str, Prediction]]:
    """Yield (task, prediction) from a model folder, or from the models of a project."""
    import listlens.project
    from listlens.pipeline.apply import load_model

    if backbone is not None and model is None:
        raise InputError("--backbone goes with --model; a project names its own in listlens.toml.")
    if model is not None:
        loaded = load_model(model, backbone=backbone)
        note(loaded.notice)
        yield from ((loaded.model.task, prediction) for prediction in loaded.stream(files))
        return
    with listlens.project.open(project) as opened:
        for message in opened.notices():
            note(message)
        yield from opened.predict(files, tasks)


def export(
    path: Annotated[
        Path, typer.Argument(help="File to write: .csv, .jsonl or .parquet (.npy for embeddings).")
    ],
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="The embeddings instead of the answers.")
    ] = False,
    probs: Annotated[
        bool, typer.Option("--probs", help="A column p:TASK:CLASS with each probability too.")
    ] = False,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write the answers, one row a photo with its status, in the order the photos came in.

    Embeddings as x.npy: x.npy.csv says which photo each row is.
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        n = opened.export_embeddings(path) if embeddings else opened.export(path, probs=probs)
    show({"path": str(path), "rows": n}, f"Wrote {counted(n, 'rows')} to {path}.", as_json=as_json)


def search(
    query: Annotated[str, typer.Argument(help="A tag, such as sofa, or TASK:CLASS.")] = "",
    words: Annotated[
        str, typer.Option(help="Words on the photo instead of a tag; first: listlens text.")
    ] = "",
    sentence: Annotated[
        str,
        typer.Option(
            "--text",
            help="A sentence instead of a tag, where listlens.toml names a text network "
            "(docs/sentences.md).",
        ),
    ] = "",
    like: Annotated[
        str,
        typer.Option(
            metavar="PHOTO",
            help="An example photo instead of a tag: a file, or a photo's id in this project.",
        ),
    ] = "",
    limit: Annotated[int, typer.Option(help="How many photos at most.", min=1)] = 20,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Find photos by a tag, by words on them, by a sentence or by an example, the surest first.

    A tag is looked for in every task's answers and the starter tags. With --like and --text each
    picture is shown once, however many photos show it.

    Example: listlens search sofa
    """
    import listlens.project

    if sum(map(bool, (query, words, like, sentence))) != 1:
        raise InputError(
            "say what to search for, one of them: a tag, --words, --text or --like PHOTO."
        )
    with listlens.project.open(project) as opened:
        if words:
            _show_words(words, opened.text.search(words, limit), as_json=as_json)
            return
        if like:
            _show_like("like", like, opened.search_like(like, limit), as_json=as_json)
            return
        if sentence:
            _show_like("text", sentence, opened.search_text(sentence, limit), as_json=as_json)
            return
        hits = opened.search(query, limit=limit)
    rows = [
        (h["listing_id"], h["image"], f"{h['task']}:{h['class']}", round(h["probability"], 3))
        for h in hits
    ]
    text = table(rows, ("listing", "image", "tag", "probability")) if rows else "No photo found."
    show({"query": query, "photos": hits}, text, as_json=as_json)


def _show_words(words: str, hits: list[dict[str, Any]], *, as_json: bool) -> None:
    rows = [(h["listing_id"], h["image"], h["text"], round(h["confidence"], 3)) for h in hits]
    text = table(rows, ("listing", "image", "text", "confidence")) if rows else "No photo found."
    show({"words": words, "photos": hits}, text, as_json=as_json)


def _show_like(by: str, what: str, hits: list[dict[str, Any]], *, as_json: bool) -> None:
    rows = [(h["listing_id"], h["image"], round(h["similarity"], 3), h["n_photos"]) for h in hits]
    text = table(rows, ("listing", "image", "similarity", "photos"))
    show({by: what, "photos": hits}, text, as_json=as_json)
