"""What the signals of a picture say when one thing about it changes, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from listlens.images.distortions import distort
from listlens.quality import signals as s
from listlens.quality.signals import signals


@pytest.fixture(scope="module")
def shelf() -> np.ndarray:
    """Upright and level edges on an even wall of light grey, as a photo of a shelf has them."""
    rng = np.random.default_rng(3)
    pixels = np.full((200, 260, 3), 236, np.uint8)
    for left in range(20, 220, 40):
        top, tall = int(rng.integers(20, 60)), int(rng.integers(60, 120))
        pixels[top : top + tall, left : left + 25] = rng.integers(20, 220, 3)
    return pixels


def grey(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def test_signals_are_repeatable_and_leave_the_picture_as_it_is(shelf):
    before = shelf.copy()
    assert np.array_equal(signals(shelf), signals(shelf))
    assert np.array_equal(before, shelf)


def test_blur_spreads_the_steepest_edges_over_more_pixels(shelf):
    sharp, soft = (s._edge_widths(grey(one)) for one in (shelf, distort(shelf, "lens_blur", 2)))
    assert soft[0] < sharp[0]
    assert soft[1] > sharp[1] + 0.3


def test_sharpening_too_much_leaves_a_halo_that_the_far_pixels_do_not_have(shelf):
    clean, haloed = (
        s._edge_widths(grey(one)) for one in (shelf, distort(shelf, "oversharpening", 4))
    )
    assert haloed[2] < clean[2]


@pytest.mark.parametrize("name", ["noise", "fine_noise", "colour_noise"])
def test_noise_shows_in_the_flattest_blocks_more_the_stronger_it_is(shelf, name):
    found = [s._flattest(grey(distort(shelf, name, level)))[1] for level in (1, 2, 3, 4, 5)]
    assert s._flattest(grey(shelf))[1] < found[0]
    assert np.all(np.diff(found) > 0)


def test_a_picture_without_shaded_blocks_has_all_of_them_counted():
    white = np.full((64, 64), 255, np.float32)
    assert np.allclose(s._flattest(white), np.log(s._FLOOR))


def test_the_wall_is_found_with_its_tone_its_share_and_its_tint(shelf):
    red, blue = np.full_like(grey(shelf), 6.4), np.zeros_like(grey(shelf))
    tone, narrow, wide, spread, _, _, blue_mean, red_mean = s._wall(grey(shelf), blue, red)
    assert tone == pytest.approx(236 / 255, abs=0.01)
    assert 0.5 < narrow <= wide < 1
    assert spread < 0.5
    assert (blue_mean, red_mean) == pytest.approx((0.0, 0.1))


def test_a_darker_photo_has_a_darker_wall(shelf):
    none = np.zeros_like(grey(shelf))
    dark = s._wall(grey(distort(shelf, "under_exposure", 2)), none, none)
    assert dark[0] < s._wall(grey(shelf), none, none)[0] - 0.1


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_turned_camera_moves_the_upright_edges_to_one_side(shelf, level):
    straight, turned = (s._upright(grey(one)) for one in (shelf, distort(shelf, "tilt", level)))
    assert straight[0] < 0.05
    assert turned[0] > straight[0]
    assert max(turned[3:]) > max(straight[3:]) + 0.5


def test_turning_either_way_looks_the_same(shelf):
    image = Image.fromarray(shelf)
    cut = [
        np.asarray(image.rotate(angle, Image.Resampling.BICUBIC))[40:160, 50:210]
        for angle in (5, -5)
    ]
    left, right = (s._upright(grey(one)) for one in cut)
    assert left[0] == pytest.approx(right[0], abs=0.06)


def test_enlarging_takes_the_highest_frequencies_from_the_spectrum(shelf):
    sharp, enlarged = (s._spectrum(grey(one)) for one in (shelf, distort(shelf, "upscaling", 3)))
    assert sum(enlarged) < sum(sharp) - 1


def test_the_weighted_mean_is_the_gaussian_it_says():
    from scipy.ndimage import gaussian_filter

    plane = np.random.default_rng(0).normal(100, 20, (37, 52)).astype(np.float32)
    assert np.allclose(s._weighted(plane), gaussian_filter(plane, 7 / 6, truncate=2.2), atol=1e-2)
