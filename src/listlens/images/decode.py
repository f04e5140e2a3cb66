"""Decoding bytes to RGB pixels: bounded, at reduced scale, every failure with a reason."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from listlens.core.errors import PhotoError
from listlens.core.types import Reason
from listlens.images.colour import to_srgb_pixels
from listlens.images.files import Limits
from listlens.images.jpeg import decode_fast, n_scans

__all__ = ["FORMATS", "Decoded", "Limits", "decode", "upright"]

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
"""What Pillow may try; HEIC and HEIF come on top where pillow-heif is installed."""

_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    AssertionError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded photo, not turned yet: turning the small result is cheaper.

    Args:
        pixels: `(h, w, 3)` uint8 RGB as stored; at reduced scale where the format allows it.
        orientation: 1 to 8, as in EXIF; what `upright` has to undo.
        format: ``JPEG``, ``PNG``, ... as found in the bytes.
        width_px: of the full photo, upright.
        height_px: of the full photo, upright.
    """

    pixels: NDArray[np.uint8]
    orientation: int
    format: str
    width_px: int
    height_px: int


class _TooSlowError(Exception):
    """Raised inside a decoder's read."""


class _Timed(io.BytesIO):
    """Bytes that can be read until a deadline: the way to stop a decoder that runs in C."""

    def __init__(self, data: bytes, max_s: float) -> None:
        super().__init__(data)
        self._deadline = time.monotonic() + max_s

    def read(self, size: int | None = -1, /) -> bytes:
        if time.monotonic() > self._deadline:
            raise _TooSlowError
        return super().read(size)


def decode(data: bytes, *, reduced_px: int | None = None, limits: Limits = Limits()) -> Decoded:
    """Decode a photo; the content decides what it is, never the file's name.

    Args:
        data: the file's bytes.
        reduced_px: JPEGs are decoded at the smallest DCT scale whose sides are both at least this;
            None for full size.
        limits: what it may cost.

    Returns:
        RGB, transparency over white, 16 bits scaled to 8, colour profiles other than sRGB
        converted. Of an animation or a multi-page file, the first picture.

    Raises:
        PhotoError: EMPTY, TOO_MANY_BYTES, TOO_MANY_PIXELS, TOO_SLOW, NOT_AN_IMAGE, TRUNCATED or
            DAMAGED.
    """
    if not data:
        raise PhotoError(Reason.EMPTY, "the file has 0 bytes")
    if len(data) > limits.max_bytes:
        raise PhotoError(
            Reason.TOO_MANY_BYTES,
            f"{len(data):,} bytes; at most {limits.max_bytes:,} are read. Save it smaller.",
        )
    with _errors_mapped(limits):
        return _decode(data, reduced_px, limits)


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation.

    Args:
        pixels: `(h, w, 3)`.
        orientation: 1 to 8; anything else leaves the picture as it is.

    Returns:
        A contiguous array; `(w, h, 3)` for 5 to 8.

    Source:
        CIPA DC-008 (Exif 2.32), tag 274.
    """
    if not 2 <= orientation <= 8:
        return pixels
    turned = pixels.transpose(1, 0, 2) if orientation >= 5 else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def _decode(data: bytes, reduced_px: int | None, limits: Limits) -> Decoded:
    image = _open(data, limits)
    name = image.format or "?"
    width, height = image.size
    orientation = _orientation(image)
    _check_cost(image, data, limits)
    pixels = decode_fast(image, data, reduced_px) if name == "JPEG" else None
    if pixels is None:
        if reduced_px is not None and name == "JPEG":
            image.draft(None, (reduced_px, reduced_px))
        image.load()
        pixels = to_srgb_pixels(image)
    if orientation >= 5:
        width, height = height, width
    return Decoded(pixels, orientation, name, width, height)


def _open(data: bytes, limits: Limits) -> Image.Image:
    """Read the header only."""
    stream = _Timed(data, limits.max_s)
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        heif = _open_heif(stream)
        if heif is not None:
            return heif
    return Image.open(stream, formats=FORMATS)


def _open_heif(stream: io.BytesIO) -> Image.Image | None:
    """Open HEIC without registering a global plug-in; None where pillow-heif is not installed."""
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        return None
    image: Image.Image = HeifImageFile(stream)
    return image


def _check_cost(image: Image.Image, data: bytes, limits: Limits) -> None:
    """Refuse by what the header says, before anything is allocated."""
    n_pixels = image.width * image.height
    streams = image.format == "JPEG" and not image.info.get("progressive")
    allowed = limits.max_pixels if streams else min(limits.max_pixels, limits.max_full_pixels)
    if n_pixels > allowed:
        raise PhotoError(
            Reason.TOO_MANY_PIXELS,
            f"{image.width:,} x {image.height:,} pixels; at most {allowed:,} are decoded for this "
            "kind of file. Save it smaller.",
        )
    if image.format == "JPEG" and (n := n_scans(data)) > limits.max_scans:
        raise PhotoError(
            Reason.TOO_SLOW, f"a JPEG with {n:,} scans; at most {limits.max_scans} are decoded"
        )


def _orientation(image: Image.Image) -> int:
    """Return 1 to 8; 1 where there is none, or the EXIF block is broken."""
    if image.format not in ("JPEG", "TIFF", "HEIF") and "exif" not in image.info:
        return 1
    if image.format == "HEIF":
        return 1  # libheif turns the picture itself
    try:
        value: Any = image.getexif().get(274, 1)
    except Exception:  # whatever a broken EXIF block raises, the picture may still be fine
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


@contextmanager
def _errors_mapped(limits: Limits) -> Iterator[None]:
    """Turn whatever a decoder raises into a PhotoError, and keep its warnings to ourselves."""
    try:
        yield
    except PhotoError:
        raise
    except _TooSlowError as error:
        raise PhotoError(Reason.TOO_SLOW, f"not decoded within {limits.max_s:g} s") from error
    except UnidentifiedImageError as error:
        raise PhotoError(
            Reason.NOT_AN_IMAGE, "not a photo in a format we read: " + ", ".join(FORMATS) + ", HEIC"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(Reason.TOO_MANY_PIXELS, str(error)) from error
    except MemoryError as error:
        raise PhotoError(Reason.TOO_MANY_PIXELS, "not enough memory to decode it") from error
    except _DAMAGE as error:
        reason = Reason.TRUNCATED if _says_truncated(error) else Reason.DAMAGED
        raise PhotoError(reason, f"{type(error).__name__}: {error}"[:200]) from error


def _says_truncated(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, EOFError) or any(
        word in text for word in ("truncated", "premature", "not enough data", "end of file", "eof")
    )
