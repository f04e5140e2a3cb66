"""Losses of every kind: numbers by hand, slopes by finite differences, rows without an answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from listlens.core.types import Kind
from listlens.learn.calibration import fit_calibration
from listlens.learn.candidates import Candidate, TrainOptions, candidates_for, scores_of
from listlens.learn.dataset import TrainingSet
from listlens.learn.learner import Learner, all_candidates
from listlens.learn.objectives import Targets, encode, loss_and_slope, losses, outputs
from listlens.learn.recipe import train
from listlens.learn.trees import encode_nodes, shape_of

LEAVES = ("a > x", "a > y", "b > x", "b > y", "c")
SHAPE = shape_of(LEAVES)
KINDS: tuple[Kind, ...] = ("single", "multi", "tree", "score")


def targets_of(kind: Kind, n: int, rng: np.random.Generator, *, unknown: bool = False) -> Targets:
    """Made-up answers over five classes, leaves or steps, of uneven weight."""
    k = 5
    if kind == "tree":
        nodes = rng.integers(-1 if unknown else 0, len(SHAPE.tree.paths), n)
        found = encode_nodes(nodes, SHAPE.under)
    elif kind == "single":
        found = encode(rng.integers(-1 if unknown else 0, k, n), k, kind)
    elif kind == "multi":
        found = encode(rng.integers(-1 if unknown else 0, 2, (n, k)), k, kind)
    else:
        votes = rng.dirichlet(np.ones(k), n)
        if unknown:
            votes[::3] = np.nan
        found = encode(votes, k, kind)
    weight = found.weight * rng.uniform(0.5, 2, found.weight.shape)
    return Targets(found.yes, weight.astype(np.float32), kind)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=8, deadline=None)
def test_the_slope_is_that_of_finite_differences(kind: Kind, seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = targets_of(kind, 4, rng, unknown=True)
    logits = rng.normal(size=(4, 5))

    def total(at: np.ndarray) -> float:
        return float((losses(at, targets) * targets.weight).sum())

    loss, slope = loss_and_slope(logits.astype(np.float32), targets)
    assert loss == pytest.approx(total(logits), rel=1e-4, abs=1e-5)
    for i, j in np.ndindex(*logits.shape):
        step = np.zeros_like(logits)
        step[i, j] = 1e-5
        steep = (total(logits + step) - total(logits - step)) / 2e-5
        assert slope[i, j] == pytest.approx(steep, abs=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_the_textbooks(kind: Kind) -> None:
    rng = np.random.default_rng(1)
    targets = targets_of(kind, 30, rng)
    logits = rng.normal(size=(30, 5)) * 2
    found = losses(logits, targets)
    p = outputs(logits, kind)
    for row in range(30):
        yes = targets.yes[row]
        if kind == "multi":
            by_hand = [-np.log(q if y else 1 - q) for q, y in zip(p[row], yes, strict=True)]
        elif kind == "score":
            gaps = [sum(p[row][: i + 1]) - sum(yes[: i + 1]) for i in range(5)]
            by_hand = [sum(g * g for g in gaps) / 5]
        else:
            by_hand = [-np.log(sum(q for q, y in zip(p[row], yes, strict=True) if y))]
        assert found[row] == pytest.approx(by_hand, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("kind", ["single", "multi", "tree"])
def test_extreme_logits_cost_much_and_stay_finite(kind: Kind) -> None:
    targets = targets_of(kind, 12, np.random.default_rng(2))
    logits = np.where(targets.yes > 0, -400.0, 400.0)
    found = losses(logits, targets)
    assert np.isfinite(found).all()
    assert found.max() > 300
    loss, slope = loss_and_slope(logits.astype(np.float32), targets)
    assert np.isfinite(loss)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_an_answer_change_no_score_and_no_calibration(kind: Kind) -> None:
    rng = np.random.default_rng(3)
    targets = targets_of(kind, 90, rng, unknown=True)
    logits = rng.normal(size=(2, 90, 5)).astype(np.float32)
    known = np.flatnonzero(targets.known)
    assert 0 < len(known) <= 90
    assert np.isfinite(losses(logits[0], targets) * targets.weight).all()
    alone = targets.rows(known)
    assert scores_of(logits, targets) == pytest.approx(scores_of(logits[:, known], alone), rel=1e-6)
    one, other = fit_calibration(logits[0], targets), fit_calibration(logits[0][known], alone)
    assert one.slope == pytest.approx(other.slope, rel=1e-4)


def test_a_tree_learns_the_same_with_and_without_photos_that_nobody_decided() -> None:
    rng = np.random.default_rng(4)
    nodes = np.array(SHAPE.tree.leaves)[np.arange(90) % 5]
    x = rng.normal(size=(len(SHAPE.tree.paths), 6))[nodes] + 0.9 * rng.normal(size=(90, 6))
    nodes[4::7] = -1
    known, fold = np.flatnonzero(nodes >= 0), np.arange(90) // 5 % 3
    options = TrainOptions(strengths=(1e-2, 1e-1), sharing=(1.0,))
    scores, slopes, heads = [], [], []
    for rows in (np.arange(90), known):
        targets = encode_nodes(nodes[rows], SHAPE.under)
        learner = Learner(
            x[rows].astype(np.float32), targets, nodes[rows], LEAVES, options.strengths
        )
        tried = all_candidates(targets, options)
        logits = learner.cross_fit(fold[rows], tried)
        scores.append(scores_of(logits, targets))
        slopes.append([fit_calibration(one, targets).slope[0] for one in logits])
        own = np.flatnonzero(targets.known)
        heads.append([learner.fit(own, one, fold[rows]).weights for one in tried])
    assert np.isfinite(scores).all()
    assert scores[0] == pytest.approx(scores[1], rel=1e-3)
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-2)
    for one, other in zip(*heads, strict=True):
        assert one == pytest.approx(other, abs=2e-2)


def test_photos_that_people_disagree_on_do_not_choose_a_trees_head() -> None:
    rng = np.random.default_rng(0)
    nodes = np.array(SHAPE.tree.leaves)[np.arange(120) // 2 % 5]
    x = rng.normal(size=(len(SHAPE.tree.paths), 8))[nodes] + 0.8 * rng.normal(size=(120, 8))
    nodes[5::11] = -1
    two_each = np.arange(120) // 2
    data = TrainingSet(
        "tree",
        SHAPE.tree.paths,
        x.astype(np.float32),
        nodes,
        groups=two_each,
        listings=two_each,
        given_split=np.full(120, "", "<U5"),
        names=tuple(map(str, range(120))),
    )
    options = TrainOptions(n_folds=3, strengths=(1e-3, 1e-1), sharing=(1.0,))
    found = train(data, options)
    tried = [one["loss"] for one in found.selection["tried"]]
    assert np.isfinite(tried).all()
    assert (
        min(tried) < tried[0]
    )  # the first, the most held back, was not taken for want of a number
    assert not np.isnan(found.calibration.slope).any()
    assert found.oof_decided.given.any()


@given(seed=st.integers(0, 10**6), shift=st.floats(-50, 50))
@settings(max_examples=15, deadline=None)
def test_what_all_classes_gain_alike_changes_nothing(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    for kind in ("single", "tree", "score"):
        targets = targets_of(kind, 6, rng)
        logits = rng.normal(size=(6, 5))
        assert losses(logits + shift, targets) == pytest.approx(losses(logits, targets), abs=1e-6)
        _, slope = loss_and_slope(logits.astype(np.float32), targets)
        assert np.abs(slope.sum(axis=1)).max() < 1e-5


def test_a_score_is_ranked_by_correlation_and_constants_come_last() -> None:
    votes = np.eye(5)[[0, 1, 2, 3, 4, 0, 4]]
    targets = encode(votes, 5, "score")
    right, flat = np.log(votes + 0.05), np.zeros((7, 5))
    scores = scores_of(np.stack([right, -right, flat]).astype(np.float32), targets)
    assert scores[0] == pytest.approx(0, abs=1e-6)
    assert scores[1] > 1.2
    assert scores[2] == 2.0
    assert scores_of(flat[None, :1], targets.rows(np.array([0]))).tolist() == [2.0]


def test_the_distance_of_votes_grows_with_every_step_between() -> None:
    sure = np.log(softmax(50 * np.eye(5), axis=1) + 1e-12)
    given_first = encode(np.repeat(np.eye(5)[:1], 5, axis=0), 5, "score")
    found = losses(sure, given_first)[:, 0]
    assert found == pytest.approx(np.arange(5) / 5, abs=1e-6)


@pytest.mark.parametrize(
    ("counts", "weightings"),
    [((30, 30), {"none"}), ((30, 24), {"none"}), ((30, 10), {"none", "balanced"})],
    ids=["even", "nearly", "uneven"],
)
def test_weights_are_tried_where_they_would_change_something(
    counts: tuple[int, int], weightings: set[str]
) -> None:
    targets = encode(np.repeat([0, 1], counts), 2, "single")
    tried = candidates_for(targets, TrainOptions())
    assert {c.class_weight for c in tried} == weightings
    assert {c.sharing for c in tried} == {0.0}
    asked = candidates_for(targets, TrainOptions(class_weight="balanced", strengths=(0.1,)))
    assert asked == [Candidate("balanced", 0.1)]
