"""Effects on detail: blur, noise, compression, resolution. All of float32 RGB in [0, 255]."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Rng = np.random.Generator

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_FINEST_SIDE_PX = 8
"""Codecs and scalers get no side shorter than this."""


def gaussian_blur(rgb: Floats, sigma_px: float, rng: Rng) -> Floats:
    """Blur with a Gaussian, cut at three deviations."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(rgb, (sigma_px, sigma_px, 0), mode="nearest", truncate=3.0))


def lens_blur(rgb: Floats, radius_px: float, rng: Rng) -> Floats:
    """Blur with a disc, its border antialiased: a lens out of focus."""
    reach = int(np.ceil(radius_px))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return _convolved(rgb, np.clip(radius_px + 0.5 - np.hypot(x, y), 0, 1))


def motion_blur(rgb: Floats, length_px: float, rng: Rng) -> Floats:
    """Blur along a line in a random direction: a hand that moved."""
    angle = rng.uniform(0, np.pi)
    reach = int(np.ceil(length_px / 2))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along = np.abs(x * np.cos(angle) + y * np.sin(angle))
    across = np.abs(y * np.cos(angle) - x * np.sin(angle))
    line = np.clip(1 - across, 0, 1) * np.clip(length_px / 2 + 0.5 - along, 0, 1)
    return _convolved(rgb, line)


def noise(rgb: Floats, deviation: float, rng: Rng) -> Floats:
    """Gaussian noise, independent in each value."""
    return rgb + _normal(rng, rgb.shape) * np.float32(deviation)


def colour_noise(rgb: Floats, deviation: float, rng: Rng) -> Floats:
    """Gaussian noise of which the colour gets more than the brightness (a third)."""
    grain = _normal(rng, rgb.shape)
    grey = (grain @ _LUMA)[:, :, None]
    tint: Floats = grain - grey * np.float32(2 / 3)
    return rgb + tint * np.float32(deviation)


def ycbcr_noise(rgb: Floats, deviation: float, rng: Rng) -> Floats:
    """Gaussian noise of equal deviation in Y, Cb and Cr (ITU-R BT.601)."""
    y, cb, cr = np.moveaxis(_normal(rng, rgb.shape) * np.float32(deviation), 2, 0)
    tinted = [y + 1.402 * cr, y - 0.344 * cb - 0.714 * cr, y + 1.772 * cb]
    return rgb + np.stack(tinted, axis=2).astype(np.float32)


def blotchy_noise(rgb: Floats, deviation: float, rng: Rng) -> Floats:
    """Noise that is correlated between neighbours, as after a phone's noise reduction."""
    from scipy.ndimage import gaussian_filter

    grain = gaussian_filter(_normal(rng, rgb.shape), (1.0, 1.0, 0), mode="wrap")
    return _grained(rgb, grain, deviation)


def fine_noise(rgb: Floats, deviation: float, rng: Rng) -> Floats:
    """Noise of high frequencies only."""
    from scipy.ndimage import gaussian_filter

    grain = _normal(rng, rgb.shape)
    grain = grain - gaussian_filter(grain, (0.8, 0.8, 0), mode="wrap")
    return _grained(rgb, grain, deviation)


def speckle(rgb: Floats, relative: float, rng: Rng) -> Floats:
    """Noise in proportion to the value."""
    return rgb * (1 + _normal(rng, rgb.shape) * np.float32(relative))


def impulse_noise(rgb: Floats, share: float, rng: Rng) -> Floats:
    """Single values that are 0 or 255: hot and dead pixels."""
    at = rng.random(rgb.shape, np.float32)
    return np.where(at < share / 2, np.float32(0), np.where(at < share, np.float32(255), rgb))


def jpeg(rgb: Floats, loss: float, rng: Rng) -> Floats:
    """JPEG of quality `100 - loss`, at least 1."""
    return _through(rgb, "JPEG", quality=max(1, round(100 - loss)))


