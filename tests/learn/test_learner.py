"""Candidates of every kind: fitted, noted and fitted again alike."""

from __future__ import annotations

import numpy as np
import pytest

from listlens.core.tree import Tree
from listlens.learn.candidates import Candidate, TrainOptions, scores_of, strengths_for
from listlens.learn.dataset import TrainingSet
from listlens.learn.discriminant import SETTINGS, Setting
from listlens.learn.learner import Joint, Learner, all_candidates, candidate_of, logistic_part
from listlens.learn.objectives import Targets, encode
from listlens.learn.recipe import encoded, train

LEAVES = ("a > x", "a > y", "b > x", "b > y")
LOGISTIC = Candidate("none", 0.1, 1.0)
CANDIDATES = [LOGISTIC, Setting(0.6, 16.0), Joint(LOGISTIC, Setting(0.3, 16.0))]


def tree_set(n: int = 160, dim: int = 12, seed: int = 0) -> TrainingSet:
    """Photos of four leaves, two a listing."""
    rng = np.random.default_rng(seed)
    tree = Tree.of(LEAVES)
    leaf = np.repeat(np.arange(n // 2) % len(LEAVES), 2)
    part = rng.normal(size=(len(tree.paths), dim))
    means = np.stack([part[list(tree.lineage[i])].sum(axis=0) for i in tree.leaves])
    groups = np.arange(n) // 2
    return TrainingSet(
        kind="tree",
        classes=tree.paths,
        embeddings=(means[leaf] + rng.normal(size=(n, dim))).astype(np.float32),
        targets=np.array(tree.leaves)[leaf],
        groups=groups,
        listings=groups,
        given_split=np.full(n, "", "<U5"),
        names=tuple(map(str, range(n))),
    )


def learner(data: TrainingSet) -> Learner:
    targets, answered, classes = encoded(data)
    return Learner(data.embeddings, targets, answered, classes, TrainOptions().strengths)


@pytest.mark.parametrize("candidate", CANDIDATES, ids=["logistic", "discriminant", "joint"])
def test_a_candidate_is_known_again_by_what_it_noted(candidate) -> None:
    assert candidate_of(candidate.record()) == candidate
    assert isinstance(logistic_part(candidate.record()), Candidate)


@pytest.mark.slow
@pytest.mark.parametrize("candidate", CANDIDATES, ids=["logistic", "discriminant", "joint"])
def test_a_candidate_alone_comes_out_as_among_others(candidate) -> None:
    data = tree_set()
    fold = data.groups % 4
    made = learner(data)
    everything = all_candidates(made.targets, TrainOptions())
    if candidate not in everything:
        everything = [*everything, candidate]
    among = made.cross_fit(fold, everything)[everything.index(candidate)]
    (alone,) = made.again(fold, candidate)
    assert np.allclose(alone, among, atol=0.02)


def test_a_joint_head_is_the_mean_of_its_two() -> None:
    data = tree_set()
    fold, rows = data.groups % 4, np.arange(len(data.names))
    made, joint = learner(data), CANDIDATES[2]
    heads = [made.fit(rows, c, fold) for c in (joint, joint.logistic, joint.discriminant)]
    both, one, other = (head.logits(data.embeddings) for head in heads)
    assert np.allclose(both, (one + other) / 2, atol=1e-4)
    logits = made.cross_fit(fold, [joint, joint.logistic, joint.discriminant])
    assert np.allclose(logits[0], (logits[1] + logits[2]) / 2, atol=1e-5)


def test_only_trees_try_discriminants_and_only_where_allowed() -> None:
    targets = learner(tree_set()).targets
    tried = all_candidates(targets, TrainOptions())
    assert set(SETTINGS) <= set(tried)
    assert any(isinstance(c, Joint) for c in tried)
    without = all_candidates(targets, TrainOptions(discriminants=False))
    assert all(isinstance(c, Candidate) for c in without)
    single = Targets(targets.yes, targets.weight, "single")
    assert all(isinstance(c, Candidate) for c in all_candidates(single, TrainOptions()))


def test_what_training_ships_answers_as_its_record_says() -> None:
    data = tree_set()
    trained = train(data)
    best = candidate_of(trained.selection)
    least = min(trained.selection["tried"], key=lambda tried: tried["loss"])
    assert candidate_of(least) == best
    made = learner(data)
    head = made.fit(np.arange(len(data.names)), best, trained.fold)
    assert np.allclose(head.weights, trained.head.weights, atol=1e-3)


def test_a_score_is_chosen_by_rank_and_tries_finer_strengths() -> None:
    votes = np.eye(5, dtype=np.float32)[[0, 1, 2, 3, 4, 4]]
    targets = encode(votes, 5, "score")
    steps = np.linspace(-1, 1, 5)
    place = np.array([0, 1, 2, 3, 4, 4])[:, None]
    faint = (0.1 * place * steps).astype(np.float32)  # right order, hardly spread
    bold = (3.0 * place[::-1] * steps).astype(np.float32)  # wrong order
    flat = np.zeros_like(faint)
    scores = scores_of(np.stack([faint, bold, flat]), targets)
    assert scores.argmin() == 0
    assert scores[2] == 2
    options = TrainOptions()
    finer = strengths_for("score", options)
    assert set(options.strengths) < set(finer)
    assert list(finer) == sorted(finer)
    assert strengths_for("single", options) == options.strengths
