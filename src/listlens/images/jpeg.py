"""The fast path for JPEGs: libjpeg-turbo straight into an array, at reduced scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

try:  # no wheel for this platform: Pillow gives the same pixels, 2 ms later
    import simplejpeg
except ImportError:  # pragma: no cover
    simplejpeg = None

_SCAN = b"\xff\xda"


def decode_fast(
    image: JpegImageFile, data: bytes, reduced_px: int | None
) -> NDArray[np.uint8] | None:
    """Decode a plain JPEG; None where Pillow has to look at it.

    Args:
        image: opened by Pillow, not loaded.
        data: the file's bytes.
        reduced_px: the smallest of the scales 1, 1/2, 1/4 and 1/8 whose sides are both at least
            this, as in Pillow's `draft`; None for full size. The scales between (3/8, 5/8, ...)
            were measured and left out: no cheaper, since their transforms are not vectorised, and
            further from a full decode.

    Returns:
        `(h, w, 3)` uint8 RGB; or None for CMYK and for every file that libjpeg warns of: Pillow
        then says what is wrong, or that it is harmless.
    """
    if simplejpeg is None or image.mode not in ("RGB", "L"):
        return None
    scale = 1
    if reduced_px is not None:
        while scale < 8 and min(image.size) // (2 * scale) >= reduced_px:
            scale *= 2
    width, height = (-(-side // scale) for side in image.size)
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "RGB", min_height=height, min_width=width, strict=True
        )
    except ValueError:
        return None
    return pixels


def is_sequential(image: JpegImageFile, data: bytes) -> bool:
    """Tell whether the first scan holds the whole picture, so that it decodes row by row.

    Args:
        image: opened by Pillow, not loaded: it stands right behind the first scan's header.
        data: the file's bytes.
    """
    if image.info.get("progressive") or image.fp is None:
        return False
    start = image.fp.tell() - (8 + 2 * image.layers)
    return start > 0 and data[start : start + 2] == _SCAN and data[start + 4] == image.layers


def n_scans(data: bytes) -> int:
    """Count the scans of a JPEG, or a little more: embedded previews count too.

    In compressed data a byte 0xFF is always followed by 0x00 or a restart marker, so that the
    start-of-scan marker cannot occur by chance.
    """
    return data.count(_SCAN)
