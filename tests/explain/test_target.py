"""What of an answer is explained, for every kind of task."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax

from listlens.core.errors import NotFoundError
from listlens.explain.heatmaps import contrast
from listlens.explain.target import MEAN_SCORE, target_of

ROOMS = ("bath", "bed", "kitchen")
LEAVES = ("Fruit > Apple", "Fruit > Pear", "Bread")


def test_single_and_multi_explain_the_likeliest_class_or_the_one_named() -> None:
    probs = np.array([0.2, 0.7, 0.1])
    for kind in ("single", "multi"):
        assert target_of(kind, ROOMS, None, probs).name == "bed"
        named = target_of(kind, ROOMS, "bath", probs)
        assert named(probs[None]).tolist() == [0.2]


def test_a_tree_explains_the_deepest_node_that_is_likelier_than_not() -> None:
    unsure = np.array([0.4, 0.35, 0.25])
    assert target_of("tree", LEAVES, None, unsure).name == "Fruit"
    assert target_of("tree", LEAVES, None, unsure)(unsure[None]) == pytest.approx([0.75])
    assert target_of("tree", LEAVES, None, np.array([0.9, 0.05, 0.05])).name == "Fruit > Apple"
    three = ("A", "B", "C")
    assert target_of("tree", three, None, np.array([0.3, 0.4, 0.3])).name == "B"
    assert target_of("tree", LEAVES, "Bread", unsure)(unsure[None]) == pytest.approx([0.25])


def test_a_score_explains_its_mean() -> None:
    steps = ("1", "2", "3", "4", "5")
    probs = np.array([[0.0, 0.0, 0.5, 0.5, 0.0]])
    target = target_of("score", steps, None, probs[0])
    assert target.name == MEAN_SCORE
    assert target(probs) == pytest.approx([3.5])
    with pytest.raises(NotFoundError, match="mean score"):
        target_of("score", steps, "5", probs[0])


@pytest.mark.parametrize(("kind", "classes"), [("single", ROOMS), ("tree", LEAVES)])
def test_an_unknown_class_is_named_with_the_nearest(kind, classes) -> None:
    with pytest.raises(NotFoundError, match=classes[0]):
        target_of(kind, classes, classes[0] + "x", np.full(3, 1 / 3))


@given(st.integers(0, 10**6), st.sampled_from(["multi", "score"]))
def test_the_direction_is_the_slope_of_the_log_odds_or_of_the_mean(seed, kind) -> None:
    rng = np.random.default_rng(seed)
    classes = ("1", "2", "3") if kind == "score" else ROOMS
    weights, x = rng.normal(size=(3, 5)), rng.normal(size=5)

    def probs(at: np.ndarray) -> np.ndarray:
        return np.asarray(expit(weights @ at) if kind == "multi" else softmax(weights @ at))

    target = target_of(kind, classes, None, probs(x))

    def value(at: np.ndarray) -> float:
        p = float(target(probs(at)[None])[0])
        return float(np.log(p / (1 - p))) if kind == "multi" else p

    step = 1e-5
    numeric = [(value(x + step * e) - value(x - step * e)) / (2 * step) for e in np.eye(5)]
    assert target.direction(weights, probs(x)) == pytest.approx(numeric, abs=1e-4)


@given(st.integers(0, 10**6), st.sampled_from(["single", "tree"]))
def test_the_answer_grows_in_its_direction_and_what_all_share_is_no_evidence(seed, kind) -> None:
    rng = np.random.default_rng(seed)
    classes = LEAVES if kind == "tree" else ROOMS
    weights, probs = rng.normal(size=(3, 5)), rng.dirichlet(np.ones(3))
    target = target_of(kind, classes, None, probs)
    found = target.direction(weights, probs)
    assert found == pytest.approx(target.direction(weights + rng.normal(size=5), probs))
    logits = weights @ found
    inside = target.weights > 0
    assert logits[inside] @ (probs[inside] / probs[inside].sum()) > logits[~inside].mean()
    if kind == "single":
        assert found == pytest.approx(contrast(weights, int(probs.argmax())))
