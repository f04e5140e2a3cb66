"""Thresholds reach what was asked for, and a decision follows from probabilities alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from listlens.core.errors import InputError
from listlens.core.types import Policy
from listlens.learn.policies import (
    best_f1_threshold,
    choose_policy,
    decide,
    largest_risk,
    parse_target,
)


def calibrated(n: int, k: int, kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2.5, (n, k))
    if kind == "multi":
        p = 1 / (1 + np.exp(-logits))
        return p, (rng.random((n, k)) < p).astype(np.int8)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return p, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


@pytest.mark.parametrize(
    "text", ["f1", "precision>=2", "precision=0.9", "error<=", "error>=0.1", ""]
)
def test_an_unknown_target_is_refused_with_what_is_allowed(text):
    with pytest.raises(InputError, match="best-f1, precision>=P, error<=E"):
        parse_target(text)


def test_best_f1_equals_a_slow_search():
    p, yes = calibrated(300, 1, "multi", 3)
    p, yes = p[:, 0].round(2), yes[:, 0] == 1
    best = max(f1_score(yes, p >= t) for t in np.unique(p))
    assert f1_score(yes, p >= best_f1_threshold(p, yes)) == pytest.approx(best)


def test_error_target_holds_on_new_photos_for_single():
    policy = choose_policy(*calibrated(3000, 4, "single", 1), "single", "error<=0.1")
    probs, truth = calibrated(3000, 4, "single", 2)
    decisions = decide(probs, policy, "single", list("abcd"))
    alone = [
        (d.classes[0], "abcd"[t]) for d, t in zip(decisions, truth, strict=True) if not d.review
    ]
    assert len(alone) > 500
    assert np.mean([a != b for a, b in alone]) < 0.12


def test_precision_target_holds_on_new_photos_for_multi():
    policy = choose_policy(*calibrated(3000, 3, "multi", 1), "multi", "precision>=0.9")
    probs, truth = calibrated(3000, 3, "multi", 2)
    for c in range(3):
        given = probs[:, c] >= policy.thresholds[c]
        assert truth[given, c].mean() > 0.88
        assert given.sum() > 300


def test_precision_target_holds_on_new_photos_for_single():
    policy = choose_policy(*calibrated(4000, 3, "single", 1), "single", "precision>=0.95")
    probs, truth = calibrated(4000, 3, "single", 2)
    top = probs.argmax(axis=1)
    for c in range(3):
        alone = (top == c) & (probs.max(axis=1) >= policy.thresholds[c])
        assert (truth[alone] == c).mean() > 0.93


def test_band_halves_the_error_by_default_and_reviews_the_least_sure():
    probs, truth = calibrated(3000, 3, "multi", 1)
    policy = choose_policy(probs, truth, "multi", "best-f1")
    for c in range(3):
        low, mid, high = (
            v[c] for v in (policy.review_below, policy.thresholds, policy.review_above)
        )
        wrong = (probs[:, c] >= mid) != (truth[:, c] == 1)
        decided = (probs[:, c] < low) | (probs[:, c] >= high)
        assert wrong[decided].mean() <= wrong.mean() / 2
        assert decided.mean() > 0.3


def test_nothing_is_reviewed_where_nothing_goes_wrong():
    probs = np.eye(3)[np.arange(90) % 3] * 0.9 + 0.1 / 3
    policy = choose_policy(probs, np.arange(90) % 3, "single", "best-f1")
    assert policy.thresholds == (0.0, 0.0, 0.0)
    assert not any(d.review for d in decide(probs, policy, "single", list("abc")))


def test_an_unreachable_precision_is_never_given_without_a_person():
    rng = np.random.default_rng(0)
    probs, truth = rng.random((200, 1)), (rng.random((200, 1)) < 0.3).astype(np.int8)
    policy = choose_policy(probs, truth, "multi", "precision>=0.99")
    assert policy.thresholds == (1.0,)


def test_unknown_answers_do_not_count():
    probs, truth = calibrated(500, 2, "multi", 1)
    more = np.vstack([probs, probs])
    unknown = np.vstack([truth, np.full_like(truth, -1)])
    assert choose_policy(more, unknown, "multi", "best-f1") == choose_policy(
        probs, truth, "multi", "best-f1"
    )


def test_no_labelled_photo_at_all_still_gives_a_policy():
    for kind, targets in (("single", np.full(3, -1)), ("multi", np.full((3, 2), -1))):
        assert len(choose_policy(np.full((3, 2), 0.5), targets, kind, "best-f1").thresholds) == 2


def test_largest_risk_counts_one_more_error_when_it_is_a_promise():
    risk, wrong = np.arange(10) / 10, np.zeros(10, dtype=bool)
    assert largest_risk(risk, wrong, 0.05, exact=False) == 1.0
    assert largest_risk(risk, wrong, 0.05, exact=True) == 0.0
    assert largest_risk(risk, wrong, 0.1, exact=True) == 1.0


def test_ties_are_decided_together():
    risk, wrong = np.array([0.1, 0.2, 0.2]), np.array([False, False, True])
    assert largest_risk(risk, wrong, 0.1, exact=False) == pytest.approx(0.15)


def test_multi_decision_lists_the_most_probable_first_and_the_least_sure_answer():
    policy = Policy((0.5, 0.5, 0.5), (0.4, 0.5, 0.5), (0.5, 0.6, 0.5))
    probs = np.array([[0.7, 0.9, 0.1], [0.45, 0.9, 0.1], [0.1, 0.1, 0.1]])
    first, second, third = decide(probs, policy, "multi", ["a", "b", "c"])
    assert (first.classes, first.review) == (("b", "a"), False)
    assert first.probability == pytest.approx(0.7)
    assert (second.classes, second.review) == (("b",), True)
    assert third.classes == ()
    assert third.probability == pytest.approx(0.9)


def test_a_policy_for_other_classes_is_refused():
    policy = Policy((0.5,), (0.5,), (0.5,))
    with pytest.raises(InputError, match="do not belong together"):
        decide(np.zeros((2, 2)), policy, "single", ["a", "b"])
    assert decide(np.zeros((0, 1)), policy, "multi", ["a"]) == []
