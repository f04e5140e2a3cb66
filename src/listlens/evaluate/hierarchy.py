"""What a tree's answers are worth: by level, how deep they may go, and where they go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from listlens.core.types import Estimate
from listlens.evaluate.plain import plain
from listlens.learn.policies import parse_target
from listlens.metrics.hierarchy import (
    Backoff,
    BackoffPoint,
    Levels,
    TreeScores,
    ancestry,
    backoff,
    backoff_curve,
    cut,
    leaf_answers,
    level_accuracy,
    levels,
    overlap,
    tree_scores,
)
from listlens.metrics.many_classes import counts, shares

if TYPE_CHECKING:
    from listlens.core.tree import Tree
    from listlens.evaluate.evaluation import Predicted
    from listlens.learn.policies import Decided
    from listlens.metrics.intervals import Bootstrap

Ints = NDArray[np.int64]

ALLOWED_ERRORS = (0.01, 0.02, 0.05, 0.10)
"""Errors for which the report says how deep answers may go."""

N_CONFUSIONS = 100
"""Most frequent confusions that are kept; with thousands of leaves most others happen once."""


@dataclass(frozen=True, slots=True)
class NodeScore:
    """How one node fares, told apart from the others of its depth.

    Args:
        path: of the node.
        level: its depth, 1 at the top.
        support: photos of the node, or of any below it.
        right: the share of them whose likeliest node of this depth is this one.
    """

    path: str
    level: int
    support: int
    right: Estimate | None


@dataclass(frozen=True, slots=True)
class Confusion:
    """Photos of one node that were taken for another.

    Args:
        given: path of the label.
        called: path of the likeliest leaf, cut at the label's depth where that is an inner node.
        n: photos.
        of: photos with this label.
        shared: levels the two have in common, from the top.
        siblings: they have the same parent.
    """

    given: str
    called: str
    n: int
    of: int
    shared: int
    siblings: bool


@dataclass(frozen=True)
class Hierarchy:
    """The part of an evaluation that knows the tree.

    Args:
        n_levels: depth of the tree.
        names_at: nodes of each level, from the top.
        levels: accuracy of each level that any truth reaches, from the top, each level told by
            itself (no back-off).
        scores: of the likeliest leaf: precision, recall, F1 over ancestors, and tree distance.
        nodes: with support, the weakest first.
        confusions: the most frequent first.
        leaves_at: of the wrong answers, how many leave the right way at each level, from the top.
        allowed_error: that the policy was chosen for; None where it was chosen otherwise.
        decided: what the policy's decisions amount to.
        at_error: per error of `ALLOWED_ERRORS`, the deepest that it allows on these very photos,
            or None.
        curve: depth against error.
    """

    n_levels: int
    names_at: tuple[int, ...]
    levels: tuple[Estimate, ...]
    scores: TreeScores
    nodes: tuple[NodeScore, ...]
    confusions: tuple[Confusion, ...]
    leaves_at: tuple[int, ...]
    allowed_error: float | None
    decided: Backoff
    at_error: tuple[tuple[float, BackoffPoint | None], ...]
    curve: tuple[BackoffPoint, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return what report.json holds, beside what every evaluation has."""
        decided = {name: value for name, value in plain(self.decided).items() if name != "f1"}
        decided["hierarchical_f1"] = plain(self.decided.f1)
        return {
            "level_accuracy": [round(e.value, 6) for e in self.levels],
            "level_accuracy_intervals": [plain(e) for e in self.levels],
            "hierarchical_f1": plain(self.scores.f1),
            "hierarchical_precision": plain(self.scores.precision),
            "hierarchical_recall": plain(self.scores.recall),
            "tree_distance": plain(self.scores.distance),
            "backoff": {
                "allowed_error": self.allowed_error,
                **{name: None if e is None else e["value"] for name, e in decided.items()},
                "intervals": decided,
                "at_error": [{"allowed_error": e, "point": plain(p)} for e, p in self.at_error],
                "curve": [plain(p) for p in self.curve],
            },
            "wrong_from_level": list(self.leaves_at),
            "nodes": [plain(node) for node in self.nodes],
            "confusions": [plain(c) for c in self.confusions],
        }


