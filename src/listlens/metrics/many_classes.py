"""The same scores where classes are hundreds or thousands: counted sparsely, no `(n, k)` array.

Each photo has one true class and one answer, so all that is needed is which columns it adds 1 to.
Average precision is left out: it ranks all photos once a class and draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from listlens.core.types import Estimate
from listlens.metrics.classification import Average, ClassScore, Scores
from listlens.metrics.intervals import Bootstrap, divide

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each column was counted.

    Args:
        value: `(k,)`.
        drawn: `(draws, k)`, the same in each draw.
        n_units: `(k,)`, groups that added anything.
    """

    value: Floats
    drawn: Floats
    n_units: Ints


def counts(rows: ArrayLike, columns: ArrayLike, n_columns: int, draws: Bootstrap) -> Counts:
    """Count columns: entry i says that row `rows[i]` adds 1 to column `columns[i]`."""
    group, column = draws.index[np.asarray(rows)], np.asarray(columns, dtype=np.int64)
    table = csr_array(
        (np.ones(len(column), np.float32), (group, column)), shape=(draws.n_groups, n_columns)
    )
    table.sum_duplicates()
    drawn = np.concatenate([(table.T @ block.T).T for block in draws.blocks()])
    value = np.bincount(column, minlength=n_columns).astype(np.float64)
    return Counts(value, drawn.astype(np.float64), np.bincount(table.indices, minlength=n_columns))


def shares(top: Counts, bottom: Counts, draws: Bootstrap) -> list[Estimate | None]:
    """Estimate top / bottom for each column; None for 0 / 0."""
    value, drawn = divide(top.value, bottom.value), divide(top.drawn, bottom.drawn)
    return [
        draws.estimate(
            float(v), drawn[:, j], n=round(bottom.value[j]), n_units=int(bottom.n_units[j])
        )
        for j, v in enumerate(value)
    ]


def score_answers(truth: ArrayLike, given: ArrayLike, n_classes: int, draws: Bootstrap) -> Scores:
    """Score one answer a photo, as `classification.score` does, without average precision.

    Args:
        truth: `(n,)` class indices.
        given: `(n,)` class indices.
        n_classes: k.
        draws: over the n photos.
    """
    true, said = np.asarray(truth, dtype=np.int64), np.asarray(given, dtype=np.int64)
    every, hit = np.arange(len(true)), np.flatnonzero(true == said)
    right = counts(hit, true[hit], n_classes, draws)
    yes, named = counts(every, true, n_classes, draws), counts(every, said, n_classes, draws)
    both = Counts(
        yes.value + named.value,
        yes.drawn + named.drawn,
        np.maximum(yes.n_units, named.n_units),
    )
    twice = Counts(2 * right.value, 2 * right.drawn, right.n_units)
    parts = {"precision": (right, named), "recall": (right, yes), "f1": (twice, both)}
    found = {name: shares(*part, draws) for name, part in parts.items()}
    classes = tuple(
        ClassScore(
            int(yes.value[j]),
            int(named.value[j]),
            found["precision"][j],
            found["recall"][j],
            found["f1"][j],
            None,
        )
        for j in range(n_classes)
    )
    macro = {name: _macro(*part, yes.value > 0, draws) for name, part in parts.items()}
    times = np.tile([1, 2], (len(true), 1))  # F1 counts a photo's label and its answer
    one, two = draws.ratios((true == said)[:, None] * times, times)
    return Scores(
        classes,
        Average(**macro, average_precision=None),
        Average(precision=one, recall=one, f1=two, average_precision=None),
    )


def _macro(
    top: Counts, bottom: Counts, supported: NDArray[np.bool_], draws: Bootstrap
) -> Estimate | None:
    """Mean over supported classes, 0 / 0 counting as 0."""
    value = np.nan_to_num(divide(top.value, bottom.value)[supported])
    drawn = np.nan_to_num(divide(top.drawn, bottom.drawn)[:, supported])
    return draws.estimate(float(value.mean()), drawn.mean(axis=1), n=draws.n)
