"""Heat-maps of any backbone: what a model makes of photos of which parts were taken away.

For backbones whose feature map is not to be had; where it is, `heatmaps.class_activation` gives the
map in one run.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from listlens.explain.masking import Masked

Floats = NDArray[np.float64]

GRID = 7
"""Cells a side of RISE's masks, as in the paper; the feature map of the embedded backbone has as
many places."""

KEEP = 0.5
"""Share of the cells that a mask keeps, as in the paper."""


def rise(photo: Masked, n_masks: int, rng: np.random.Generator) -> Floats:
    """Return how much keeping each place raises the target `(side, side)`.

    Random half-covered photos are asked about; a place is worth what the photos that keep it
    have more than those that do not.

    Args:
        photo: what is asked.
        n_masks: photos asked about; noise falls with their root.
        rng: says which.

    Source:
        Petsiuk et al. 2018, "RISE: Randomized Input Sampling for Explanation of Black-box Models",
        equations 5 and 6 and section 3.2 (smooth masks, shifted at random). The mean answer is
        taken off first, and each mask comes with its complement, which leaves the expected map as
        it is and takes most of its noise.
    """
    masks = list(_pairs(n_masks, photo.side, rng))
    values = photo.stream(iter(masks), len(masks))
    values = values - values.mean()
    total = np.zeros((photo.side, photo.side))
    for mask, value in zip(masks, values, strict=True):
        total += value * (mask.astype(np.float64) - KEEP)
    return np.asarray(total / (len(masks) * KEEP * (1 - KEEP)))


def _pairs(n: int, side: int, rng: np.random.Generator) -> Iterator[NDArray[np.float16]]:
    """Yield smooth random masks `(side, side)` in [0, 1], each followed by its complement."""
    cell = -(-side // GRID)
    large = (GRID + 1) * cell
    for i in range(0, n, 2):
        grid = (rng.random((GRID + 1, GRID + 1)) < KEEP).astype(np.float32)
        image = Image.fromarray(grid).resize((large, large), Image.Resampling.BILINEAR)
        top, left = rng.integers(0, cell, 2)
        mask = np.asarray(image, np.float16)[top : top + side, left : left + side]
        yield mask
        if i + 1 < n:
            yield np.float16(1) - mask


def occlusion(photo: Masked, grid: int) -> Floats:
    """Return how much the target falls when a window over each place is taken away `(grid, grid)`.

    Args:
        photo: what is asked.
        grid: windows a side; each is twice as wide as its step, so that neighbours overlap.

    Source:
        Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2.
    """
    side = photo.side
    edges = np.linspace(0, side, grid + 1)
    centres, half = (edges[:-1] + edges[1:]) / 2, side / grid
    inside = np.abs(np.arange(side) + 0.5 - centres[:, None]) <= half

    def masks() -> Iterator[NDArray[np.bool_]]:
        yield np.ones((side, side), np.bool_)
        for rows in inside:
            for columns in inside:
                yield ~(rows[:, None] & columns)

    values = photo.stream(masks(), grid * grid + 1)
    return np.asarray((values[0] - values[1:]).reshape(grid, grid))
