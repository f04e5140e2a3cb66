"""Distortions spoil a photo by what their level says, the same way each time."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from listlens.core.errors import InputError
from listlens.images.distortions import DISTORTIONS, N_LEVELS, Pixels, apply, distort

SMALLER = {"tilt", "crop"}
IN_PLACE = sorted(set(DISTORTIONS) - SMALLER)


@pytest.fixture(scope="module")
def photo(draw_photo) -> Pixels:
    """A disc and coloured speckles, with soft light over them."""
    disc, grain = (
        np.asarray(draw_photo(shape, 3, (128, 96)), np.float32) for shape in ("disc", "speckle")
    )
    light = np.linspace(0.6, 1.0, 128, dtype=np.float32)[None, :, None]
    return ((0.7 * disc + 0.3 * grain) * light).astype(np.uint8)


def difference(a: Pixels, b: Pixels) -> float:
    return float(np.square(a.astype(float) - b).mean())


@pytest.mark.parametrize("name", IN_PLACE)
def test_the_photo_keeps_its_size_and_is_further_from_itself_at_level_5(name, photo):
    mild, strong = (distort(photo, name, level, seed=1) for level in (1, N_LEVELS))
    assert mild.shape == strong.shape == photo.shape
    assert mild.dtype == np.uint8
    assert 0 < difference(mild, photo) < difference(strong, photo)


@pytest.mark.parametrize("name", sorted(DISTORTIONS))
def test_the_same_seed_gives_the_same_pixels_and_the_given_photo_stays(name, photo):
    before = photo.copy()
    assert np.array_equal(distort(photo, name, 3, seed=7), distort(photo, name, 3, seed=7))
    assert np.array_equal(photo, before)


@pytest.mark.parametrize("name", ["noise", "motion_blur", "colour_cast", "patches"])
def test_another_seed_gives_other_pixels(name, photo):
    made = [distort(photo, name, 4, seed=seed) for seed in range(6)]
    assert any(not np.array_equal(made[0], other) for other in made[1:])


@pytest.mark.parametrize("name", sorted(SMALLER))
def test_tilt_and_crop_leave_a_smaller_photo_of_nearly_the_same_shape(name, photo):
    made = distort(photo, name, N_LEVELS)
    assert made.shape[0] < photo.shape[0]
    assert made.shape[1] / made.shape[0] == pytest.approx(photo.shape[1] / photo.shape[0], rel=0.05)


def test_a_tilted_photo_shows_no_blank_corner():
    white = np.full((90, 120, 3), 255, np.uint8)
    assert distort(white, "tilt", N_LEVELS).min() > 250


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (9, 2), (16, 16)])
@pytest.mark.parametrize("name", sorted(DISTORTIONS))
def test_the_smallest_photos_survive(name, size):
    made = distort(np.full((*size, 3), 90, np.uint8), name, N_LEVELS)
    assert made.ndim == 3
    assert made.size > 0


def test_amounts_between_the_levels_lie_between_them(photo):
    at = [difference(apply(photo, "noise", amount), photo) for amount in (5, 7, 9)]
    assert at[0] < at[1] < at[2]


def test_light_and_dark_go_the_right_way(photo):
    mean = photo.mean()
    assert (
        distort(photo, "under_exposure", 2).mean() < mean < distort(photo, "brightening", 2).mean()
    )


def test_without_colour_all_channels_are_equal(photo):
    grey = apply(photo, "desaturation", 1.0)
    assert np.array_equal(grey[:, :, 0], grey[:, :, 2])


def test_codecs_round_trip_through_real_files(photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "p.jpg", quality=20)
    with Image.open(tmp_path / "p.jpg") as image:
        assert np.array_equal(apply(photo, "jpeg", 80), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("level", [0, 6, -1])
def test_a_level_that_does_not_exist_is_refused(level, photo):
    with pytest.raises(InputError, match="allowed: 1 to 5"):
        distort(photo, "noise", level)


def test_an_unknown_distortion_gets_the_nearest_name(photo):
    with pytest.raises(InputError, match="gaussian_blur"):
        distort(photo, "gausian_blur", 1)
