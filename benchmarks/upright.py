"""Whether a photo has something upright or level in it, without which nobody can see that it tilts.

The rule was fixed on photos of the kind that the quality score is trained on, before anything was
measured by it: nine of ten of the demo's interiors reach it, one of ten cut-out things before a
wall does. The score itself does not use it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter

NEAR_DEG = 2
LEAST_SHARE = 0.12
"""Of a photo's straight edges, those within `NEAR_DEG` of upright or level; 5 % by chance."""
_REACH_DEG = 20
_STEPS = 2
"""A degree."""
_NEIGHBOURHOOD_PX = 5


def has_upright(picture: np.ndarray) -> bool:
    """Whether enough straight edges of a photo `(h, w, 3)` uint8 are nearly upright or level."""
    height, width = (side // 2 for side in picture.shape[:2])
    grey = Image.fromarray(picture).convert("L").resize((width, height), Image.Resampling.BOX)
    shares = line_shares(np.asarray(grey, np.float32))
    middle, reach = len(shares[0]) // 2, _STEPS * NEAR_DEG
    near = [share[middle - reach : middle + reach + 1].sum() for share in shares]
    return bool(sum(near) >= LEAST_SHARE)


def line_shares(smooth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of a picture's straight edges by angle, in half degrees from -20 to 20.

    Args:
        smooth: `(h, w)` levels, at half the size at which a photo is looked at.

    Returns:
        Of edges near the upright and of edges near the level, `(81,)` each; both together sum to 1
        where all edges are within 20 degrees. Turning a picture moves both the same way.

    Source:
        The structure tensor, Foerstner and Guelch 1987.
    """
    right, down = _slopes(smooth)
    xx, yy, xy = (
        uniform_filter(product, _NEIGHBOURHOOD_PX, mode="nearest")
        for product in (right * right, down * down, right * down)
    )
    energy = xx + yy
    strong = energy > max(24.0**2, float(np.quantile(energy[::2, ::2], 0.7)))
    xx, yy, xy, energy = xx[strong], yy[strong], xy[strong], energy[strong]
    one_way = np.hypot(xx - yy, 2 * xy) / energy
    weight = np.sqrt(energy) * one_way**8
    degrees = np.rad2deg(np.arctan2(2 * xy, xx - yy)) / 2
    n = 2 * _REACH_DEG * _STEPS + 1
    edge = _REACH_DEG + 0.5 / _STEPS
    total = float(weight.sum()) + 1e-3
    shares = []
    for angles in (degrees, np.where(degrees < 0, degrees + 90, degrees - 90)):
        counts = np.histogram(angles, n, (-edge, edge), weights=weight)[0]
        shares.append(np.convolve(counts, np.array((1, 2, 3, 2, 1)) / 9, "same") / total)
    return shares[0].astype(np.float32), shares[1].astype(np.float32)


def _slopes(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sobel's, of a plane `(h, w)`: to the right and down, `(h - 2, w - 2)`."""
    right = plane[:, 2:] - plane[:, :-2]
    down = plane[2:] - plane[:-2]
    right = right[:-2] + 2 * right[1:-1] + right[2:]
    down = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    return right, down
