"""Training is honest, repeatable and says what it could not learn."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from listlens.core.errors import TrainingError
from listlens.learn.policies import decide
from listlens.learn.recipe import TrainOptions, train


def accuracy(trained):
    rows, probs = trained.heldout()
    return (probs.argmax(axis=1) == trained.targets[rows]).mean()


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_every_row_gets_out_of_fold_probabilities(training_set, kind):
    trained = train(training_set(kind=kind))
    assert trained.protocol == "grouped 5-fold"
    assert trained.oof_probs.shape == (240, 3)
    assert trained.oof_probs.dtype == np.float32
    assert np.isfinite(trained.oof_probs).all()
    assert np.isnan(trained.test_probs).all()
    assert set(trained.split) == {"train"}
    rows, probs = trained.heldout()
    assert len(rows) == 240
    wrong = (probs > 0.5) != (trained.targets == 1) if kind == "multi" else 1 - accuracy(trained)
    assert np.mean(wrong) < 0.15


def test_an_own_test_split_is_predicted_by_a_model_that_never_saw_it(training_set):
    data = training_set(split=True)
    trained = train(data)
    test = data.given_split == "test"
    assert trained.protocol == "own split"
    assert (np.isfinite(trained.test_probs).all(axis=1) == test).all()
    assert np.isfinite(trained.oof_probs).all()
    assert trained.leaks == ()
    changed = data.embeddings.copy()
    changed[test] *= -1
    other = train(replace(data, embeddings=changed, targets=np.where(test, 0, data.targets)))
    assert (other.head.weights == trained.head.weights).all()
    assert (other.calibration.slope == trained.calibration.slope).all()
    assert other.policy == trained.policy


def test_random_labels_on_duplicates_score_no_better_than_chance(training_set):
    data = training_set(400)
    rng = np.random.default_rng(5)
    twice = np.repeat(rng.normal(size=(200, 150)).astype(np.float32), 2, axis=0)
    labels = np.repeat(rng.integers(0, 3, 200), 2)
    assert accuracy(train(replace(data, embeddings=twice, targets=labels))) < 0.45
    alone = replace(data, embeddings=twice, targets=labels, groups=np.arange(400))
    assert accuracy(train(alone)) > 0.45  # what grouping saves us from


def test_equal_seeds_give_equal_models_and_other_seeds_other_folds(training_set):
    data = training_set()
    first, second = train(data), train(data)
    assert (first.head.weights == second.head.weights).all()
    assert (first.oof_probs == second.oof_probs).all()
    assert first.policy == second.policy
    assert (train(data, TrainOptions(seed=1)).fold != first.fold).any()


def test_rows_without_an_answer_are_predicted_but_not_learnt(training_set):
    data = training_set()
    hidden = np.arange(240) % 7 == 0
    trained = train(replace(data, targets=np.where(hidden, -1, data.targets)))
    assert np.isfinite(trained.oof_probs[hidden]).all()
    assert trained.selection["n_train"] == (~hidden).sum()
    assert len(trained.heldout()[0]) == (~hidden).sum()
    assert (trained.oof_probs[hidden].argmax(axis=1) == data.targets[hidden]).mean() > 0.8


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_a_class_too_small_is_set_aside_with_the_reason(training_set, kind):
    data = training_set(kind=kind)
    classes = (*data.classes[:1], "rare", *data.classes[1:])
    if kind == "single":
        targets = np.where(data.targets > 0, data.targets + 1, 0)
        targets[10] = 1
    else:
        rare = (np.arange(240) == 10).astype(np.int8)
        targets = np.column_stack([data.targets[:, :1], rare, data.targets[:, 1:]])
    trained = train(replace(data, classes=classes, targets=targets))
    assert trained.classes == data.classes
    assert list(trained.set_aside) == ["rare"]
    assert "needs 3" in trained.set_aside["rare"]
    if kind == "single":
        assert trained.targets[10] == -1
        assert 10 not in trained.heldout()[0]
    assert trained.oof_probs.shape == (240, 3)


def test_a_class_of_one_listing_is_set_aside(training_set):
    data = training_set()
    groups = np.where(data.targets == 2, 1000, data.groups)
    trained = train(replace(data, groups=groups))
    assert trained.classes == data.classes[:2]
    assert "one listing" in trained.set_aside["class 2"]


def test_a_class_that_is_only_in_test_is_set_aside(training_set):
    data = training_set(split=True)
    keep = (data.targets != 2) | (data.given_split == "test")
    trained = train(replace(data, targets=np.where(keep, data.targets, -1)))
    assert list(trained.set_aside) == ["class 2"]


def test_fewer_than_two_classes_stop_and_say_what_is_needed(training_set):
    data = training_set()
    with pytest.raises(TrainingError, match=r"at least two classes, each with 3 photos"):
        train(replace(data, targets=np.where(data.targets == 0, 0, -1)))
    with pytest.raises(TrainingError, match="0 of 3 classes"):
        train(replace(data, targets=np.full(240, -1)))


def test_multi_needs_one_class_with_yes_and_no(training_set):
    data = training_set(kind="multi")
    with pytest.raises(TrainingError, match="both yes and no"):
        train(replace(data, targets=np.ones((240, 3), np.int8)))


def test_unknown_answers_cost_little(training_set):
    data = training_set(600, kind="multi")
    hidden = np.random.default_rng(7).random(data.targets.shape) < 0.3
    full, part = train(data), train(replace(data, targets=np.where(hidden, -1, data.targets)))
    right = [((t.oof_probs > 0.5) == data.targets).mean() for t in (full, part)]
    assert right[1] > right[0] - 0.03


def test_few_photos_are_enough_to_run(training_set):
    data = training_set(12, n_classes=2)
    data = replace(data, targets=np.arange(12) // 2 % 2, groups=np.arange(12) // 2)
    trained = train(data)
    assert np.isfinite(trained.oof_probs).all()


def test_selection_is_json_and_lists_what_was_tried(training_set):
    trained = train(training_set(), TrainOptions(strengths=(0.01, 1.0), class_weight="balanced"))
    told = json.loads(json.dumps(trained.selection))
    assert [t["C"] for t in told["tried"]] == [0.01, 1.0]
    best = min(told["tried"], key=lambda t: t["loss"])
    assert (told["C"], told["class_weight"]) == (best["C"], "balanced")


def test_uneven_classes_are_tried_with_and_without_weights(training_set):
    data = training_set(400)
    keep = (data.targets != 2) | (np.arange(400) % 5 == 0)
    tried = train(replace(data, targets=np.where(keep, data.targets, -1))).selection["tried"]
    assert {t["class_weight"] for t in tried} == {"none", "balanced"}


def test_progress_runs_from_nothing_to_all(training_set):
    seen: list[tuple[str, float]] = []
    train(training_set(split=True), progress=lambda phrase, share: seen.append((phrase, share)))
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


@pytest.mark.parametrize(
    "wrong",
    [{"target": "f1"}, {"n_folds": 1}, {"strengths": ()}, {"strengths": (1.0, 0.1)}],
    ids=str,
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ValueError, match=r"target|n_folds|strengths"):
        TrainOptions(**wrong)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"groups": np.zeros(3, np.int64)}, "groups has shape"),
        ({"given_split": np.full(240, "dev")}, "unknown split 'dev'"),
        ({"targets": np.full(240, 7)}, r"targets must be in \[-1, 2\]"),
        ({"classes": ("a", "a", "b")}, "must differ"),
        ({"embeddings": np.full((240, 24), np.nan, np.float32)}, "'0.jpg'"),
        ({"embeddings": np.zeros(240, np.float32)}, r"must be \(n, d\)"),
    ],
    ids=["shape", "split", "range", "names", "not finite", "flat"],
)
def test_a_set_that_does_not_fit_together_is_refused(training_set, change, says):
    with pytest.raises(TrainingError, match=says):
        replace(training_set(), **change)


def test_policy_decides_the_out_of_fold_probabilities(training_set):
    trained = train(training_set(600, noise=1.8), TrainOptions(target="error<=0.1"))
    decisions = decide(trained.oof_probs, trained.policy, "single", trained.classes)
    given = np.array([trained.classes.index(d.classes[0]) for d in decisions])
    alone = np.array([not d.review for d in decisions])
    assert 0 < (given != trained.targets)[alone].mean() <= 0.1
    assert alone.mean() > 0.2


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_every_row_is_decided_by_thresholds_of_other_folds(training_set, kind):
    trained = train(training_set(kind=kind, noise=2.0))
    decided = trained.oof_decided
    assert decided.given.shape == decided.review.shape == (240, 3)
    for f in np.unique(trained.fold):
        given, asked, p = (x[trained.fold == f] for x in (decided.given, decided.review,
                                                           trained.oof_probs))  # fmt: skip
        if kind == "single":
            assert (given == (np.arange(3) == p.argmax(axis=1)[:, None])).all()
            assert p[asked].max(initial=0) < p[given & ~asked].min(initial=1)
        else:
            for c in range(3):  # one threshold a fold and class
                assert p[~given[:, c], c].max(initial=0) < p[given[:, c], c].min(initial=1)


def test_decisions_out_of_fold_score_as_on_new_photos_and_the_shipped_policy_rosier(training_set):
    def f1(given, yes):
        return np.mean(2 * (given & yes).sum(0) / np.maximum(given.sum(0) + yes.sum(0), 1))

    rosy, honest, new = [], [], []
    for seed in range(12):
        data = training_set(2000, 3, "multi", noise=2.0, seed=seed)
        few, rest, yes = slice(0, 100), slice(100, None), data.targets == 1
        part = replace(
            data,
            **{name: getattr(data, name)[few] for name in (
                "embeddings", "targets", "groups", "listings", "given_split", "names")},
        )  # fmt: skip
        trained = train(part, TrainOptions(strengths=(0.01,)))
        probs = trained.calibration.probs(trained.head.logits(data.embeddings[rest]), "multi")
        rosy.append(f1(trained.oof_probs >= trained.policy.thresholds, yes[few]))
        honest.append(f1(trained.oof_decided.given, yes[few]))
        new.append(f1(probs >= trained.policy.thresholds, yes[rest]))
    assert np.mean(rosy) > np.mean(honest) + 0.02
    assert abs(np.mean(honest) - np.mean(new)) < abs(np.mean(rosy) - np.mean(new))
