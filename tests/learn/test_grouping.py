"""Classes that look alike, or are taken for each other, are grouped."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core.tree import Tree
from listlens.learn.grouping import class_distances, nested_groups, proposed_nodes


def photos(k: int, seed: int, apart: float = 4.0) -> tuple[Any, Any, Any]:
    """Classes 0, 1 are alike, 2, 3 are, and so on: by pictures and by answers."""
    rng = np.random.default_rng(seed)
    couple = rng.normal(0, apart, (-(-k // 2), 40))
    targets = np.repeat(np.arange(k), 6)
    own = rng.normal(0, 1, (k, 40))
    embeddings = couple[targets // 2] + own[targets] + rng.normal(0, 1, (len(targets), 40))
    probs = np.full((len(targets), k), 0.02)
    probs[np.arange(len(targets)), targets] += 0.6
    other = np.minimum(targets ^ 1, k - 1)
    probs[np.arange(len(targets)), other] += 0.3
    return embeddings, probs / probs.sum(axis=1, keepdims=True), targets


@settings(max_examples=20, deadline=None)
@given(k=st.integers(2, 8), seed=st.integers(0, 99))
def test_the_nearest_class_is_the_one_that_is_alike(k: int, seed: int) -> None:
    k = 2 * k
    apart = class_distances(*photos(k, seed))
    assert (apart == apart.T).all()
    assert (np.diag(apart) == 0).all()
    np.fill_diagonal(apart, np.inf)
    assert (apart.argmin(axis=1) == np.arange(k) ^ 1).all()


def test_photos_without_a_label_count_for_nothing() -> None:
    x, p, y = photos(6, 0)
    more = np.vstack([x, 100 * x[:3]]), np.vstack([p, p[:3]]), np.append(y, [-1, -1, -1])
    assert np.allclose(class_distances(x, p, y), class_distances(*more))


@settings(max_examples=40, deadline=None)
@given(k=st.integers(2, 30), n_levels=st.integers(1, 4), seed=st.integers(0, 99))
def test_a_proposal_is_a_tree_with_the_classes_as_its_leaves(
    k: int, n_levels: int, seed: int
) -> None:
    points = np.random.default_rng(seed).normal(size=(k, 3))
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    names = [f"class {i}" for i in range(k)]
    tree = Tree.of_pairs(proposed_nodes(names, apart, n_levels))
    leaves = [tree.paths[i].rpartition(" > ")[2] for i in tree.leaves]
    assert sorted(leaves) == sorted(names)
    assert tree.n_levels <= n_levels + 1
    for below in tree.children:
        assert len(below) != 1
    levels = nested_groups(apart, n_levels)
    for coarse, fine in itertools.pairwise(levels):
        assert len(set(zip(fine.tolist(), coarse.tolist(), strict=True))) == fine.max() + 1


def test_classes_that_cannot_be_told_apart_are_no_problem() -> None:
    same = np.zeros((5, 5))
    assert len(Tree.of_pairs(proposed_nodes(list("abcde"), same, 2)).leaves) == 5
    assert proposed_nodes(["only"], np.zeros((1, 1)), 2) == [("only", "")]
