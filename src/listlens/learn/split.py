"""Splits by group: no listing and no duplicate group is ever on two sides of a split of ours.

Given splits are obeyed as they are; where they leak, the rows are listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from listlens.core.tree import SEPARATOR
from listlens.learn.dataset import TrainingSet

Protocol = Literal["own split", "grouped 5-fold", "held-out part"]

MOST_CELLS = 20_000_000
"""Rows times nodes beyond which folds are only balanced over the top of a tree."""

# How much equal fold sizes count against equal shares of each class.
SIZE_WEIGHT = 1.0


@dataclass(frozen=True)
class Plan:
    """Who is trained on, and who is held out when.

    Args:
        protocol: `own split` where a test split was given; `held-out part` where there was none
            and the embedding was learnt from the rest.
        split: `(n,)` str, `train`, `val` or `test`, for every row.
        fold: `(n,)` int64, fold over all rows (used for out-of-fold probabilities); -1 for rows
            that the embedding was learnt from.
        inner_fold: `(n,)` int64, fold over train and val (the val rows are fold 0), -1 for test.
            Equal to `fold` where there is no test split.
        leaks: rows of `test` whose group is in train or val too, then rows of `val` whose group is
            in train.
    """

    protocol: Protocol
    split: NDArray[np.str_]
    fold: NDArray[np.int64]
    inner_fold: NDArray[np.int64]
    leaks: NDArray[np.int64]


def grouped_folds(
    labels: NDArray[np.floating], groups: NDArray[np.int64], n_folds: int, seed: int
) -> NDArray[np.int64]:
    """Assign rows to folds by group, keeping each class's share equal as far as groups allow.

    Greedy: groups that hold most of a rare class come first; each goes to the fold where it adds
    least to the sum of squared class shares and sizes.

    Args:
        labels: `(n, k)`, 1 where the row has the class.
        groups: `(n,)`; rows of one group share a fold.
        n_folds: at least 2.
        seed: orders groups that are otherwise equal.

    Returns:
        `(n,)` int64 fold in [0, n_folds).

    Source: the greedy rule of Sechidis, Tsoumakas, Vlahavas, "On the stratification of multi-label
    data" (ECML PKDD 2011), section 3, applied to groups.

    Example:
        >>> grouped_folds(np.eye(2)[[0, 0, 1, 1]], np.array([7, 8, 7, 8]), 2, seed=0).tolist()
        [0, 1, 0, 1]
    """
    _, member = np.unique(groups, return_inverse=True)
    n_groups = int(member.max()) + 1 if len(member) else 0
    columns = np.column_stack([labels, np.full(len(labels), SIZE_WEIGHT)])
    counts = np.zeros((n_groups, columns.shape[1]))
    np.add.at(counts, member, columns)
    shares = counts / np.maximum(columns.sum(axis=0), 1)
    order = np.random.default_rng(seed).permutation(n_groups)
    order = order[np.argsort(-shares[order].max(axis=1), kind="stable")]
    filled = np.zeros((n_folds, columns.shape[1]))
    sizes = np.zeros(n_folds)
    chosen = np.zeros(n_groups, dtype=np.int64)
    for group in order:
        # (a + b)^2 - a^2 - b^2 = 2ab: what this group would add to each fold's sum of squares
        cost = filled @ (shares[group] / np.maximum(shares[group].max(), 1e-12))
        best = np.lexsort((sizes, cost.round(12)))[0]
        chosen[group] = best
        filled[best] += shares[group]
        sizes[best] += counts[group, -1]
    return chosen[member]


def label_matrix(data: TrainingSet) -> NDArray[np.float64]:
    """`(n, k)`: what folds should hold equal shares of.

    The classes a row is known to have; of a tree the nodes themselves (its top ones where there are
    very many); of a score the fifths of the mean.
    """
    if data.kind == "score":
        means = data.targets @ np.arange(len(data.classes), dtype=np.float64)
        known = np.isfinite(means)
        cuts = np.quantile(means[known], (0.2, 0.4, 0.6, 0.8)) if known.any() else np.zeros(4)
        yes = (np.searchsorted(cuts, means)[:, None] == np.arange(5)) & known[:, None]
    elif data.kind == "tree" and data.targets.size * len(data.classes) > MOST_CELLS:
        tops = [name.partition(SEPARATOR)[0] for name in data.classes]
        index = np.unique(tops, return_inverse=True)[1]
        at = np.where(data.targets < 0, -1, index[data.targets])
        yes = at[:, None] == np.arange(int(index.max()) + 1)
    elif data.kind in ("single", "tree"):
        yes = data.targets[:, None] == np.arange(len(data.classes))
    else:
        yes = data.targets == 1
    return np.asarray(yes, dtype=np.float64)


def leaking(groups: NDArray[np.int64], split: NDArray[np.str_]) -> NDArray[np.int64]:
    """Rows of test, then of val, whose group is also on an earlier side (val, train)."""
    found = []
    for side, earlier in (("test", ("train", "val")), ("val", ("train",))):
        seen = np.isin(groups, groups[np.isin(split, earlier)])
        found.append(np.flatnonzero((split == side) & seen))
    return np.concatenate(found)


def plan_split(data: TrainingSet, n_folds: int, seed: int) -> Plan:
    """Decide who is trained on and who is held out.

    A given split is obeyed. Without val, one grouped fold of the training rows becomes val. Val
    takes part as one of the folds over train and val: it is held out from a model of train alone,
    and the choice of the regularisation rests on more photos than val has. Without test, the
    protocol is grouped cross-validation over all rows, each held out once.

    Args:
        data: n_folds or more groups with labels are needed for n_folds folds.
        n_folds: how many folds, at least 2; fewer where there are fewer groups.
        seed: equal seeds give equal plans.
    """
    labels = label_matrix(data)
    if data.seen is not None:
        return _plan_beside(data, labels, n_folds, seed)
    fold = grouped_folds(labels, data.groups, n_folds, seed)
    split = np.where(data.given_split == "", "train", data.given_split).astype("<U5")
    if not (split == "test").any():
        return Plan("grouped 5-fold", split, fold, fold, leaking(data.groups, split))
    inner = np.full(len(fold), -1, dtype=np.int64)
    train = split == "train"
    if (split == "val").any():
        inner[split == "val"] = 0
        rest = grouped_folds(labels[train], data.groups[train], max(n_folds - 1, 2), seed)
        inner[train] = rest + 1
    else:
        inner[train] = grouped_folds(labels[train], data.groups[train], n_folds, seed)
        split[inner == 0] = "val"
    return Plan("own split", split, fold, inner, leaking(data.groups, split))


def _plan_beside(data: TrainingSet, labels: NDArray[np.float64], n_folds: int, seed: int) -> Plan:
    """Folds over the rows that the embedding was not learnt from; those rows are val, or test."""
    test, free = data.given_split == "test", data.holdable
    fold = np.full(len(test), -1, dtype=np.int64)
    inner = fold.copy()
    fold[free] = grouped_folds(labels[free], data.groups[free], n_folds, seed)
    judged = free & ~test
    inner[judged] = grouped_folds(labels[judged], data.groups[judged], n_folds, seed)
    split = np.where(test, "test", np.where(free, "val", "train")).astype("<U5")
    if not test.any():
        return Plan("held-out part", split, inner, inner, leaking(data.groups, split))
    return Plan("own split", split, fold, inner, leaking(data.groups, split))
