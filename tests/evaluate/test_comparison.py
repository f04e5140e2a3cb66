"""Two models on the same photos: the metric's difference is paired, and what flips is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from listlens.evaluate.comparison import Side, compare
from listlens.metrics.hierarchy import hierarchical_f1
from listlens.metrics.ordinal import srcc
from listlens.metrics.paired import by_chance, difference

ROOMS = ("bath", "bed", "kitchen")


def side(version: int, probs, classes=ROOMS, given=None) -> Side:
    table = np.asarray(probs, np.float64)
    return Side(version, classes, table, table > 0.5 if given is None else given)


def answers_of(right: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Probabilities whose likeliest class is right where asked."""
    said = np.where(right, truth, (truth + 1) % 3)
    return np.eye(3)[said] * 0.8 + 0.1 / 1.5


def test_what_flips_is_listed_both_ways_and_the_better_model_is_named() -> None:
    truth = np.arange(300) % 3
    first, second = np.arange(300) >= 60, np.arange(300) < 290
    names = [f"{i}.jpg" for i in range(300)]
    probs = answers_of(first, truth), answers_of(second, truth)
    found = compare(
        "single", ROOMS, truth, names, np.arange(300), (side(1, probs[0]), side(2, probs[1]))
    )
    assert (found.first.value, found.second.value) == (0.8, pytest.approx(290 / 300))
    assert found.gain.value == pytest.approx(50 / 300)
    assert found.gain.low > 0.1
    assert {f.image for f in found.mended} == set(names[:60])
    assert {f.image for f in found.broken} == set(names[290:])
    assert (found.n_both_right, found.n_both_wrong) == (230, 0)
    assert found.verdict == "Model 2 is better than model 1."
    assert found.chance < 1e-6
    flip = found.mended[0]
    assert (flip.given, flip.second) == (flip.given, flip.given)
    assert flip.first != flip.given
    back = compare(
        "single", ROOMS, truth, names, np.arange(300), (side(2, probs[1]), side(1, probs[0]))
    )
    assert back.gain.value == -found.gain.value
    assert [f.image for f in back.broken] == [f.image for f in found.mended]
    assert back.verdict == "Model 2 is better than model 1."


def test_equal_models_cannot_be_told_apart_and_flip_nothing() -> None:
    truth = np.arange(30) % 3
    probs = answers_of(np.arange(30) % 7 > 0, truth)
    found = compare(
        "single", ROOMS, truth, ["x"] * 30, np.arange(30), (side(1, probs), side(2, probs))
    )
    assert (found.gain.value, found.gain.low, found.gain.high) == (0, 0, 0)
    assert (found.mended, found.broken, found.chance) == ((), (), 1.0)
    assert "cannot be told apart" in found.verdict


def test_pairing_makes_the_interval_narrower_than_the_metrics_own() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 400)
    first = rng.random(400) < 0.7
    second = first | (rng.random(400) < 0.1)
    sides = side(1, answers_of(first, truth)), side(2, answers_of(second, truth))
    found = compare("single", ROOMS, truth, ["x"] * 400, np.arange(400), sides)
    own = found.second.high - found.second.low
    assert found.gain.high - found.gain.low < 0.8 * own
    assert found.gain.low > 0


def test_unknown_labels_are_left_out_and_a_class_that_a_model_lacks_is_wrong() -> None:
    truth = np.array([0, 1, 2, -1])
    probs = np.eye(3)[[0, 1, 2, 0]]
    lacking = side(1, np.eye(2)[[0, 1, 1, 0]], ROOMS[:2])
    found = compare("single", ROOMS, truth, list("abcd"), np.arange(4), (lacking, side(2, probs)))
    assert found.n == 3
    assert [f.image for f in found.mended] == ["c"]
    assert found.only_in == {2: ("kitchen",)}
    with pytest.raises(ValueError, match="known answer"):
        compare("single", ROOMS, np.array([-1]), ["a"], np.arange(1), (lacking.__class__(
            1, ROOMS, probs[:1], probs[:1] > 0), side(2, probs[:1])))  # fmt: skip


def test_several_answers_a_photo_flip_one_by_one() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(-1, 2, (80, 3))
    probs = [np.clip(truth * q + rng.random((80, 3)) * 0.7, 0, 1) for q in (0.1, 0.4)]
    found = compare("multi", ROOMS, truth, [str(i) for i in range(80)], np.arange(80),
                    (side(1, probs[0]), side(2, probs[1])))  # fmt: skip
    for estimate, p in zip((found.first, found.second), probs, strict=True):
        known = truth >= 0
        expected = [
            average_precision_score(truth[known[:, j], j], p[known[:, j], j]) for j in range(3)
        ]
        assert estimate.value == pytest.approx(np.mean(expected))
    assert found.unit == "answers"
    n = found.n_both_right + found.n_both_wrong + len(found.mended) + len(found.broken)
    assert n == (truth >= 0).sum()
    flip = found.mended[0]
    i, name = int(flip.image), flip.given.removeprefix("not ")
    assert truth[i, ROOMS.index(name)] == (0 if flip.given.startswith("not ") else 1)


NODES = ("Fruit", "Fruit > Apple", "Fruit > Pear", "Bread")
LEAVES = ("Fruit > Apple", "Fruit > Pear", "Bread")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_a_tree_is_compared_by_hierarchical_f1_and_an_inner_label_is_right_above(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, 40)
    probs = [rng.dirichlet(np.ones(3), 40) for _ in range(2)]
    found = compare("tree", NODES, truth, [str(i) for i in range(40)], np.arange(40),
                    (side(1, probs[0], LEAVES), side(2, probs[1], LEAVES)))  # fmt: skip
    parent, node = [-1, 0, 0, -1], np.array([1, 2, 3])
    for estimate, p in zip((found.first, found.second), probs, strict=True):
        assert estimate.value == pytest.approx(hierarchical_f1(parent, node[p.argmax(1)], truth))
    for flip in found.mended:
        assert flip.second == flip.given != flip.first


def test_a_score_is_compared_by_rank_and_moves_count_from_a_tenth_of_the_scale() -> None:
    steps = ("1", "2", "3", "4", "5")
    rng = np.random.default_rng(2)
    truth = rng.dirichlet(np.ones(5), 60)
    near = 0.9 * truth + 0.02
    far = rng.dirichlet(np.ones(5), 60)
    found = compare("score", steps, truth, [str(i) for i in range(60)], np.arange(60),
                    (side(1, far, steps), side(2, near, steps)))  # fmt: skip
    scale = np.arange(1, 6)
    assert found.first.value == pytest.approx(srcc(far @ scale, truth @ scale))
    assert found.gain.low > 0
    off = np.abs(far @ scale - truth @ scale) - np.abs(near @ scale - truth @ scale)
    assert len(found.mended) == (off / 4 >= 0.1).sum()
    assert found.mended[0].size == pytest.approx(off.max() / 4, abs=1e-6)


def test_an_undefined_metric_has_no_difference() -> None:
    draws = np.zeros(5)
    assert difference((float("nan"), draws), (0.5, draws), 3) is None
    assert by_chance(3, 0) == pytest.approx(0.25)