def hierarchy(p: Predicted, tree: Tree, draws: Bootstrap) -> Hierarchy:
    """Judge answers in a tree.

    Args:
        p: of kind tree, every row with a known node.
        tree: its nodes; every class of p is one.
        draws: over the rows.
    """
    parent = np.array(tree.parent, dtype=np.int64)
    columns = columns_of(p.classes, tree)
    truth = p.targets.astype(np.int64)
    found = levels(parent, columns, p.probs)
    if p.decided is None:
        answer = found.backed_off(p.policy.thresholds[0])
    else:
        answer = answered_nodes(p.decided, columns, tree)
    leaf = leaf_answers(columns, p.probs)
    wanted = parse_target(p.policy.target)
    curve = backoff_curve(parent, found, truth)
    common = overlap(parent, leaf, truth)
    departs = common.shared[common.shared < common.true] + 1
    return Hierarchy(
        n_levels=tree.n_levels,
        names_at=tuple(np.bincount(tree.depth, minlength=2)[1:].tolist()),
        levels=tuple(e for e in level_accuracy(parent, found.best, truth, draws) if e is not None),
        scores=tree_scores(common, tree.n_levels, draws),
        nodes=_nodes(tree, found, truth, draws),
        confusions=_confusions(tree, cut(parent, leaf, truth), truth),
        leaves_at=tuple(np.bincount(departs, minlength=tree.n_levels + 1)[1:].tolist()),
        allowed_error=wanted.value if wanted.name == "error" else None,
        decided=backoff(parent, answer, truth, draws),
        at_error=tuple((e, _deepest(curve, e)) for e in ALLOWED_ERRORS),
        curve=curve,
    )


def columns_of(classes: tuple[str, ...], tree: Tree) -> Ints:
    """Return the node of each class.

    Raises:
        ValueError: a class that is no node of the tree.
    """
    strange = [name for name in classes if name not in tree.index]
    if strange:
        raise ValueError(f"classes that are no node of the tree: {strange[:3]}")
    return np.array([tree.index[name] for name in classes], dtype=np.int64)


def answered_nodes(decided: Decided, columns: Ints, tree: Tree) -> Ints:
    """Return the node `(n,)` that each row answers, -1 where it answers none or a person is asked.

    Args:
        decided: marks all leaves under the answered node; of two nodes with the same leaves the
            deeper one is meant.
        columns: `(k,)` node of each leaf.
        tree: of the nodes.

    Raises:
        ValueError: marked leaves that are not those of one node.
    """
    lines = ancestry(tree.parent)
    below = lines[columns]
    n_below = np.bincount(below[below >= 0], minlength=len(lines))
    n_given, first = decided.given.sum(axis=1), decided.given.argmax(axis=1)
    last = decided.given.shape[1] - 1 - decided.given[:, ::-1].argmax(axis=1)
    answer = np.full(len(n_given), -1, dtype=np.int64)
    for level in range(lines.shape[1]):
        node = below[first, level]
        fits = (node >= 0) & (n_below[node] == n_given) & (below[last, level] == node)
        answer = np.where(fits, node, answer)
    if ((answer < 0) & (n_given > 0) & (n_given < len(columns))).any():
        raise ValueError("a tree's decision must mark all leaves under one node")
    return np.where(np.any(decided.review, axis=1), -1, answer)


def _deepest(curve: tuple[BackoffPoint, ...], most: float) -> BackoffPoint | None:
    """The point that answers deepest with at most this error."""
    fine = [point for point in curve if point.error <= most]
    return max(fine, key=lambda point: point.mean_depth_all) if fine else None


def _nodes(tree: Tree, found: Levels, truth: Ints, draws: Bootstrap) -> tuple[NodeScore, ...]:
    lines = ancestry(tree.parent)[truth]
    n_nodes = len(tree.paths)
    rows, level = np.nonzero(lines >= 0)
    hit = found.best[rows, level] == lines[rows, level]
    true = lines[rows, level]
    yes = counts(rows, true, n_nodes, draws)
    right = counts(rows[hit], true[hit], n_nodes, draws)
    scores = [
        NodeScore(path, tree.depth[i], int(yes.value[i]), share)
        for i, (path, share) in enumerate(zip(tree.paths, shares(right, yes, draws), strict=True))
        if share is not None
    ]
    return tuple(sorted(scores, key=lambda s: (s.right.value if s.right else 0.0, -s.support)))


def _confusions(tree: Tree, answer: Ints, truth: Ints) -> tuple[Confusion, ...]:
    lines = ancestry(tree.parent)
    totals = np.bincount(truth, minlength=len(lines))
    wrong = answer != truth
    pairs, n = np.unique(np.stack([truth[wrong], answer[wrong]]), axis=1, return_counts=True)
    order = np.argsort(-n, kind="stable")[:N_CONFUSIONS]
    found = []
    for i in order:
        label, called = (int(x) for x in pairs[:, i])
        same = (lines[label] == lines[called]) & (lines[label] >= 0)
        found.append(
            Confusion(
                tree.paths[label],
                tree.paths[called],
                int(n[i]),
                int(totals[label]),
                int(same.sum()),
                tree.parent[label] == tree.parent[called],
            )
        )
    return tuple(found)
