"""Large trees are learnt in sums over photos: the same folds, the same promises, less memory."""

from __future__ import annotations

import numpy as np
import pytest

from listlens.core.tree import Tree
from listlens.core.types import EmbeddingSpace, Preprocessing
from listlens.learn import large
from listlens.learn.dataset import TrainingSet
from listlens.learn.discriminant import Setting, discriminant, sums_of
from listlens.learn.model import Model
from listlens.learn.recipe import train
from listlens.learn.trees import in_leaf_order

LEAVES = ("a > x", "a > y", "b > x", "b > y", "c")


def small_tree(n: int = 300, dim: int = 20, *, split: bool = False, seed: int = 0) -> TrainingSet:
    """Photos of five leaves, two a listing, one in ten labelled at the top."""
    rng = np.random.default_rng(seed)
    tree = Tree.of(LEAVES)
    part = rng.normal(size=(len(tree.paths), dim))
    leaf = np.repeat(rng.integers(0, len(LEAVES), n // 2), 2)
    means = np.stack([part[list(tree.lineage[i])].sum(axis=0) for i in tree.leaves])
    nodes = np.array(tree.leaves)[leaf]
    nodes[::10] = [tree.lineage[node][0] for node in nodes[::10]]
    groups = np.arange(n) // 2
    sides = np.array(["train", "train", "val", "test"])[groups % 4]
    return TrainingSet(
        kind="tree",
        classes=tree.paths,
        embeddings=(means[leaf] + 0.8 * rng.normal(size=(n, dim))).astype(np.float32),
        targets=nodes,
        groups=groups,
        listings=groups,
        given_split=sides if split else np.full(n, "", "<U5"),
        names=tuple(map(str, range(n))),
    )


@pytest.mark.parametrize("split", [False, True], ids=["folds", "own-split"])
def test_a_large_tree_gives_what_a_small_one_gives(
    monkeypatch: pytest.MonkeyPatch, split: bool
) -> None:
    data = small_tree(split=split)
    usual = train(data)
    monkeypatch.setattr(large, "MOST_CELLS", 0)
    found = train(data)
    assert found.selection["head"] == "discriminant"
    assert (found.classes, found.protocol) == (usual.classes, usual.protocol)
    assert (found.split == usual.split).all()
    rows, probs = found.heldout()
    there, usual_probs = usual.heldout()
    assert (rows == there).all()
    assert np.allclose(probs.sum(axis=1), 1, atol=0.01)
    same = probs.argmax(axis=1) == usual_probs.argmax(axis=1)
    assert same.mean() > 0.85
    assert np.isnan(found.test_probs[found.split != "test"]).all()


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    data = small_tree()
    shape, nodes = in_leaf_order(data)
    parts = [sums_of(data.embeddings, nodes, np.arange(i, 300, 3), shape) for i in range(3)]
    whole = sums_of(data.embeddings, nodes, np.arange(300), shape)
    rest = whole.less(parts[0]).less(parts[1])
    for name in ("count", "total", "scatter"):
        assert np.allclose(getattr(rest, name), getattr(parts[2], name), atol=1e-6)


def test_without_correlations_or_leaning_it_is_the_nearest_mean() -> None:
    """Against an oracle: scaled distances to the leaves' means."""
    data = small_tree()
    shape, nodes = in_leaf_order(data)
    leaves = np.array(shape.tree.leaves)
    rows = np.flatnonzero(np.isin(nodes, leaves))
    head = discriminant(
        sums_of(data.embeddings, nodes, rows, shape), shape.tree, Setting(1.0, 1e-9)
    )
    x = data.embeddings[rows].astype(np.float64)
    leaf = np.searchsorted(leaves, nodes[rows])
    means = np.stack([x[leaf == k].mean(axis=0) for k in range(len(leaves))])
    within = np.square(x - means[leaf]).sum(axis=0) / (len(x) - len(leaves))
    prior = np.log((np.bincount(leaf) + 1) / (len(x) + len(leaves)))
    near = prior - 0.5 * (np.square(x[:, None] - means) / within).sum(axis=2)
    assert (head.logits(data.embeddings[rows]).argmax(axis=1) == near.argmax(axis=1)).all()


def test_a_large_head_takes_half_the_room_and_loses_nothing(tmp_path, monkeypatch) -> None:
    from listlens.learn import model

    monkeypatch.setattr(large, "MOST_CELLS", 0)
    monkeypatch.setattr(model, "HALF_FROM", 0)
    data = small_tree()
    space = EmbeddingSpace("b", "0" * 64, "none", "none", "f32", 20)
    made = Model.from_trained(train(data), space=space, preprocessing=Preprocessing())
    loaded = Model.load(tmp_path / "m", made.save(tmp_path / "m"))
    assert (loaded.head.weights == made.head.weights).all()
    assert (loaded.probs(data.embeddings) == made.probs(data.embeddings)).all()
