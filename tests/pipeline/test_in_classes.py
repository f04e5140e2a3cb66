"""Labels of today read in the classes of a model, whatever became of the task since."""

from __future__ import annotations

import numpy as np

from listlens.core.tree import Tree
from listlens.learn.dataset import known_rows
from listlens.learn.trees import shape_of
from listlens.pipeline.judging import in_classes

LEAVES = ("Fruit > Apple", "Fruit > Pear", "Bread")


def test_nodes_are_found_by_their_paths_whatever_their_order() -> None:
    today = Tree.of(["Bread", *LEAVES[::-1]]).paths
    tree = shape_of(LEAVES).tree
    found = in_classes("tree", today, LEAVES, np.arange(len(today)))
    assert [tree.paths[i] for i in found] == list(today)


def test_a_leaf_that_has_grown_counts_as_itself_and_a_new_one_is_unknown() -> None:
    today = Tree.of([*LEAVES, "Fruit > Apple > Gala", "Fruit > Kiwi"]).paths
    tree = shape_of(LEAVES).tree
    found = in_classes("tree", today, LEAVES, np.arange(-1, len(today)))
    by_path = dict(zip(("", *today), found.tolist(), strict=True))
    assert by_path["Fruit > Apple > Gala"] == tree.index["Fruit > Apple"]
    assert by_path["Fruit > Kiwi"] == by_path[""] == -1
    assert by_path["Fruit"] == tree.index["Fruit"]
    assert known_rows("tree", found).sum() == len(today) - 1


def test_votes_on_a_step_that_the_model_has_not_are_unknown() -> None:
    given = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [np.nan] * 3], np.float32)
    found = in_classes("score", ("1", "2", "3"), ("1", "2"), given)
    assert known_rows("score", found).tolist() == [True, False, False]
    assert found[0].tolist() == [0.5, 0.5]
