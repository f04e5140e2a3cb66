"""How good are answers in a category tree? Per level, by shared ancestors, and by how deep they go.

A tree is an array `parent (m,)`: the parent of each node, -1 at the top, parents before children.
`leaves (k,)` says which node each column of probabilities is. An answer or a truth is a node, -1
for none. Where the truth is an inner node, nothing is known below it: an answer is cut there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from listlens.core.types import Estimate
from listlens.metrics.intervals import Bootstrap, rescaled

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_CELLS = 1 << 24  # probabilities looked at once: 64 MB in float32


@dataclass(frozen=True, slots=True)
class Overlap:
    """What answers and truths share, `(n,)` each, counted in nodes from the top down.

    Args:
        shared: nodes that are on the answer's line and on the truth's.
        answered: nodes on the answer's line, the answer included; 0 for no answer.
        true: nodes on the truth's line.
    """

    shared: Ints
    answered: Ints
    true: Ints

    @property
    def distance(self) -> Ints:
        """Edges between answer and truth; no answer stands for the root, above the top level."""
        return self.answered + self.true - 2 * self.shared


@dataclass(frozen=True, slots=True)
class Levels:
    """The likeliest nodes `(n, L)`, level by level from the top, and their probabilities.

    Args:
        best: the likeliest node of each depth, whatever stands above it.
        line: the way down that takes the likeliest child at each step; -1 below its end.
        sure: probability of the nodes of `line`; 0 below its end.
    """

    best: Ints
    line: Ints
    sure: Floats

    def backed_off(self, threshold: float) -> Ints:
        """Return `(n,)`: the deepest node of each line that is at least this likely, -1 for none.

        Probabilities fall on the way down, so the answer is never below one that fails.
        """
        enough = (self.sure >= threshold) & (self.line >= 0)
        depth = enough.sum(axis=1)
        deepest = np.take_along_axis(self.line, np.maximum(depth - 1, 0)[:, None], axis=1)[:, 0]
        return np.where(depth > 0, deepest, -1)


def ancestry(parent: ArrayLike) -> Ints:
    """Return `(m, L)`: each node's ancestor (or itself) at every depth, -1 below the node.

    Raises:
        ValueError: a parent that does not come before its child.

    Example:
        >>> ancestry([-1, 0, 0, -1]).tolist()
        [[0, -1], [0, 1], [0, 2], [3, -1]]
    """
    above = np.asarray(parent, dtype=np.int64)
    if (above >= np.arange(len(above))).any() or (above < -1).any():
        raise ValueError("every parent must come before its children, and be -1 at the top")
    lines: list[list[int]] = []
    for node, up in enumerate(above.tolist()):
        lines.append([*(lines[up] if up >= 0 else []), node])
    n_levels = max(map(len, lines), default=0)
    return np.array([line + [-1] * (n_levels - len(line)) for line in lines], dtype=np.int64)


def levels(parent: ArrayLike, leaves: ArrayLike, probs: NDArray[np.floating]) -> Levels:
    """Find the likeliest nodes of every level; a node's probability is the sum of its leaves'.

    Args:
        parent: `(m,)`.
        leaves: `(k,)` node of each column.
        probs: `(n, k)`.
    """
    lines, columns = ancestry(parent), np.asarray(leaves, dtype=np.int64)
    shape = (len(probs), lines.shape[1])
    best, line = np.full(shape, -1, np.int64), np.full(shape, -1, np.int64)
    sure = np.zeros(shape)
    step = max(1, _CELLS // max(1, probs.shape[1]))
    for start in range(0, len(probs), step):
        rows = slice(start, start + step)
        _descend(lines, columns, probs[rows], best[rows], line[rows], sure[rows])
    return Levels(best, line, sure)


def _descend(
    lines: Ints, columns: Ints, probs: NDArray[np.floating], best: Ints, line: Ints, sure: Floats
) -> None:
    """Fill in the levels of some rows, from the top down."""
    for level in range(lines.shape[1]):
        node = lines[columns, level]
        order = np.argsort(node, kind="stable")
        order = order[node[order] >= 0]
        nodes, starts = np.unique(node[order], return_index=True)
        if not len(nodes):
            continue
        likely = np.add.reduceat(probs[:, order], starts, axis=1, dtype=np.float64)
        best[:, level] = nodes[likely.argmax(axis=1)]
        if level:
            above = lines[nodes, level - 1]
            likely[above[None, :] != line[:, level - 1, None]] = -1.0
        top = likely.argmax(axis=1)
        value = np.take_along_axis(likely, top[:, None], axis=1)[:, 0]
        line[:, level] = np.where(value >= 0, nodes[top], -1)
        sure[:, level] = np.maximum(value, 0.0)


def leaf_answers(leaves: ArrayLike, probs: NDArray[np.floating]) -> Ints:
    """Return `(n,)`: the node of the likeliest leaf."""
    found: Ints = np.asarray(leaves, dtype=np.int64)[probs.argmax(axis=1)]
    return found


def cut(parent: ArrayLike, answer: ArrayLike, truth: ArrayLike) -> Ints:
    """Return the answers, cut at the depth of the truth where the truth is an inner node.

    Args:
        parent: `(m,)`.
        answer: `(n,)` nodes, -1 for none.
        truth: `(n,)` nodes.
    """
    lines, said, true = ancestry(parent), _nodes(answer), _nodes(truth)
    depth = (lines >= 0).sum(axis=1)
    too_deep = (said >= 0) & _inner(parent)[true] & (depth[said] > depth[true])
    return np.where(too_deep, lines[said, depth[true] - 1], said)


def overlap(parent: ArrayLike, answer: ArrayLike, truth: ArrayLike) -> Overlap:
    """Compare the lines of answers and truths.

    Args:
        parent: `(m,)`.
        answer: `(n,)` nodes, -1 for none.
        truth: `(n,)` nodes.

    Example:
        >>> o = overlap([-1, 0, 0, -1], [1, 0, -1], [2, 2, 3])
        >>> o.shared.tolist(), o.distance.tolist()
        ([1, 1, 0], [2, 1, 1])
    """
    lines, true = ancestry(parent), _nodes(truth)
    said = cut(parent, answer, true)
    depth = (lines >= 0).sum(axis=1)
    mine, theirs = np.where(said[:, None] >= 0, lines[said], -1), lines[true]
    return Overlap(
        ((mine == theirs) & (mine >= 0)).sum(axis=1),
        np.where(said >= 0, depth[said], 0),
        depth[true],
    )


def wrong_nodes(parent: ArrayLike, answer: ArrayLike, truth: ArrayLike) -> Bools:
    """Return `(n,)`: an answer was given, and it is not on the truth's line."""
    o = overlap(parent, answer, truth)
    return np.asarray(o.shared < o.answered)


