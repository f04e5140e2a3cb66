"""How objects show themselves in a notebook: small, escaped HTML that needs no other file.

Notebooks and the sites that render them drop style sheets, so styles stand in the elements.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from markupsafe import Markup, escape

from listlens.core.errors import PhotoError
from listlens.core.types import Preprocessing, Status
from listlens.evaluate.matrix import MOST_CLASSES, matrix_figure
from listlens.images.files import read_bytes
from listlens.images.prepare import prepare
from listlens.pipeline.overview import in_words
from listlens.sources.paths import real_path

if TYPE_CHECKING:
    from listlens.pipeline.apply import Prediction
    from listlens.pipeline.evaluating import TrainResult
    from listlens.store.open import Store

T = TypeVar("T")

MOST_SHOWN = 12
THUMBNAIL_PX = 160
"""A dozen photos of this size are 60 KB of notebook."""

_GRID = "display:flex;flex-wrap:wrap;gap:8px"
_FIGURE = "margin:0;width:160px;font:12px sans-serif;overflow-wrap:anywhere"
_PICTURE = "width:160px;height:120px;object-fit:contain;background:#8882;border-radius:4px"


class PhotoList(list[T], Generic[T]):
    """A list that is a grid of photos in a notebook.

    Args:
        items: what it holds.
        cell: gives the printable location of an item's photo, and what to write below it.
    """

    def __init__(self, items: Iterable[T], cell: Callable[[T], tuple[str, str]]) -> None:
        super().__init__(items)
        self._cell = cell

    def _repr_html_(self) -> str:
        cells = [self._cell(item) for item in self[:MOST_SHOWN]]
        return str(grid([(thumbnail(place), text) for place, text in cells], len(self)))


def hits(found: list[dict[str, Any]]) -> PhotoList[dict[str, Any]]:
    """What a search found, as a list that shows itself."""

    def cell(hit: dict[str, Any]) -> tuple[str, str]:
        if "similarity" in hit:
            what = f"similarity {hit['similarity']:.2f}"
        else:
            what = hit.get("text") or f"{hit['class']} {hit['probability']:.2f}"
        return hit["location"], f"{hit['image']}: {what}"

    return PhotoList(found, cell)


def predictions(found: list[Prediction]) -> PhotoList[Prediction]:
    """What a model says of files, as a list that shows itself."""

    def cell(p: Prediction) -> tuple[str, str]:
        if p.reason is not None:
            return p.image, f"{p.image}: {p.reason.value}"
        sure = "" if p.probability is None else f" {p.probability:.2f}"
        look = " (a person should look)" if p.review else ""
        said = f"score {p.score:.2f}" if p.score is not None else ", ".join(p.classes) or "none"
        return p.image, f"{said}{sure}{look}"

    return PhotoList(found, cell)


def grid(photos: Sequence[tuple[bytes | None, str]], n: int) -> Markup:
    """Photos beside each other, each with a line below.

    Args:
        photos: those to show: JPEG or None, and what to write.
        n: how many there are.
    """
    cells = Markup("").join(
        Markup('<figure style="{}">{}<figcaption>{}</figcaption></figure>').format(
            _FIGURE, _picture(jpeg), text
        )
        for jpeg, text in photos
    )
    more = n - len(photos)
    rest = Markup('<p style="color:#767676">and {} more</p>').format(more) if more > 0 else ""
    nothing = Markup("<p>No photo.</p>") if not n else ""
    return Markup('<div style="{}">{}</div>{}{}').format(_GRID, cells, rest, nothing)


def _picture(jpeg: bytes | None) -> Markup:
    if jpeg is None:
        return Markup('<div style="{}"></div>').format(_PICTURE)
    data = base64.b64encode(jpeg).decode()
    return Markup('<img alt="" style="{}" src="data:image/jpeg;base64,{}">').format(_PICTURE, data)


def thumbnail(location: str) -> bytes | None:
    """A small JPEG of a file, without its metadata; None where it cannot be read."""
    try:
        data = read_bytes(real_path(location))
        return prepare(data, Preprocessing(), thumbnail_px=THUMBNAIL_PX, measure=False).thumbnail
    except PhotoError:
        return None


def project_html(root: Path, overview: Mapping[str, Any], store: Store) -> str:
    """What a project holds, and its first photos."""
    rows = [("photos", ", ".join(f"{n} {words}" for n, words in in_words(overview["photos"])))]
    rows += [("listings", overview["listings"])]
    for task in overview["tasks"]:
        model = f"model {task['model']}" if task["model"] else "no model yet"
        text = f"{task['kind']}, {len(task['classes'])} classes, {task['labels']} labels, {model}"
        rows.append((f"task {task['name']}", text))
    shown: list[tuple[bytes | None, str]] = []
    for photo in store.photos.scan(status=Status.OK):
        shown.append((store.thumbnails.get(photo.sha256 or ""), photo.photo_id))
        if len(shown) == MOST_SHOWN:
            break
    n = int(overview["photos"].get("ok", 0))
    return str(_heading(f"Project {root.name}") + _table(rows) + grid(shown, n))


def train_html(result: TrainResult) -> str:
    """The headline, what was found in the data, the confusion matrix, and where the report is."""
    parts = [_heading(f"Task {result.task}, model {result.version}"), _paragraphs(result.text())]
    confusion = _confusion(result.files.get("report as JSON", ""))
    if confusion and len(confusion["classes"]) <= MOST_CLASSES:
        parts.append(matrix_figure(confusion["classes"], confusion["counts"]))
    parts.append(_table(list(result.files.items())))
    return str(Markup("").join(parts))


def auto_html(train: TrainResult | None, text: str, files: Mapping[str, str]) -> str:
    """What `auto` did: the training's own view and the other files, or else its sentences."""
    if train is None:
        return str(_paragraphs(text))
    known = set(train.files.values())
    return train_html(train) + str(_table([f for f in files.items() if f[1] not in known]))


def _confusion(report: str) -> dict[str, Any]:
    """The confusion matrix of a report.json; empty where there is none."""
    try:
        test = json.loads(Path(report).read_bytes()).get("test") or {}
        found = test.get("confusion") or {}
        return found if {"classes", "counts"} <= set(found) else {}
    except (OSError, ValueError, AttributeError):
        return {}


def card_html(card: str) -> str:
    """A model card, which is a heading, sentences and a list in Markdown."""
    lines = [line for line in card.splitlines() if line]
    items = [Markup("<li>{}</li>").format(x[2:]) for x in lines if x.startswith("- ")]
    parts = [
        _heading(x[2:]) if x.startswith("# ") else Markup("<p>{}</p>").format(x)
        for x in lines
        if not x.startswith("- ")
    ]
    return str(Markup("").join(parts) + Markup("<ul>{}</ul>").format(Markup("").join(items)))


def _heading(text: str) -> Markup:
    return Markup("<h4>{}</h4>").format(text)


def _paragraphs(text: str) -> Markup:
    return Markup("").join(Markup("<p>{}</p>").format(line) for line in text.splitlines())


def _table(rows: Sequence[tuple[str, object]]) -> Markup:
    cells = Markup("").join(
        Markup(
            '<tr><th style="text-align:left">{}</th><td style="text-align:left">{}</td></tr>'
        ).format(name, escape(value))
        for name, value in rows
    )
    return Markup("<table>{}</table>").format(cells)
