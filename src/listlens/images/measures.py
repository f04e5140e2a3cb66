"""What can be measured of a photo without knowing what it shows. Raw; scored elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

_N_STRIPS = 48
_BORDER_SPREAD = 6.0  # levels: more than JPEG ringing, less than any texture
_BORDER_STEP = 12.0


@dataclass(frozen=True, slots=True)
class Measures:
    """Raw measures of one content.

    Args:
        width_px: of the full photo, upright.
        height_px: of the full photo, upright.
        dark: 99th percentile of perceived brightness, [0, 1]: low where even the lights are dark.
        bright: 5th percentile of perceived brightness, [0, 1]: high where even the darks are
            bright.
        brightness: mean of perceived brightness, [0, 1].
        contrast: standard deviation of perceived brightness, [0, 0.5].
        sharpness: variance of the Laplacian in grey levels squared, at the decoded scale.
        noise: standard deviation in grey levels of what no smooth surface explains.
        entropy: of the grey levels, in bits, [0, 8].
        colourfulness: 0 for grey, 15 slightly, 45 averagely, above 80 very colourful.
        border_left, border_right, border_top, border_bottom: even-coloured edge, as a fraction of
            the side, [0, 1].
        phash: 64 bits; close pictures differ in few of them.
    """

    width_px: int
    height_px: int
    dark: float
    bright: float
    brightness: float
    contrast: float
    sharpness: float
    noise: float
    entropy: float
    colourfulness: float
    border_left: float
    border_right: float
    border_top: float
    border_bottom: float
    phash: int

    def as_dict(self) -> dict[str, float | int]:
        """Return a JSON-able dictionary. `phash` is below 2^64: mind signed 64-bit columns."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, float | int]) -> Measures:
        """Build from `as_dict`; keys that are not known are an error.

        Raises:
            ValueError: a key is missing or unknown.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise ValueError(f"measures need exactly these keys: {sorted(names)}")
        return cls(**values)  # type: ignore[arg-type]


def measure_photo(
    small: NDArray[np.uint8], reduced: NDArray[np.uint8], width_px: int, height_px: int
) -> Measures:
    """Measure one photo.

    Args:
        small: the whole photo squashed to a square, upright, `(s, s, 3)`, s at least 32.
        reduced: the photo as decoded, `(h, w, 3)`; any orientation.
        width_px: of the full photo, upright.
        height_px: of the full photo, upright.

    Source:
        Brightness: HSP (Finley 2006), with cleanvision's percentiles. Sharpness: Pech-Pacheco et
        al. 2000. Noise: Immerkaer 1996. Colourfulness: Hasler and Suesstrunk 2003. Hash: the sign
        of low DCT coefficients (pHash, Zauner 2010).
    """
    planes = np.empty((3, *small.shape[:2]), np.float32)
    for channel in range(3):  # half the time of transposing all three at once
        planes[channel] = small[:, :, channel]
    levels = _perceived(planes)
    histogram = np.bincount(levels.ravel(), minlength=256)
    share = histogram / levels.size
    sharpness, noise = _detail(reduced)
    mean = float(share @ np.arange(256))
    left, right, top, bottom = _borders(planes)
    known = share[share > 0]
    return Measures(
        width_px=width_px,
        height_px=height_px,
        dark=_percentile(share, 0.99),
        bright=_percentile(share, 0.05),
        brightness=round(mean / 255, 4),
        contrast=round(float(np.sqrt(share @ (np.arange(256) - mean) ** 2)) / 255, 4),
        sharpness=sharpness,
        noise=noise,
        entropy=round(max(0.0, float(-(known @ np.log2(known)))), 3),
        colourfulness=_colourfulness(planes),
        border_left=left,
        border_right=right,
        border_top=top,
        border_bottom=bottom,
        phash=_phash(planes),
    )


def _perceived(planes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """HSP brightness, 0 to 255."""
    red, green, blue = np.square(planes)
    squares = 0.241 * red + 0.691 * green + 0.068 * blue
    levels: NDArray[np.uint8] = np.minimum(np.sqrt(squares) + 0.5, 255).astype(np.uint8)
    return levels


def _percentile(share: NDArray[np.float64], fraction: float) -> float:
    return round(int(np.searchsorted(np.cumsum(share), fraction)) / 255, 4)


def _detail(reduced: NDArray[np.uint8]) -> tuple[float, float]:
    """Laplacian variance and noise over evenly spaced strips of three rows each."""
    height, width, _ = reduced.shape
    if height < 3 or width < 3:
        return 0.0, 0.0
    starts = np.unique(np.linspace(0, height - 3, min(_N_STRIPS, height - 2)).astype(int))
    rows = starts[:, None] + np.arange(3)
    green = reduced[rows, :, 1].astype(np.float32)
    above, here, below = green[:, 0], green[:, 1], green[:, 2]
    laplacian = above[:, 1:-1] + below[:, 1:-1] + here[:, :-2] + here[:, 2:] - 4 * here[:, 1:-1]
    edges = above - 2 * here + below
    residual = edges[:, :-2] - 2 * edges[:, 1:-1] + edges[:, 2:]
    noise = float(np.mean(np.abs(residual))) * float(np.sqrt(np.pi / 2)) / 6
    return round(float(np.var(laplacian)), 2), round(noise, 3)


def _colourfulness(planes: NDArray[np.float32]) -> float:
    red, green, blue = planes
    red_green = red - green
    yellow_blue = 0.5 * (red + green) - blue
    spread = float(np.hypot(red_green.std(), yellow_blue.std()))
    offset = float(np.hypot(red_green.mean(), yellow_blue.mean()))
    return round(spread + 0.3 * offset, 2)


def _borders(planes: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Return left, right, top, bottom fractions of even colour equal to the edge's."""
    columns = planes.transpose(0, 2, 1)
    return (
        _even_run(columns),
        _even_run(columns[:, ::-1]),
        _even_run(planes),
        _even_run(planes[:, ::-1]),
    )


def _even_run(lines: NDArray[np.float32]) -> float:
    """Fraction of lines, from the first, that have one colour, and the first one's."""
    if np.any(lines[:, 0].std(axis=1) > _BORDER_SPREAD):  # most photos end here
        return 0.0
    means = lines.mean(axis=2)
    even = np.all(lines.std(axis=2) <= _BORDER_SPREAD, axis=0)
    same = even & np.all(np.abs(means - means[:, :1]) <= _BORDER_STEP, axis=0)
    n_lines = len(same)
    return round((n_lines if same.all() else int(np.argmin(same))) / n_lines, 4)


@functools.cache
def _cosines(n: int, n_frequencies: int) -> NDArray[np.float32]:
    """First rows of the type II DCT."""
    at = (2 * np.arange(n) + 1) * np.pi / (2 * n)
    return np.cos(np.arange(n_frequencies)[:, None] * at).astype(np.float32)


def _phash(planes: NDArray[np.float32]) -> int:
    grey = 0.299 * planes[0] + 0.587 * planes[1] + 0.114 * planes[2]
    basis = _cosines(len(grey), 9)
    low = (basis @ grey @ basis.T)[1:, 1:]
    bits = (low > np.median(low)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
