"""Reading the text in a photo: PP-OCRv4's networks, which come inside the package rapidocr.

Nothing is downloaded. Detection alone finds text in stripes, tiles and grilles, so a box counts
only where a line of three or more characters was recognised in it.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.core.errors import ConfigError, MissingExtraError
from listlens.core.text import Reading, TextLine, text_measures
from listlens.images.decode import Limits, decode
from listlens.images.files import DEFAULT_LIMITS
from listlens.images.overlay import overlay_measures
from listlens.images.resize import resize

SHORT_PX, LONG_PX = 736, 2000
"""The detector's own working size (PP-OCRv4, `limit_side_len`): a larger photo is reduced to it."""

MAX_RATIO = 4
"""Of long to short side. The detector enlarges the short side to 736 px, so a longer strip, which
would cost seconds and gigabytes, is padded."""

MIN_CHARACTERS = 3
"""A shorter string does not count: boxes on door handles and grilles read as one or two."""

REVISION = 1
"""Changes when the same photo gives another reading."""

_PACKAGE = "rapidocr-onnxruntime"


class TextReader:
    """Finds and recognises text; one object may be used by many threads.

    Args:
        n_threads: of each of the two networks, for one photo.

    Raises:
        MissingExtraError: the extra `text` is not installed.
        ConfigError: OpenCV, which it needs, lacks a library of the system; says what to do.
    """

    def __init__(self, n_threads: int = 1) -> None:
        self._read = _engine(n_threads)
        self.name = f"{_PACKAGE}-{importlib.metadata.version(_PACKAGE)}-{REVISION}"

    def read(self, data: bytes, limits: Limits = DEFAULT_LIMITS) -> Reading:
        """Decode a photo, read its text, and measure it and the graphics around it.

        Raises:
            PhotoError: with the reason; nothing else, whatever the bytes.
        """
        decoded = decode(data, reduced_px=SHORT_PX, limits=limits)
        height, width, _ = decoded.pixels.shape
        scale = min(1.0, SHORT_PX / min(height, width), LONG_PX / max(height, width))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        pixels = decoded.pixels if scale == 1 else resize(decoded.pixels, *size, "bilinear")
        return self.read_pixels(decoded.finished(pixels))

    def read_pixels(self, pixels: NDArray[np.uint8]) -> Reading:
        """Read an upright picture `(h, w, 3)` uint8 RGB."""
        lines = self._lines(pixels)
        return Reading(self.name, lines, {**text_measures(lines), **overlay_measures(pixels)})

    def _lines(self, pixels: NDArray[np.uint8]) -> tuple[TextLine, ...]:
        height, width, _ = pixels.shape
        # Photos are upright, so the third network, which turns lines upside down, is left out.
        found, _ = self._read(_padded(pixels[:, :, ::-1]), use_cls=False)
        lines = []
        for box, text, confidence in found or ():
            if sum(not c.isspace() for c in text) < MIN_CHARACTERS:
                continue
            shares = np.clip(np.asarray(box, np.float64) / (width, height), 0, 1)
            corners = tuple(round(float(value), 4) for value in shares.ravel())
            sure = round(min(1.0, float(confidence)), 4)
            lines.append(TextLine(text.strip(), sure, corners))  # type: ignore[arg-type]
        return tuple(lines)


def _padded(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add grey to the right or below, so that neither side is over `MAX_RATIO` times the other."""
    height, width, _ = pixels.shape
    down, right = max(0, width // MAX_RATIO - height), max(0, height // MAX_RATIO - width)
    return np.pad(pixels, ((0, down), (0, right), (0, 0)), constant_values=128)


def _engine(n_threads: int) -> Any:
    """Load rapidocr; it is imported here, since that costs a second."""
    try:
        from rapidocr_onnxruntime import RapidOCR
    except ModuleNotFoundError as error:
        raise MissingExtraError("Reading the text in photos", "text") from error
    except ImportError as error:  # OpenCV is there, but not libGL or libxcb of the system
        raise ConfigError(
            f"OpenCV, which reading text needs, cannot be loaded ({error}). On a server without a "
            "screen, put its headless build in place: pip uninstall --yes opencv-python && "
            "pip install opencv-python-headless"
        ) from error
    return RapidOCR(intra_op_num_threads=n_threads)
