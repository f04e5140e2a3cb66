"""Scores against slow oracles and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_recall_fscore_support,
)

from listlens.metrics.calibration import expected_calibration_error, reliability
from listlens.metrics.classification import (
    average_precisions,
    confusion,
    normalised,
    one_hot,
    score,
)
from listlens.metrics.coverage import coverage_at_error, coverage_curve
from listlens.metrics.intervals import Bootstrap

SCORES = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=30)


def slow_average_precision(truth, scores, weights):
    """Walk down the thresholds, one by one."""
    total = sum(w for t, w in zip(truth, weights, strict=True) if t)
    if total == 0:
        return float("nan")
    area = before = 0.0
    for threshold in sorted(set(scores), reverse=True):
        rows = [i for i, s in enumerate(scores) if s >= threshold]
        hits = sum(weights[i] for i in rows if truth[i])
        seen = sum(weights[i] for i in rows)
        area += (hits - before) / total * (hits / seen if seen else 0.0)
        before = hits
    return area


@given(SCORES, st.integers(0, 2**31))
def test_average_precision_equals_the_slow_walk_under_any_weights(rows, seed):
    truth, scores = [t for t, _ in rows], [s / 6 for _, s in rows]
    weights = np.random.default_rng(seed).integers(0, 4, size=(3, len(rows)))
    fast = average_precisions(truth, scores, weights)
    slow = [slow_average_precision(truth, scores, w) for w in weights]
    np.testing.assert_allclose(fast, slow, atol=1e-5)


@given(SCORES.filter(lambda rows: any(t for t, _ in rows)))
def test_average_precision_equals_scikit_learn(rows):
    truth, scores = [t for t, _ in rows], [s / 6 for _, s in rows]
    ours = average_precisions(truth, scores, np.ones((1, len(rows))))[0]
    assert ours == pytest.approx(average_precision_score(truth, scores), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_precision_recall_and_f1_equal_scikit_learn(pairs):
    truth, said = (np.array(x) for x in zip(*pairs, strict=True))
    yes, given_ = one_hot(truth, 4), one_hot(said, 4)
    draws = Bootstrap(np.arange(len(pairs)), n_resamples=20)
    ours = score(yes, given_, given_.astype(float), np.ones_like(yes), draws)
    theirs = precision_recall_fscore_support(truth, said, labels=range(4), zero_division=0)
    for j, c in enumerate(ours.classes):
        for estimate, value in zip((c.precision, c.recall, c.f1), theirs, strict=False):
            assert (estimate.value if estimate else 0) == pytest.approx(value[j])
        assert c.support == theirs[3][j]
    present = theirs[3] > 0
    assert ours.macro.f1.value == pytest.approx(theirs[2][present].mean())
    assert ours.micro.f1.value == pytest.approx((truth == said).mean())


def test_unknown_answers_count_nowhere():
    yes = np.array([[True], [False], [True]])
    known = np.array([[True], [True], [False]])
    said = np.array([[True], [True], [False]])
    probs = np.array([[0.9], [0.8], [0.1]])
    c = score(yes, said, probs, known, Bootstrap(np.arange(3))).classes[0]
    assert (c.support, c.recall.value, c.precision.value) == (1, 1.0, 0.5)


def test_a_class_without_support_has_no_recall_and_does_not_enter_the_macro_mean():
    yes, said = one_hot([0, 0, 1], 3), one_hot([0, 0, 1], 3)
    result = score(yes, said, said.astype(float), np.ones_like(yes), Bootstrap(np.arange(3)))
    assert result.classes[2].recall is None
    assert result.classes[2].average_precision is None
    assert result.macro.recall.value == 1.0


def test_arrays_of_different_shapes_are_refused():
    yes = np.ones((2, 3), dtype=bool)
    with pytest.raises(ValueError, match="one shape"):
        score(yes, yes, np.ones((2, 2)), yes, Bootstrap([0, 1]))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=50))
def test_confusion_equals_scikit_learn_and_its_shares_add_up(pairs):
    truth, said = zip(*pairs, strict=True)
    ours = confusion(truth, said, 5)
    assert (ours == confusion_matrix(truth, said, labels=range(5))).all()
    for by, axis in (("recall", 1), ("precision", 0)):
        sums = normalised(ours, by).sum(axis=axis)
        assert np.allclose(sums, ours.sum(axis=axis) > 0)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_every_answer_is_in_one_bin_and_the_error_is_that_of_the_slow_sum(rows):
    confidence, right = zip(*rows, strict=True)
    bins = reliability(confidence, right)
    assert sum(b.n for b in bins) == len(rows)
    slow = 0.0
    for b in bins:
        inside = [(c, r) for c, r in rows if b.low < c <= b.high or (b.low == 0 == c)]
        slow += abs(sum(c for c, _ in inside) - sum(r for _, r in inside)) / len(rows)
        assert b.accuracy_low <= b.accuracy <= b.accuracy_high
    assert expected_calibration_error(bins) == pytest.approx(slow)


def test_no_answer_has_no_calibration_error():
    assert np.isnan(expected_calibration_error(()))


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=60))
def test_coverage_and_error_equal_those_counted_at_each_threshold(rows):
    confidence, wrong = [c / 9 for c, _ in rows], [w for _, w in rows]
    points = coverage_curve(confidence, wrong)
    for p in points:
        answered = [w for c, w in zip(confidence, wrong, strict=True) if c >= p.threshold]
        assert (p.n_answered, p.n_wrong) == (len(answered), sum(answered))
        assert p.error == pytest.approx(sum(answered) / len(answered))
    assert points[-1].coverage == 1
    fine = coverage_at_error(confidence, wrong, 0.25)
    best = [p.coverage for p in points if p.error <= 0.25]
    assert (fine.coverage if fine else None) == (max(best) if best else None)


def test_nothing_to_answer_is_an_empty_curve():
    assert coverage_curve([], []) == ()
