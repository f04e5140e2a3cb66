"""The fast path for JPEGs: libjpeg-turbo straight into an array, at any eighth of the size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

try:  # Pillow gives nearly the same pixels, at 1.7 times the time: platforms without a wheel
    import simplejpeg  # type: ignore[import-untyped]
except ImportError:  # pragma: no cover
    simplejpeg = None


def decode_fast(
    image: Image.Image, data: bytes, reduced_px: int | None
) -> NDArray[np.uint8] | None:
    """Decode a plain JPEG; None where Pillow has to look at it.

    Args:
        image: opened by Pillow, not loaded.
        data: the file's bytes.
        reduced_px: the smallest scale of 1/8 to 8/8 whose sides are both at least this; None for
            full size.

    Returns:
        `(h, w, 3)` uint8 RGB; or None for CMYK, for colour profiles other than sRGB, and for
        every file that libjpeg warns of: Pillow then says what is wrong, or that it is harmless.
    """
    if simplejpeg is None or image.mode not in ("RGB", "L"):
        return None
    least = reduced_px or 0
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "RGB", min_height=least, min_width=least, strict=True
        )
    except ValueError:
        return None
    return pixels


def n_scans(data: bytes) -> int:
    """Count the scans of a JPEG, or a little more: embedded previews count too.

    In compressed data a byte 0xFF is always followed by 0x00 or a restart marker, so that the
    start-of-scan marker cannot occur by chance.
    """
    return data.count(b"\xff\xda")
