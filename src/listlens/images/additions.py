"""Things that sellers put into photos: a banner with words, and a second object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]

WORDS = ("SALE", "NEW", "CALL NOW", "-20 %", "BEST PRICE", "0800 555 0199")
"""What the banners say."""

_COLOURS = ((200, 30, 40), (20, 60, 150), (250, 205, 30), (25, 25, 25), (30, 130, 70))


def with_banner(pixels: Pixels, share: float, seed: int = 0) -> Pixels:
    """Lay a coloured bar with words over the top or the bottom.

    Args:
        pixels: `(h, w, 3)` uint8 RGB.
        share: of the height, in (0, 1].
        seed: of place, colour and words; the same seed gives the same pixels.

    Example:
        >>> grey = np.full((100, 80, 3), 128, np.uint8)
        >>> banner = with_banner(grey, 0.2)
        >>> int((banner != grey).any(axis=(1, 2)).sum())
        20
    """
    rng = np.random.default_rng(seed)
    height, width, _ = pixels.shape
    bar = max(1, round(height * share))
    top = 0 if rng.random() < 0.5 else height - bar
    colour = _COLOURS[rng.integers(len(_COLOURS))]
    image = Image.new("RGB", (width, bar), colour)
    ink = (20, 20, 20) if sum(colour) > 400 else (255, 255, 255)
    text = "   ".join(rng.permutation(WORDS)[:3])
    font = ImageFont.load_default(max(6.0, min(0.6 * bar, 1.6 * width / len(text))))
    ImageDraw.Draw(image).text((width / 2, bar / 2), text, ink, font, anchor="mm")
    made = pixels.copy()
    made[top : top + bar] = np.asarray(image)
    return made


def with_second(pixels: Pixels, other: Pixels, share: float, seed: int = 0) -> Pixels:
    """Lay the middle of another photo over part of this one, in an ellipse.

    What a listing's photo is of is mostly in its middle, so this is another object, as when two
    things are offered or something lies in the way.

    Args:
        pixels: `(h, w, 3)` uint8 RGB.
        other: `(h2, w2, 3)` uint8 RGB; an ellipse of half its sides is taken.
        share: of the photo's area that it covers, in (0, 0.7].
        seed: of the place.
    """
    rng = np.random.default_rng(seed)
    height, width, _ = pixels.shape
    scale = (4 * share / np.pi) ** 0.5
    h, w = (max(1, min(n, round(n * scale))) for n in (height, width))
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    rows, columns = (n // 4 for n in other.shape[:2])
    middle = other[rows : max(rows + 1, 3 * rows), columns : max(columns + 1, 3 * columns)]
    inset = np.asarray(Image.fromarray(middle).resize((w, h), Image.Resampling.BICUBIC))
    y, x = np.mgrid[:h, :w]
    inside = ((y + 0.5) / h * 2 - 1) ** 2 + ((x + 0.5) / w * 2 - 1) ** 2 <= 1
    made = pixels.copy()
    made[top : top + h, left : left + w][inside] = inset[inside]
    return made
