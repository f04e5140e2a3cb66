"""What a view of a search sees is exactly what it may see, against fits done by hand."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.learn.candidates import Candidate
from listlens.learn.discriminant import SETTINGS, fit_discriminant
from listlens.learn.heads import fit
from listlens.learn.nearest_mean import SHRINKAGES, nearest_means
from listlens.learn.objectives import encode, losses
from listlens.learn.recipe import encoded
from listlens.learn.search import paired, score_of
from listlens.learn.trees import shape_of
from listlens.learn.trials import (
    Outcome,
    OutOfTime,
    Views,
    average,
    chosen,
    logistic,
    nearest_mean,
    row_losses,
    seen_by,
    tempered,
    tree_discriminant,
)

NEVER = float("inf")


def made_up(n=60, n_folds=3, seed=0, dim=5):
    """Embeddings, targets and folds of three classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = (rng.normal(size=(n, dim)) + 1.5 * np.eye(3, dim)[y]).astype(np.float32)
    return x, encode(y, 3, "single"), (np.arange(n) // 3) % n_folds


def views_of(fold, nested=True, known=None):
    return Views(fold, np.ones(len(fold), bool) if known is None else known, nested)


def seen(x, targets, views, deadline=NEVER):
    return seen_by(nearest_mean(x, targets), x, views, 3, deadline)


def test_the_first_view_is_a_plain_cross_validation():
    x, targets, fold = made_up()
    logits = seen(x, targets, views_of(fold))[0]
    for f in range(3):
        rows, held = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        heads = nearest_means(x[rows], targets.rows(rows))
        for i, head in enumerate(heads):
            assert np.array_equal(logits[i, held], head.logits(x[held]))


def test_the_view_of_an_outer_fold_rests_on_models_that_left_out_that_fold_too():
    x, targets, fold = made_up()
    logits = seen(x, targets, views_of(fold))
    for outer in range(3):
        for f in range(3):
            rows = np.flatnonzero((fold != outer) & (fold != f))
            held = np.flatnonzero(fold == f)
            heads = nearest_means(x[rows], targets.rows(rows))
            expected = np.stack([head.logits(x[held]) for head in heads])
            assert np.array_equal(logits[outer + 1][:, held], expected), (outer, f)


def test_without_nesting_there_is_the_first_view_alone():
    x, targets, fold = made_up()
    logits = seen(x, targets, views_of(fold, nested=False))
    assert logits.shape == (1, len(SHRINKAGES), 60, 3)
    assert np.array_equal(logits[0], seen(x, targets, views_of(fold))[0])


def test_rows_of_no_fold_are_neither_learnt_from_nor_answered():
    x, targets, fold = made_up()
    fold = np.where(np.arange(60) < 9, -1, fold)
    logits = seen(x, targets, views_of(fold))
    assert np.isnan(logits[:, :, :9]).all()
    assert np.isfinite(logits[:, :, 9:]).all()
    changed = x.copy()
    changed[:9] += 100
    assert np.array_equal(logits[:, :, 9:], seen(changed, targets, views_of(fold))[:, :, 9:])


def test_rows_without_an_answer_are_answered_but_not_learnt_from():
    x, targets, fold = made_up()
    known = np.arange(60) >= 12
    logits = seen(x, targets, views_of(fold, known=known))
    assert np.isfinite(logits).all()
    wild = x.copy()
    wild[:12] *= 50
    again = seen(wild, targets, views_of(fold, known=known))
    assert np.array_equal(logits[:, :, 12:], again[:, :, 12:])


@settings(max_examples=15, deadline=None)
@given(outer=st.integers(0, 2), shift=st.integers(1, 2), seed=st.integers(0, 10_000))
def test_nothing_that_a_view_chooses_by_depends_on_the_labels_of_its_fold(outer, shift, seed):
    x, targets, fold = made_up(seed=seed)
    views = views_of(fold)
    y = targets.yes.argmax(axis=1)
    lied = encode(np.where(fold == outer, (y + shift) % 3, y), 3, "single")
    one, other = (
        chosen(seen(x, told, views), told, views, "s", "nearest mean") for told in (targets, lied)
    )
    assert np.array_equal(one.logits[outer + 1], other.logits[outer + 1])
    assert not np.array_equal(one.logits[0], other.logits[0])


@settings(max_examples=15, deadline=None)
@given(outer=st.integers(0, 2), seed=st.integers(0, 10_000))
def test_nothing_that_a_view_chooses_by_depends_on_the_photos_of_its_fold(outer, seed):
    x, targets, fold = made_up(seed=seed)
    views = views_of(fold)
    other = x.copy()
    other[fold == outer] = np.random.default_rng(seed).normal(size=other[fold == outer].shape)
    one, changed = (seen(z, targets, views)[outer + 1] for z in (x, other))
    assert np.array_equal(one[:, fold != outer], changed[:, fold != outer])


def test_a_trial_that_runs_out_of_time_is_given_up():
    x, targets, fold = made_up()
    with pytest.raises(OutOfTime):
        seen(x, targets, views_of(fold), deadline=time.monotonic() - 1)


def test_logistic_heads_are_those_of_the_recipe_along_the_same_way():
    x, targets, fold = made_up(n=90)
    rows = np.flatnonzero(fold != 0)
    candidates = [Candidate("none", c) for c in (0.01, 0.1, 1.0)]
    heads = logistic(x, targets, candidates, (), np.ones(90, bool))(rows)
    for i in range(3):
        by_hand = fit(x[rows], targets.rows(rows), [c.strength for c in candidates[: i + 1]])
        assert np.allclose(heads[i].logits(x), by_hand.logits(x), atol=0.02)


def test_a_tree_s_discriminants_are_those_of_the_recipe(training_set):
    flat = training_set(n=60)
    data = replace(flat, kind="tree", classes=("a", "a > x", "a > y", "b", "b > z"),
                   targets=np.array([1, 2, 4])[flat.targets])  # fmt: skip
    _, nodes, classes = encoded(data)
    rows = np.arange(0, 60, 2)
    heads = tree_discriminant(data.embeddings, nodes, classes)(rows)
    assert len(heads) == len(SETTINGS)
    for head, setting in zip(heads, SETTINGS, strict=True):
        by_hand = fit_discriminant(data.embeddings, nodes, rows, shape_of(classes), setting)
        assert np.allclose(head.weights, by_hand.weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factor", [0.05, 0.3, 1.0, 4.0, 20.0])
def test_tempering_finds_the_scale_whatever_the_head_s_own(factor):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(400, 3)).astype(np.float32) * 2
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    targets, rows = encode(y, 3, "single"), np.arange(400)
    scaled, found = tempered(np.float32(factor) * logits, targets, rows)
    plain, _ = tempered(logits, targets, rows)
    assert np.allclose(scaled, plain, rtol=0.05)
    assert found * factor == pytest.approx(1, rel=0.35)
    tried = [losses(c * logits, targets).sum() for c in np.geomspace(0.2, 5, 60)]
    assert losses(scaled, targets).sum() <= min(tried) * 1.001


def test_tempering_looks_at_the_rows_it_is_given_only():
    logits = np.random.default_rng(2).normal(size=(50, 3)).astype(np.float32)
    y = np.arange(50) % 3
    rows = np.arange(25)
    one = tempered(logits, encode(y, 3, "single"), rows)
    other = tempered(
        logits, encode(np.where(np.arange(50) < 25, y, (y + 1) % 3), 3, "single"), rows
    )
    assert one[1] == other[1]


def test_each_view_chooses_the_setting_with_the_least_loss_of_its_own_rows():
    x, targets, fold = made_up(n=90, seed=4)
    views = views_of(fold)
    logits = seen(x, targets, views)
    found = chosen(logits, targets, views, "space", "nearest mean")
    assert found.logits.shape == (4, 90, 3)
    for view in range(4):
        rows = views.inner(view)
        by_hand = [tempered(one, targets, rows) for one in logits[view]]
        sums = [losses(one[rows], targets.rows(rows)).sum() for one, _ in by_hand]
        assert np.array_equal(found.logits[view], by_hand[int(np.argmin(sums))][0])
        if view == 0:
            assert found.setting == int(np.argmin(sums))
            assert found.factor == by_hand[found.setting][1]


def test_an_average_is_the_mean_of_two_and_remembers_them():
    one = Outcome("s", "logistic", np.zeros((1, 4, 2), np.float32))
    other = Outcome("s", "nearest mean", np.ones((1, 4, 2), np.float32))
    both = average(one, other)
    assert (both.logits == 0.5).all()
    assert both.logits.dtype == np.float32
    assert both.parts == (one, other)
    assert (both.space, both.head) == ("s", "average")


def test_the_loss_of_a_row_counts_what_the_row_weighs_and_all_its_answers():
    logits = np.array([[0.0, 2.0], [1.0, -1.0], [0.5, 0.5]], np.float32)
    answers = np.array([[1, 0], [0, 1], [-1, 1]])
    targets = encode(answers, 2, "multi")
    rows = np.array([0, 2])
    plus = lambda z: np.log1p(np.exp(z))  # noqa: E731
    expected = [plus(0.0) + plus(2.0), plus(-0.5)]
    assert row_losses(logits, targets, rows) == pytest.approx(expected, rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(n_groups=st.integers(2, 12), size=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_the_error_of_a_mean_is_that_of_the_means_of_equal_groups(n_groups, size, seed):
    values = np.random.default_rng(seed).normal(size=(n_groups, size))
    groups = np.repeat(np.arange(n_groups) * 7, size)
    mean, error = paired(values.ravel(), groups)
    assert mean == pytest.approx(values.mean())
    assert error == pytest.approx(values.mean(axis=1).std(ddof=1) / np.sqrt(n_groups))


def test_a_difference_of_nothing_has_no_error():
    assert paired(np.zeros(10), np.arange(10)) == (0.0, 0.0)


def test_scores_are_accuracy_and_macro_average_precision():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 3))
    y = rng.integers(0, 3, 40)
    assert score_of(logits, y, "single") == (logits.argmax(1) == y).mean()
    answers = rng.integers(-1, 2, (40, 3))
    answers[:, 2] = 0  # nothing to rank: left out
    expected = np.mean([
        average_precision_score(answers[answers[:, c] >= 0, c], logits[answers[:, c] >= 0, c])
        for c in range(2)
    ])  # fmt: skip
    assert score_of(logits, answers, "multi") == pytest.approx(expected)
    assert np.isnan(score_of(logits, np.zeros((40, 3)), "multi"))
    assert np.isnan(score_of(logits, y, "tree"))
