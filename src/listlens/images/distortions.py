"""Re-created distortions: what cameras, apps and sellers do to photos, at known severity.

`distort(pixels, name, level)` takes one of five levels; `apply(pixels, name, amount)` any amount,
in the unit that `DISTORTIONS[name].unit` names. The same seed gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from listlens.core.errors import InputError, suggest
from listlens.images import degrade_colour as colour
from listlens.images import degrade_detail as detail

Pixels = NDArray[np.uint8]
Effect = Callable[[NDArray[np.float32], float, np.random.Generator], NDArray[np.float32]]

N_LEVELS = 5


@dataclass(frozen=True, slots=True)
class Distortion:
    """One way to spoil a photo.

    Args:
        name: as in `DISTORTIONS`.
        family: what a person calls it; the reasons of `listlens quality` are families.
        unit: of the amount.
        levels: amounts of levels 1 (seen when one looks for it) to 5 (spoils the photo).
        effect: of float32 RGB `(h, w, 3)` in [0, 255], an amount and randomness; any size back.
    """

    name: str
    family: str
    unit: str
    levels: tuple[float, float, float, float, float]
    effect: Effect


def _tilted(
    rgb: NDArray[np.float32], degrees: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Turn, and crop the largest upright rectangle of the same shape without blank corners."""
    height, width, _ = rgb.shape
    angle = degrees * (1 if rng.random() < 0.5 else -1)
    sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
    ratio = max(width / height, height / width)
    scale = 1 / (cosine + ratio * sine)
    image = Image.fromarray(np.clip(rgb + 0.5, 0, 255).astype(np.uint8))
    turned = image.rotate(angle, Image.Resampling.BICUBIC)
    new_w, new_h = max(1, int(width * scale)), max(1, int(height * scale))
    left, top = (width - new_w) // 2, (height - new_h) // 2
    return np.asarray(turned.crop((left, top, left + new_w, top + new_h)), np.float32)


