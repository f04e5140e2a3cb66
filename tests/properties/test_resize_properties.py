"""Resizing, for any size: what must hold whatever the filter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from listlens.images.resize import Filter, resize

SIDES = st.integers(1, 70)
FILTERS = st.sampled_from(["bicubic", "bilinear", "box"])
PILLOW = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


def noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@settings(max_examples=150, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, FILTERS, st.integers(0, 255))
def test_an_even_picture_stays_even(h, w, height, width, interpolation: Filter, level):
    out = resize(np.full((h, w, 3), level, np.uint8), height, width, interpolation)
    assert out.shape == (height, width, 3)
    assert out.dtype == np.uint8
    assert (out == level).all()


@settings(max_examples=150, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, FILTERS, st.integers(0, 99))
def test_any_size_equals_pillow_but_for_rounding(h, w, height, width, interpolation, seed):
    pixels = noise(h, w, seed)
    wide = Image.fromarray(pixels).resize((width, h), PILLOW[interpolation])
    theirs = np.asarray(wide.resize((width, height), PILLOW[interpolation])).astype(int)
    difference = np.abs(resize(pixels, height, width, interpolation) - theirs)
    assert difference.max() <= 2


@given(SIDES, SIDES, FILTERS, st.integers(0, 99))
def test_the_same_size_changes_nothing(h, w, interpolation, seed):
    pixels = noise(h, w, seed)
    assert np.array_equal(resize(pixels, h, w, interpolation), pixels)


@settings(max_examples=100, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["bilinear", "box"]), st.integers(0, 99))
def test_filters_without_lobes_never_leave_the_range(h, w, height, width, interpolation, seed):
    pixels = noise(h, w, seed) // 2 + 60
    out = resize(pixels, height, width, interpolation)
    assert pixels.min() <= out.min()
    assert out.max() <= pixels.max()


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 70), SIDES, st.sampled_from(["bilinear", "box"]), st.integers(0, 99))
def test_a_rising_row_stays_rising(w, width, interpolation, seed):
    row = np.sort(np.random.default_rng(seed).integers(0, 256, w)).astype(np.uint8)
    out = resize(np.repeat(row[None, :, None], 3, axis=2), 1, width, interpolation)
    assert (np.diff(out[0, :, 0].astype(int)) >= 0).all()


@settings(max_examples=80, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["bicubic", "bilinear"]), st.integers(0, 99))
def test_mirrored_pictures_give_mirrored_results(h, w, height, width, interpolation, seed):
    pixels = noise(h, w, seed)
    out = resize(pixels, height, width, interpolation).astype(int)
    mirrored = resize(pixels[:, ::-1], height, width, interpolation)[:, ::-1]
    assert np.abs(out - mirrored).max() <= 1  # rounding a half goes up


@settings(max_examples=80, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, FILTERS, st.integers(0, 99))
def test_channels_do_not_touch_each_other(h, w, height, width, interpolation, seed):
    pixels = noise(h, w, seed)
    out = resize(pixels, height, width, interpolation)
    for channel in range(3):
        alone = np.zeros_like(pixels)
        alone[:, :, channel] = pixels[:, :, channel]
        assert np.array_equal(
            resize(alone, height, width, interpolation)[:, :, channel], out[:, :, channel]
        )


@pytest.mark.parametrize("factor", [2, 3, 5, 8])
def test_box_by_a_whole_factor_is_the_mean_of_the_area(factor):
    pixels = noise(12 * factor, 9 * factor, factor)
    means = pixels.reshape(12, factor, 9, factor, 3).mean(axis=(1, 3))
    assert np.abs(resize(pixels, 12, 9, "box") - means).max() <= 1


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "box"])
def test_fine_stripes_are_averaged_and_not_sampled(interpolation):
    """Without antialiasing, stripes of one pixel come out as black or as white."""
    stripes = np.zeros((64, 640, 3), np.uint8)
    stripes[:, ::2] = 255
    out = resize(stripes, 64, 80, interpolation)[:, 4:-4].astype(int)
    assert np.abs(out - 127.5).max() <= 2


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "box"])
@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 1), (224, 224)), ((1, 900), (224, 224)), ((900, 1), (5, 5)), ((7, 9), (1, 1))],
    ids=["1x1", "one row", "one column", "to 1x1"],
)
def test_sides_of_one_pixel(shape, size, interpolation):
    pixels = noise(*shape, 1)
    out = resize(pixels, *size, interpolation)
    assert out.shape == (*size, 3)
    if shape == (1, 1):
        assert (out == pixels).all()


def test_the_mean_of_a_photo_survives():
    pixels = noise(301, 457, 4)
    for interpolation in PILLOW:
        out = resize(pixels, 97, 131, interpolation)
        assert np.abs(out.mean((0, 1)) - pixels.mean((0, 1))).max() < 1


def test_the_result_is_the_callers_and_is_not_written_to_by_the_next_call():
    first = resize(noise(50, 60, 0), 20, 20)
    kept = first.copy()
    resize(noise(50, 60, 1), 20, 20)
    assert np.array_equal(first, kept)
    first[:] = 0  # and may be written to
