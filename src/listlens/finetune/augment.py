"""Photos as they might also have been taken: seeded changes of uint8 pixels.

One resampling does crop, flip, tilt and perspective; one matrix does light, contrast, colour and
white balance. Blur and JPEG follow where the task allows them: of a photo's quality they would
change the answer. Two photos may be laid over one another (mixup) or one put into the other
(cutmix); the loss is then shared in the same proportion.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from listlens.core.types import Kind

Pixels = NDArray[np.uint8]

MARGIN = 8 / 7
"""Photos are kept this much larger than the network's input, so that crops need no enlarging.
Source: Image ATM and NIMA crop 224 from 256 pixels."""

SIDED = re.compile(r"(?<![a-z])(left|right|links|rechts|gauche|droite)(?![a-z])", re.IGNORECASE)
"""Words in a class name that a flipped photo would make wrong."""


@dataclass(frozen=True)
class Augmentation:
    """How far photos are changed; every strength is a largest amount, 0 for never.

    Args:
        flip: mirror half of the photos left to right.
        crop: area that may be cut away, share of the photo.
        tilt: degrees of rotation.
        perspective: shift of a corner, share of a side.
        light: change of brightness and of contrast, share.
        colour: change of saturation and of each channel's gain, share.
        blur: largest radius, share of the side; 1 photo in 8.
        jpeg: lowest quality that 1 photo in 8 is saved with; 0 for never.
        mix: share of batches that are mixed, half by mixup, half by cutmix.
    """

    flip: bool = True
    crop: float = 0.35
    tilt: float = 5.0
    perspective: float = 0.05
    light: float = 0.25
    colour: float = 0.15
    blur: float = 0.006
    jpeg: int = 40
    mix: float = 0.25

    @classmethod
    def fitting(cls, kind: Kind, classes: Iterable[str]) -> Augmentation:
        """Return what leaves the answers of a task true.

        No flip where a class says left or right. For scores only a flip and a slight crop: light,
        sharpness, tilt and composition are what people judge.

        Example:
            >>> Augmentation.fitting("single", ["front", "left side"]).flip
            False
        """
        flip = not any(SIDED.search(name) for name in classes)
        if kind == "score":
            return cls(flip, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0.0)
        return cls(flip)

    def one(self, pixels: Pixels, size_px: int, rng: np.random.Generator) -> Pixels:
        """Return one changed photo.

        Args:
            pixels: `(s, s, 3)`, best `MARGIN` times as large as the result.
            size_px: side of the result.
            rng: decides; equal generators give equal photos.

        Returns:
            `(size_px, size_px, 3)`.
        """
        image = Image.fromarray(pixels)
        image = image.transform(
            (size_px, size_px),
            Image.Transform.PERSPECTIVE,
            self._view(len(pixels), size_px, rng),
            Image.Resampling.BICUBIC,
        )
        if self.light or self.colour:
            image = image.convert("RGB", self._colours(np.asarray(image).mean(), rng))
        if self.blur and rng.random() < 1 / 8:
            image = image.filter(ImageFilter.GaussianBlur(size_px * self.blur * rng.random()))
        if self.jpeg and rng.random() < 1 / 8:
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=int(rng.integers(self.jpeg, 96)))
            image = Image.open(stream)
        return np.asarray(image)

    def _view(self, side: int, size_px: int, rng: np.random.Generator) -> tuple[float, ...]:
        """Coefficients that take a place in the result to its place in the photo."""
        share = np.sqrt(1 - self.crop * rng.random())
        stretch = np.exp(rng.uniform(-0.5, 0.5) * self.crop)
        width, height = (side * min(1.0, share * f) for f in (stretch, 1 / stretch))
        left, top = rng.random() * (side - width), rng.random() * (side - height)
        angle = np.deg2rad(self.tilt) * rng.uniform(-1, 1)
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
        corners += 2 * self.perspective * rng.uniform(-1, 1, (4, 2))
        if self.flip and rng.random() < 0.5:
            corners = corners * [-1, 1]
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        seen = corners @ turn
        seen = seen / max(1.0, float(np.abs(seen).max()))  # stays inside the crop
        at = np.array([left + width / 2, top + height / 2]) + seen * [width / 2, height / 2]
        return perspective(size_px, at)

    def _colours(self, grey: float, rng: np.random.Generator) -> tuple[float, ...]:
        """A 3 x 4 matrix: saturation and white balance, then contrast about the mean, then light.

        The grey of a colour is Rec. 601's, as Pillow's.
        """
        saturation, contrast, light = 1 + np.array(
            [self.colour, self.light, self.light]
        ) * rng.uniform(-1, 1, 3)
        gains = 1 + 0.5 * self.colour * rng.uniform(-1, 1, 3)
        luma = np.array([0.299, 0.587, 0.114])
        matrix = saturation * np.eye(3) + (1 - saturation) * luma[None]
        matrix = matrix * gains[:, None] * contrast * light
        offset = np.full((3, 1), grey * (1 - contrast) * light)
        return tuple(np.hstack([matrix, offset]).ravel().tolist())

    def batch(
        self,
        photos: Callable[[int], Pixels],
        rows: NDArray[np.int64],
        size_px: int,
        seed: tuple[int, ...],
        pool: Executor,
    ) -> tuple[Pixels, NDArray[np.int64], float]:
        """Return a batch, and what it was mixed with.

        Args:
            photos: row to pixels.
            rows: `(n,)`.
            size_px: side of the results.
            seed: of this batch; equal seeds give equal batches, whatever the threads.
            pool: threads that make the photos.

        Returns:
            Photos `(n, size_px, size_px, 3)`, the rows `(n,)` that they were mixed with, and the
            share in (0, 1] of the first: the loss is `share * loss(rows) + (1 - share) *
            loss(others)`. Without mixing the share is 1.
        """

        def make(item: tuple[int, int]) -> Pixels:
            return self.one(photos(item[1]), size_px, np.random.default_rng([*seed, item[0]]))

        made = np.stack(list(pool.map(make, enumerate(rows.tolist()))))
        rng = np.random.default_rng([*seed, len(rows)])
        if rng.random() >= self.mix or len(rows) < 2:
            return made, rows, 1.0
        made, share = (mixup if rng.random() < 0.5 else cutmix)(made, rng)
        return made, np.roll(rows, 1), share


def mixup(photos: Pixels, rng: np.random.Generator) -> tuple[Pixels, float]:
    """Lay each photo over the one before it; return what came of it, and its own share.

    Source: Zhang et al., "mixup: Beyond empirical risk minimization" (ICLR 2018), with alpha 0.4.
    """
    share = float(rng.beta(0.4, 0.4))
    mixed = share * photos + (1 - share) * np.roll(photos, 1, axis=0)
    return mixed.round().astype(np.uint8), share


def cutmix(photos: Pixels, rng: np.random.Generator) -> tuple[Pixels, float]:
    """Put a rectangle of the photo before into each; return what came of it, and its own share.

    Source: Yun et al., "CutMix" (ICCV 2019), section 3.1, with alpha 1.
    """
    size = photos.shape[1]
    side = round(size * float(np.sqrt(rng.random())))
    top, left = (int(x) for x in rng.integers(0, size - side + 1, 2))
    made = photos.copy()
    place = (slice(None), slice(top, top + side), slice(left, left + side))
    made[place] = np.roll(photos, 1, axis=0)[place]
    return made, 1 - (side / size) ** 2


def perspective(size_px: int, corners: NDArray[np.float64]) -> tuple[float, ...]:
    """Return Pillow's eight coefficients of the view that takes a square to a quadrangle.

    Args:
        size_px: side of the square.
        corners: `(4, 2)` x and y in the photo, of the top left, top right, bottom right and bottom
            left of the square.

    Source: the linear system of a planar homography, Hartley and Zisserman, "Multiple view
    geometry" (2004), section 4.1.

    Example:
        >>> square = np.array([[0, 0], [8, 0], [8, 8], [0, 8]], float)
        >>> [round(c, 6) + 0 for c in perspective(8, square)]
        [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    """
    square = size_px * np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)
    rows, values = [], []
    for (x, y), (u, v) in zip(square, corners, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
        values += [u, v]
    return tuple(np.linalg.solve(np.array(rows), np.array(values)).tolist())
