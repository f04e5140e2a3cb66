"""Effects on light and colour: exposure, contrast, casts, banding. Float32 RGB in [0, 255]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Rng = np.random.Generator

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_GAMMA = 2.2
"""Of sRGB, nearly; exposure works on light, not on its coding."""

_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32
)
_WHITE = np.array([0.9505, 1.0, 1.089], np.float32)


def over_exposure(rgb: Floats, stops: float, rng: Rng) -> Floats:
    """More light by a number of stops; what is too bright is lost."""
    return rgb * np.float32(2 ** (stops / _GAMMA))


def under_exposure(rgb: Floats, stops: float, rng: Rng) -> Floats:
    """Less light by a number of stops."""
    return rgb * np.float32(2 ** (-stops / _GAMMA))


def brightening(rgb: Floats, amount: float, rng: Rng) -> Floats:
    """Lift the middle by a curve through (0, 0), (0.5, 0.5 + amount / 2), (1, 1)."""
    return curved(rgb, (0.5,), (0.5 + amount / 2,))


def darkening(rgb: Floats, amount: float, rng: Rng) -> Floats:
    """Press the middle down by a curve through (0, 0), (0.5, 0.5 - amount / 2), (1, 1)."""
    return curved(rgb, (0.5,), (0.5 - amount / 2,))


def mean_shift(rgb: Floats, levels: float, rng: Rng) -> Floats:
    """Add the same to every value; negative makes it darker."""
    return rgb + np.float32(levels)


def low_contrast(rgb: Floats, share: float, rng: Rng) -> Floats:
    """Move every value towards the photo's mean grey: haze, a dirty lens."""
    mean = np.float32((rgb @ _LUMA).mean())
    return mean + (rgb - mean) * np.float32(1 - share)


def harsh_contrast(rgb: Floats, gain: float, rng: Rng) -> Floats:
    """Move every value away from the photo's mean grey; lights and darks are lost."""
    return low_contrast(rgb, -gain, rng)


def contrast_curve(rgb: Floats, amount: float, rng: Rng) -> Floats:
    """S-curve through 0.25 -/+ amount / 4 at 0.3, and its mirror at 0.7; negative flattens."""
    return curved(rgb, (0.3, 0.5, 0.7), (0.25 - amount / 4, 0.5, 0.75 + amount / 4))


def colour_cast(rgb: Floats, stops: float, rng: Rng) -> Floats:
    """Wrong white balance: towards orange, blue, green or pink, brightness kept."""
    half = stops / 2 / _GAMMA
    which = int(rng.integers(4))
    exponents = ((half, 0, -half), (-half, 0, half), (-half / 2, half, -half / 2))
    bent = (half / 2, -half, half / 2)
    gains = np.exp2(np.array((*exponents, bent)[which], np.float32))
    return rgb * (gains / float(gains @ _LUMA)).astype(np.float32)


def desaturation(rgb: Floats, share: float, rng: Rng) -> Floats:
    """Take colour away, in HSV: 1 leaves none; above 1 the colours turn round."""
    brightest = rgb.max(axis=2, keepdims=True)
    return np.asarray(brightest - (brightest - rgb) * np.float32(1 - share))


def oversaturation(rgb: Floats, gain: float, rng: Rng) -> Floats:
    """Multiply a and b of CIELAB by 1 + gain."""
    lab = to_lab(rgb)
    lab[:, :, 1:] *= np.float32(1 + gain)
    return from_lab(lab)


def colour_bleeding(rgb: Floats, amount: float, rng: Rng) -> Floats:
    """Blur a and b of CIELAB by 1.5 x amount + 2 px, and multiply them by the amount."""
    from scipy.ndimage import gaussian_filter

    sigma = 1.5 * amount + 2
    lab = to_lab(rgb)
    spread = gaussian_filter(lab[:, :, 1:], (sigma, sigma, 0), mode="nearest", truncate=2.0)
    lab[:, :, 1:] = spread * np.float32(amount)
    return from_lab(lab)


def colour_fringes(rgb: Floats, shift_px: float, rng: Rng) -> Floats:
    """Shift the green channel in a random direction: a bad lens."""
    angle = rng.uniform(0, np.pi / 2)
    down, right = round(shift_px * np.sin(angle)), round(shift_px * np.cos(angle))
    made = rgb.copy()
    padded = np.pad(rgb[:, :, 1], ((down, 0), (right, 0)), mode="edge")
    made[:, :, 1] = padded[: rgb.shape[0], : rgb.shape[1]]
    return made


def banding(rgb: Floats, step: float, rng: Rng) -> Floats:
    """Leave 256 / step levels of each channel, stretched to the full range."""
    n_levels = max(2, round(256 / step))
    level = np.minimum(np.floor(rgb * np.float32(n_levels / 256)), n_levels - 1)
    return np.asarray(level * np.float32(255 / (n_levels - 1)))


def dithering(rgb: Floats, fewer: float, rng: Rng) -> Floats:
    """Leave 256 / fewer colours, of the photo's own palette, with error diffusion."""
    image = Image.fromarray(np.clip(rgb + 0.5, 0, 255).astype(np.uint8))
    n_colours = max(2, round(256 / fewer))
    palette = image.quantize(n_colours, Image.Quantize.MEDIANCUT)
    few = image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    return np.asarray(few.convert("RGB"), np.float32)


def colour_blocks(rgb: Floats, n: float, rng: Rng) -> Floats:
    """Squares of 32 px in random colours."""
    made, side = rgb.copy(), 32
    height, width, _ = rgb.shape
    for _ in range(round(n)):
        top, left = (
            int(rng.integers(max(1, height - side))),
            int(rng.integers(max(1, width - side))),
        )
        made[top : top + side, left : left + side] = rng.uniform(0, 255, 3)
    return made


def curved(rgb: Floats, inputs: tuple[float, ...], outputs: tuple[float, ...]) -> Floats:
    """Map values by the not-a-knot spline through (0, 0), the points given, and (1, 1)."""
    from scipy.interpolate import CubicSpline

    curve = CubicSpline([0, *inputs, 1], [0, *outputs, 1])
    table = np.clip(curve(np.arange(256) / 255), 0, 1).astype(np.float32) * 255
    return np.asarray(table[np.clip(rgb + 0.5, 0, 255).astype(np.uint8)])


def to_lab(rgb: Floats) -> Floats:
    """Convert to CIELAB (D65), L in [0, 100]."""
    coded = np.clip(rgb, 0, 255) / np.float32(255)
    light = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    xyz = (light.astype(np.float32) @ _TO_XYZ.T) / _WHITE
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = np.moveaxis(root, 2, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=2).astype(np.float32)


def from_lab(lab: Floats) -> Floats:
    """Convert CIELAB (D65) to RGB; what no screen shows is clipped."""
    y = (lab[:, :, 0] + 16) / 116
    root = np.stack([y + lab[:, :, 1] / 500, y, y - lab[:, :, 2] / 200], axis=2)
    xyz = np.where(root > 0.206893, root**3, (root - 16 / 116) / 7.787) * _WHITE
    light = np.clip(xyz @ np.linalg.inv(_TO_XYZ).T, 0, 1)
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (coded * 255).astype(np.float32)
