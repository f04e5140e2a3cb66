"""What is measured of a photo to judge how well it was taken, without knowing what it shows.

Statistics of the pixels that blur, noise, codecs, light and colour move in known directions. All
of one picture at the scale at which it is looked at: the short side is `VIEW_PX` at most.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

VIEW_PX = 384
"""Short side, in pixels, at which a photo is judged; smaller photos are judged as they are. People
scored TID2013 and KADID-10k at 512 x 384. What cannot be seen at this size does not count."""

_FLOOR = 1e-2
"""Grey levels; added before a logarithm, so that even areas stay finite."""
_BLOCK = 8
_N_OCTAVES = 3
_ANGLES_DEG = (1.0, 2.5, 5.0, 9.0, 15.0, 24.0)
_N_BANDS = 8
_WALL_LEVELS = 12
"""Grey levels either side of the most common tone that still count as the wall."""
_GAUSS = np.exp(-0.5 * (np.arange(4) / (7 / 6)) ** 2).astype(np.float32)
_GAUSS /= 2 * _GAUSS.sum() - _GAUSS[0]
_SHADED = (16.0, 240.0)
"""Tones at which noise is not cut off by black or white."""


def signals(view: NDArray[np.uint8]) -> Floats:
    """Measure one picture.

    Args:
        view: `(h, w, 3)` uint8 RGB, each side at least 1.

    Returns:
        `(N_SIGNALS,)` float32, finite: logarithms of spreads and ratios, and shares in [0, 1].

    Source:
        Normalised luminance and the products of neighbours: Mittal, Moorthy and Bovik 2012,
        "No-reference image quality assessment in the spatial domain" (BRISQUE). Steps at block
        borders: Wang, Sheikh and Bovik 2002, "No-reference perceptual quality assessment of JPEG
        compressed images". Anisotropy: the structure tensor, Foerstner and Guelch 1987.

    Example:
        >>> flat = signals(np.full((64, 64, 3), 128, np.uint8))
        >>> flat.shape == (N_SIGNALS,), bool(np.isfinite(flat).all())
        (True, True)
    """
    rgb = _large_enough(view).astype(np.float32)
    red, green, blue = np.moveaxis(rgb, 2, 0)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = (blue - grey) * np.float32(0.564), (red - grey) * np.float32(0.713)
    parts = [
        _naturalness(grey),
        _naturalness(_halved(grey)),
        _detail(grey, *chroma),
        _local_spread(grey, *chroma),
        _grid(grey),
        _even_steps(rgb),
        _tones(grey, rgb),
        _colours(grey, *chroma),
        _channels(red, green, blue),
        _directions(grey),
        _specks(rgb),
        _edge_widths(grey),
        _flattest(grey, *chroma),
        _wall(grey, *chroma),
        _spectrum(grey),
        _upright(grey),
        [np.log2(min(view.shape[:2]) / VIEW_PX)],
    ]
    return np.concatenate([np.asarray(part, np.float32).ravel() for part in parts])


def _large_enough(view: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the border of what is smaller than the largest neighbourhood looked at."""
    least = 4 * _BLOCK
    short = [max(0, least - side) for side in view.shape[:2]]
    return np.pad(view, ((0, short[0]), (0, short[1]), (0, 0)), mode="edge") if any(short) else view


def _log(values: object) -> Floats:
    return np.asarray(np.log(np.asarray(values, np.float32) + np.float32(_FLOOR)))


