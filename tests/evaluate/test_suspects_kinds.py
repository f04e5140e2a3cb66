"""Which labels of trees and scores are suspects, and which photos are unsure."""

from __future__ import annotations

import numpy as np
import pytest

from listlens.core.tree import Tree
from listlens.core.types import Policy
from listlens.evaluate import suspects as module
from listlens.evaluate.suspects import suspects, unsure

TREE = Tree.of(["Fruit > Apple", "Fruit > Pear", "Bread > Rye", "Eggs"])
LEAVES = tuple(TREE.paths[i] for i in TREE.leaves)
SCALE = (1.0, 2.0, 3.0, 4.0, 5.0)


def of_tree(rows, contents=None, **more):
    """Rows of (label, probabilities of the leaves)."""
    given = np.array([TREE.index[label] if label else -1 for label, _ in rows])
    probs = np.array([p for _, p in rows], dtype=np.float32)
    names = [str(i) for i in range(len(rows))]
    contents = np.arange(len(rows)) if contents is None else contents
    return suspects("tree", LEAVES, probs, given, names, contents, tree=TREE, **more)


def votes(mean, spread=0.6):
    mass = np.exp(-0.5 * np.square((np.array(SCALE) - np.asarray(mean, float)[:, None]) / spread))
    return mass / mass.sum(axis=1, keepdims=True)


def of_score(said, told, contents=None, **more):
    names = [str(i) for i in range(len(said))]
    contents = np.arange(len(said)) if contents is None else contents
    steps = tuple("12345")
    return suspects(
        "score", steps, votes(said), votes(told), names, contents, scale=SCALE, **more
    )  # fmt: skip


def test_a_node_is_as_likely_as_its_leaves_together_and_the_suggestion_is_as_deep():
    found = of_tree(
        [
            ("Fruit", [0.3, 0.3, 0.3, 0.1]),  # 0.6 of its two leaves: no suspect
            ("Fruit", [0.1, 0.1, 0.7, 0.1]),
            ("Bread > Rye", [0.1, 0.5, 0.35, 0.05]),
            ("Eggs", [0.4, 0.3, 0.1, 0.2]),
            ("", [1, 0, 0, 0]),
        ]
    )
    assert [(s.image, s.given, s.suggested) for s in found] == [
        ("1", "Fruit", "Bread"),
        ("3", "Eggs", "Fruit"),
        ("2", "Bread > Rye", "Fruit > Pear"),
    ]
    assert [s.probability for s in found] == pytest.approx([0.2, 0.2, 0.35], abs=1e-6)
    assert {s.reason for s in found} == {"model"}


def test_a_label_whose_node_is_likeliest_is_no_suspect_however_unsure():
    assert of_tree([("Fruit > Apple", [0.3, 0.25, 0.25, 0.2])]) == ()


def test_the_same_photo_at_two_depths_of_one_branch_is_no_conflict_on_two_branches_it_is():
    sure = [0.9, 0.1, 0, 0]
    rows = [("Fruit", sure), ("Fruit > Apple", sure), ("Eggs", sure), ("Fruit > Apple", sure)]
    found = of_tree(rows, contents=[0, 0, 1, 1])
    assert [(s.image, s.reason) for s in found] == [("2", "conflict"), ("3", "conflict")]


def test_three_depths_with_one_off_the_line_are_a_conflict():
    rows = [(label, [0.5, 0.4, 0.1, 0]) for label in ("Fruit", "Fruit > Apple", "Fruit > Pear")]
    assert len(of_tree(rows, contents=[0, 0, 0])) == 3


def test_rows_in_blocks_give_the_same_suspects(monkeypatch):
    rng = np.random.default_rng(0)
    paths = [*TREE.paths]
    rows = [(paths[rng.integers(len(paths))], rng.dirichlet(np.ones(4))) for _ in range(40)]
    whole = of_tree(rows)
    monkeypatch.setattr(module, "_CELLS", 12)
    assert whole == of_tree(rows)
    assert len(whole) > 5


def test_a_tree_needs_its_nodes():
    with pytest.raises(ValueError, match="nodes"):
        suspects("tree", LEAVES, np.eye(4), np.zeros(4, int), list("abcd"), np.arange(4))


def test_no_labels_no_suspects():
    assert of_tree([("", [1, 0, 0, 0])]) == ()
    nothing = np.full((1, 5), np.nan)
    assert suspects("score", tuple("12345"), nothing, nothing, ["a"], [0], scale=SCALE) == ()


def test_a_mean_far_from_the_prediction_stands_out_from_the_usual_scatter():
    rng = np.random.default_rng(0)
    said = rng.uniform(2, 4, 200)
    told = said + 0.2 * rng.normal(size=200)
    told[7], said[7] = 1.5, 3.9
    found = of_score(said, told)
    assert found[0].image == "7"
    assert (found[0].given, found[0].reason) == (f"{votes([1.5])[0] @ SCALE:.2f}", "model")
    assert found[0].probability < 1e-6
    assert len(found) < 5
    every_mean_too_low = of_score(said, told + 0.5)
    assert every_mean_too_low[0].image == "7"
    assert len(every_mean_too_low) < 10


def test_few_votes_may_lie_far_off_by_chance():
    rng = np.random.default_rng(0)
    said = rng.uniform(2.5, 3.5, 100)
    told = said + 0.1 * rng.normal(size=100)
    told[:2] = said[:2] + 0.6
    weights = np.full(100, 50.0)
    weights[0] = 1.0
    images = [s.image for s in of_score(said, told, weights=weights)]
    assert "1" in images
    assert "0" not in images


def test_the_same_photo_with_means_over_a_step_apart_is_a_conflict():
    said = np.full(20, 3.0)
    told = np.linspace(2.9, 3.1, 20)
    told[:4] = 2.2, 3.8, 2.8, 3.2
    contents = np.arange(20)
    contents[1], contents[3] = 0, 2
    found = of_score(said, told, contents=contents)
    assert [s.image for s in found if s.reason == "conflict"] == ["0", "1"]


def test_unsure_of_a_tree_is_the_margin_of_its_leaves_and_of_a_score_the_widest_votes():
    policy = Policy((0.5,) * 4, (0.5,) * 4, (0.5,) * 4)
    probs = np.array([[0.9, 0.1, 0, 0], [0.5, 0.45, 0.05, 0]])
    first = unsure("tree", LEAVES, probs, ["a", "b"], policy)[0]
    assert (first.image, first.margin) == ("b", 0.05)
    assert first.likely == (("Fruit > Apple", 0.5), ("Fruit > Pear", 0.45))
    torn = np.array([[0, 0, 1.0, 0, 0], [0.5, 0, 0, 0, 0.5], [0, 0.5, 0, 0.5, 0]])
    found = unsure("score", tuple("12345"), torn, ["a", "b", "c"], policy, scale=SCALE)
    assert [(u.image, u.margin) for u in found] == [("b", 0.0), ("c", 0.5), ("a", 1.0)]
