"""What more labels would bring: honest on curves whose course is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from listlens.evaluate.learning_curve import learning_curve


def law(a, b, c, noise=0.0, seed=0):
    """A metric that follows a power law of the number of rows."""
    rng = np.random.default_rng(seed)
    return lambda rows: 1 - (a * len(rows) ** -b + c) + noise * rng.normal()


def run(score, n=2000, **options):
    return learning_curve(np.arange(n), np.arange(n) // 4, score, **options)


def test_a_curve_that_still_falls_says_that_labels_help_and_by_how_much():
    curve = run(law(2.0, 0.35, 0.0, noise=0.001))
    gain = 2.0 * 2000**-0.35 * (1 - 2**-0.35)
    assert curve.verdict == "helps"
    outlook = curve.outlook[0]
    assert outlook.n_labels == 4000
    assert outlook.low - curve.points[-1].value <= gain <= outlook.high - curve.points[-1].value
    assert "2,000 more labels" in curve.message


def test_a_curve_that_is_flat_says_that_they_hardly_help():
    curve = run(law(5.0, 1.2, 0.10, noise=0.0005))
    assert curve.verdict == "hardly"
    assert "hardly help" in curve.message


def test_a_noisy_curve_says_that_it_cannot_tell():
    curve = run(law(0.5, 0.1, 0.1, noise=0.06, seed=4))
    assert curve.verdict in ("unclear", "helps")
    assert curve.outlook[0].high - curve.outlook[0].low > 0.01


@pytest.mark.parametrize("seed", range(5))
def test_the_outlook_holds_what_comes(seed):
    curve = run(law(1.5, 0.3, 0.02, noise=0.002, seed=seed))
    now, then = (1 - 1.5 * n**-0.3 - 0.02 for n in (2000, 4000))
    gain = then - now
    low, high = (x - curve.points[-1].value for x in (curve.outlook[0].low, curve.outlook[0].high))
    assert low - 0.004 <= gain <= high + 0.004


def test_nothing_wrong_cannot_get_better():
    curve = run(lambda rows: 1.0)
    assert curve.verdict == "hardly"
    assert curve.outlook == ()


def test_rows_too_few_to_train_on_are_left_out_and_it_says_so():
    curve = run(lambda rows: float("nan"), n=12)
    assert (curve.points, curve.verdict) == ((), "unclear")
    assert json.dumps(curve.as_dict(), allow_nan=False)


def test_no_rows_are_no_curve():
    assert learning_curve([], [], lambda rows: 1.0).verdict == "unclear"


def test_groups_are_taken_whole_and_the_last_point_has_all_rows():
    seen = []

    def score(rows):
        seen.append(rows)
        return 0.9

    run(score, n=400)
    for rows in seen:
        assert len(rows) == 4 * len(np.unique(rows // 4))
    assert len(seen[-1]) == 400
    assert len(seen) == 13
