"""Evaluation of made-up votes whose worth is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from listlens.evaluate.scores import (
    FEWEST_IN_CATEGORY,
    PredictedScores,
    evaluate_scores,
    scored_photos,
)

STEPS = ("1", "2", "3", "4", "5")
SCALE = (1.0, 2.0, 3.0, 4.0, 5.0)


def votes(mean, spread=0.8):
    mass = np.exp(-0.5 * np.square((np.array(SCALE) - np.asarray(mean)[:, None]) / spread))
    return mass / mass.sum(axis=1, keepdims=True)


def predicted(n=300, noise=0.5, seed=0, **more):
    rng = np.random.default_rng(seed)
    true = rng.uniform(1.5, 4.5, n)
    said = true + noise * rng.normal(size=n)
    usual = {
        "classes": STEPS,
        "scale": SCALE,
        "probs": votes(said),
        "targets": votes(true),
        "listings": np.arange(n) // 2,
    }
    return PredictedScores(**{**usual, **more})


def test_the_numbers_are_those_of_scipy_on_the_means():
    p = predicted()
    e = evaluate_scores(p, n_resamples=100)
    a, b = p.probs @ SCALE, p.targets @ SCALE
    assert e.srcc.value == pytest.approx(stats.spearmanr(a, b)[0])
    assert e.lcc.value == pytest.approx(stats.pearsonr(a, b)[0])
    assert e.mae.value == pytest.approx(np.abs(a - b).mean())
    assert e.accuracy_at_middle.value == pytest.approx(((a > 3) == (b > 3)).mean())
    assert e.spread_lcc.value == pytest.approx(
        stats.pearsonr(
            np.sqrt(p.probs @ np.square(SCALE) - a**2),
            np.sqrt(p.targets @ np.square(SCALE) - b**2),
        )[0]
    )
    assert e.pairs_in_order == pytest.approx((stats.kendalltau(a, b)[0] + 1) / 2, abs=0.01)
    for estimate in (e.srcc, e.lcc, e.emd, e.emd_r2, e.mae, e.accuracy_at_middle):
        assert estimate.low < estimate.value < estimate.high
        assert estimate.n == 300
    assert (e.n, e.n_listings, e.headline, e.kind) == (300, 150, e.srcc, "score")


def test_exact_predictions_are_perfect_and_say_so_with_an_interval():
    e = evaluate_scores(predicted(noise=0.0), n_resamples=50)
    assert e.srcc.value == pytest.approx(1)
    assert e.srcc.low < 1
    assert e.emd.value == e.mae.value == 0
    assert e.emd.high > 0
    assert e.pairs_in_order == 1


def test_rows_without_votes_are_left_out():
    p = predicted()
    p.targets[:100] = np.nan
    assert evaluate_scores(p, n_resamples=20).n == 200
    p.targets[:] = np.nan
    with pytest.raises(ValueError, match="known votes"):
        evaluate_scores(p)


def test_the_same_score_for_every_photo_ranks_nothing():
    flat = np.full((50, 5), 0.2)
    e = evaluate_scores(predicted(50, probs=flat), n_resamples=20)
    out = json.loads(json.dumps(e.as_dict(), allow_nan=False))
    assert out["srcc"] is None
    assert out["lcc"] is None
    assert out["pairs_in_order"] == 0.5
    assert out["emd"]["value"] > 0


def test_the_baseline_gives_every_photo_the_mean_votes_of_training():
    p = predicted()
    e = evaluate_scores(p, train_targets=votes(np.array([1.5, 1.5])), n_resamples=20)
    usual = votes([1.5]) @ SCALE
    assert e.baseline_mae.value == pytest.approx(np.abs(usual - p.targets @ SCALE).mean())
    assert e.baseline_emd.value > evaluate_scores(p, n_resamples=20).baseline_emd.value


def test_calibration_compares_groups_of_equally_many_photos():
    bins = evaluate_scores(predicted(), n_resamples=50).bins
    assert [b.n for b in bins] == [30] * 10
    assert [b.predicted for b in bins] == sorted(b.predicted for b in bins)
    assert all(1 <= b.given.low <= b.given.value <= b.given.high <= 5 for b in bins)


def test_photos_that_were_also_trained_on_are_scored_apart():
    p = predicted()
    worst = np.abs((p.probs - p.targets) @ SCALE) > 0.5
    e = evaluate_scores(p, leaking=worst, n_resamples=20)
    assert e.n_leaking == worst.sum()
    assert e.without_leaks.srcc.value > e.srcc.value
    assert e.as_dict()["leaking"]["without"]["n"] == 300 - worst.sum()


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": (1.0, 2.0)},
        {"scale": (1.0, 2.0, 2.0, 4.0, 5.0)},
        {"probs": np.ones((3, 5))},
        {"listings": np.arange(4)},
        {"weights": np.ones(4)},
    ],
    ids=["short scale", "flat scale", "probs", "listings", "weights"],
)
def test_what_does_not_fit_together_is_refused(wrong):
    with pytest.raises(ValueError, match=r"scale|probs|rows"):
        predicted(**wrong)


def test_photos_stand_among_their_like_the_best_first():
    mean = np.concatenate([np.linspace(1.5, 2.5, 30), np.linspace(3.5, 4.5, 30), [3.0]])
    kinds = ["room"] * 30 + ["garden"] * 30 + ["attic"]
    names = [str(i) for i in range(61)]
    given = votes(mean)
    given[5] = np.nan
    found = {
        s.image: s
        for s in scored_photos(names, votes(mean), SCALE, targets=given, categories=kinds)
    }
    assert found["29"].percentile == found["59"].percentile == pytest.approx(59 / 60, abs=1e-4)
    assert (found["29"].category, found["59"].category, found["60"].category) == (
        "room", "garden", "")  # fmt: skip
    assert found["60"].percentile == pytest.approx(30.5 / 61, abs=1e-4)
    assert found["5"].given is None
    assert found["6"].given == pytest.approx(found["6"].mean)
    order = [s.percentile for s in found.values()]
    assert order == sorted(order, reverse=True)


def test_without_categories_every_photo_is_compared_with_all():
    n = FEWEST_IN_CATEGORY - 1
    mean = np.linspace(2, 4, n)
    names = [str(i) for i in range(n)]
    small = scored_photos(names, votes(mean), SCALE, categories=["room"] * n)
    plain = scored_photos(names, votes(mean), SCALE, reasons=[["dark"]] * n)
    assert [s.percentile for s in small] == [s.percentile for s in plain]
    assert plain[0].as_dict()["reasons"] == ["dark"]
    assert plain[0].image == str(n - 1)
