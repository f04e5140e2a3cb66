"""The page that `listlens text --page` writes: photos with the text found in them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from jinja2 import Environment, PackageLoader
from PIL import Image

from listlens.core.files import whole
from listlens.core.text import Reading


@dataclass(frozen=True, slots=True)
class ReadPhoto:
    """One photo of the page.

    Args:
        name: what a person knows it by.
        reading: its text.
        thumbnail: JPEG, or None where none is kept.
    """

    MOST_SHOWN: ClassVar[int] = 300
    """Photos with the most text; at 12 KB a thumbnail the page stays under 5 MB."""

    name: str
    reading: Reading
    thumbnail: bytes | None


def write_text_page(path: Path, photos: Sequence[ReadPhoto], *, n_read: int, n_text: int) -> None:
    """Write one HTML file that needs nothing else: no network, no script, no other file.

    Args:
        path: of the file; its folder exists.
        photos: those to show, in this order.
        n_read: how many pictures were read.
        n_text: in how many of them there is text.

    Raises:
        OSError: the file cannot be written; it appears whole or not at all.
    """
    environment = Environment(
        loader=PackageLoader("listlens.images"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("text.html.j2").render(
        photos=[_shown(photo) for photo in photos], n_read=n_read, n_text=n_text
    )
    with whole(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _shown(photo: ReadPhoto) -> dict[str, Any]:
    """What the template needs: the picture, its size, the boxes in its pixels."""
    width, height = 4, 3
    picture = ""
    if photo.thumbnail:
        width, height = Image.open(io.BytesIO(photo.thumbnail)).size
        picture = "data:image/jpeg;base64," + base64.b64encode(photo.thumbnail).decode()
    scaled = [
        [c * (height if i % 2 else width) for i, c in enumerate(line.corners)]
        for line in photo.reading.lines
    ]
    return {
        "name": photo.name,
        "picture": picture,
        "width": width,
        "height": height,
        "boxes": [" ".join(f"{value:.1f}" for value in box) for box in scaled],
        "lines": photo.reading.lines,
        "share": photo.reading.measures.get("text_area", 0.0),
    }
