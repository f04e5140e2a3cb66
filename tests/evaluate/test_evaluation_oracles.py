"""The evaluation against counting photo by photo, for any targets, policy and split."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core.types import Policy
from listlens.evaluate.coverage import ERROR_BUDGETS
from listlens.evaluate.evaluation import Predicted, evaluate

CLASSES = ("bath", "bed", "yard")
BAND = st.lists(st.integers(0, 10), min_size=3, max_size=3).map(
    lambda v: [x / 10 for x in sorted(v)]
)


@st.composite
def predictions(draw, kind):
    n = draw(st.integers(1, 18))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    low, at, high = draw(BAND)
    policy = Policy((at,) * 3, (low,) * 3, (high,) * 3)
    if kind == "single":
        probs, targets = rng.dirichlet(np.ones(3), n), rng.integers(-1, 3, n)
        targets[0] = 0
    else:
        probs, targets = rng.integers(0, 11, (n, 3)) / 10, rng.integers(-1, 2, (n, 3))
        targets[0, 0] = 1
    return Predicted(kind, CLASSES, probs, targets, rng.integers(0, 6, n), policy)


def value(estimate) -> float | None:
    return None if estimate is None else pytest.approx(estimate.value)


@settings(max_examples=50, deadline=None)
@given(predictions("single"))
def test_single_equals_counting_photo_by_photo(p):
    e = evaluate(p, n_resamples=5)
    rows = [
        (int(t), int(row.argmax()), float(row.max()))
        for t, row in zip(p.targets, p.probs, strict=True)
        if t >= 0
    ]
    right = [t == said for t, said, _ in rows]
    assert (e.n, e.accuracy.n) == (len(rows), len(rows))
    assert e.n_listings == len(set(p.listings[p.targets >= 0].tolist()))
    assert e.accuracy.value == pytest.approx(np.mean(right))
    for i in range(3):
        for j in range(3):
            assert e.confusion[i, j] == sum((t, said) == (i, j) for t, said, _ in rows)
    decided = [
        r for r, (_, _, sure) in zip(right, rows, strict=True) if sure >= p.policy.thresholds[0]
    ]
    assert e.coverage.policy_coverage.value == pytest.approx(len(decided) / len(rows))
    assert (1 - np.mean(decided) if decided else None) == value(e.coverage.policy_error)
    assert sum(b.n for b in e.bins) == len(rows)


@settings(max_examples=50, deadline=None)
@given(predictions("multi"))
def test_multi_equals_counting_answer_by_answer(p):
    e = evaluate(p, n_resamples=5)
    low, at, high = p.policy.review_below[0], p.policy.thresholds[0], p.policy.review_above[0]
    known = [
        (int(t), min(float(q), 1 - 1e-9))  # a threshold of 1 means never
        for t, q in zip(p.targets.ravel(), p.probs.ravel(), strict=True)
        if t >= 0
    ]
    assert e.n == (p.targets >= 0).any(axis=1).sum()
    assert e.accuracy.value == pytest.approx(np.mean([(q >= at) == t for t, q in known]))
    decided = [(t, q) for t, q in known if not low <= q < high]
    assert e.coverage.policy_coverage.value == pytest.approx(len(decided) / len(known))
    wrong = [(q >= at) != t for t, q in decided]
    assert (np.mean(wrong) if wrong else None) == value(e.coverage.policy_error)
    assert (e.confusion, e.coverage.unit) == (None, "answers")


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_any_evaluation_is_json_with_ordered_intervals(kind):
    @settings(max_examples=30, deadline=None)
    @given(predictions(kind))
    def holds(p):
        out = json.loads(json.dumps(evaluate(p, n_resamples=5).as_dict(), allow_nan=False))
        assert [point["budget"] for point in out["coverage"]["at_error"]] == list(ERROR_BUDGETS)
        for point in out["coverage"]["at_error"]:
            assert point["point"] is None or point["point"]["error"] <= point["budget"]
        number = out["accuracy" if kind == "single" else "macro_ap"]
        assert 0 <= number["low"] <= number["value"] <= number["high"] <= 1

    holds()


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_leaking_photos_are_left_out_as_if_they_had_never_been_there(kind):
    @settings(max_examples=20, deadline=None)
    @given(predictions(kind), st.integers(0, 10**6))
    def holds(p, seed):
        leaking = np.random.default_rng(seed).random(len(p.probs)) < 0.4
        known = p.targets >= 0 if kind == "single" else (p.targets >= 0).any(axis=1)
        e = evaluate(p, leaking=leaking, n_resamples=5)
        assert e.n_leaking == (leaking & known).sum()
        if e.without_leaks is None:
            assert not (leaking & known).any() or not (known & ~leaking).any()
            return
        alone = evaluate(p.rows(~leaking), n_resamples=5)
        assert e.without_leaks.headline == alone.headline
        assert e.without_leaks.n == alone.n
        # The whole is not touched by saying which photos leak.
        assert e.headline == evaluate(p, n_resamples=5).headline

    holds()


@pytest.mark.parametrize(
    ("probs", "targets", "listings"),
    [
        (np.ones((2, 2)), np.zeros(2, int), np.zeros(2)),
        (np.ones((2, 3)), np.zeros(3, int), np.zeros(2)),
        (np.ones((2, 3)), np.zeros((2, 3), int), np.zeros(2)),
        (np.ones((2, 3)), np.zeros(2, int), np.zeros(3)),
    ],
    ids=["classes", "targets", "targets of multi", "listings"],
)
def test_arrays_that_do_not_belong_together_are_refused_with_their_shapes(probs, targets, listings):
    with pytest.raises(ValueError, match=r"needs probs \(n, 3\), targets .* got \(2, "):
        Predicted("single", CLASSES, probs, targets, listings, Policy((0,) * 3, (0,) * 3, (1,) * 3))


def test_a_test_split_of_one_listing_claims_nothing():
    p = Predicted("single", CLASSES, np.eye(3)[[0, 1, 2]], np.arange(3), np.zeros(3),
                  Policy((0.5,) * 3, (0.5,) * 3, (0.5,) * 3))  # fmt: skip
    e = evaluate(p)
    assert (e.accuracy.value, e.accuracy.low, e.accuracy.high) == (1.0, 0.0, 1.0)
