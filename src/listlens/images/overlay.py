"""Graphics laid over a photo: flat panels, straight edges, bars of strong colour along the rim.

Shop banners, price tags, frames and collages have what cameras do not make: areas without any
noise, edges along whole rows or columns, colours at full strength.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from listlens.images.resize import resize

SIDE_PX = 256
"""Measured on the photo squashed to this square, so that sizes are shares of the photo."""

_FLAT = 2.0  # levels between neighbours: JPEG of a drawn area stays below, sensors do not
_EDGE = 24.0  # levels between neighbours: a drawn edge, whatever the compression
_PANEL_FILL = 0.8  # of its bounding box; a sky or a wall is ragged
_PANEL_AREA = 0.004  # of the photo: 16 x 16 of 256 x 256
_RIM = 0.12  # of the side: where banners lie


def overlay_measures(pixels: NDArray[np.uint8]) -> dict[str, float]:
    """Measure what looks drawn rather than photographed.

    Args:
        pixels: the upright photo, `(h, w, 3)` uint8 RGB.

    Returns:
        flat_area: share of the photo without any texture; panel_area: share in flat, nearly
        rectangular patches; edge_across and edge_down: longest straight horizontal and vertical
        edge, as a share of the side; vivid_rim: share of the outer eighth in strong colours;
        top_colour: share of the most frequent colour of 4,096. All in [0, 1].

    Example:
        >>> overlay_measures(np.full((64, 64, 3), 200, np.uint8))["flat_area"]
        1.0
    """
    small = resize(pixels, SIDE_PX, SIDE_PX, "box").astype(np.float32)
    grey = small @ np.array([0.299, 0.587, 0.114], np.float32)
    down = np.abs(np.diff(grey, axis=0, append=grey[-1:]))
    across = np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    calm = ndimage.maximum_filter(np.maximum(down, across), size=3) <= _FLAT
    shares = {
        "flat_area": float(calm.mean()),
        "panel_area": _panel_area(calm),
        "edge_across": _longest_run(down > _EDGE),
        "edge_down": _longest_run((across > _EDGE).T),
        "vivid_rim": _vivid_rim(small),
        "top_colour": _top_colour(small),
    }
    return {name: round(value, 5) for name, value in shares.items()}


def _panel_area(calm: NDArray[np.bool_]) -> float:
    """Share of the photo in connected calm patches that fill their bounding box."""
    labels, n = ndimage.label(calm)
    if not n:
        return 0.0
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    covered = 0
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        bounds = (box[0].stop - box[0].start) * (box[1].stop - box[1].start)
        if sizes[index] >= _PANEL_AREA * calm.size and sizes[index] >= _PANEL_FILL * bounds:
            covered += int(sizes[index])
    return covered / calm.size


def _longest_run(edges: NDArray[np.bool_]) -> float:
    """Longest run of True within one row, as a share of the row."""
    longest = np.zeros(len(edges), np.int64)
    run = np.zeros(len(edges), np.int64)
    for column in edges.T:
        run = (run + 1) * column
        longest = np.maximum(longest, run)
    return float(longest.max()) / int(edges.shape[1])


def _vivid_rim(small: NDArray[np.float32]) -> float:
    """Share of the rim that is both bright and pure in colour."""
    high, low = small.max(axis=2), small.min(axis=2)
    vivid = (high > 128) & ((high - low) > 0.7 * high)
    rim = np.ones(vivid.shape, bool)
    inner = round(_RIM * len(vivid))
    rim[inner:-inner, inner:-inner] = False
    return float(vivid[rim].mean())


def _top_colour(small: NDArray[np.float32]) -> float:
    """Share of the most frequent colour, each channel in 16 steps."""
    steps = (small / 16).astype(np.int64)
    codes = steps[:, :, 0] * 256 + steps[:, :, 1] * 16 + steps[:, :, 2]
    return int(np.bincount(codes.ravel()).max()) / int(codes.size)
