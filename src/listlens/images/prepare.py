"""The one way from a photo's bytes to what is stored of it: input, measures, thumbnail."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from listlens.core.types import Preprocessing
from listlens.images.decode import Decoded, decode
from listlens.images.files import DEFAULT_LIMITS, Limits
from listlens.images.measures import Measures, measure_photo
from listlens.images.resize import resize

Pixels = NDArray[np.uint8]

_THUMBNAIL_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that is kept of one content.

    Args:
        pixels: `(size_px, size_px, 3)` uint8 RGB, upright: the backbone's input.
        measures: raw, see `Measures`; None where not asked for.
        thumbnail: JPEG without any metadata, or None where not asked for.
        format: ``JPEG``, ``PNG``, ... as found in the bytes.
        width_px: of the full photo, upright.
        height_px: of the full photo, upright.
        view: the photo as one looks at it, `(h, w, 3)` uint8 RGB, upright; None where not asked
            for.
    """

    pixels: NDArray[np.uint8]
    measures: Measures | None
    thumbnail: bytes | None
    format: str
    width_px: int
    height_px: int
    view: NDArray[np.uint8] | None = None


def prepare(
    data: bytes,
    preprocessing: Preprocessing,
    *,
    limits: Limits = DEFAULT_LIMITS,
    thumbnail_px: int = 0,
    measure: bool = True,
    view_px: int = 0,
) -> Prepared:
    """Decode once, and derive everything from that.

    Args:
        data: the file's bytes.
        preprocessing: of the backbone.
        limits: what one photo may cost.
        thumbnail_px: long side of the thumbnail; 0 for none. Never larger than the photo.
        measure: whether to measure.
        view_px: short side of the view, which is never larger than the photo; 0 for none.

    Raises:
        PhotoError: with the reason; nothing else, whatever the bytes.
    """
    decoded = decode(data, reduced_px=preprocessing.reduced_px, limits=limits)
    pixels = _input(decoded, preprocessing)
    measures = None
    if measure:
        small = pixels
        if preprocessing.fit != "squash" or preprocessing.size_px < 32:
            small = decoded.finished(resize(decoded.pixels, 224, 224, "box"))
        measures = measure_photo(small, decoded.pixels, decoded.width_px, decoded.height_px)
    return Prepared(
        pixels=pixels,
        measures=measures,
        thumbnail=_thumbnail(decoded, thumbnail_px) if thumbnail_px else None,
        format=decoded.format,
        width_px=decoded.width_px,
        height_px=decoded.height_px,
        view=_view(decoded, view_px) if view_px else None,
    )


def upright_pixels(data: bytes, long_px: int, *, limits: Limits = DEFAULT_LIMITS) -> Pixels:
    """Decode a photo to `(h, w, 3)` uint8 sRGB, upright, its long side at most this.

    Raises:
        PhotoError: with the reason; nothing else, whatever the bytes.
    """
    decoded = decode(data, reduced_px=long_px, limits=limits)
    return decoded.finished(resize(decoded.pixels, *_within(decoded, long_px), "bilinear"))


def input_of(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """Return the backbone's input of a photo that was decoded before, `(h, w, 3)` uint8 upright."""
    height, width, _ = pixels.shape
    return _input(Decoded(pixels, 1, None, "", width, height), preprocessing)


def _input(decoded: Decoded, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Resize, then finish: the result is 10 times smaller."""
    pixels = decoded.pixels
    if preprocessing.fit == "crop":
        height, width, _ = pixels.shape
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    size = preprocessing.size_px
    return decoded.finished(resize(pixels, size, size, preprocessing.interpolation))


def _view(decoded: Decoded, short_px: int) -> NDArray[np.uint8]:
    height, width, _ = decoded.pixels.shape
    scale = min(1.0, short_px / min(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return decoded.finished(resize(decoded.pixels, *size, "box") if scale < 1 else decoded.pixels)


def _within(decoded: Decoded, long_px: int) -> tuple[int, int]:
    """Height and width with the long side at most this; never larger than decoded."""
    height, width, _ = decoded.pixels.shape
    scale = min(1.0, long_px / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _thumbnail(decoded: Decoded, long_px: int) -> bytes:
    small = decoded.finished(resize(decoded.pixels, *_within(decoded, long_px), "bilinear"))
    stream = io.BytesIO()
    Image.fromarray(small).save(stream, "JPEG", quality=_THUMBNAIL_QUALITY)
    return stream.getvalue()
