"""What the learning curve dares to say, on every course that a curve can take."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.evaluate.figures import learning_figure
from listlens.evaluate.learning_curve import (
    FRACTIONS,
    N_REPEATS,
    CurvePoint,
    judge,
    learning_curve,
)

SIZES = (100, 200, 400, 700, 1000)


def points(values, sizes=SIZES, half=0.0) -> list[CurvePoint]:
    return [
        CurvePoint(n, v, max(0.0, v - half), min(1.0, v + half), 3)
        for n, v in zip(sizes, values, strict=True)
    ]


def judged(values, sizes=SIZES, deviation=0.001, metric="accuracy"):
    return judge(metric, points(values, sizes), [deviation**2] * len(values))


def falling(a: float, b: float, c: float = 0.0) -> list[float]:
    """One minus the error a * n^-b + c."""
    return [1 - a * n**-b - c for n in SIZES]


VERDICTS = {
    "falls steadily": (falling(2.0, 0.4), "helps"),
    "falls slowly but surely": (falling(1.2, 0.3), "helps"),
    "has reached its floor": (falling(50.0, 1.4, 0.08), "hardly"),
    "is flat": ([0.9] * 5, "hardly"),
    "gets worse": ([0.95, 0.94, 0.93, 0.92, 0.91], "hardly"),
    "gets much worse": ([0.99, 0.95, 0.9, 0.8, 0.5], "hardly"),
    "is all right at last": ([0.9, 0.95, 0.99, 0.995, 1.0], "hardly"),
    "is all right at once": ([1.0] * 5, "hardly"),
}


@pytest.mark.parametrize(("values", "verdict"), VERDICTS.values(), ids=VERDICTS)
def test_each_course_has_its_verdict(values, verdict):
    assert judged(values).verdict == verdict


@pytest.mark.parametrize("n_points", range(4))
def test_fewer_than_four_points_say_nothing(n_points):
    curve = judged(falling(2.0, 0.4)[:n_points], SIZES[:n_points])
    assert (curve.verdict, curve.outlook) == ("unclear", ())
    assert curve.message.startswith("Too few labels")


def test_four_points_of_one_size_are_one_point():
    assert judged([0.8, 0.81, 0.82, 0.83], (50, 50, 50, 50)).verdict == "unclear"


COURSES = st.lists(st.integers(0, 1000).map(lambda v: v / 1000), min_size=5, max_size=5)


@settings(max_examples=200, deadline=None)
@given(COURSES, st.sampled_from([0.0005, 0.005, 0.05, float("nan")]))
def test_whatever_was_measured_the_outlook_is_possible_and_json(values, deviation):
    curve = judged(values, deviation=deviation)
    json.dumps(curve.as_dict(), allow_nan=False)
    assert curve.verdict in ("helps", "hardly", "unclear")
    assert curve.message.endswith(".")
    assert "nan" not in curve.message
    for o in curve.outlook:
        assert 0 <= o.low <= o.value <= o.high <= 1


@settings(max_examples=100, deadline=None)
@given(COURSES)
def test_more_labels_are_never_expected_to_harm_or_to_bring_less_than_fewer(values):
    curve = judged(values, deviation=0.01)
    if curve.outlook:
        twice, four_times = curve.outlook
        assert (twice.n_labels, four_times.n_labels) == (2000, 4000)
        assert curve.points[-1].value <= twice.value <= four_times.value


@settings(max_examples=100, deadline=None)
@given(COURSES, st.integers(0, 50).map(lambda v: v / 1000))
def test_every_curve_can_be_drawn(values, half):
    """Also where all is right, or all wrong, or nothing changes."""
    curve = judge("accuracy", points(values, half=half), [1e-6] * 5)
    drawn = str(learning_figure(curve))
    assert drawn.startswith("<svg")
    assert "nan" not in drawn
    assert "inf" not in drawn


def test_the_message_says_how_many_labels_and_how_many_points():
    curve = judged(falling(2.0, 0.4))
    gain = 100 * (curve.outlook[0].value - curve.points[-1].value)
    assert curve.message.startswith("About 1,000 more labels would bring about")
    assert f"{gain:.1f} points (" in curve.message


def test_for_several_tags_the_points_are_those_of_average_precision():
    curve = judged(falling(2.0, 0.4), metric="macro_ap")
    assert "points of average precision" in curve.message


def test_the_noisier_the_curve_the_wider_the_outlook():
    widths = []
    for deviation in (0.001, 0.01, 0.05):
        o = judged(falling(1.5, 0.35), deviation=deviation).outlook[0]
        widths.append(o.high - o.low)
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_without_any_repeat_the_noise_is_taken_as_large():
    known = judged(falling(1.5, 0.35)).outlook[0]
    unknown = judged(falling(1.5, 0.35), deviation=math.nan).outlook[0]
    assert unknown.high - unknown.low > known.high - known.low


def recorded(n: int = 240, **options):
    """Run a curve on rows of 4 a group, and keep what was trained on."""
    seen: list[np.ndarray] = []

    def score(rows):
        seen.append(rows)
        return 1 - len(rows) ** -0.5

    rows = np.arange(n) * 3 + 1
    return learning_curve(rows, np.arange(n) // 4, score, **options), seen, rows


def test_each_share_is_tried_three_times_and_the_whole_once():
    curve, seen, _ = recorded()
    assert [p.n_repeats for p in curve.points] == [N_REPEATS] * (len(FRACTIONS) - 1) + [1]
    assert len(seen) == N_REPEATS * (len(FRACTIONS) - 1) + 1
    assert [p.n_labels for p in curve.points] == [round(240 * f) for f in FRACTIONS]


def test_rows_are_those_that_were_handed_in_and_each_once():
    _, seen, rows = recorded()
    for taken in seen:
        assert set(taken) <= set(rows)
        assert len(taken) == len(set(taken))
    assert set(seen[-1]) == set(rows)


def test_a_larger_share_holds_the_smaller_one_so_that_points_compare():
    _, seen, _ = recorded()
    for repeat in range(N_REPEATS):
        shares = [set(taken) for taken in seen[repeat:-1:N_REPEATS]]
        assert all(small <= large for small, large in pairwise(shares))


def test_the_seed_decides_which_rows_and_nothing_else_does():
    first, second, other = (recorded(seed=seed)[1] for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_shares_that_cannot_be_trained_on_are_left_out():
    curve = learning_curve(
        np.arange(100),
        np.arange(100),
        lambda rows: float("nan") if len(rows) < 30 else 0.9,
    )
    assert [p.n_labels for p in curve.points] == [40, 70, 100]
    assert curve.verdict == "unclear"
    assert json.dumps(curve.as_dict(), allow_nan=False)


def test_low_and_high_are_those_of_the_repeats():
    values = iter([0.5, 0.7, 0.6] + [0.8] * 10)
    curve = learning_curve(np.arange(100), np.arange(100), lambda rows: next(values))
    first = curve.points[0]
    assert (first.low, first.high) == (0.5, 0.7)
    assert first.value == pytest.approx(0.6)


def test_other_shares_may_be_asked_for():
    curve, seen, _ = recorded(fractions=(0.5, 1.0), n_repeats=2)
    assert [p.n_labels for p in curve.points] == [120, 240]
    assert len(seen) == 3
