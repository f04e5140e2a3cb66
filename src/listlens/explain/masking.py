"""Photos with parts taken away, and what a model makes of them: the one way to ask "what if".

Parts are taken away by putting something dull in their place. Everything runs through the
backbone's own `embed`, so any backbone can be asked, whatever is inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Answer = Callable[[Pixels], Floats]
"""Prepared photos `(n, s, s, 3)` to the explained number `(n,)`."""

BATCH = 32
"""Masked photos in memory at once: 5 MB at 224 px, eight runs of four of the backbone."""

BLUR_SHARE = 0.05
"""Radius of the blur that stands for "nothing seen", of the photo's side."""


def blurred(pixels: Pixels, share: float = BLUR_SHARE) -> Pixels:
    """Return the photo without its detail `(s, s, 3)`: what is left is light and colour.

    Source:
        Petsiuk et al. 2018, "RISE", section 4.2: insertion begins with the blurred photo, since a
        plain colour brings sharp edges that the network takes for something.
    """
    image = Image.fromarray(pixels)
    radius = share * pixels.shape[0]
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)))


def mean_colour(pixels: Pixels) -> Pixels:
    """Return the photo's mean colour everywhere `(s, s, 3)`."""
    return np.broadcast_to(pixels.mean(axis=(0, 1)).round().astype(np.uint8), pixels.shape)


@dataclass(frozen=True)
class Masked:
    """One photo that can be asked about with parts taken away.

    Args:
        pixels: `(s, s, 3)` uint8, as the backbone takes it.
        fill: `(s, s, 3)` uint8, what is seen where a part is taken away.
        answer: the model.
    """

    pixels: Pixels
    fill: Pixels
    answer: Answer

    def __call__(self, keep: NDArray[np.floating] | NDArray[np.bool_]) -> Floats:
        """Return the explained number `(n,)` with only parts of the photo kept.

        Args:
            keep: `(n, h, w)` in [0, 1]: 1 keeps, 0 takes away. Coarser than the photo, it is
                stretched, each cell to a block.
        """
        return self.stream(iter(keep), len(keep))

    def stream(self, keep: Iterator[NDArray[np.generic]], n: int) -> Floats:
        """The same for n masks that are made one by one, so that few are in memory."""
        out = np.empty(n)
        for start in range(0, n, BATCH):
            size = min(BATCH, n - start)
            images = np.stack([self._image(next(keep)) for _ in range(size)])
            out[start : start + size] = self.answer(images)
        return out

    def _image(self, keep: NDArray[np.generic]) -> Pixels:
        mask = keep if keep.shape == self.pixels.shape[:2] else stretched(keep, self.side)
        if mask.dtype == np.bool_:
            return np.where(mask[..., None], self.pixels, self.fill)
        share = np.asarray(mask, np.float32)[..., None]
        mixed = self.fill + share * (self.pixels.astype(np.float32) - self.fill)
        return np.asarray(mixed + 0.5).astype(np.uint8)

    @property
    def side(self) -> int:
        """Pixels a side."""
        return int(self.pixels.shape[0])


def stretched(grid: NDArray[np.generic], side: int) -> NDArray[np.generic]:
    """Return a grid `(h, w)` as `(side, side)`, each cell a block.

    Example:
        >>> stretched(np.array([[1, 2], [3, 4]]), 4)[0].tolist()
        [1, 1, 2, 2]
    """
    rows, columns = (np.arange(side) * n // side for n in grid.shape)
    return np.asarray(grid[np.ix_(rows, columns)])


def smooth(grid: NDArray[np.floating], side: int) -> NDArray[np.float32]:
    """Return a grid `(h, w)` as `(side, side)`, bicubic between the centres of its cells."""
    image = Image.fromarray(np.asarray(grid, np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