def _halved(plane: Floats) -> Floats:
    """Mean of 2 x 2 pixels."""
    height, width = (side // 2 * 2 for side in plane.shape)
    even = plane[:height, :width]
    summed = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return np.asarray(summed / np.float32(4))


def _naturalness(grey: Floats) -> list[float]:
    """Shape and spread of locally normalised luminance and of products of neighbours (20)."""
    mean, square = _weighted(grey), _weighted(grey * grey)
    spread = np.sqrt(np.maximum(square - mean * mean, 0)) + np.float32(1)
    normal = np.asarray((grey - mean) / spread, np.float32)
    found = [float(normal.std()), _peakedness(normal), float(np.abs(normal).mean())]
    found.append(float((normal * normal * normal).mean()))
    shifted = (
        normal[:, :-1] * normal[:, 1:],
        normal[:-1] * normal[1:],
        normal[:-1, :-1] * normal[1:, 1:],
        normal[1:, :-1] * normal[:-1, 1:],
    )
    for product in shifted:
        low, high = np.minimum(product, 0), np.maximum(product, 0)
        found += [
            float(product.mean()),
            _peakedness(product),
            float(np.sqrt(np.square(low).mean())),
            float(np.sqrt(np.square(high).mean())),
        ]
    return found


def _weighted(plane: Floats) -> Floats:
    """Mean of 7 x 7 neighbours, weighted with a Gaussian of 7/6 px."""
    for _ in range(2):
        wide = np.pad(plane, ((0, 0), (3, 3)), mode="symmetric")
        n = plane.shape[1]
        total: Floats = wide[:, 3 : 3 + n] * _GAUSS[0]
        for k in (1, 2, 3):
            total += (wide[:, 3 - k : 3 - k + n] + wide[:, 3 + k : 3 + k + n]) * _GAUSS[k]
        plane = total.T
    return plane


def _peakedness(values: Floats) -> float:
    """Squared mean magnitude over mean square: 0.64 for a Gaussian, less the more peaked."""
    return float(np.square(np.abs(values).mean()) / (np.square(values).mean() + np.float32(1e-6)))


def _detail(grey: Floats, *chroma: Floats) -> list[float]:
    """Haar coefficients by octave and direction: mean, median and largest magnitude, logs (45)."""
    found: list[float] = []
    for plane in (grey, *chroma):
        rest = plane
        for _ in range(_N_OCTAVES):
            if min(rest.shape) < 4:
                rest = np.pad(rest, 4, mode="edge")
            a, b = rest[:-1:2, :-1:2], rest[:-1:2, 1::2]
            c, d = rest[1::2, :-1:2], rest[1::2, 1::2]
            for band in (a - b + c - d, a + b - c - d, a - b - c + d):
                size = np.abs(band) / np.float32(2)
                found.append(float(_log(size.mean())))
                if plane is grey:
                    found += [float(v) for v in _log(np.quantile(size[::2, ::2], (0.5, 0.98)))]
            rest = _halved(rest)
    return found


def _local_spread(*planes: Floats) -> list[float]:
    """Quantiles of the standard deviation in blocks of 8 x 8, logs (18)."""
    found: list[float] = []
    for plane in planes:
        height, width = (side // _BLOCK * _BLOCK for side in plane.shape)
        blocks = plane[:height, :width].reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
        fine = blocks - blocks.mean(axis=(1, 3), keepdims=True)
        spread = np.sqrt(np.square(fine).mean(axis=(1, 3)))
        residual = _residual(plane)
        tall, wide = (side // _BLOCK * _BLOCK for side in residual.shape)
        noise = np.abs(residual[:tall, :wide]).reshape(
            tall // _BLOCK, _BLOCK, wide // _BLOCK, _BLOCK
        )
        found += [float(v) for v in _log(np.quantile(spread, (0.1, 0.5, 0.9)))]
        found += [float(v) for v in _log(np.quantile(noise.mean(axis=(1, 3)), (0.1, 0.5, 0.9)))]
    return found


def _residual(plane: Floats) -> Floats:
    """What no smooth surface explains: the second difference of second differences."""
    rows = plane[:-2] - 2 * plane[1:-1] + plane[2:]
    return np.asarray(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:])


def _grid(grey: Floats) -> list[float]:
    """Steps at every eighth column and row, against those between (4)."""
    found = []
    for plane in (grey, grey.T):
        steps = np.abs(np.diff(plane, axis=1))
        bend = steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2
        width = bend.shape[1] // _BLOCK * _BLOCK
        phases = bend[:, :width].mean(axis=0).reshape(-1, _BLOCK).mean(axis=0)
        top = int(phases.argmax())
        others = np.delete(phases, top)
        found += [float(phases[top] - others.mean()), float(np.log(steps.mean() + _FLOOR))]
    return found


def _even_steps(rgb: Floats) -> list[float]:
    """Share of neighbours that are equal, or one level apart: even areas, bands, cells (10)."""
    found = []
    for plane in (rgb[:, :, 1], rgb[:, :, 0] - rgb[:, :, 1]):
        for axis in (0, 1):
            step = np.abs(np.diff(plane, axis=axis))
            found += [float((step == 0).mean()), float((step <= 1).mean())]
    green = rgb[:, :, 1]
    bent = np.abs(green[:, :-2] - 2 * green[:, 1:-1] + green[:, 2:])
    found.append(float((bent <= 1).mean()))
    equal = np.diff(green, axis=1) == 0
    found.append(float((equal[:, :-1] & equal[:, 1:]).mean()))
    return found


def _tones(grey: Floats, rgb: Floats) -> list[float]:
    """Where the tones lie, what is lost at the ends, and gaps between them (28)."""
    found = [
        float(v) / 255
        for v in np.quantile(grey[::2, ::2], (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99))
    ]
    found += [float(grey.mean()) / 255, float(grey.std()) / 255]
    found += [float((grey <= 8).mean()), float((grey >= 247).mean())]
    found += [found[6] - found[0], found[4] - found[2]]
    for channel in range(3):
        plane = rgb[:, :, channel].astype(np.uint8)
        share = np.bincount(plane.ravel(), minlength=256) / plane.size
        known = share[share > 0]
        rough = np.abs(share[:-2] - 2 * share[1:-1] + share[2:]).sum()
        found += [float((share > 0).mean()), float(rough), float(-(known @ np.log2(known))) / 8]
        found += [float(share[:2].sum()), float(share[254:].sum())]
    return found


def _colours(grey: Floats, blue: Floats, red: Floats) -> list[float]:
    """How much colour, of which tint, in the lights, the darks and the greyest parts (15)."""
    grey, blue, red = grey[::2, ::2], blue[::2, ::2], red[::2, ::2]
    size = np.hypot(blue, red)
    found = [float(v) / 64 for v in (blue.mean(), red.mean(), blue.std(), red.std())]
    found += [float(v) / 64 for v in np.quantile(size, (0.1, 0.5, 0.9, 0.99))]
    light, dark = np.quantile(grey, (0.85, 0.15))
    for part in (grey >= light, grey <= dark, size <= np.quantile(size, 0.2)):
        found += [float(blue[part].mean()) / 64, float(red[part].mean()) / 64]
    tint = np.hypot(blue.mean(), red.mean())
    found.append(float(tint / (np.hypot(blue.std(), red.std()) + 1)))
    return found


def _channels(red: Floats, green: Floats, blue: Floats) -> list[float]:
    """How alike the channels' edges are, in place and when one is shifted (9)."""
    found = []
    edges = [np.diff(plane, axis=1)[:-1] for plane in (red, green, blue)]
    down = [np.diff(plane, axis=0)[:, :-1] for plane in (red, green, blue)]
    for a, b in ((0, 1), (1, 2), (0, 2)):
        found.append((_alike(edges[a], edges[b]) + _alike(down[a], down[b])) / 2)
    for lag in (1, 2, 4):
        sideways = _alike(edges[0][:, :-lag], edges[1][:, lag:])
        found += [sideways, _alike(down[0][:-lag], down[1][lag:])]
    return found


def _alike(a: Floats, b: Floats) -> float:
    return float((a * b).mean() / (np.sqrt(np.square(a).mean() * np.square(b).mean()) + 1e-3))


def _directions(grey: Floats) -> list[float]:
    """One direction without detail (a moving hand), and edges near the upright (10)."""
    smooth = _halved(grey)
    found = []
    for plane in (grey, smooth):
        right, down = np.diff(plane, axis=1)[:-1], np.diff(plane, axis=0)[:, :-1]
        xx, yy, xy = ((u * v).mean() for u, v in ((right, right), (down, down), (right, down)))
        spread = np.hypot(xx - yy, 2 * xy)
        found.append(float(spread / (xx + yy + _FLOOR)))
    right = smooth[1:-1, 2:] - smooth[1:-1, :-2]
    down = smooth[2:, 1:-1] - smooth[:-2, 1:-1]
    size = np.hypot(right, down)
    degrees = np.rad2deg(np.arctan2(down, right)) % 90
    off = np.minimum(degrees, 90 - degrees)
    strong = size * (size > max(8.0, float(np.quantile(size, 0.8))))
    total = float(strong.sum()) + 1e-3
    upto = [float(strong[off <= angle].sum()) / total for angle in _ANGLES_DEG]
    found += [upto[0], *np.diff(upto).tolist()]
    found.append(float((strong * off).sum()) / total / 45)
    found.append(float(np.log(total / size.size + _FLOOR)))
    return found


def _specks(rgb: Floats) -> list[float]:
    """Single values far outside all four neighbours, logs of shares (3)."""
    here = rgb[1:-1, 1:-1]
    around = [rgb[:-2, 1:-1], rgb[2:, 1:-1], rgb[1:-1, :-2], rgb[1:-1, 2:]]
    high = here - np.maximum.reduce(around)
    low = np.minimum.reduce(around) - here
    out = np.maximum(high, low)
    return [float(np.log((out > limit).mean() + 1e-4)) for limit in (6, 20, 50)]


def _edge_widths(grey: Floats) -> list[float]:
    """How much of the steepest edges lies within 1, 3 and 7 pixels, at two scales (12)."""
    found: list[float] = []
    for plane in (grey, _halved(grey)):
        large = np.pad(plane, 5, mode="edge") if min(plane.shape) < 9 else plane
        for lines in (large, large.T):
            near, mid, far = (
                np.abs(lines[:, 3 + k : lines.shape[1] - 4 + k] - lines[:, 3 - j : -4 - j])
                for k, j in ((1, 0), (2, 1), (4, 3))
            )
            steep = near >= max(4.0, float(np.quantile(near[::2, ::2], 0.985)))
            sizes = [float(part[steep].mean()) if steep.any() else 0.0 for part in (near, mid, far)]
            one, three, seven = (size + 1.0 for size in sizes)
            found += [float(np.log(one)), float(np.log(three / one)), float(np.log(seven / three))]
    return found


def _flattest(*planes: Floats) -> list[float]:
    """Grain in the flattest blocks: of all, and of those neither black nor white, logs (6)."""
    found: list[float] = []
    grey = planes[0]
    height, width = ((side - 2) // _BLOCK for side in grey.shape)
    tones = _blocks(grey[1:-1, 1:-1], height, width).mean(axis=2)
    spread = _blocks(grey[1:-1, 1:-1], height, width).std(axis=2)
    shaded = (tones > _SHADED[0]) & (tones < _SHADED[1])
    for part in (np.ones_like(shaded), shaded):
        chosen = part & (spread <= np.quantile(spread[part], 0.08)) if part.any() else ~part
        for plane in planes:
            grain = _blocks(np.abs(_residual(plane)), height, width).mean(axis=2)
            found.append(float(_log(grain[chosen].mean())))
    return found


def _blocks(plane: Floats, height: int, width: int) -> Floats:
    """Return whole blocks `(height, width, 64)`."""
    cut = plane[: height * _BLOCK, : width * _BLOCK].reshape(height, _BLOCK, width, _BLOCK)
    return cut.swapaxes(1, 2).reshape(height, width, -1)


def _wall(grey: Floats, blue: Floats, red: Floats) -> list[float]:
    """The most common tone: where it lies, how much of the picture it is, how even, its tint (8).

    A white wall behind goods, a sky, a floor: what is there shows grain, light and colour best.
    """
    counts = np.bincount(np.clip(grey + 0.5, 0, 255).astype(np.uint8).ravel(), minlength=256)
    tone = int(np.convolve(counts, (1, 2, 3, 2, 1), "same").argmax())
    away = np.abs(grey - np.float32(tone))
    near = away <= _WALL_LEVELS
    found = [tone / 255, float((away <= 1.5).mean()), float(near.mean())]
    found += [float(_log(plane[near].std())) for plane in (grey, blue, red)]
    return found + [float(plane[near].mean()) / 64 for plane in (blue, red)]


@cache
def _band_of(height: int, width: int) -> NDArray[np.intp]:
    """Band of each frequency of a real transform; the last takes all above Nyquist's circle."""
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    bands: NDArray[np.intp] = np.minimum((radius * 2 * _N_BANDS).astype(np.intp), _N_BANDS)
    return bands


def _spectrum(grey: Floats) -> list[float]:
    """Share of the detail in each band of frequencies against the band below, logs (8)."""
    from scipy.fft import rfft2

    side = 256
    top, left = (max(0, (length - side) // 2) for length in grey.shape)
    piece = grey[top : top + side, left : left + side]
    height, width = piece.shape
    window = np.hanning(height)[:, None] * np.hanning(width)[None]
    power = np.square(np.abs(rfft2((piece - piece.mean()) * window.astype(np.float32))))
    bands = _band_of(height, width).ravel()
    means = np.bincount(bands, power.ravel(), _N_BANDS + 1) / np.bincount(
        bands, minlength=_N_BANDS + 1
    ).clip(min=1)
    logs = np.log(means / (height * width) + 1e-2)
    return [float(step) for step in np.diff(logs)]


def _upright(grey: Floats) -> list[float]:
    """Where the directions of edges peak near the upright, how sharply, how lopsidedly (7).

    A turned camera moves upright and level edges to the same side; perspective, to both.
    """
    smooth = _halved(grey)
    right = smooth[:, 2:] - smooth[:, :-2]
    down = smooth[2:] - smooth[:-2]
    right = right[:-2] + 2 * right[1:-1] + right[2:]
    down = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    size = np.hypot(right, down)
    strong = size > max(24.0, float(np.quantile(size[::2, ::2], 0.85)))
    degrees = (np.rad2deg(np.arctan2(down[strong], right[strong])) + 45) % 90 - 45
    share = np.histogram(degrees, 90, (-45, 45), weights=size[strong])[0]
    share = np.convolve(share, (1, 2, 3, 2, 1), "same")
    share = (share + 1e-3) / (share.sum() + 9e-2) * 90
    middle = share[15:75]
    peak = int(middle.argmax())
    found = [abs(peak - 29.5) / 30, float(np.log(middle[peak])), float(np.log(share[44:46].mean()))]
    for low, high in ((1, 4), (3, 7), (6, 12), (10, 20)):
        left, other = share[45 - high : 45 - low].mean(), share[45 + low : 45 + high].mean()
        found.append(abs(float(np.log(left / other))))
    return found


N_SIGNALS = len(signals(np.zeros((32, 32, 3), np.uint8)))
"""Numbers a picture."""
