"""Scores and flags: what is told of a photo, from its measures alone."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.images.checks import CHECKS, Check, Flag, flags, scores
from listlens.images.measures import Measures

GOOD = Measures(
    width_px=1200,
    height_px=900,
    dark=0.95,
    bright=0.1,
    brightness=0.5,
    contrast=0.2,
    sharpness=400.0,
    noise=2.0,
    entropy=7.2,
    colourfulness=40.0,
    border_left=0.0,
    border_right=0.0,
    border_top=0.0,
    border_bottom=0.0,
    phash=2**63 + 5,
)
SHARE = st.floats(0, 1)
ANY = st.builds(
    Measures,
    width_px=st.integers(1, 20_000),
    height_px=st.integers(1, 20_000),
    dark=SHARE,
    bright=SHARE,
    brightness=SHARE,
    contrast=st.floats(0, 0.5),
    sharpness=st.floats(0, 1e6),
    noise=st.floats(0, 300),
    entropy=st.floats(0, 8),
    colourfulness=st.floats(0, 300),
    border_left=SHARE,
    border_right=SHARE,
    border_top=SHARE,
    border_bottom=SHARE,
    phash=st.integers(0, 2**64 - 1),
)


def changed(**values: float) -> Measures:
    return dataclasses.replace(GOOD, **values)


def named(name: str) -> Check:
    return next(check for check in CHECKS if check.name == name)


@given(ANY)
def test_every_score_lies_in_0_to_1(measures):
    found = scores(measures)
    assert list(found) == [check.name for check in CHECKS]
    assert all(0 <= score <= 1 for score in found.values())


@given(ANY)
def test_a_photo_is_flagged_exactly_where_its_score_is_below_the_threshold(measures):
    found = scores(measures)
    below = [Flag(c.name, found[c.name]) for c in CHECKS if found[c.name] < c.threshold]
    assert flags(measures) == below


def test_a_good_photo_has_full_marks_and_no_flag():
    assert flags(GOOD) == []
    for name in ("blurry", "low_information", "frame", "small", "grayscale"):
        assert scores(GOOD)[name] == 1.0


EDGES = {
    "dark": ("dark", {"dark": 0.40}, {"dark": 0.39}),
    "light": ("light", {"bright": 0.69}, {"bright": 0.70}),
    "blurry": ("blurry", {"sharpness": 30.0}, {"sharpness": 29.9}),
    "noisy": ("noisy", {"noise": 10.0}, {"noise": 10.1}),
    "low information": ("low_information", {"entropy": 2.3}, {"entropy": 2.29}),
    "bars left and right": (
        "frame",
        {"border_left": 0.02, "border_right": 0.3},
        {"border_left": 0.021, "border_right": 0.3},
    ),
    "bars above and below": (
        "frame",
        {"border_top": 0.5, "border_bottom": 0.02},
        {"border_top": 0.5, "border_bottom": 0.03},
    ),
    "panorama": ("odd_aspect_ratio", {"height_px": 420}, {"height_px": 419}),
    "tower": (
        "odd_aspect_ratio",
        {"width_px": 350, "height_px": 1000},
        {"width_px": 349, "height_px": 1000},
    ),
    "small": (
        "small",
        {"width_px": 224, "height_px": 200},
        {"width_px": 223, "height_px": 200},
    ),
    "grey": ("grayscale", {"colourfulness": 0.5}, {"colourfulness": 0.49}),
}


@pytest.mark.parametrize(("name", "fine", "faulty"), EDGES.values(), ids=EDGES)
def test_each_check_turns_where_its_basis_says(name, fine, faulty):
    assert name not in {flag.name for flag in flags(changed(**fine))}
    found = {flag.name: flag.score for flag in flags(changed(**faulty))}
    assert found[name] < named(name).threshold


ONE_SIDED = [{f"border_{side}": 0.4} for side in ("left", "right", "top", "bottom")]


@pytest.mark.parametrize("border", ONE_SIDED, ids=lambda b: next(iter(b)))
def test_an_even_edge_on_one_side_only_is_no_frame(border):
    """A white wall or the sky, most often."""
    assert flags(changed(**border)) == []


def test_an_empty_picture_is_called_empty_and_not_framed():
    even = dict.fromkeys(("border_left", "border_right", "border_top", "border_bottom"), 1.0)
    found = {flag.name for flag in flags(changed(entropy=0.0, **even))}
    assert "low_information" in found
    assert "frame" not in found


WORSE = {
    "dark": [{"dark": v} for v in (0.9, 0.5, 0.1)],
    "light": [{"bright": v} for v in (0.2, 0.6, 0.95)],
    "blurry": [{"sharpness": v} for v in (55.0, 30.0, 2.0)],
    "noisy": [{"noise": v} for v in (1.0, 9.0, 19.0)],
    "low_information": [{"entropy": v} for v in (4.5, 2.5, 0.5)],
    "frame": [{"border_top": v, "border_bottom": v} for v in (0.0, 0.02, 0.035)],
    "odd_aspect_ratio": [{"height_px": v} for v in (1200, 600, 100)],
    "small": [{"width_px": v, "height_px": v} for v in (440, 224, 32)],
    "grayscale": [{"colourfulness": v} for v in (0.9, 0.5, 0.0)],
}


@pytest.mark.parametrize("name", WORSE)
def test_worse_measures_have_lower_scores(name):
    found = [scores(changed(**values))[name] for values in WORSE[name]]
    assert found[0] > found[1] > found[2]


def test_every_check_is_tried_here():
    assert set(WORSE) == {check.name for check in CHECKS} == {name for name, *_ in EDGES.values()}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_tells_a_person_what_it_is_and_what_to_do(check):
    assert check.title[0].isupper()
    assert check.advice.endswith(".")
    assert check.name == check.name.lower()
    assert "%" in check.basis  # measured, with the share of clean photos flagged


def test_flags_come_in_the_order_of_the_checks():
    awful = changed(dark=0.0, sharpness=0.0, entropy=0.0, width_px=9, height_px=9, colourfulness=0)
    order = [check.name for check in CHECKS]
    found = [flag.name for flag in flags(awful)]
    assert found == sorted(found, key=order.index)
    assert len(found) >= 5


@given(ANY)
def test_measures_survive_their_dict(measures):
    assert Measures.from_dict(measures.as_dict()) == measures


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {k: v for k, v in GOOD.as_dict().items() if k != "phash"},
        {**GOOD.as_dict(), "blur": 1.0},
    ],
    ids=["empty", "one missing", "one too many"],
)
def test_a_dict_with_other_keys_is_refused_with_the_keys_needed(wrong):
    with pytest.raises(ValueError, match=r"exactly these keys: .*'phash'"):
        Measures.from_dict(wrong)
