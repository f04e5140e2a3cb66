"""Without a test split, changed photos are judged by the model's own head, fitted without them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from listlens.core.tree import Tree
from listlens.core.types import EmbeddingSpace, Preprocessing
from listlens.learn.candidates import Candidate, TrainOptions
from listlens.learn.dataset import TrainingSet
from listlens.learn.discriminant import Setting
from listlens.learn.learner import AnyCandidate, Joint, Learner
from listlens.learn.model import Model
from listlens.learn.recipe import encoded, train
from listlens.pipeline.dataset import Examples
from listlens.pipeline.robustness import _fitted_again

LEAVES = ("a > x", "a > y", "b > x", "b > y")
DIM = 12
LOGISTIC = Candidate("none", 0.1, 1.0)
CANDIDATES = [LOGISTIC, Setting(0.6, 16.0), Joint(LOGISTIC, Setting(0.3, 16.0))]


def tree_set(n: int = 240) -> TrainingSet:
    """Photos of four leaves, two a listing."""
    rng = np.random.default_rng(0)
    tree = Tree.of(LEAVES)
    leaf = np.repeat(np.arange(n // 2) % len(LEAVES), 2)
    x = 2 * np.eye(len(LEAVES), DIM)[leaf] + rng.normal(size=(n, DIM))
    groups = np.arange(n) // 2
    return TrainingSet(
        "tree",
        tree.paths,
        x.astype(np.float32),
        np.array(tree.leaves)[leaf],
        groups,
        groups,
        np.full(n, "", "<U5"),
        tuple(map(str, range(n))),
    )


def examples_of(data: TrainingSet) -> Examples:
    return Examples([], data, data.targets, np.zeros(len(data.names), np.bool_), "", [])


def model_of(data: TrainingSet, **changed: Any) -> Model:
    model = Model.from_trained(
        train(data, TrainOptions(n_folds=3, strengths=(0.1,))),
        space=EmbeddingSpace("any", "0" * 64, "as it is", "openvino", "f32", DIM),
        preprocessing=Preprocessing(),
    )
    return replace(model, **changed)


@pytest.mark.parametrize("candidate", CANDIDATES, ids=["logistic", "discriminant", "joint"])
def test_the_head_that_is_fitted_again_is_of_the_models_own_kind(candidate: AnyCandidate) -> None:
    """Without two listings of 120 it is nearly the head that all photos give."""
    data = tree_set()
    model = model_of(data)
    targets, answered, classes = encoded(data)
    learner = Learner(data.embeddings, targets, answered, classes, (0.1,))
    head = learner.fit(np.arange(len(data.names)), candidate, data.groups % 5)
    model = replace(model, head=head, training=candidate.record())
    judges = _fitted_again(examples_of(data), model, classes, np.array([0, 1, 8, 9]))
    assert [some.tolist() for some, _ in judges] == [[0, 1], [2, 3]]
    for _, judge in judges:
        change = np.abs(judge.head.weights - head.weights).mean() / np.abs(head.weights).mean()
        assert 0 < change < 0.1


def test_a_class_whose_labels_are_gone_is_no_error() -> None:
    data = tree_set()
    leaf = np.array([LEAVES.index(data.classes[t]) for t in data.targets])
    data = replace(data, kind="single", classes=LEAVES, targets=leaf)
    model = model_of(data)
    left = replace(data.rows(leaf != 3), classes=LEAVES[:3], targets=leaf[leaf != 3])
    assert _fitted_again(examples_of(data), model, model.classes, np.arange(4))
    assert _fitted_again(examples_of(left), model, model.classes, np.arange(4)) == []
