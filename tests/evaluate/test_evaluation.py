"""Evaluation of made-up probabilities whose worth is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from listlens.core.types import Policy
from listlens.evaluate.evaluation import Predicted, evaluate

CLASSES = ("bath", "bed", "yard")


def policy(k=3, at=0.5, low=0.3, high=0.7):
    return Policy((at,) * k, (low,) * k, (high,) * k, "best-f1")


def single(n=300, wrong=30, seed=0):
    """`n` photos, three a listing, of which `wrong` are answered wrongly and less surely."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, n)
    top = targets.copy()
    top[:wrong] = (top[:wrong] + 1) % 3
    sure = np.where(np.arange(n) < wrong, 0.4, 0.9)
    probs = np.repeat((1 - sure)[:, None] / 2, 3, axis=1)
    probs[np.arange(n), top] = sure
    return Predicted("single", CLASSES, probs, targets, np.arange(n) // 3, policy())


def multi(n=200, seed=0):
    rng = np.random.default_rng(seed)
    probs = rng.random((n, 3))
    targets = (rng.random((n, 3)) < probs).astype(np.int8)
    targets[rng.random((n, 3)) < 0.2] = -1
    return Predicted("multi", CLASSES, probs, targets, np.arange(n), policy())


def test_accuracy_is_the_share_that_is_right_with_an_interval_around_it():
    e = evaluate(single())
    assert e.accuracy.value == pytest.approx(0.9)
    assert 0.8 < e.accuracy.low < 0.9 < e.accuracy.high < 0.97
    assert (e.n, e.n_listings, e.headline) == (300, 100, e.accuracy)


def test_confusion_counts_every_photo_once():
    e = evaluate(single())
    assert e.confusion.sum() == 300
    assert np.trace(e.confusion) == 270


def test_less_sure_answers_are_left_to_a_person_and_the_rest_is_right():
    e = evaluate(single())
    assert e.coverage.policy_coverage.value == pytest.approx(0.9)
    assert e.coverage.policy_error.value == 0
    assert dict(e.coverage.at_error)[0.01].coverage == pytest.approx(0.9)


def test_the_baseline_is_the_most_frequent_class_of_training():
    p = single()
    e = evaluate(p, train_targets=np.array([2, 2, 0, -1, -1, -1]))
    assert "yard" in e.baseline_name
    assert e.baseline.value == pytest.approx((p.targets == 2).mean())


def test_photos_without_a_label_are_left_out():
    p = single()
    p.targets[100:] = -1
    assert evaluate(p).n == 100


def test_without_any_label_it_says_so():
    p = single()
    p.targets[:] = -1
    with pytest.raises(ValueError, match="known answer"):
        evaluate(p)


def test_a_leaking_split_is_also_scored_without_the_leak():
    leaking = np.arange(300) >= 200  # all of these are right
    e = evaluate(single(), leaking=leaking)
    assert e.n_leaking == 100
    assert e.without_leaks.n == 200
    assert e.without_leaks.accuracy.value == pytest.approx(0.85)
    assert e.as_dict()["leaking"]["without"]["accuracy"]["value"] == pytest.approx(0.85)


def test_where_everything_leaks_nothing_is_left_to_score():
    e = evaluate(single(), leaking=np.ones(300, dtype=bool))
    assert (e.n_leaking, e.without_leaks) == (300, None)


def test_multi_scores_known_answers_only():
    p = multi()
    e = evaluate(p)
    known = p.targets >= 0
    right = (p.probs >= 0.5) == (p.targets == 1)
    assert e.accuracy.value == pytest.approx(right[known].mean())
    assert e.accuracy.n == known.sum()
    assert e.confusion is None
    assert e.headline == e.scores.macro.average_precision
    assert e.ece < 0.1  # the probabilities are true by construction


def test_multi_baseline_is_how_frequent_each_class_is():
    p = multi()
    shares = [(p.targets[:, j] == 1).sum() / (p.targets[:, j] >= 0).sum() for j in range(3)]
    assert evaluate(p).baseline.value == pytest.approx(np.mean(shares), abs=1e-6)


@pytest.mark.parametrize("make", [single, multi])
def test_the_dict_is_json_without_nan_and_has_the_promised_shape(make):
    p = make()
    out = json.loads(json.dumps(evaluate(p).as_dict(), allow_nan=False))
    name = "accuracy" if p.kind == "single" else "macro_ap"
    assert set(out[name]) == {"value", "low", "high", "n"}
    assert [c["name"] for c in out["classes"]] == list(CLASSES)
    assert set(out["macro"]) == {"precision", "recall", "f1", "average_precision"}
    assert ("confusion" in out) == (p.kind == "single")


def test_a_class_nobody_has_is_undefined_and_still_json():
    p = single()
    p.targets[p.targets == 2] = 0
    out = evaluate(p).as_dict()
    assert out["classes"][2]["recall"] is None
    json.dumps(out, allow_nan=False)


def test_the_same_seed_gives_the_same_numbers():
    assert evaluate(single()).as_dict() == evaluate(single()).as_dict()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="needs probs"):
        Predicted("single", CLASSES, np.ones((2, 2)), np.zeros(2, int), np.zeros(2), policy())
