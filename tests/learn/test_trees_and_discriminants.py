"""Trees as numbers: nodes add up, discriminants are the textbook's, back-off keeps its promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core.tree import Tree
from listlens.learn.backoff import DEFAULT_ERROR, allowed_error, answer, choose_threshold
from listlens.learn.discriminant import (
    SETTINGS,
    SOFTER,
    Setting,
    added,
    cross_fit_discriminants,
    discriminant,
    fit_discriminant,
    sums_of,
)
from listlens.learn.trees import (
    encode_nodes,
    leaf_paths,
    leaves_under,
    node_probs,
    shape_of,
    sharing,
)

names = st.sampled_from("abc")
paths = st.lists(names, min_size=1, max_size=3).map(" > ".join)
trees = st.lists(paths, min_size=1, max_size=7).map(Tree.of)

LEAVES = ("a > x", "a > y", "b > x", "b > y", "c")
SHAPE = shape_of(LEAVES)


def photos(n: int, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and nodes; some photos are labelled above the leaves, some not at all."""
    rng = np.random.default_rng(seed)
    nodes = rng.integers(-1, len(SHAPE.tree.paths), n)
    middle = rng.normal(size=(len(SHAPE.tree.paths) + 1, dim))
    return (middle[nodes] + rng.normal(size=(n, dim))).astype(np.float32), nodes


