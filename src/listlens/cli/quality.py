"""Commands for quality without labels: quality, import-keras."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listlens.cli.output import ExitCode, JsonOption, json_text, note, progress, show, table
from listlens.core.errors import InputError, suggest

if TYPE_CHECKING:
    from listlens.quality.photos import PhotoQuality

ORDERS = ("given", "score", "aesthetic", "photo")


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(quality)
    app.command()(import_keras)


def quality(
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.")],
    sort: Annotated[
        str | None,
        typer.Option(
            help="given, score or aesthetic (the worst first), or photo (by name). Default: score, "
            "with --json: given, each line as soon as it is known."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="How many photos at most, after sorting.", min=1)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score photos technically and aesthetically, and say what is wrong; no label, no project.

    Both scores lie between 0 and 1 and bunch in the middle, so the table gives each photo's place
    among the given ones: 3 means that 3 of 100 are worse. With --json, one line a photo. Exit code
    4: some photos could not be used.

    Example: listlens quality photos --limit 20
    """
    from listlens.quality.photos import photo_quality

    order = sort or ("given" if as_json else "score")
    if order not in ORDERS:
        raise InputError(f"no order {order!r} for --sort. {suggest(order, ORDERS)}")
    found = _shown(photo_quality(photos), quiet=as_json)
    if as_json:
        failed = _print_lines(found, order, limit)
    else:
        every = list(found)
        failed = sum(one.score is None for one in every)
        print(_text(every, order, limit))
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def import_keras(
    weights: Annotated[Path, typer.Argument(help="HDF5 file of a Keras MobileNet v1.")],
    out: Annotated[Path, typer.Argument(help="ONNX file to write.")],
    as_json: JsonOption = False,
) -> None:
    """Convert idealo's MobileNet weights (aesthetic, technical) to ONNX. Needs the extra keras.

    The file gives the votes 1 to 10 for uint8 photos, and is a backbone of your own besides: name
    it in listlens.toml, under [backbone].

    Example: listlens import-keras weights_mobilenet_aesthetic_0.07.hdf5 nima.onnx
    """
    from listlens.quality.keras_weights import convert_keras

    result = convert_keras(weights, out)
    text = (
        f"Wrote {result['onnx']}, and {result['description']} beside it: "
        f"{result['votes']} votes, embedding of {result['embedding']}."
    )
    show(result, text, as_json=as_json)


def _shown(found: Iterator[PhotoQuality], *, quiet: bool) -> Iterator[PhotoQuality]:
    """Show progress while photos pass."""
    with progress("quality", quiet=quiet) as update:
        for done, one in enumerate(found, 1):
            update(done, None, "")
            yield one


def _print_lines(found: Iterable[PhotoQuality], order: str, limit: int | None) -> int:
    """Print one JSON object a photo; return how many of all that were looked at failed."""
    if order == "given":
        found, limit = islice(found, limit), None
    else:
        found = _sorted(list(found), order)
    failed = 0
    for place, one in enumerate(found):
        failed += one.score is None
        if limit is None or place < limit:
            print(json_text(one.as_dict()), flush=True)
    return failed


def _sorted(every: list[PhotoQuality], order: str) -> list[PhotoQuality]:
    """The worst first, what failed last; by name alone, everything by name."""
    if order == "photo":
        return sorted(every, key=lambda one: one.photo)
    if order == "given":
        return every

    def worst_first(one: PhotoQuality) -> tuple[bool, float]:
        value = one.score if order == "score" else one.aesthetic
        return value is None, value or 0.0

    return sorted(every, key=worst_first)


def _text(every: list[PhotoQuality], order: str, limit: int | None) -> str:
    from listlens.metrics.ordinal import percentile

    usable = [one for one in every if one.score is not None]
    if not usable and not every:
        note("No photo found.")
        return ""
    scores = [one.score or 0.0 for one in usable]
    places = dict(zip(map(id, usable), percentile(scores, scores) if usable else (), strict=True))
    rows = [
        (one.photo, one.score, round(100 * places[id(one)]), one.aesthetic, ", ".join(one.reasons))
        for one in _sorted(usable, order)[:limit]
    ]
    text = [table(rows, ("photo", "score", "place", "aesthetic", "reasons"))] if rows else []
    text += [f"{one.photo}: {one.reasons[0]}: {one.detail}" for one in every if one.score is None]
    if limit is not None and len(usable) > limit:
        text.append(f"{limit} of {len(usable)} photos; leave out --limit to see all.")
    return "\n".join(text)
