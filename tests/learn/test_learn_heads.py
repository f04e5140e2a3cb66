"""Heads reach scikit-learn's optimum, and their numbers do not depend on the batch."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from listlens.learn import heads
from listlens.learn.heads import fit, fit_path, rotate
from listlens.learn.objectives import balanced, encode, losses


def scaled(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


@pytest.mark.parametrize("n", [18, 240], ids=["fewer rows than columns", "more rows"])
@pytest.mark.parametrize("weighting", [None, "balanced"])
def test_single_head_reaches_the_optimum_of_scikit_learn(training_set, n, weighting, monkeypatch):
    monkeypatch.setattr(heads, "TOLERANCE", 1e-10)
    data = training_set(n)
    targets = encode(data.targets, 3, "single")
    head = fit(data.embeddings, balanced(targets) if weighting else targets, [0.01, 0.1])
    oracle = LogisticRegression(C=0.1, class_weight=weighting, max_iter=5000, tol=1e-8)
    oracle.fit(scaled(data.embeddings), data.targets)
    expected = oracle.predict_log_proba(scaled(data.embeddings))
    found = head.logits(data.embeddings)
    found = found - np.log(np.exp(found).sum(axis=1, keepdims=True))
    assert np.abs(np.exp(found) - np.exp(expected)).max() < 2e-3


def test_multi_head_reaches_the_optimum_of_one_vs_rest_on_the_known_answers(
    training_set, monkeypatch
):
    monkeypatch.setattr(heads, "TOLERANCE", 1e-10)
    data = training_set(kind="multi")
    answers = np.where(np.random.default_rng(1).random(data.targets.shape) < 0.3, -1, data.targets)
    rotated = rotate(data.embeddings)
    head = rotated.head(*fit_path(rotated, encode(answers, 3, "multi"), [0.1])[0])
    for c in range(3):
        known = answers[:, c] >= 0
        x = scaled(data.embeddings)
        oracle = LogisticRegression(C=0.1, max_iter=5000, tol=1e-8)
        expected = oracle.fit(x[known], answers[known, c]).predict_proba(x)[:, 1]
        found = 1 / (1 + np.exp(-head.logits(data.embeddings)[:, c]))
        assert np.abs(found - expected).max() < 2e-3


def test_default_tolerance_stays_close_to_the_exact_optimum(training_set, monkeypatch):
    data = training_set(noise=2.0)
    targets = encode(data.targets, 3, "single")
    quick = fit(data.embeddings, targets, [0.001, 0.01, 0.1, 1.0]).logits(data.embeddings)
    monkeypatch.setattr(heads, "TOLERANCE", 1e-10)
    exact = fit(data.embeddings, targets, [1.0]).logits(data.embeddings)
    assert losses(quick, targets).mean() == pytest.approx(losses(exact, targets).mean(), abs=2e-3)
    assert (quick.argmax(axis=1) == exact.argmax(axis=1)).mean() > 0.99


def test_a_class_without_an_example_leaves_everything_finite(training_set):
    data = training_set()
    head = fit(data.embeddings, encode(data.targets, 5, "single"), [1.0])
    logits = head.logits(data.embeddings)
    assert np.isfinite(logits).all()
    assert set(logits.argmax(axis=1)) <= {0, 1, 2}


def test_constant_columns_do_no_harm(training_set):
    x = training_set().embeddings.copy()
    x[:, :5] = 3.0
    head = fit(x, encode(training_set().targets, 3, "single"), [0.1])
    assert np.isfinite(head.weights).all()
    assert (head.logits(x).argmax(axis=1) == training_set().targets).mean() > 0.9


def test_logits_of_one_photo_equal_those_in_a_batch(training_set):
    x = training_set(1000).embeddings
    head = fit(x, encode(training_set(1000).targets, 3, "single"), [1.0])
    alone = np.concatenate([head.logits(x[i : i + 1]) for i in range(0, 1000, 50)])
    assert np.abs(alone - head.logits(x)[::50]).max() <= 1e-6


def test_balanced_weights_give_every_class_the_same_total():
    targets = balanced(encode(np.array([0, 0, 0, 1, 2, 2, -1]), 3, "single"))
    totals = (targets.yes * targets.weight).sum(axis=0)
    assert np.allclose(totals, 2.0)
    assert targets.weight[-1].sum() == 0