def hierarchical_f1(parent: ArrayLike, answer: ArrayLike, truth: ArrayLike) -> float:
    """Return F1 over the ancestors of answers and truths, in [0, 1]; NaN without a row.

    Every node on a line counts but the root, pooled over the rows (micro).

    Source:
        Kiritchenko, Matwin, Famili 2005, "Functional annotation of genes using hierarchical text
        categorization"; the F of hierarchical precision and recall with beta = 1.

    Example:
        >>> hierarchical_f1([-1, 0, 0], [1, 1], [1, 2])
        0.75
    """
    o = overlap(parent, answer, truth)
    total = int(o.answered.sum() + o.true.sum())
    return 2 * int(o.shared.sum()) / total if total else float("nan")


@dataclass(frozen=True, slots=True)
class TreeScores:
    """Scores of answers by what they share with the truth.

    Args:
        precision: of the nodes on the answers' lines, the share that is on the truths'.
        recall: of the nodes on the truths' lines, the share that is on the answers'.
        f1: their harmonic mean.
        distance: mean number of edges between answer and truth.
    """

    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None
    distance: Estimate | None


def tree_scores(o: Overlap, n_levels: int, draws: Bootstrap) -> TreeScores:
    """Score answers by shared ancestors, and by edges; source: see `hierarchical_f1`."""
    total = o.answered + o.true
    top = np.stack([o.shared, o.shared, 2 * o.shared, o.distance], axis=1)
    bottom = np.stack([o.answered, o.true, total, np.full(len(total), 2 * n_levels)], axis=1)
    found = draws.ratios(top, bottom)
    n = len(total)
    per_photo = [None if e is None else Estimate(e.value, e.low, e.high, n) for e in found]
    precision, recall, f1, distance = per_photo
    return TreeScores(precision, recall, f1, rescaled(distance, 0, 2 * n_levels))


