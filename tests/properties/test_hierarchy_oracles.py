"""Answers in a category tree against what a person would count by walking up the tree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.metrics.hierarchy import (
    ancestry,
    backoff,
    backoff_curve,
    cut,
    hierarchical_f1,
    leaf_answers,
    level_accuracy,
    levels,
    overlap,
    tree_scores,
    wrong_nodes,
)
from listlens.metrics.intervals import Bootstrap


def line(parent, node):
    """Ancestors of a node and itself, by recursion, from the top."""
    return [] if node < 0 else [*line(parent, parent[node]), node]


def leaves_of(parent):
    return [i for i in range(len(parent)) if i not in parent]


def seen(parent, answer, truth):
    """The answer's line as far as the truth can judge it."""
    said, true = line(parent, answer), line(parent, truth)
    return said if truth not in parent else said[: len(true)]


@st.composite
def trees(draw):
    n = draw(st.integers(1, 12))
    return [draw(st.integers(-1, i - 1)) for i in range(n)]


@st.composite
def answered(draw):
    """A tree, probabilities of its leaves, true nodes and answers of any depth."""
    parent = draw(trees())
    n = draw(st.integers(1, 12))
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    leaves = leaves_of(parent)
    probs = rng.dirichlet(np.full(len(leaves), 0.4), n).astype(np.float32)
    truth = rng.integers(0, len(parent), n)
    answer = rng.integers(-1, len(parent), n)
    return parent, np.array(leaves), probs, truth, answer


def node_prob(parent, leaves, row, node):
    return sum(p for leaf, p in zip(leaves, row, strict=True) if node in line(parent, leaf))


@given(trees())
def test_ancestry_is_the_line_of_every_node(parent):
    table = ancestry(parent)
    assert [[x for x in row if x >= 0] for row in table.tolist()] == [
        line(parent, i) for i in range(len(parent))
    ]


@pytest.mark.parametrize("parent", [[0], [1, -1], [-1, 2, 1], [-2]])
def test_a_parent_after_its_child_is_refused(parent):
    with pytest.raises(ValueError, match="before its children"):
        ancestry(parent)


@given(answered())
def test_the_likeliest_node_of_each_depth_has_the_largest_sum_of_leaves(case):
    parent, leaves, probs, _, _ = case
    found = levels(parent, leaves, probs)
    for row, best in zip(probs, found.best, strict=True):
        for depth, node in enumerate(best, 1):
            there = [i for i in range(len(parent)) if len(line(parent, i)) == depth]
            sums = {i: node_prob(parent, leaves, row, i) for i in there}
            assert node in there
            assert sums[node] == pytest.approx(max(sums.values()), abs=1e-6)


@given(answered(), st.floats(0, 1))
def test_backing_off_gives_the_deepest_node_that_is_likely_enough(case, threshold):
    parent, leaves, probs, _, _ = case
    got = levels(parent, leaves, probs).backed_off(threshold)
    for row, node in zip(probs, got, strict=True):
        sums = [node_prob(parent, leaves, row, i) for i in range(len(parent))]
        if node >= 0:
            assert all(sums[i] >= threshold - 1e-6 for i in line(parent, node))
        below = [i for i in range(len(parent)) if parent[i] == node]
        if below and threshold > 0:
            assert max(sums[i] for i in below) < threshold + 1e-6
        if threshold > 0.5:  # then only one line can be that likely
            likely = [i for i in range(len(parent)) if sums[i] >= threshold + 1e-6]
            assert all(i in line(parent, node) for i in likely)


@given(answered())
def test_overlap_distance_and_errors_equal_those_counted_by_hand(case):
    parent, _, _, truth, answer = case
    o = overlap(parent, answer, truth)
    wrong = wrong_nodes(parent, answer, truth)
    for i, (a, t) in enumerate(zip(answer, truth, strict=True)):
        said, true = seen(parent, a, t), line(parent, t)
        assert o.shared[i] == len(set(said) & set(true))
        assert (o.answered[i], o.true[i]) == (len(said), len(true))
        assert o.distance[i] == len(set(said) ^ set(true))
        assert wrong[i] == bool(set(said) - set(true))
        assert cut(parent, [a], [t])[0] == (said[-1] if said else -1)