def jpeg2000(rgb: Floats, ratio: float, rng: Rng) -> Floats:
    """JPEG 2000 at a compression ratio."""
    return _through(rgb, "JPEG2000", quality_mode="rates", quality_layers=[float(ratio)])


def webp(rgb: Floats, loss: float, rng: Rng) -> Floats:
    """WebP of quality `100 - loss`, at least 0."""
    return _through(rgb, "WEBP", quality=max(0, round(100 - loss)), method=2)


def upscaling(rgb: Floats, factor: float, rng: Rng) -> Floats:
    """Shrink by a factor and enlarge again, bicubic: a thumbnail sold as a photo."""
    return _there_and_back(rgb, factor, Image.Resampling.BICUBIC, Image.Resampling.BICUBIC)


def pixelation(rgb: Floats, factor: float, rng: Rng) -> Floats:
    """Shrink by a factor and enlarge without smoothing."""
    return _there_and_back(rgb, factor, Image.Resampling.NEAREST, Image.Resampling.NEAREST)


def oversharpening(rgb: Floats, gain: float, rng: Rng) -> Floats:
    """Unsharp mask of 3 px on the brightness, as a slider pushed too far."""
    from scipy.ndimage import gaussian_filter

    grey = rgb @ _LUMA
    edges: Floats = grey - gaussian_filter(grey, 3.0, mode="nearest")
    return rgb + np.float32(gain) * edges[:, :, None]


def jitter(rgb: Floats, deviation_px: float, rng: Rng) -> Floats:
    """Move every pixel at random, five times: water, heat, broken enlargers."""
    from scipy.ndimage import map_coordinates

    height, width, _ = rgb.shape
    base = np.mgrid[0:height, 0:width].astype(np.float32)
    for _ in range(5):
        at = base + _normal(rng, base.shape) * np.float32(deviation_px)
        rgb = np.stack(
            [map_coordinates(rgb[:, :, c], at, order=1, mode="nearest") for c in range(3)], axis=2
        )
    return rgb


def patches(rgb: Floats, n: float, rng: Rng) -> Floats:
    """Copy squares of 16 px to near their place: lost packets, broken files."""
    height, width, _ = rgb.shape
    made, side = rgb.copy(), 16
    if min(height, width) <= 2 * side:
        return made
    for _ in range(round(n)):
        top, left = rng.integers(0, (height - side, width - side))
        down, right = rng.integers(-8, 9, 2)
        y = min(max(top + down, 0), height - side)
        x = min(max(left + right, 0), width - side)
        made[y : y + side, x : x + side] = made[top : top + side, left : left + side].copy()
    return made


def _normal(rng: Rng, shape: tuple[int, ...]) -> Floats:
    return rng.standard_normal(shape, np.float32)


def _grained(rgb: Floats, grain: Floats, deviation: float) -> Floats:
    """Add grain after bringing it to a deviation."""
    return rgb + grain * np.float32(deviation / max(float(grain.std()), 1e-6))


def _convolved(rgb: Floats, kernel: NDArray[np.floating]) -> Floats:
    from scipy.ndimage import convolve

    weights = (kernel / kernel.sum()).astype(np.float32)[:, :, None]
    return np.asarray(convolve(rgb, weights, mode="nearest"))


def _image(rgb: Floats) -> Image.Image:
    return Image.fromarray(np.clip(rgb + 0.5, 0, 255).astype(np.uint8))


def _through(rgb: Floats, codec: str, **options: object) -> Floats:
    """Encode and decode again."""
    stream = io.BytesIO()
    _image(rgb).save(stream, codec, **options)
    with Image.open(stream) as image:
        return np.asarray(image.convert("RGB"), np.float32)


def _there_and_back(
    rgb: Floats, factor: float, down: Image.Resampling, up: Image.Resampling
) -> Floats:
    height, width, _ = rgb.shape
    small = tuple(max(_FINEST_SIDE_PX, round(side / factor)) for side in (width, height))
    return np.asarray(_image(rgb).resize(small, down).resize((width, height), up), np.float32)
