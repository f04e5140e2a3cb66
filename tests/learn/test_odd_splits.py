"""Splits of every shape: obeyed as given, never leaking where they are ours, errors that help."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core.errors import TrainingError
from listlens.learn.recipe import TrainOptions, train
from listlens.learn.split import grouped_folds, leaking, plan_split
from listlens.learn.usable import usable_classes, with_classes

QUICK = TrainOptions(strengths=(0.1,), class_weight="none")


def sided(data, rule):
    """Give each group a side by its number modulo 10."""
    return replace(data, given_split=np.array([rule[g % len(rule)] for g in data.groups]))


COMBINATIONS = {
    # sides in turn: (protocol, sides of the plan)
    "nothing given": ([""], "grouped 5-fold", {"train"}),
    "train only": (["train"], "grouped 5-fold", {"train"}),
    "val only": (["val"], "grouped 5-fold", {"val"}),
    "train and val": (["train", "train", "val"], "grouped 5-fold", {"train", "val"}),
    "some val": (["", "", "val"], "grouped 5-fold", {"train", "val"}),
    "test and the rest": (["test", "", "", ""], "own split", {"train", "val", "test"}),
    "train and test": (["train", "train", "test"], "own split", {"train", "val", "test"}),
    "all three": (["train", "val", "test"], "own split", {"train", "val", "test"}),
    "two unnamed": (["", "", "val", "test"], "own split", {"train", "val", "test"}),
    "mixed names": (["train", "", "val", "test"], "own split", {"train", "val", "test"}),
    "mostly test": (["train", "val", *["test"] * 8], "own split", {"train", "val", "test"}),
}


@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize(("rule", "protocol", "sides"), COMBINATIONS.values(), ids=COMBINATIONS)
def test_every_combination_of_given_sides_trains_and_is_obeyed(
    training_set, kind, rule, protocol, sides
):
    data = sided(training_set(kind=kind), rule)
    trained = train(data, QUICK)
    assert trained.protocol == protocol
    assert set(trained.split) == sides
    for side in ("val", "test"):
        assert (trained.split[data.given_split == side] == side).all()
    assert trained.leaks == ()
    assert np.isfinite(trained.oof_probs).all()
    own = trained.split == "test"
    assert (np.isfinite(trained.test_probs).all(axis=1) == own).all()
    rows, probs = trained.heldout()
    assert len(rows) == (own.sum() if protocol == "own split" else len(data.names))
    assert np.isfinite(probs).all()


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_a_split_without_training_photos_says_what_to_mark(training_set, kind):
    data = sided(training_set(kind=kind), ["val", "val", "test"])
    with pytest.raises(TrainingError, match=r"no labelled photo in train \(160 photos are in val"):
        train(data, QUICK)


def test_training_photos_that_nobody_labelled_do_not_count(training_set):
    data = sided(training_set(), ["train", "val", "test"])
    unknown = np.where(data.given_split == "train", -1, data.targets)
    with pytest.raises(TrainingError, match="Mark some as train"):
        train(replace(data, targets=unknown), QUICK)


def test_a_split_of_test_alone_says_how_many_photos_are_needed_outside(training_set):
    with pytest.raises(TrainingError, match="outside the test split"):
        train(sided(training_set(), ["test"]), QUICK)


def test_a_class_that_train_lacks_and_val_has_stays_finite(training_set):
    data = sided(training_set(), ["train", "val", "test"])
    hidden = (data.given_split == "train") & (data.targets == 2)
    trained = train(replace(data, targets=np.where(hidden, -1, data.targets)), QUICK)
    assert trained.classes == data.classes
    assert np.isfinite(trained.head.weights).all()
    assert np.isfinite(trained.oof_probs).all()


@pytest.mark.parametrize("side", ["val", "test"])
def test_a_side_without_labels_is_predicted_all_the_same(training_set, side):
    data = sided(training_set(), ["train", "val", "test"])
    trained = train(
        replace(data, targets=np.where(data.given_split == side, -1, data.targets)), QUICK
    )
    assert np.isfinite(trained.test_probs[trained.split == "test"]).all()
    assert len(trained.heldout()[0]) == (0 if side == "test" else 80)


def test_a_given_split_that_leaks_is_obeyed_and_its_rows_are_named(training_set):
    data = training_set()
    sides = np.where(np.arange(240) % 2 == 0, "train", "test")  # each pair is on two sides
    trained = train(replace(data, given_split=sides), QUICK)
    assert set(trained.leaks) >= set(np.flatnonzero(sides == "test").tolist())


sizes = {
    "all alone": st.just(1),
    "pairs": st.just(2),
    "few": st.integers(1, 5),
    "galleries": st.integers(1, 30),
    "one giant": st.sampled_from([1] * 20 + [100]),
}


@pytest.mark.parametrize("size", sizes.values(), ids=sizes)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_folds_of_any_group_sizes_never_leak_and_are_all_used(size, data):
    counts = data.draw(st.lists(size, min_size=6, max_size=30))
    groups = np.repeat(np.arange(len(counts)) * 7 - 5, counts)
    n_classes = data.draw(st.integers(2, 4))
    classes = np.array(
        data.draw(
            st.lists(st.integers(0, n_classes - 1), min_size=len(groups), max_size=len(groups))
        )
    )
    labels = np.eye(n_classes)[classes]
    fold = grouped_folds(labels, groups, 5, 1)
    assert len(set(zip(groups.tolist(), fold.tolist(), strict=True))) == len(counts)
    assert set(fold.tolist()) == set(range(5))
    shuffled = np.random.default_rng(0).permutation(len(groups))
    again = grouped_folds(labels[shuffled], groups[shuffled], 5, 1)
    assert (again == fold[shuffled]).all()  # the order of photos does not matter


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(2, 5), st.integers(0, 99))
def test_a_class_with_as_many_groups_as_folds_is_in_every_fold(n_folds, n_classes, seed):
    per_class = n_folds + 2
    classes = np.repeat(np.arange(n_classes), per_class)
    fold = grouped_folds(np.eye(n_classes)[classes], np.arange(len(classes)), n_folds, seed)
    for c in range(n_classes):
        assert set(fold[classes == c].tolist()) == set(range(n_folds))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["train", "val", "test"]), min_size=1, max_size=40), st.data())
def test_leaks_are_exactly_the_later_sides_of_shared_groups(sides, data):
    n = len(sides)
    groups = np.array(data.draw(st.lists(st.integers(0, 8), min_size=n, max_size=n)))
    split = np.array(sides)
    earlier = {"train": set(), "val": {"train"}, "test": {"train", "val"}}
    slow = {
        i for i in range(n)
        if any(split[j] in earlier[split[i]] and groups[j] == groups[i] for j in range(n))
    }  # fmt: skip
    assert set(leaking(groups, split).tolist()) == slow


def test_equal_seeds_plan_alike_and_the_plan_does_not_look_at_pixels(training_set):
    data = sided(training_set(), ["train", "train", "test"])
    one, two = plan_split(data, 5, 3), plan_split(
        replace(data, embeddings=-data.embeddings), 5, 3
    )  # fmt: skip
    for name in ("split", "fold", "inner_fold", "leaks"):
        assert (getattr(one, name) == getattr(two, name)).all()
    assert (plan_split(data, 5, 4).inner_fold != one.inner_fold).any()


def with_counts(training_set, counts, groups=None):
    """Photos of classes a, b, c in these numbers, each of its own listing unless said."""
    targets = np.repeat(np.arange(len(counts)), counts)
    data = training_set(max(2, len(targets)))
    n = len(targets)
    return replace(
        data,
        classes=("a", "b", "c")[: len(counts)],
        embeddings=data.embeddings[:n],
        targets=targets,
        groups=np.arange(n) if groups is None else np.array(groups),
        listings=np.arange(n),
        given_split=data.given_split[:n],
        names=data.names[:n],
    )


USABLE = {
    "enough of all": ([3, 3, 3], None, ("a", "b", "c"), {}),
    "one photo short": ([3, 2, 3], None, ("a", "c"), {"b": "2 photos, needs 3"}),
    "no photo": ([3, 0, 3], None, ("a", "c"), {"b": "0 photos, needs 3"}),
    "one listing": (
        [3, 3, 3], [0, 1, 2, 9, 9, 9, 3, 4, 5], ("a", "c"),
        {"b": "all 3 photos are of one listing or duplicate group, needs 2"},
    ),
    "two listings": ([3, 3, 3], [0, 1, 1, 2, 3, 3, 4, 5, 5], ("a", "b", "c"), {}),
    "large": ([3, 300, 1], None, ("a", "b"), {"c": "1 photos, needs 3"}),
}  # fmt: skip


@pytest.mark.parametrize(("counts", "groups", "kept", "aside"), USABLE.values(), ids=USABLE)
def test_which_classes_can_be_learnt(training_set, counts, groups, kept, aside):
    usable = usable_classes(with_counts(training_set, counts, groups), 3, 2)
    assert (usable.classes, usable.set_aside) == (kept, aside)


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ([5], "1 of 1 classes can be learnt (only 'a')"),
        (
            [5, 2],
            "'b': 2 photos, needs 3. Label more photos, or learn from one photo a class: train",
        ),
        ([1, 2, 2], "0 of 3 classes can be learnt, and"),
    ],
    ids=["one class", "one too small", "all too small"],
)
def test_too_little_says_what_there_is_and_what_is_needed(training_set, counts, says):
    with pytest.raises(TrainingError) as caught:
        usable_classes(with_counts(training_set, counts), 3, 2)
    assert says in str(caught.value)
    assert "at least two classes, each with 3 photos of 2 listings" in str(caught.value)


@pytest.mark.parametrize(
    ("answers", "lacks"),
    [
        ([1, 1, 1, 0, 0, 0], None),
        ([1, 1, 0, 0, 0, 0], "2 photos answered yes, needs 3"),
        ([1, 1, 1, 1, 0, 0], "2 photos answered no, needs 3"),
        ([1, 1, 1, -1, -1, -1], "0 photos answered no, needs 3"),
        ([1, -1, -1, -1, -1, 0], "1 photos answered yes, needs 3; 1 photos answered no, needs 3"),
    ],
    ids=["enough", "yes", "no", "unknown is no no", "both"],
)
def test_a_multi_class_needs_both_answers(training_set, answers, lacks):
    data = replace(
        training_set(6, kind="multi"),
        groups=np.arange(6),
        targets=np.column_stack([answers, [1, 1, 1, 0, 0, 0], [0, 1, 0, 1, 0, 1]]),
    )
    aside = usable_classes(data, 3, 2).set_aside
    assert aside == ({} if lacks is None else {"class 0": lacks})


def test_setting_a_class_aside_makes_its_answers_unknown_and_keeps_the_rows(training_set):
    data = training_set()
    kept = with_classes(data, ("class 0", "class 2"))
    assert kept.names == data.names
    assert (kept.targets == np.array([0, -1, 1])[data.targets]).all()
    multi = training_set(kind="multi")
    assert (with_classes(multi, ("class 2",)).targets == multi.targets[:, 2:]).all()
