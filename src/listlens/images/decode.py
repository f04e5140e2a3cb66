"""Decoding bytes to RGB pixels: bounded, at reduced scale, every failure with a reason."""

from __future__ import annotations

import io
import struct
import threading
import time
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from listlens.core.errors import PhotoError
from listlens.core.types import Reason
from listlens.images.colour import rgb_pixels, to_srgb
from listlens.images.files import DEFAULT_LIMITS, Limits
from listlens.images.formats import FORMATS, open_header, stored_size
from listlens.images.jpeg import decode_fast, is_sequential, n_scans

__all__ = ["Decoded", "Limits", "decode", "upright"]

# What decoders raise on damaged bytes, found by fuzzing; anything else is a fault of ours.
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
    EOFError,
    struct.error,
    zlib.error,
)
_TRUNCATED_WORDS = ("truncated", "premature", "not enough data", "end of file", "unexpected end")
_quiet_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded photo, neither turned nor colour-managed yet: that is cheaper on what comes of it.

    Args:
        pixels: `(h, w, 3)` uint8 RGB as stored; at reduced scale where the format allows it.
        orientation: 1 to 8, as in EXIF.
        profile: ICC profile of `pixels`, or None.
        format: ``JPEG``, ``PNG``, ... as found in the bytes.
        width_px: of the full photo, upright.
        height_px: of the full photo, upright.
    """

    pixels: NDArray[np.uint8]
    orientation: int
    profile: bytes | None
    format: str
    width_px: int
    height_px: int

    def finished(self, resized: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what was made of `pixels` in sRGB and upright."""
        return upright(to_srgb(resized, self.profile), self.orientation)


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


def decode(
    data: bytes, *, reduced_px: int | None = None, limits: Limits = DEFAULT_LIMITS
) -> Decoded:
    """Decode a photo; the content decides what it is, never the file's name.

    Args:
        data: the file's bytes.
        reduced_px: JPEGs are decoded at the smallest of the scales 1, 1/2, 1/4 and 1/8 whose sides
            are both at least this; None for full size.
        limits: what it may cost.

    Returns:
        RGB, transparency over white, 16 bits scaled to 8. Of an animation or a file of several
        pages, the first picture.

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
    _check_pixels(stored_size(data), limits.max_pixels)
    with _quiet():
        image = open_header(_Timed(data, limits.max_s), data)
        orientation = _orientation(image)
    _check_cost(image, data, limits)
    size = image.size if orientation < 5 else image.size[::-1]
    pixels = None
    if isinstance(image, JpegImageFile):
        pixels = decode_fast(image, data, reduced_px)
        if pixels is None and reduced_px is not None:
            image.draft(None, (reduced_px, reduced_px))
    if pixels is None:
        image.load()
        pixels = rgb_pixels(image)
    profile = image.info.get("icc_profile") or None
    return Decoded(pixels, orientation, profile, image.format or "?", *size)


def _check_cost(image: Image.Image, data: bytes, limits: Limits) -> None:
    """Refuse by what the header says, before anything is allocated."""
    if isinstance(image, JpegImageFile):
        if is_sequential(image, data):
            _check_pixels(image.size, limits.max_pixels)
            return
        if (n := n_scans(data)) > limits.max_scans:
            raise PhotoError(
                Reason.TOO_SLOW, f"a JPEG with {n:,} scans; at most {limits.max_scans} are decoded"
            )
    _check_pixels(image.size, min(limits.max_pixels, limits.max_full_pixels))


def _check_pixels(size: tuple[int, int] | None, allowed: int) -> None:
    if size is not None and size[0] * size[1] > allowed:
        raise PhotoError(
            Reason.TOO_MANY_PIXELS,
            f"{size[0]:,} x {size[1]:,} pixels; at most {allowed:,} are decoded for this kind of "
            "file. Save it smaller.",
        )


def _orientation(image: Image.Image) -> int:
    """Return 1 to 8; 1 where there is none, or the EXIF block is broken."""
    if image.format == "TIFF":
        with suppress(Exception):
            image.getexif()  # which `load` asks for too, where nobody keeps its warnings back
    if image.format in ("HEIF", "TIFF") or "exif" not in image.info:
        return 1  # libheif, and Pillow's plug-in for TIFF, turn the picture themselves
    try:
        value: Any = image.getexif().get(274, 1)
    except Exception:  # whatever a broken EXIF block raises, the picture may still be fine
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings about odd metadata from the user: they change nothing here.

    The lock is for `catch_warnings`, which is not safe among threads; reading a header takes
    50 microseconds under the interpreter's lock anyway.
    """
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _errors_mapped(limits: Limits) -> Iterator[None]:
    """Turn whatever a decoder raises into a PhotoError: the one place where that happens."""
    try:
        yield
    except PhotoError:
        raise
    except _TooSlowError as error:
        raise PhotoError(Reason.TOO_SLOW, f"not decoded within {limits.max_s:g} s") from error
    except UnidentifiedImageError as error:
        allowed = ", ".join(FORMATS)
        raise PhotoError(Reason.NOT_AN_IMAGE, f"{error}; we read {allowed}") from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise PhotoError(
            Reason.TOO_MANY_PIXELS, str(error) or "not enough memory to decode it"
        ) from error
    except _DAMAGE as error:
        words = str(error).lower()
        cut = isinstance(error, EOFError) or any(word in words for word in _TRUNCATED_WORDS)
        reason = Reason.TRUNCATED if cut else Reason.DAMAGED
        raise PhotoError(reason, f"{type(error).__name__}: {error}"[:200]) from error
