"""A search keeps the default unless something is clearly better, and its number is honest."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from listlens.core.errors import InputError
from listlens.learn.budget import NO_TIME, STORED, parse_budget, summary
from listlens.learn.nearest_mean import nearest_means
from listlens.learn.objectives import encode
from listlens.learn.recipe import train
from listlens.learn.search import paired, search
from listlens.learn.trials import Views


def better(data, seed=5):
    """The same photos in a space that says more: the classes themselves, with noise."""
    rng = np.random.default_rng(seed)
    yes = data.targets if data.kind == "multi" else np.eye(len(data.classes))[data.targets]
    return (
        yes @ rng.normal(size=(yes.shape[1], 10)) + 0.2 * rng.normal(size=(len(yes), 10))
    ).astype(np.float32)


def accuracy(trained):
    rows, probs = trained.heldout()
    return float((probs.argmax(axis=1) == trained.targets[rows]).mean())


@pytest.mark.parametrize("split", [False, True], ids=["folds", "own split"])
def test_a_space_that_says_more_is_kept_and_lifts_what_is_reported(training_set, split):
    data = training_set(n=120, noise=2.5, split=split)
    found = search(data, 3600, [("better", lambda seconds: better(data))])
    assert found.space == "better"
    assert accuracy(found.trained) > accuracy(train(data)) + 0.1
    assert [row.outcome for row in found.tried].count("kept") == 1
    assert found.trained.head.weights.shape == (3, 10)
    shipped = found.trained.head.logits(better(data)).argmax(axis=1) == data.targets
    assert shipped.mean() > 0.9


def test_a_space_of_noise_leaves_the_default_as_it_is(training_set):
    data = training_set(n=120, noise=1.5)
    noise = np.random.default_rng(1).normal(size=(len(data.names), 12)).astype(np.float32)
    found = search(data, 3600, [("noise", lambda seconds: noise)])
    default = train(data)
    assert found.space == STORED
    if not any(row.outcome == "kept" for row in found.tried):
        assert np.array_equal(found.trained.head.weights, default.head.weights)
        assert np.array_equal(found.trained.oof_probs, default.oof_probs)
    assert {row.space for row in found.tried} == {STORED, "noise"}


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_labels_that_mean_nothing_are_not_found_to_mean_something(training_set, kind):
    data = training_set(n=120, kind=kind)
    rng = np.random.default_rng(3)
    data = replace(data, targets=data.targets[rng.permutation(len(data.names))])
    spaces = [
        (f"noise {i}", lambda seconds, i=i: np.random.default_rng(i)
         .normal(size=(len(data.names), 8)).astype(np.float32))
        for i in range(4)
    ]  # fmt: skip
    trained = search(data, 3600, spaces).trained
    rows, probs = trained.heldout()
    if kind == "single":
        assert accuracy(trained) < 1 / 3 + 3 * np.sqrt(2 / 9 / len(rows))
    else:
        yes = trained.targets[rows] == 1
        assert (yes * probs).sum() / yes.sum() < yes.mean() + 0.06


def test_equal_seeds_search_alike(training_set):
    data = training_set(n=90, noise=2.0)
    one, other = (search(data, 3600, [("b", lambda s: better(data))]) for _ in range(2))
    assert [r.loss for r in one.tried] == [r.loss for r in other.tried]
    assert np.array_equal(one.trained.oof_probs, other.trained.oof_probs)


def test_a_spent_budget_gives_the_default_and_says_what_was_not_tried(training_set):
    data = training_set(n=90)
    started = time.monotonic()
    found = search(data, 0.001, [("better", lambda seconds: better(data))])
    assert time.monotonic() - started < 10
    assert found.space == STORED
    assert {row.outcome for row in found.tried} == {NO_TIME}
    assert np.array_equal(found.trained.head.weights, train(data).head.weights)
    assert "nothing was clearly better" in summary(found.as_dict())


def test_a_space_that_cannot_be_had_is_named_with_its_reason(training_set):
    found = search(training_set(n=90), 3600, [("gone", lambda seconds: "the files are gone")])
    assert found.tried[-1].outcome == "the files are gone"
    assert np.isnan(found.tried[-1].loss)


def test_views_hide_a_fold_and_what_is_learnt_without_it():
    views = Views(np.array([0, 0, 1, 1, 2, -1]), np.array([1, 1, 1, 0, 1, 1], bool), nested=True)
    assert views.n == 4
    assert views.inner(0).tolist() == [0, 1, 2, 4]
    assert views.inner(2).tolist() == [0, 1, 4]
    assert sorted(views.left_out()) == [(0,), (0, 1), (0, 2), (1,), (1, 2), (2,)]


def test_the_error_of_a_difference_is_larger_where_groups_go_together():
    difference = np.random.default_rng(0).normal(size=400) + 0.5
    alone = paired(difference, np.arange(400))
    doubled = paired(np.repeat(difference, 2), np.repeat(np.arange(400), 2))
    assert alone[0] == pytest.approx(doubled[0])
    assert alone[1] == pytest.approx(doubled[1], rel=1e-6)
    assert alone[1] == pytest.approx(difference.std(ddof=1) / 20, rel=1e-6)


def test_full_shrinkage_is_the_nearest_mean_of_standardised_photos():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 20)
    x = (rng.normal(size=(60, 30)) + y[:, None]).astype(np.float32)
    head = nearest_means(x, encode(y, 3, "single"), [1.0])[0]
    z = (x - x.mean(0)) / x.std(0)
    means = np.stack([z[y == c].mean(0) for c in range(3)])
    nearest = ((z[:, None] - means) ** 2).sum(-1).argmin(1)
    assert np.array_equal(head.logits(x).argmax(1), nearest)


def test_hardly_shrunk_it_is_scikit_learns_discriminant():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    x = (rng.normal(size=(120, 6)) * [1, 2, 1, 1, 1, 3] + y[:, None] * 0.7).astype(np.float32)
    ours = nearest_means(x, encode(y, 3, "single"), [1e-9])[0].logits(x)
    theirs = LinearDiscriminantAnalysis(priors=[1 / 3] * 3).fit(x, y).decision_function(x)
    ours -= ours.mean(1, keepdims=True)
    theirs -= theirs.mean(1, keepdims=True)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9999


@pytest.mark.parametrize("text", ["", "5", "5 minutes", "0s", "-3m", "2d", "48h", "m"])
def test_a_budget_that_is_no_time_says_what_is(text):
    with pytest.raises(InputError, match="such as 90s, 5m or 1h"):
        parse_budget(text)


def test_two_listings_are_enough_to_search(training_set):
    data = training_set(n=40, n_classes=2, noise=0.5)
    groups = np.arange(40) % 2
    found = search(replace(data, groups=groups, listings=groups), 3600)
    assert found.tried[0].outcome == "default"
    assert np.isfinite(found.trained.oof_probs).all()


def test_a_tree_is_searched_against_the_head_that_its_default_has(training_set):
    paths = ("a", "a > x", "a > y", "b", "b > z")
    flat = training_set(n=90, noise=1.5)
    nodes = np.array([1, 2, 4])[flat.targets]
    data = replace(flat, kind="tree", classes=paths, targets=nodes)
    found = search(data, 3600, [("better", lambda seconds: better(flat))])
    assert found.space == "better"
    assert [row.outcome for row in found.tried].count("default") == 1
    assert {row.head for row in found.tried} == {"logistic", "discriminant", "average"}


def test_photos_without_a_label_are_used_where_held_out_ones_say_so(training_set):
    data = training_set(n=300, noise=1.6, seed=3)
    few = data.rows(np.arange(24))
    found = search(few, 3600, unlabelled=data.embeddings[24:])
    rows = {row.head: row for row in found.tried}
    assert "with unlabelled" in rows
    assert np.isfinite(rows["with unlabelled"].loss)
    multi = training_set(n=60, kind="multi")
    heads = {row.head for row in search(multi, 3600, unlabelled=multi.embeddings).tried}
    assert "with unlabelled" not in heads