def _cropped(
    rgb: NDArray[np.float32], share: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Cut away this share of both sides, anywhere."""
    height, width, _ = rgb.shape
    new_h, new_w = max(1, round(height * (1 - share))), max(1, round(width * (1 - share)))
    top, left = rng.integers(height - new_h + 1), rng.integers(width - new_w + 1)
    return rgb[top : top + new_h, left : left + new_w]


_ALL = (
    Distortion(
        "gaussian_blur", "blur", "sigma, px", (0.7, 1.1, 1.7, 2.6, 4.0), detail.gaussian_blur
    ),
    Distortion("lens_blur", "blur", "radius, px", (1.2, 2, 3, 4.5, 7), detail.lens_blur),
    Distortion("motion_blur", "motion blur", "length, px", (3, 5, 7, 11, 17), detail.motion_blur),
    Distortion("noise", "noise", "deviation, levels", (5, 9, 15, 24, 38), detail.noise),
    Distortion(
        "colour_noise", "noise", "deviation, levels", (6, 10, 16, 25, 38), detail.colour_noise
    ),
    Distortion("ycbcr_noise", "noise", "deviation, levels", (3, 5, 8, 13, 20), detail.ycbcr_noise),
    Distortion(
        "blotchy_noise", "noise", "deviation, levels", (4, 7, 11, 17, 26), detail.blotchy_noise
    ),
    Distortion("fine_noise", "noise", "deviation, levels", (5, 9, 15, 24, 38), detail.fine_noise),
    Distortion(
        "speckle", "noise", "relative deviation", (0.05, 0.09, 0.15, 0.24, 0.4), detail.speckle
    ),
    Distortion(
        "impulse_noise",
        "noise",
        "share of values",
        (0.002, 0.006, 0.015, 0.04, 0.09),
        detail.impulse_noise,
    ),
    Distortion("jpeg", "compression", "100 - quality", (55, 70, 80, 88, 94), detail.jpeg),
    Distortion(
        "jpeg2000", "compression", "compression ratio", (24, 40, 70, 120, 200), detail.jpeg2000
    ),
    Distortion("webp", "compression", "100 - quality", (55, 75, 88, 95, 100), detail.webp),
    Distortion("upscaling", "low resolution", "factor", (1.5, 2, 2.8, 4, 6), detail.upscaling),
    Distortion("pixelation", "low resolution", "factor", (1.5, 2, 3, 4, 6), detail.pixelation),
    Distortion(
        "oversharpening", "oversharpening", "gain", (0.8, 1.6, 3, 5, 9), detail.oversharpening
    ),
    Distortion("jitter", "warping", "deviation, px", (0.3, 0.5, 0.8, 1.2, 2), detail.jitter),
    Distortion("patches", "damage", "patches of 16 px", (15, 30, 60, 100, 150), detail.patches),
    Distortion(
        "colour_blocks", "damage", "blocks of 32 px", (2, 4, 6, 9, 13), colour.colour_blocks
    ),
    Distortion(
        "over_exposure", "too bright", "stops", (0.5, 0.9, 1.4, 2, 2.8), colour.over_exposure
    ),
    Distortion(
        "brightening",
        "too bright",
        "curve's middle",
        (0.2, 0.35, 0.5, 0.7, 0.95),
        colour.brightening,
    ),
    Distortion("under_exposure", "too dark", "stops", (0.7, 1.3, 2, 2.9, 4), colour.under_exposure),
    Distortion(
        "darkening", "too dark", "curve's middle", (0.25, 0.4, 0.55, 0.7, 0.85), colour.darkening
    ),
    Distortion("mean_shift", "too bright", "levels", (15, 25, 38, 55, 80), colour.mean_shift),
    Distortion(
        "low_contrast",
        "low contrast",
        "share lost",
        (0.25, 0.4, 0.55, 0.68, 0.8),
        colour.low_contrast,
    ),
    Distortion(
        "harsh_contrast",
        "harsh contrast",
        "gain - 1",
        (0.35, 0.6, 1, 1.6, 2.6),
        colour.harsh_contrast,
    ),
    Distortion(
        "contrast_curve",
        "harsh contrast",
        "bend",
        (0.15, 0.25, 0.4, 0.6, 0.8),
        colour.contrast_curve,
    ),
    Distortion(
        "colour_cast",
        "colour cast",
        "stops between red and blue",
        (0.35, 0.6, 0.9, 1.3, 1.8),
        colour.colour_cast,
    ),
    Distortion(
        "desaturation",
        "pale colours",
        "share lost",
        (0.4, 0.55, 0.7, 0.85, 1.0),
        colour.desaturation,
    ),
    Distortion(
        "oversaturation",
        "garish colours",
        "gain - 1",
        (0.5, 0.9, 1.5, 2.4, 4),
        colour.oversaturation,
    ),
    Distortion(
        "colour_bleeding", "colour faults", "amount", (1, 1.7, 2.8, 5, 9), colour.colour_bleeding
    ),
    Distortion(
        "colour_fringes", "colour faults", "shift, px", (1, 2, 3, 5, 8), colour.colour_fringes
    ),
    Distortion("banding", "banding", "256 / grey levels", (13, 18, 26, 37, 52), colour.banding),
    Distortion("dithering", "banding", "256 / colours", (2, 4, 8, 16, 32), colour.dithering),
    Distortion("tilt", "tilt", "degrees", (2, 4, 7, 11, 16), _tilted),
    Distortion("crop", "crop", "share of each side cut", (0.1, 0.2, 0.3, 0.4, 0.5), _cropped),
)

DISTORTIONS: dict[str, Distortion] = {one.name: one for one in _ALL}
"""Every distortion by name. `crop` changes what is shown, not how well: no quality is taught."""


def distort(pixels: Pixels, name: str, level: int, seed: int = 0) -> Pixels:
    """Spoil a photo by one of five levels.

    Args:
        pixels: `(h, w, 3)` uint8 RGB.
        name: in `DISTORTIONS`.
        level: 1 to 5.
        seed: the same seed gives the same pixels.

    Returns:
        `(h, w, 3)` uint8; smaller for `tilt` and `crop`.

    Raises:
        InputError: an unknown name or level.

    Example:
        >>> import numpy as np
        >>> distort(np.full((64, 64, 3), 200, np.uint8), "under_exposure", 3).mean() < 130
        np.True_
    """
    if not 1 <= level <= N_LEVELS:
        raise InputError(f"level {level} of a distortion; allowed: 1 to {N_LEVELS}.")
    return apply(pixels, name, _found(name).levels[level - 1], seed)


def apply(pixels: Pixels, name: str, amount: float, seed: int = 0) -> Pixels:
    """Spoil a photo by any amount, in the distortion's own unit.

    Args:
        pixels: `(h, w, 3)` uint8 RGB.
        name: in `DISTORTIONS`.
        amount: see the distortion's `unit` and `levels`.
        seed: the same seed gives the same pixels.

    Raises:
        InputError: an unknown name.
    """
    made = _found(name).effect(pixels.astype(np.float32), amount, np.random.default_rng(seed))
    whole: Pixels = np.clip(made + 0.5, 0, 255).astype(np.uint8)
    return whole


def _found(name: str) -> Distortion:
    if name not in DISTORTIONS:
        raise InputError(f"no distortion {name!r}. {suggest(name, list(DISTORTIONS))}")
    return DISTORTIONS[name]
