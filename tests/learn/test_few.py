"""Classes of one to five labelled photos: learnt, judged only where something could be held out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core.errors import TrainingError
from listlens.core.types import Policy
from listlens.learn.calibration import Calibration
from listlens.learn.candidates import TrainOptions
from listlens.learn.few import LEANING, LENGTH, Caution, Few, few_head, is_few, only_listings
from listlens.learn.heads import fit
from listlens.learn.learner import Learner
from listlens.learn.objectives import encode
from listlens.learn.policies import answers
from listlens.learn.recipe import planned, train

FEW = TrainOptions(few=True)


def some(training_set, counts, seed=0):
    """As many rows of each class as asked, each a listing of its own."""
    whole = training_set(600, len(counts), noise=0.8, seed=seed)
    rows = np.concatenate([
        np.flatnonzero(whole.targets == c)[:n] for c, n in enumerate(counts)
    ])  # fmt: skip
    alone = np.arange(len(rows))
    return replace(whole.rows(rows), groups=alone, listings=alone), whole


def test_one_photo_a_class_makes_a_head_that_is_right_where_logistic_regression_is_lost(
    training_set,
):
    ours, theirs = [], []
    for seed in range(8):
        data, whole = some(training_set, [1, 1, 1, 1], seed)
        x, y = whole.embeddings, whole.targets
        targets = encode(data.targets, 4, "single")
        head = few_head(data.embeddings, targets, x.mean(axis=0))
        ours.append((head.logits(x).argmax(axis=1) == y).mean())
        plain = fit(data.embeddings, targets, [0.01, 0.1])
        theirs.append((plain.logits(x).argmax(axis=1) == y).mean())
    assert np.mean(ours) > np.mean(theirs) + 0.02


def test_logits_are_the_logistic_part_and_the_leaning_to_each_class_mean(training_set):
    data, _ = some(training_set, [3, 2, 4])
    targets = encode(data.targets, 3, "single")
    centre = data.embeddings.mean(axis=0)
    off = data.embeddings - centre
    units = off / np.linalg.norm(off, axis=1, keepdims=True)
    means = np.stack([units[data.targets == c].mean(axis=0) for c in range(3)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    away = np.linalg.norm(off, axis=1).mean()
    logits = few_head(data.embeddings, targets, centre).logits(data.embeddings)
    logistic = logits - LEANING * off @ means.T / away
    # What is left is a head on directions: it must not see what lies across all of them.
    span = np.linalg.qr(off.T)[0]
    across = np.random.default_rng(0).normal(size=off.shape[1])
    across -= span @ (span.T @ across)
    moved = few_head(data.embeddings, targets, centre).logits(data.embeddings + 50 * across)
    np.testing.assert_allclose(moved, logits, atol=2e-2)
    assert (logistic.argmax(axis=1) == data.targets).all()
    assert LENGTH > 0


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 20))
def test_neither_the_order_nor_the_scale_of_embeddings_changes_answers(seed, scale):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(9, 12)).astype(np.float32)
    y = np.arange(9) % 3
    new = rng.normal(size=(40, 12)).astype(np.float32)
    before = few_head(x, encode(y, 3, "single")).logits(new)
    order = rng.permutation(9)
    again = few_head(x[order], encode(y[order], 3, "single")).logits(new)
    np.testing.assert_allclose(again, before, atol=0.05)
    scaled = few_head(scale * x, encode(y, 3, "single")).logits(scale * new)
    np.testing.assert_allclose(scaled, before, atol=0.05)


def test_a_class_without_a_row_is_never_the_answer(training_set):
    data, whole = some(training_set, [2, 2, 2])
    head = few_head(data.embeddings, encode(data.targets, 4, "single"))
    assert set(head.logits(whole.embeddings).argmax(axis=1)) == {0, 1, 2}


# -- who is held out -------------------------------------------------------------------------------


def test_a_class_of_one_listing_is_always_learnt_and_never_judged(training_set):
    data, _ = some(training_set, [1, 2, 6])
    trained = train(data, FEW)
    alone = data.targets == 0
    assert trained.classes == data.classes
    assert trained.selection["unjudged"] == ["class 0"]
    assert trained.set_aside == {}
    assert (trained.fold[alone] == -1).all()
    assert (trained.fold[~alone] >= 0).all()
    rows, probs = trained.heldout()
    assert set(data.targets[rows]) == {1, 2}
    assert np.isfinite(probs).all()


def test_two_photos_of_one_listing_are_one_listing(training_set):
    data, _ = some(training_set, [2, 2, 4])
    groups = np.where(data.targets == 0, 99, data.groups)
    assert only_listings(replace(data, groups=groups)).tolist() == (data.targets == 0).tolist()


def test_the_two_listings_of_a_class_are_held_out_one_at_a_time(training_set):
    data, _ = some(training_set, [2, 2, 2, 5])
    plan = planned(data, FEW)[1]
    for c in range(3):
        folds = plan.inner_fold[data.targets == c]
        assert len(set(folds.tolist())) == 2


def test_a_photo_is_judged_without_anything_of_its_listing_not_even_what_is_always_learnt(
    training_set,
):
    data, _ = some(training_set, [1, 3, 6])
    groups = data.groups.copy()
    groups[0] = groups[1]  # the only photo of class 0 is of a listing with one of class 1
    data = replace(data, groups=groups)
    learnt, plan = planned(data, FEW)
    assert plan.leaks.tolist() == []
    moved = data.embeddings.copy()
    moved[0] += 5

    def logits(x):
        centre, targets = data.embeddings.mean(axis=0), encode(data.targets, 3, "single")
        learner = Learner(x, targets, data.targets, data.classes, (), ~learnt.holdable, centre,
                          groups)  # fmt: skip
        return learner.cross_fit(plan.inner_fold, [Few()])[0]

    before, after = logits(data.embeddings), logits(moved)
    same = plan.inner_fold == plan.inner_fold[1]
    np.testing.assert_array_equal(before[same], after[same])
    others = (plan.inner_fold >= 0) & ~same
    assert (before[others] != after[others]).any(axis=1).all()


def test_nothing_of_a_given_test_split_is_learnt(training_set):
    data, _ = some(training_set, [1, 2, 6])
    split = np.where(np.arange(9) == 8, "test", "train").astype("U5")
    trained = train(replace(data, given_split=split), FEW)
    assert trained.protocol == "own split"
    assert np.isfinite(trained.test_probs[8]).all()
    with pytest.raises(TrainingError, match="needs 1"):
        test = np.where(data.targets == 0, "test", "train").astype("U5")
        train(replace(data, given_split=np.where(data.targets < 2, "test", test)), FEW)


def test_only_one_class_a_photo_can_be_learnt_so(training_set):
    with pytest.raises(TrainingError, match="without few"):
        train(training_set(kind="multi"), FEW)


# -- how sure it is --------------------------------------------------------------------------------


def test_the_answer_that_nothing_judged_is_always_for_a_person(training_set):
    data, whole = some(training_set, [1, 4, 4])
    trained = train(data, FEW)
    probs = trained.calibration.probs(trained.head.logits(whole.embeddings), "single")
    review = answers(probs, trained.policy, "single").review.any(axis=1)
    assert review[probs.argmax(axis=1) == 0].all()
    assert (probs.argmax(axis=1) == 0).any()


def test_what_it_decides_alone_is_right_more_often_than_the_rest(training_set):
    alone, left, sure = [], [], []
    for seed in range(12):
        data, whole = some(training_set, [2, 3, 5, 5], seed)
        trained = train(data, FEW)
        probs = trained.calibration.probs(trained.head.logits(whole.embeddings), "single")
        review = answers(probs, trained.policy, "single").review.any(axis=1)
        right = probs.argmax(axis=1) == whole.targets
        sure.append(probs.max(axis=1).mean() - right.mean())
        alone += right[~review].tolist()
        left += right[review].tolist()
    assert np.mean(sure) < 0.02
    assert np.mean(alone) > 0.93 > np.mean(left)


def test_caution_only_ever_flattens_and_raises_thresholds():
    found = Calibration(np.full(2, 3, np.float32), np.zeros(2, np.float32))
    careful = Caution(np.zeros(2, bool)).calibration(found)
    assert careful.slope.tolist() == pytest.approx([0.7, 0.7])
    assert Caution(np.array([True, False])).calibration(found).slope.max() <= 0.4 + 1e-6
    for target, least in {"best-f1": 0.9, "precision>=0.8": 0.8, "error<=0.3": 0.7}.items():
        policy = Policy((0.1, 0.95), (0.1, 0.95), (0.1, 0.95), target)
        kept = Caution(np.array([False, False])).policy(policy)
        assert kept.thresholds == pytest.approx((least, 0.95))
        assert Caution(np.array([True, False])).policy(policy).thresholds[0] == 1.0


# -- without the option ----------------------------------------------------------------------------


def test_five_labels_a_class_take_this_head_without_being_asked_and_ten_do_not(training_set):
    few, _ = some(training_set, [5, 5, 5])
    many, _ = some(training_set, [10, 10, 10])
    assert is_few(few)
    assert not is_few(many)
    assert train(few).selection["head"] == "few labels"
    assert "head" not in train(many).selection
    assert "unjudged" not in train(few).selection


def test_without_the_option_small_classes_are_set_aside_as_ever(training_set):
    data, _ = some(training_set, [1, 4, 4])
    assert set(train(data).set_aside) == {"class 0"}
