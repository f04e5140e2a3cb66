"""Splits of ours never put a group on two sides, cover every row, and repeat."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.learn.dataset import TrainingSet
from listlens.learn.split import grouped_folds, leaking, plan_split


def data_of(groups, targets, given_split=None, kind="single") -> TrainingSet:
    n = len(groups)
    return TrainingSet(
        kind=kind,
        classes=("a", "b", "c"),
        embeddings=np.zeros((n, 2), np.float32),
        targets=np.asarray(targets),
        groups=np.asarray(groups, dtype=np.int64),
        listings=np.asarray(groups, dtype=np.int64),
        given_split=np.full(n, "") if given_split is None else np.asarray(given_split),
        names=tuple(map(str, range(n))),
    )


rows = st.lists(
    st.tuples(
        st.integers(0, 15), st.integers(-1, 2), st.sampled_from(["", "train", "val", "test"])
    ),
    min_size=1,
    max_size=60,
)


@given(rows, st.integers(2, 6), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_no_group_is_in_two_folds_and_equal_seeds_give_equal_folds(drawn, n_folds, seed):
    groups, targets, _ = map(np.array, zip(*drawn, strict=True))
    labels = (targets[:, None] == np.arange(3)).astype(float)
    fold = grouped_folds(labels, groups, n_folds, seed)
    assert all(len(set(fold[groups == g])) == 1 for g in set(groups))
    assert fold.min() >= 0 and fold.max() < n_folds
    assert len(set(fold)) == min(n_folds, len(set(groups)))
    assert (fold == grouped_folds(labels, groups, n_folds, seed)).all()


@given(rows, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_given_sides_are_obeyed_and_only_given_sides_leak(drawn, seed):
    groups, targets, sides = map(np.array, zip(*drawn, strict=True))
    data = data_of(groups, targets, sides)
    plan = plan_split(data, 5, seed)
    named = sides != ""
    carved = not (sides == "val").any()
    same = plan.split == sides
    assert (same | (carved & (plan.split == "val")))[named].all()
    assert (plan.protocol == "own split") == (sides == "test").any()
    assert ((plan.inner_fold < 0) == (plan.split == "test")).all()
    for g in set(groups):
        assert len(set(plan.fold[groups == g])) == 1
        if carved:
            assert len(set(plan.inner_fold[(groups == g) & (plan.split != "test")])) <= 1
    expected = {
        i
        for i, (g, s) in enumerate(zip(groups, plan.split, strict=True))
        if (s == "test" and set(plan.split[groups == g]) - {"test"})
        or (s == "val" and "train" in plan.split[groups == g])
    }
    assert set(plan.leaks.tolist()) == expected


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_classes_are_spread_evenly_over_folds(kind):
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 400, 1000)
    if kind == "single":
        labels = np.eye(4)[rng.choice(4, 1000, p=[0.7, 0.2, 0.08, 0.02])]
    else:
        labels = (rng.random((1000, 4)) < [0.5, 0.3, 0.1, 0.03]).astype(float)
    fold = grouped_folds(labels, groups, 5, 0)
    counts = np.array([labels[fold == f].sum(axis=0) for f in range(5)])
    assert (np.abs(counts - counts.mean(axis=0)) <= np.maximum(2, 0.1 * counts.mean(axis=0))).all()
    assert np.bincount(fold).max() - np.bincount(fold).min() <= 40


def test_a_class_of_two_groups_is_never_held_out_whole():
    labels = np.eye(2)[[0] * 30 + [1, 1]]
    fold = grouped_folds(labels, np.arange(32), 5, 3)
    assert fold[30] != fold[31]


def test_the_given_val_is_held_out_as_one_fold():
    sides = ["train"] * 20 + ["val"] * 5 + ["test"] * 5
    plan = plan_split(data_of(range(30), np.arange(30) % 3, sides), 5, 0)
    assert set(plan.inner_fold[20:25]) == {0}
    assert set(plan.inner_fold[:20]) == {1, 2, 3, 4}
    assert len(plan.leaks) == 0


def test_leaks_are_listed_test_first():
    groups = np.array([1, 1, 2, 2, 3])
    split = np.array(["train", "val", "train", "test", "test"])
    assert leaking(groups, split).tolist() == [3, 1]
