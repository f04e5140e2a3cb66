"""A photo cut into a few regions that follow its edges, so that a region is something to see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

from listlens.explain.masking import Pixels, stretched

Labels = NDArray[np.int64]

N_SEGMENTS = 16
"""Regions a photo. More are finer and cost more masks for the same noise: in photos of rooms, 16
part bed, window, floor and walls."""

COMPACTNESS = 20.0
"""Weight of nearness against likeness of colour, in levels of colour a step between centres; the
paper's range is 1 to 40."""

N_ROUNDS = 5
"""Of moving the centres. The paper takes 10; after 5, fewer than 3 % of the pixels still change."""

_WORK_PX = 96  # regions are found on a photo of this size: their edges need not be sharper


def slic(pixels: Pixels, n_segments: int = N_SEGMENTS) -> Labels:
    """Cut a photo into about n connected regions of like colour.

    Args:
        pixels: `(s, s, 3)` uint8 RGB.
        n_segments: about how many; the nearest square number of centres is laid out.

    Returns:
        `(s, s)` labels 0 to k - 1, each a connected region; k is at most the number of centres.

    Source:
        Achanta et al. 2012, "SLIC Superpixels Compared to State-of-the-art Superpixel Methods",
        algorithm 1; colours in YCbCr instead of CIELAB, stray parts given to their neighbours.

    Example:
        >>> halves = np.zeros((64, 64, 3), np.uint8)
        >>> halves[:, 32:] = 255
        >>> len(np.unique(slic(halves, 4)))
        4
    """
    work = _colours(pixels)
    side = work.shape[0]
    per_side = max(1, round(n_segments**0.5))
    step = side / per_side
    middle = (np.arange(per_side) + 0.5) * step
    at = np.stack(np.meshgrid(middle, middle, indexing="ij"), axis=-1).reshape(-1, 2)
    rows, columns = np.mgrid[:side, :side]
    places = np.stack([rows, columns], axis=-1) + 0.5
    features = np.concatenate([work, places * (COMPACTNESS / step)], axis=-1)
    flat = features.reshape(-1, features.shape[-1])
    centres = flat[(at[:, 0].astype(int) * side + at[:, 1].astype(int))]
    labels = np.zeros(side * side, np.int64)
    for _ in range(N_ROUNDS):
        # A centre further than two steps away never wins: its place alone is too far.
        labels = _nearest(flat, centres)
        counts = np.bincount(labels, minlength=len(centres))
        sums = np.stack(
            [np.bincount(labels, column, minlength=len(centres)) for column in flat.T], axis=1
        )
        filled = counts > 0
        centres[filled] = sums[filled] / counts[filled, None]
    whole = _connected(labels.reshape(side, side))
    fine = stretched(whole, pixels.shape[0]).astype(np.int64)
    return np.asarray(np.unique(fine, return_inverse=True)[1]).reshape(fine.shape)


def boxes(labels: Labels) -> list[tuple[float, float, float, float]]:
    """Return left, top, right, bottom of each region as shares of the photo, in [0, 1]."""
    height, width = labels.shape
    found = ndimage.find_objects(labels + 1)
    return [(x.start / width, y.start / height, x.stop / width, y.stop / height) for y, x in found]


def _colours(pixels: Pixels) -> NDArray[np.float64]:
    """The photo small and smoothed a little, in YCbCr `(h, h, 3)`."""
    image = Image.fromarray(pixels)
    if image.width > _WORK_PX:
        image = image.resize((_WORK_PX, _WORK_PX), Image.Resampling.BOX)
    smooth = image.filter(ImageFilter.GaussianBlur(1)).convert("YCbCr")
    return np.asarray(smooth, np.float64)


def _nearest(flat: NDArray[np.float64], centres: NDArray[np.float64]) -> Labels:
    """Index of the nearest centre of each row."""
    cross = flat @ centres.T
    return np.asarray((np.square(centres).sum(axis=1) - 2 * cross).argmin(axis=1))


def _connected(labels: Labels) -> Labels:
    """Keep the largest part of each region, and give the rest to whatever lies nearest."""
    kept = np.full(labels.shape, -1, np.int64)
    for label in np.unique(labels):
        parts, n = ndimage.label(labels == label)
        sizes = np.bincount(parts.ravel(), minlength=n + 1)[1:]
        kept[parts == int(sizes.argmax()) + 1] = label
    while (stray := kept < 0).any():
        near = ndimage.distance_transform_edt(stray, return_distances=False, return_indices=True)
        edge = stray & ndimage.binary_dilation(~stray)
        kept[edge] = kept[tuple(near)][edge]
    return kept
