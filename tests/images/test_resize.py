"""Resizing: equal to Pillow's, and exact whatever the processor."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from listlens.images import resize as module
from listlens.images.resize import Filter, resize

PILLOW = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Hard edges, gradients and noise: overshoot happens, and is clipped."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    base = np.stack([x * 255 / width, y * 255 / height, ((x // 9 + y // 7) % 2) * 255], axis=2)
    return np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "box"])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((600, 800), (224, 224)),
        ((451, 333), (224, 224)),
        ((50, 40), (224, 224)),
        ((1, 1), (5, 3)),
        ((2000, 7), (32, 32)),
        ((300, 400), (240, 320)),
        ((224, 224), (224, 224)),
    ],
    ids=str,
)
def test_equals_pillow_but_for_rounding(
    shape: tuple[int, int], size: tuple[int, int], interpolation: Filter
) -> None:
    pixels = picture(*shape)
    ours = resize(pixels, *size, interpolation).astype(int)
    # One axis a call, since Pillow's own choice which axis comes first depends on the sizes.
    wide = Image.fromarray(pixels).resize((size[1], shape[0]), PILLOW[interpolation])
    theirs = np.asarray(wide.resize(size[::-1], PILLOW[interpolation]))
    difference = np.abs(ours - theirs)
    assert difference.max(initial=0) <= 2
    assert (difference > 0).mean() < 0.1


def test_float_products_are_exact_so_the_result_is_the_same_on_every_processor() -> None:
    """Whole-number arithmetic gives the same levels, so the order of summation cannot matter."""
    pixels = picture(311, 517)
    whole = pixels.astype(np.int64)
    columns = np.zeros((517, 224), np.int64)
    for start, stop, first, last, weights in module._blocks(517, 224, 4, "bicubic"):
        columns[first:last, start:stop] = np.rint(weights.T * 2**15)
    middle = np.einsum("hwc,wx->hxc", whole, columns) / 2**15
    middle = np.clip(np.floor(middle + 0.5), 0, 255).astype(np.int64)
    rows = np.zeros((224, 311), np.int64)
    for start, stop, first, last, weights in module._blocks(311, 224, 8, "bicubic"):
        rows[start:stop, first:last] = np.rint(weights * 2**15)
    result = np.einsum("yh,hxc->yxc", rows, middle) / 2**15
    expected = np.clip(np.floor(result + 0.5), 0, 255)
    assert np.array_equal(resize(pixels, 224, 224), expected)


@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
def test_an_even_picture_keeps_its_level(level: int) -> None:
    pixels = np.full((333, 517, 3), level, np.uint8)
    assert np.all(resize(pixels, 224, 224) == level)


def test_views_that_are_not_contiguous_are_taken() -> None:
    pixels = picture(400, 300)
    view = pixels[10:300:2, 5:205]
    assert np.array_equal(resize(view, 64, 64), resize(view.copy(), 64, 64))
