"""Evaluation of made-up answers in a category tree whose worth is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from listlens.core.tree import Tree
from listlens.core.types import Policy
from listlens.evaluate.evaluation import MANY_CLASSES, Predicted, evaluate, resampling
from listlens.evaluate.hierarchy import answered_nodes, columns_of
from listlens.learn.policies import Decided
from listlens.metrics.classification import confusion, one_hot, score
from listlens.metrics.intervals import Bootstrap
from listlens.metrics.many_classes import score_answers

TREE = Tree.of(["Fruit > Apple", "Fruit > Pear", "Bread > Rye", "Bread > Toast", "Eggs"])
LEAVES = tuple(TREE.paths[i] for i in TREE.leaves)
NODE = TREE.index


def policy(at=0.6, k=5, target="error<=0.05"):
    return Policy((at,) * k, (at,) * k, (at,) * k, target)


def predicted(rows, *, tree=TREE, at=0.6, decided=None, target="error<=0.05"):
    """Rows of (true node, {leaf: probability}), a listing each."""
    probs = np.array([[p.get(leaf, 0.0) for leaf in LEAVES] for _, p in rows])
    targets = np.array([NODE[node] if node else -1 for node, _ in rows])
    listings = np.arange(len(rows))
    return Predicted(
        "tree", LEAVES, probs, targets, listings, policy(at, target=target), decided, tree
    )


ROWS = [
    ("Fruit > Apple", {"Fruit > Apple": 0.9, "Fruit > Pear": 0.1}),
    ("Fruit > Apple", {"Fruit > Apple": 0.4, "Fruit > Pear": 0.5, "Eggs": 0.1}),
    ("Bread > Rye", {"Eggs": 0.8, "Bread > Rye": 0.2}),
    ("Fruit", {"Fruit > Pear": 0.7, "Bread > Rye": 0.3}),
    ("Eggs", {"Eggs": 0.4, "Fruit > Pear": 0.35, "Fruit > Apple": 0.25}),
    ("", {"Eggs": 1.0}),
]


def test_each_level_is_told_by_itself_on_the_rows_that_reach_it():
    out = evaluate(predicted(ROWS)).as_dict()
    assert out["n"] == 5
    # level 1: the last known row is called Fruit (0.6); level 2: two inner or leaf truths are not
    # there, the apples are 1 of 2, the rye is taken for nothing else of its depth.
    assert out["level_accuracy"] == [0.6, 0.666667]
    assert [e["n"] for e in out["level_accuracy_intervals"]] == [5, 3]


def test_f1_and_distance_follow_the_likeliest_leaf_and_stop_where_the_truth_does():
    e = evaluate(predicted(ROWS))
    shared, answered, true = 2 + 1 + 0 + 1 + 1, 2 + 2 + 1 + 1 + 1, 2 + 2 + 2 + 1 + 1
    scores = e.hierarchy.scores
    assert scores.precision.value == pytest.approx(shared / answered)
    assert scores.recall.value == pytest.approx(shared / true)
    assert scores.f1.value == pytest.approx(2 * shared / (answered + true))
    assert e.headline == scores.f1
    assert scores.distance.value == pytest.approx((0 + 2 + 3 + 0 + 0) / 5)


def test_leaf_numbers_are_those_of_single_on_the_photos_labelled_with_a_leaf():
    e = evaluate(predicted(ROWS))
    leaf_rows = [row for row in ROWS if row[0] in LEAVES]
    probs = np.array([[p.get(leaf, 0.0) for leaf in LEAVES] for _, p in leaf_rows])
    truth = np.array([LEAVES.index(node) for node, _ in leaf_rows])
    flat = evaluate(
        Predicted("single", LEAVES, probs, truth, np.array([0, 1, 2, 4]), policy(target="best-f1"))
    )
    assert (e.accuracy, e.bins, e.scores) == (flat.accuracy, flat.bins, flat.scores)
    assert (e.confusion == flat.confusion).all()
    assert e.accuracy.n == 4


def test_backing_off_answers_the_deepest_node_that_is_sure_enough():
    backoff = evaluate(predicted(ROWS)).as_dict()["backoff"]
    # Apple (right), Fruit (right), Eggs (wrong), Pear (right as far as the label goes), Fruit (no)
    assert backoff["allowed_error"] == 0.05
    assert backoff["answered"] == 1.0
    assert backoff["mean_depth"] == pytest.approx((2 + 1 + 1 + 2 + 1) / 5)
    assert backoff["error"] == pytest.approx(2 / 5)
    assert backoff["curve"][-1]["answered"] == 1
    high = evaluate(predicted(ROWS, at=0.85)).as_dict()["backoff"]
    assert (high["answered"], high["error"]) == (0.4, 0.0)
    assert (high["mean_depth"], high["mean_depth_all"]) == (1.5, 0.6)


def test_decisions_count_as_they_were_made_and_those_left_to_people_as_unanswered():
    under = {node: [leaf.startswith(node) for leaf in LEAVES] for node in TREE.paths}
    given = np.array([under[n] for n in ("Fruit", "Fruit > Pear", "Eggs", "Bread", "Eggs", "Eggs")])
    review = np.zeros_like(given)
    review[2, 0] = True
    decided = Decided(given, review)
    nodes = answered_nodes(decided, columns_of(LEAVES, TREE), TREE)
    assert [TREE.paths[i] if i >= 0 else "" for i in nodes] == [
        "Fruit", "Fruit > Pear", "", "Bread", "Eggs", "Eggs"]  # fmt: skip
    e = evaluate(predicted(ROWS, decided=decided))
    assert e.coverage.policy_coverage.value == pytest.approx(4 / 5)
    assert e.coverage.policy_error.value == pytest.approx(2 / 4)


def test_of_two_nodes_with_the_same_leaves_the_deeper_is_meant():
    tree = Tree.of(["Fruit > Apple", "Bread"])
    decided = Decided(np.array([[True, False]]), np.zeros((1, 2), bool))
    assert tree.paths[answered_nodes(decided, np.array([1, 2]), tree)[0]] == "Fruit > Apple"


def test_leaves_of_two_branches_are_no_answer():
    given = np.zeros((1, len(LEAVES)), bool)
    given[0, [0, 2]] = True
    with pytest.raises(ValueError, match="one node"):
        answered_nodes(Decided(given, np.zeros_like(given)), columns_of(LEAVES, TREE), TREE)


def test_confusions_say_how_far_the_way_was_right():
    h = evaluate(predicted(ROWS)).hierarchy
    found = {(c.given, c.called): (c.n, c.of, c.shared, c.siblings) for c in h.confusions}
    assert found == {
        ("Fruit > Apple", "Fruit > Pear"): (1, 2, 1, True),
        ("Bread > Rye", "Eggs"): (1, 1, 0, False),
    }
    assert h.leaves_at == (1, 1)


def test_nodes_have_the_support_of_all_below_and_the_weakest_come_first():
    nodes = evaluate(predicted(ROWS)).hierarchy.nodes
    by_path = {n.path: n for n in nodes}
    assert by_path["Fruit"].support == 3
    assert by_path["Fruit"].right.value == 1
    assert by_path["Bread"].right.value == 0
    shares = [n.right.value for n in nodes]
    assert shares == sorted(shares)
    assert "Bread > Toast" not in by_path


def test_labels_that_are_all_inner_leave_the_leaves_unscored():
    e = evaluate(predicted([("Fruit", {"Fruit > Apple": 0.9, "Eggs": 0.1})] * 3))
    out = json.loads(json.dumps(e.as_dict(), allow_nan=False))
    assert out["accuracy"] is None
    assert out["level_accuracy"] == [1.0]
    assert out["hierarchical_f1"]["value"] == 1
    assert out["n"] == 3


def test_the_baseline_is_the_most_frequent_leaf_of_training():
    e = evaluate(predicted(ROWS), train_targets=[NODE["Eggs"], NODE["Eggs"], NODE["Fruit"], -1])
    assert e.baseline_name == "always “Eggs”, the most frequent class"
    assert e.baseline.value == pytest.approx(2 * 1 / (5 + 8))


def test_photos_that_were_also_trained_on_are_scored_apart():
    e = evaluate(predicted(ROWS), leaking=[False, False, True, False, False, False])
    assert e.n_leaking == 1
    assert e.without_leaks.n == 4
    assert e.as_dict()["leaking"]["without"]["hierarchical_f1"]["value"] > e.headline.value


@pytest.mark.parametrize("tree", [None, Tree.of(["Fruit"])])
def test_a_tree_that_is_missing_or_another_is_refused(tree):
    with pytest.raises(ValueError, match="tree"):
        evaluate(predicted(ROWS, tree=tree))


def many(n=900, k=MANY_CLASSES + 20, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    probs = rng.dirichlet(np.full(k, 0.05), n).astype(np.float32) + 0.3 * one_hot(truth, k)
    return truth, probs / probs.sum(1, keepdims=True)


def test_counting_sparsely_gives_the_scores_of_counting_everything():
    truth, probs = many()
    k, top = probs.shape[1], probs.argmax(1)
    draws = Bootstrap(np.arange(len(truth)) // 3, n_resamples=60)
    slow = score(one_hot(truth, k), one_hot(top, k), probs, np.ones(probs.shape, bool), draws)
    quick = score_answers(truth, top, k, draws)
    for a, b in zip(slow.classes, quick.classes, strict=True):
        assert (a.support, a.n_given) == (b.support, b.n_given)
        for name in ("precision", "recall", "f1"):
            x, y = getattr(a, name), getattr(b, name)
            assert (x is None) == (y is None)
            if x is not None:
                assert (x.value, x.n) == (pytest.approx(y.value), y.n)
                if x.value not in (0.0, 1.0):
                    assert (x.low, x.high) == pytest.approx((y.low, y.high), abs=1e-6)
    for name in ("precision", "recall", "f1"):
        x, y = getattr(slow.macro, name), getattr(quick.macro, name)
        assert (x.value, x.low, x.high) == pytest.approx((y.value, y.low, y.high), abs=1e-6)
    assert slow.micro.f1 == quick.micro.f1


def test_with_many_classes_the_report_lists_confusions_in_place_of_a_table():
    truth, probs = many()
    names = tuple(f"c{i}" for i in range(probs.shape[1]))
    p = Predicted("single", names, probs, truth, np.arange(900), policy(k=len(names)))
    out = evaluate(p, n_resamples=40).as_dict()
    table = confusion(truth, probs.argmax(1), len(names))
    assert set(out["confusion"]) == {"largest"}
    most = out["confusion"]["largest"][0]
    i, j = names.index(most["given"]), names.index(most["called"])
    assert most["n"] == table[i, j] == (table * ~np.eye(len(names), dtype=bool)).max()
    assert out["accuracy"]["value"] == pytest.approx(np.trace(table) / 900, abs=1e-6)


def test_fewer_draws_are_made_where_listings_are_very_many():
    assert resampling(np.arange(100), 1000, 0).n_resamples == 1000
    assert resampling(np.arange(40_000), 1000, 0).n_resamples == 500
    assert resampling(np.arange(400_000), 1000, 0).n_resamples == 200
    assert resampling(np.arange(400_000), 50, 0).n_resamples == 50