def level_accuracy(
    parent: ArrayLike, best: Ints, truth: ArrayLike, draws: Bootstrap
) -> list[Estimate | None]:
    """Return, from top to fine, the share of right answers where each level is told by itself.

    Args:
        parent: `(m,)`.
        best: `(n, L)` likeliest node of each depth.
        truth: `(n,)`; a row counts on the levels that its truth reaches.
        draws: over the rows.
    """
    true = ancestry(parent)[_nodes(truth)]
    return draws.ratios((best == true) & (true >= 0), true >= 0)


@dataclass(frozen=True, slots=True)
class Backoff:
    """What answers of any depth amount to.

    Args:
        answered: share of rows that got a node.
        mean_depth: levels answered, mean over the answered rows.
        mean_depth_all: the same over all rows, those without an answer counting 0.
        error: of the answered, the share whose node is not on the truth's line.
        f1: hierarchical F1 over all rows.
    """

    answered: Estimate | None
    mean_depth: Estimate | None
    mean_depth_all: Estimate | None
    error: Estimate | None
    f1: Estimate | None


def backoff(parent: ArrayLike, answer: ArrayLike, truth: ArrayLike, draws: Bootstrap) -> Backoff:
    """Measure given decisions.

    Args:
        parent: `(m,)`.
        answer: `(n,)` nodes, -1 where none was given.
        truth: `(n,)` nodes.
        draws: over the rows.
    """
    lines, said = ancestry(parent), _nodes(answer)
    depth = np.where(said >= 0, (lines >= 0).sum(axis=1)[said], 0)
    o, n_levels = overlap(parent, said, truth), lines.shape[1]
    yes, one = said >= 0, np.ones(len(said))
    top = np.stack([yes, depth, depth, o.shared < o.answered, 2 * o.shared], axis=1)
    bottom = np.stack([one, n_levels * yes, n_levels * one, yes, o.answered + o.true], axis=1)
    counts = (len(yes), int(yes.sum()), len(yes), int(yes.sum()), len(yes))
    found = [
        None if e is None else Estimate(e.value, e.low, e.high, n)
        for e, n in zip(draws.ratios(top, bottom), counts, strict=True)
    ]
    deep, deep_all = (rescaled(e, 0, n_levels) for e in found[1:3])
    return Backoff(found[0], deep, deep_all, found[3], found[4])


@dataclass(frozen=True, slots=True)
class BackoffPoint:
    """Answering the deepest node that is at least `threshold` likely; numbers as in Backoff."""

    threshold: float
    answered: float
    mean_depth: float
    mean_depth_all: float
    error: float


def backoff_curve(
    parent: ArrayLike, found: Levels, truth: ArrayLike, n_points: int = 60
) -> tuple[BackoffPoint, ...]:
    """Trade depth against error: answer as deep as ever lower thresholds allow.

    Args:
        parent: `(m,)`.
        found: of `levels`.
        truth: `(n,)` nodes.
        n_points: thresholds, spread over the probabilities that occur; the last is 0, which
            answers every row as deep as the tree goes.

    Returns:
        Points in falling threshold, from the first that answers anything.

    Source:
        Accuracy against how much an answer says, for answers of any depth: Deng et al. 2012,
        "Hedging your bets".
    """
    true = _nodes(truth)
    lines, inner = ancestry(parent)[true], _inner(parent)[true]
    known = (lines >= 0) | ~inner[:, None]  # below a leaf every answer is wrong
    ok = np.logical_and.accumulate((found.line == lines) | ~known, axis=1)
    likely = found.sure[found.line >= 0]
    if not likely.size:
        return ()
    shares = np.linspace(0, 1, n_points - 1)
    thresholds = np.append(np.unique(np.quantile(likely, shares))[::-1], 0.0)
    points = []
    for threshold in thresholds:
        depth = ((found.sure >= threshold) & (found.line >= 0)).sum(axis=1)
        yes = depth > 0
        if not yes.any():
            continue
        wrong = yes & ~np.take_along_axis(ok, np.maximum(depth - 1, 0)[:, None], axis=1)[:, 0]
        points.append(
            BackoffPoint(
                float(threshold),
                float(yes.mean()),
                float(depth[yes].mean()),
                float(depth.mean()),
                float(wrong.sum() / yes.sum()),
            )
        )
    return tuple(points)


def _inner(parent: ArrayLike) -> Bools:
    """`(m,)`: the node has children."""
    above = _nodes(parent)
    inner = np.zeros(len(above), np.bool_)
    inner[above[above >= 0]] = True
    return inner


def _nodes(nodes: ArrayLike) -> Ints:
    return np.asarray(nodes, dtype=np.int64)