@given(trees, st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_a_nodes_probability_is_the_sum_of_its_childrens(tree: Tree, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(len(tree.leaves)), 4).astype(np.float32)
    found = node_probs(probs, leaves_under(tree))
    for node, below in enumerate(tree.children):
        if below:
            assert found[:, node] == pytest.approx(found[:, list(below)].sum(axis=1), abs=1e-5)
    tops = [i for i, parent in enumerate(tree.parent) if parent < 0]
    assert found[:, tops].sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert found[:, list(tree.leaves)] == pytest.approx(probs, abs=1e-6)


@given(trees)
@settings(max_examples=25, deadline=None)
def test_leaves_give_the_tree_again_whatever_the_order_of_mention(tree: Tree) -> None:
    leaves = leaf_paths(tree.paths)
    again = shape_of(leaves)
    assert set(again.tree.paths) == set(tree.paths)
    assert tuple(again.tree.paths[i] for i in again.tree.leaves) == leaves
    assert again.under.any(axis=1).all()
    for node, path in enumerate(again.tree.paths):
        assert again.common(again.under[node]).startswith(path)


def test_a_leaf_above_another_is_no_leaf() -> None:
    with pytest.raises(ValueError, match="cannot be above another leaf"):
        shape_of(("a", "a > b"))


def test_an_inner_node_says_one_of_its_leaves_and_unknown_says_nothing() -> None:
    a, leaf = SHAPE.tree.index["a"], SHAPE.tree.index["b > y"]
    found = encode_nodes(np.array([a, leaf, -1]), SHAPE.under)
    assert found.yes.tolist() == [[1, 1, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]
    assert found.weight.tolist() == [[1], [1], [0]]
    assert SHAPE.common(np.array([True, True, False, False, False])) == "a"
    assert SHAPE.common(np.array([True, False, True, False, False])) == ""


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_siblings_share_and_strangers_do_not(strength: float) -> None:
    mix = sharing(SHAPE.tree, strength)
    assert mix is not None
    alike = mix @ mix.T  # covariance of the leaves' weights under the prior
    assert alike[0, 1] == pytest.approx(strength**2)
    assert alike[0, 2] == alike[0, 4] == 0
    assert alike[4, 4] == 1  # a leaf at the top has no one to share with
    assert sharing(SHAPE.tree, 0.0) is None
    assert sharing(Tree.of(["a", "b"]), 1.0) is None


def by_hand(x: np.ndarray, nodes: np.ndarray, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """A discriminant written down plainly, photo by photo, with an inverse."""
    tree = SHAPE.tree
    rows = nodes >= 0
    x, nodes = x[rows].astype(np.float64), nodes[rows]
    lean = x.mean(axis=0)
    means: dict[int, np.ndarray] = {}
    for node in range(len(tree.paths)):
        above = means.get(tree.parent[node], lean)
        below = np.array([node in tree.lineage[n] for n in nodes])
        means[node] = (x[below].sum(axis=0) + setting.leaning * above) / (
            below.sum() + setting.leaning
        )
    at_leaf = [x[nodes == leaf] for leaf in tree.leaves]
    n = sum(map(len, at_leaf))
    scatter = sum((own - own.mean(axis=0)).T @ (own - own.mean(axis=0)) for own in at_leaf)
    shape = scatter / (n - len(at_leaf))
    shape = (1 - setting.shrinkage) * shape + setting.shrinkage * np.diag(np.diag(shape))
    inverse = np.linalg.inv(shape)
    leaf_means = np.stack([means[leaf] for leaf in tree.leaves])
    prior = np.log([(len(own) + 1) / (n + len(at_leaf)) for own in at_leaf])
    return leaf_means @ inverse, prior - 0.5 * np.einsum(
        "ki,ij,kj->k", leaf_means, inverse, leaf_means
    )


@pytest.mark.parametrize("setting", SETTINGS[::4], ids=str)
def test_a_discriminant_orders_leaves_as_gaussian_clouds_do(setting: Setting) -> None:
    x, nodes = photos(200, 6, seed=4)
    head = fit_discriminant(x, nodes, np.arange(200), SHAPE, setting)
    weights, bias = by_hand(x, nodes, setting)
    fresh = np.random.default_rng(5).normal(size=(50, 6)).astype(np.float32) * 2
    wanted = SOFTER * (fresh @ weights.T + bias)
    found = head.logits(fresh)
    # Logits mean something up to what all leaves gain alike.
    wanted -= wanted.mean(axis=1, keepdims=True)
    assert found - found.mean(axis=1, keepdims=True) == pytest.approx(wanted, abs=2e-4)


def test_a_discriminant_of_nearly_nothing_stays_finite() -> None:
    same = np.ones((6, 4), np.float32)
    nodes = np.array([SHAPE.tree.index[path] for path in ("a > x", "a > x", "c", "c", "a", "b")])
    for setting in SETTINGS:
        head = fit_discriminant(same, nodes, np.arange(6), SHAPE, setting)
        assert np.isfinite(head.weights).all()
        assert np.isfinite(head.bias).all()
    nobody = discriminant(sums_of(same, nodes, np.arange(0), SHAPE), SHAPE.tree, SETTINGS[0])
    assert np.isfinite(nobody.logits(same)).all()


def test_taking_a_fold_away_is_never_having_had_it() -> None:
    x, nodes = photos(120, 5, seed=6)
    first, second = np.arange(0, 50), np.arange(50, 120)
    parts = [sums_of(x, nodes, rows, SHAPE) for rows in (first, second)]
    left = added(parts).less(parts[0])
    one, other = (discriminant(s, SHAPE.tree, SETTINGS[3]) for s in (left, parts[1]))
    assert one.weights == pytest.approx(other.weights, rel=1e-3, abs=1e-5)


def test_a_folds_discriminant_has_not_seen_the_fold() -> None:
    x, nodes = photos(90, 5, seed=7)
    fold = np.arange(90) % 3
    fold[::10] = -1
    base = np.zeros(90, np.bool_)
    base[::20] = True
    targets = encode_nodes(nodes, SHAPE.under)
    (found,) = cross_fit_discriminants(
        x, nodes, targets, fold, SHAPE, [SETTINGS[0]], base=base, scaled=False
    )
    assert np.isnan(found[fold < 0]).all()
    for f in range(3):
        rows = np.flatnonzero(((fold >= 0) & (fold != f)) | base)
        alone = fit_discriminant(x, nodes, rows, SHAPE, SETTINGS[0])
        assert found[fold == f] == pytest.approx(alone.logits(x[fold == f]), abs=1e-3)
    (scaled,) = cross_fit_discriminants(x, nodes, targets, fold, SHAPE, [SETTINGS[0]], base=base)
    ratio = scaled[fold == 1] / found[fold == 1]
    assert ratio == pytest.approx(ratio[0, 0], rel=1e-3)
    assert ratio[0, 0] > 0


def sure_rows(n: int, seed: int, *, sharp: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right as often as they say, and nodes drawn by them."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(len(LEAVES), sharp), n)
    leaf = np.array([rng.choice(len(LEAVES), p=row) for row in probs])
    nodes = np.array(SHAPE.tree.leaves)[leaf]
    nodes[::9] = [SHAPE.tree.lineage[node][0] for node in nodes[::9]]
    nodes[::14] = -1
    return probs, nodes


def is_wrong(said: str, truth: int) -> bool:
    """Neither on the way to the truth nor below an inner truth."""
    names, true = said.split(" > "), SHAPE.tree.paths[truth].split(" > ")
    shared = min(len(names), len(true))
    deeper = len(names) > len(true)
    return names[:shared] != true[:shared] or (deeper and truth in SHAPE.tree.leaves)


@pytest.mark.parametrize("allowed", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_on_the_rows_it_was_chosen_on_no_more_is_wrong_than_allowed(
    allowed: float, seed: int
) -> None:
    probs, nodes = sure_rows(300, seed, sharp=0.2)
    threshold = choose_threshold(probs, nodes, SHAPE, allowed)
    given_, review = answer(probs, SHAPE, threshold)
    n = wrong = 0
    for row in range(300):
        assert given_[row].any() != review[row].any()  # answered, or a person looks
        if given_[row].any() and nodes[row] >= 0:
            n += 1
            wrong += is_wrong(SHAPE.common(given_[row]), int(nodes[row]))
    assert wrong <= allowed * n
    assert n > 0 or threshold == 1


def test_more_allowed_error_never_answers_less_deep() -> None:
    probs, nodes = sure_rows(400, 9, sharp=0.3)

    def depth(allowed: float) -> int:
        found, _ = answer(probs, SHAPE, choose_threshold(probs, nodes, SHAPE, allowed))
        said = [SHAPE.common(row) for row in found[nodes >= 0] if row.any()]
        return sum(path.count(">") + 1 for path in said)

    deep = [depth(allowed) for allowed in (0.0, 0.01, 0.05, 0.2, 0.5)]
    assert deep == sorted(deep)
    assert deep[0] == 0
    assert deep[-1] > deep[1]


@given(st.integers(0, 10**6), st.floats(0.21, 0.99))
@settings(max_examples=20, deadline=None)
def test_an_answer_is_the_deepest_node_that_is_sure_enough(seed: int, threshold: float) -> None:
    probs = np.random.default_rng(seed).dirichlet(np.full(len(LEAVES), 0.5), 6)
    found, review = answer(probs, SHAPE, threshold)
    every = node_probs(probs, SHAPE.under)
    for row in range(6):
        enough = [i for i in range(len(SHAPE.tree.paths)) if every[row, i] >= threshold + 1e-6]
        said = SHAPE.common(found[row])
        if said:
            assert every[row, SHAPE.tree.index[said]] >= threshold - 1e-6
        if threshold > 0.5 and enough:  # at most one node a level is that sure
            deepest = max(enough, key=lambda i: SHAPE.tree.depth[i])
            assert SHAPE.tree.depth[SHAPE.tree.index[said]] >= SHAPE.tree.depth[deepest]
        if review[row].any():
            assert review[row].argmax() == probs[row].argmax()


def test_a_threshold_of_one_answers_nothing_though_stored_probabilities_reach_it() -> None:
    found, review = answer(np.eye(5, dtype=np.float16), SHAPE, 1.0)
    assert not found.any()
    assert (review == np.eye(5, dtype=bool)).all()
    nobody = choose_threshold(np.empty((0, 5)), np.empty(0, np.int64), SHAPE, 0.5)
    assert nobody == 1.0


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [("error", 0.02, 0.02), ("precision", 0.9, 0.1), ("best-f1", 0.0, DEFAULT_ERROR)],
    ids=["error", "precision", "best-f1"],
)
def test_every_target_says_how_much_may_be_wrong(name: str, value: float, allowed: float) -> None:
    assert allowed_error(name, value) == allowed


def test_settings_note_themselves_apart() -> None:
    assert len({tuple(s.record().items()) for s in SETTINGS}) == len(SETTINGS)