@given(answered())
def test_f1_is_that_of_pooled_precision_and_recall(case):
    parent, _, _, truth, answer = case
    pairs = [(seen(parent, a, t), line(parent, t)) for a, t in zip(answer, truth, strict=True)]
    shared = sum(len(set(said) & set(true)) for said, true in pairs)
    n_said, n_true = sum(len(said) for said, _ in pairs), sum(len(true) for _, true in pairs)
    scores = tree_scores(
        overlap(parent, answer, truth), ancestry(parent).shape[1], Bootstrap(range(len(truth)))
    )
    assert scores.recall.value == pytest.approx(shared / n_true)
    if n_said:
        p, r = shared / n_said, shared / n_true
        assert scores.precision.value == pytest.approx(p)
        assert scores.f1.value == pytest.approx(2 * p * r / (p + r) if shared else 0)
    else:
        assert scores.precision is None
    assert hierarchical_f1(parent, answer, truth) == pytest.approx(scores.f1.value)
    edges = [len(set(said) ^ set(true)) for said, true in pairs]
    assert scores.distance.value == pytest.approx(np.mean(edges))
    assert scores.distance.low <= scores.distance.value <= scores.distance.high


@given(answered())
def test_a_level_counts_the_rows_whose_truth_reaches_it(case):
    parent, leaves, probs, truth, _ = case
    found = levels(parent, leaves, probs)
    got = level_accuracy(parent, found.best, truth, Bootstrap(range(len(truth)), n_resamples=20))
    for level, estimate in enumerate(got):
        rows = [(b, line(parent, t)) for b, t in zip(found.best, truth, strict=True)]
        right = [b[level] == true[level] for b, true in rows if len(true) > level]
        if right:
            assert (estimate.value, estimate.n) == (pytest.approx(np.mean(right)), len(right))
        else:
            assert estimate is None


@given(answered())
def test_backoff_of_decisions_equals_the_loop(case):
    parent, _, _, truth, answer = case
    b = backoff(parent, answer, truth, Bootstrap(range(len(truth)), n_resamples=20))
    depth = np.array([len(line(parent, a)) for a in answer])
    yes = depth > 0
    wrong = wrong_nodes(parent, answer, truth)
    assert b.answered.value == pytest.approx(yes.mean())
    assert b.mean_depth_all.value == pytest.approx(depth.mean())
    assert b.f1.value == pytest.approx(hierarchical_f1(parent, answer, truth))
    if yes.any():
        assert b.mean_depth.value == pytest.approx(depth[yes].mean())
        assert b.error.value == pytest.approx(wrong[yes].mean())
        assert b.error.n == yes.sum()
    else:
        assert b.mean_depth is None
        assert b.error is None


@given(answered())
def test_points_of_the_curve_are_those_of_deciding_at_their_threshold(case):
    parent, leaves, probs, truth, _ = case
    found = levels(parent, leaves, probs)
    points = backoff_curve(parent, found, truth, n_points=8)
    for p in points:
        nodes = found.backed_off(p.threshold)
        depth = np.array([len(line(parent, a)) for a in nodes])
        wrong = wrong_nodes(parent, nodes, truth)
        assert p.answered == pytest.approx((depth > 0).mean())
        assert p.mean_depth_all == pytest.approx(depth.mean())
        assert p.error == pytest.approx(wrong.sum() / (depth > 0).sum())
    assert [p.mean_depth_all for p in points] == sorted(p.mean_depth_all for p in points)
    assert points[-1].answered == 1


def test_in_a_flat_tree_f1_is_accuracy():
    parent, leaves = [-1] * 5, np.arange(5)
    rng = np.random.default_rng(0)
    probs, truth = rng.dirichlet(np.ones(5), 80), rng.integers(0, 5, 80)
    answer = leaf_answers(leaves, probs)
    assert hierarchical_f1(parent, answer, truth) == pytest.approx((answer == truth).mean())


def test_rows_in_blocks_give_the_same_levels(monkeypatch):
    parent = [-1, 0, 0, -1, 3, 3]
    probs = np.random.default_rng(0).dirichlet(np.ones(4), 50)
    whole = levels(parent, [1, 2, 4, 5], probs)
    monkeypatch.setattr("listlens.metrics.hierarchy._CELLS", 12)
    parts = levels(parent, [1, 2, 4, 5], probs)
    assert (whole.best == parts.best).all()
    assert (whole.line == parts.line).all()


def test_no_row_has_no_f1():
    assert np.isnan(hierarchical_f1([-1], [], []))
