"""Photos with and without text, drawn; the reader, once."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

Photo = Callable[..., bytes]


def draw(text: str = "", seed: int = 0, size: tuple[int, int] = (640, 480)) -> bytes:
    """A JPEG of coloured noise, with white text on a red bar where there is text."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (size[1] // 10, size[0] // 10, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)
    if text:
        pen = ImageDraw.Draw(image)
        pen.rectangle((0, size[1] * 0.7, *size), fill=(200, 20, 30))
        pen.text((40, size[1] * 0.74), text, font=ImageFont.load_default(70), fill="white")
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


@pytest.fixture(scope="session")
def photo() -> Photo:
    return draw


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos of three listings; two show text, one of them twice."""
    root = tmp_path_factory.mktemp("market") / "photos"
    for name, data in {
        "a/plain.jpg": draw(seed=1),
        "b/sale.jpg": draw("SUMMER SALE", seed=2),
        "b/price.jpg": draw("Only 99 EUR", seed=3),
        "c/sale.jpg": draw("SUMMER SALE", seed=2),
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root
