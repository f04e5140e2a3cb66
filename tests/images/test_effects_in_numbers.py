"""Effects of distortions, and measures of drawn graphics, against numbers worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from listlens.core.text import Reading, TextLine
from listlens.images import degrade_colour as colour
from listlens.images import degrade_detail as detail
from listlens.images.overlay import SIDE_PX, overlay_measures
from listlens.images.text_page import ReadPhoto, write_text_page

Floats = NDArray[np.float32]
LUMA = np.array([0.299, 0.587, 0.114])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def photo(seed: int = 0, side: int = 48) -> Floats:
    return rng(seed).uniform(40, 210, (side, side, 3)).astype(np.float32)


def grey(level: float, side: int = 32) -> Floats:
    return np.full((side, side, 3), level, np.float32)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
    ids=["white", "black", "red", "green", "blue"],
)
def test_cielab_has_the_published_corners(
    rgb: tuple[int, int, int], lab: tuple[float, float, float]
) -> None:
    found = colour.to_lab(np.array([[rgb]], np.float32))[0, 0]
    assert found == pytest.approx(lab, abs=0.1)


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_cielab_and_back_is_the_same_photo(seed: int) -> None:
    rgb = rng(seed).uniform(0, 255, (6, 6, 3)).astype(np.float32)
    assert colour.from_lab(colour.to_lab(rgb)) == pytest.approx(rgb, abs=0.2)


def test_a_stop_of_light_is_taken_back_by_a_stop_less() -> None:
    rgb = photo()
    brighter = colour.over_exposure(rgb, 1.3, rng())
    assert colour.under_exposure(brighter, 1.3, rng()) == pytest.approx(rgb, rel=1e-5)
    light = (colour.over_exposure(rgb, 1.0, rng()) / rgb) ** 2.2  # twice the light, once decoded
    assert light == pytest.approx(2, rel=1e-5)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.8])
def test_contrast_moves_towards_the_mean_and_keeps_it(share: float) -> None:
    rgb = photo(1)
    made = colour.low_contrast(rgb, share, rng())
    mean = float((rgb @ LUMA).mean())
    assert float((made @ LUMA).mean()) == pytest.approx(mean, rel=1e-4)
    assert made.std() == pytest.approx((1 - share) * np.std(rgb - mean), rel=0.02)
    harsh = colour.harsh_contrast(made, 1 / (1 - share) - 1, rng())
    assert harsh == pytest.approx(rgb, abs=0.01)


@pytest.mark.parametrize("amount", [0.2, 0.5, 0.95])
def test_curves_run_through_their_points(amount: float) -> None:
    ends = np.array([[[0.0] * 3, [255.0] * 3]], np.float32)
    middle = grey(127.5)
    for curve, sign in ((colour.brightening, 1), (colour.darkening, -1)):
        assert curve(ends, amount, rng()) == pytest.approx(ends, abs=1e-3)
        wanted = 255 * min(0.5 + sign * amount / 2, 1)
        assert curve(middle, amount, rng())[0, 0, 0] == pytest.approx(wanted, abs=1.5)


@pytest.mark.parametrize("seed", range(6))
def test_a_cast_keeps_how_bright_grey_is_and_colours_it(seed: int) -> None:
    made = colour.colour_cast(grey(120), 1.2, rng(seed))[0, 0]
    assert float(made @ LUMA) == pytest.approx(120, rel=1e-4)
    assert np.ptp(made) > 20


def test_taking_colour_away_keeps_the_brightest_channel() -> None:
    rgb = photo(2)
    none = colour.desaturation(rgb, 1.0, rng())
    assert np.ptp(none, axis=2).max() == pytest.approx(0, abs=1e-3)
    assert none.max(axis=2) == pytest.approx(rgb.max(axis=2), abs=1e-3)
    assert colour.desaturation(rgb, 0.0, rng()) == pytest.approx(rgb, abs=1e-3)
    assert colour.oversaturation(grey(99), 4, rng()) == pytest.approx(grey(99), abs=1.0)


@pytest.mark.parametrize("step", [13, 52, 300], ids=str)
def test_banding_leaves_as_many_levels_as_it_says(step: float) -> None:
    ramp = np.linspace(0, 255, 1024, dtype=np.float32)[None, :, None].repeat(3, axis=2)
    levels = np.unique(colour.banding(ramp, step, rng()))
    assert len(levels) == max(2, round(256 / step))
    assert (levels[0], levels[-1]) == (0, 255)
    few = colour.dithering(photo(3), 32, rng())
    assert len(np.unique(few.reshape(-1, 3), axis=0)) <= 8


@pytest.mark.parametrize("seed", range(4))
def test_fringes_move_green_alone(seed: int) -> None:
    rgb = photo(4)
    made = colour.colour_fringes(rgb, 5, rng(seed))
    assert (made[:, :, [0, 2]] == rgb[:, :, [0, 2]]).all()
    moves = [(d, r) for d in range(6) for r in range(6)
             if (made[d:, r:, 1] == rgb[: 48 - d, : 48 - r, 1]).all()]  # fmt: skip
    assert len(moves) == 1
    assert 4 <= np.hypot(*moves[0]) <= 6


@pytest.mark.parametrize(
    "effect",
    [detail.noise, detail.ycbcr_noise, detail.blotchy_noise, detail.fine_noise],
    ids=lambda effect: effect.__name__,
)
def test_noise_has_its_deviation_and_no_direction(effect: Any) -> None:
    added = effect(grey(128, 128), 12.0, rng(5)) - 128
    assert abs(added.mean()) < 1.0
    if effect is detail.ycbcr_noise:  # its deviation is that of Y, Cb and Cr
        assert (added @ LUMA).std() == pytest.approx(12, rel=0.05)
    else:
        assert added.std() == pytest.approx(12, rel=0.05)


def test_colour_noise_is_mostly_colour_and_speckle_leaves_black_alone() -> None:
    added = detail.colour_noise(grey(128, 128), 12.0, rng(6)) - 128
    assert (added @ LUMA).std() < 0.4 * added.std()
    assert (detail.speckle(grey(0), 0.4, rng()) == 0).all()
    assert detail.speckle(grey(100, 128), 0.2, rng()).std() == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3])
def test_as_many_values_are_dead_as_the_share_says(share: float) -> None:
    made = detail.impulse_noise(grey(128, 128), share, rng(7))
    assert set(np.unique(made).tolist()) <= {0, 128, 255}
    assert (made != 128).mean() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("effect", ["gaussian_blur", "lens_blur", "motion_blur"])
def test_blur_spreads_light_and_loses_none(effect: str, seed: int) -> None:
    dot = grey(0, 41)
    dot[20, 20] = 200
    made = getattr(detail, effect)(dot, 4.0, rng(seed))
    assert made.sum() == pytest.approx(600, rel=1e-3)
    assert made.max() < 100
    assert getattr(detail, effect)(grey(77), 4.0, rng(seed)) == pytest.approx(grey(77), abs=0.01)


def drawn(panel: float = 0.0, *, edge: bool = False, rim: bool = False) -> NDArray[np.uint8]:
    """Noise, as of a sensor, with a flat square, a straight edge or a vivid rim upon it."""
    made = rng(8).integers(100, 140, (SIDE_PX, SIDE_PX, 3)).astype(np.uint8)
    if panel:
        side = round(np.sqrt(panel) * SIDE_PX)
        made[40 : 40 + side, 40 : 40 + side] = 128
    if edge:
        made[128:] = made[128:] // 4
    if rim:
        made[:31] = made[-31:] = (255, 0, 40)
        made[:, :31] = made[:, -31:] = (255, 0, 40)
    return made


def test_each_measure_of_graphics_sees_its_own_kind() -> None:
    nothing = overlay_measures(drawn())
    assert nothing["panel_area"] == nothing["flat_area"] == nothing["vivid_rim"] == 0
    assert max(nothing["edge_across"], nothing["edge_down"]) < 0.1
    panel = overlay_measures(drawn(0.25))
    assert panel["panel_area"] == pytest.approx(0.25, abs=0.02)
    assert panel["top_colour"] == pytest.approx(0.25, abs=0.05)
    edge = overlay_measures(drawn(edge=True))
    assert edge["edge_across"] > 0.95
    assert edge["edge_down"] < 0.1
    assert overlay_measures(drawn(rim=True))["vivid_rim"] == pytest.approx(1, abs=0.01)


def test_turning_the_photo_turns_its_edges() -> None:
    pixels = drawn(0.1, edge=True)
    one, turned = overlay_measures(pixels), overlay_measures(np.ascontiguousarray(np.rot90(pixels)))
    assert turned["edge_down"] == pytest.approx(one["edge_across"], abs=0.02)
    for name in ("flat_area", "panel_area", "top_colour"):
        assert turned[name] == pytest.approx(one[name], abs=0.01)


def test_the_page_of_texts_stands_alone_and_escapes_what_was_read(tmp_path: Path) -> None:
    box = (0.0, 0.0, 0.5, 0.0, 0.5, 0.25, 0.0, 0.25)
    reading = Reading("r", (TextLine("<script>alert(1)</script>", 0.9, box),), {"text_area": 0.125})
    photos = [ReadPhoto('a"><img src=x>.jpg', reading, None)]
    write_text_page(tmp_path / "t.html", photos, n_read=7, n_text=1)
    html = (tmp_path / "t.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert "0.0 0.0 2.0 0.0 2.0 0.8 0.0 0.8" in html  # the box, on a blank picture of 4 x 3
    write_text_page(tmp_path / "t.html", [], n_read=7, n_text=0)
    assert "7" in (tmp_path / "t.html").read_text(encoding="utf-8")
