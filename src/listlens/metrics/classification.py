"""Precision, recall, F1, average precision and confusion, with intervals.

One shape for both kinds of task: `truth`, `given` and `known` are boolean `(n, k)`. For `single`
each row of truth has one True (`one_hot`); for `multi` any number, and a cell that nobody answered
is not known and counts nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from listlens.core.types import Estimate
from listlens.metrics.intervals import Bootstrap, divide

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

_CELLS = 1 << 19  # (draw, example) pairs resampled at once: 2 MB of weights, which a cache holds
_BUDGET = 4e9  # (draw, example, class) triples spent at most on resampling average precision
_FEWEST = 100  # draws at least, whatever the budget


@dataclass(frozen=True, slots=True)
class ClassScore:
    """What is known of one class. None means undefined: nothing to divide by."""

    support: int
    n_given: int
    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None
    average_precision: Estimate | None


@dataclass(frozen=True, slots=True)
class Average:
    """Macro (every class counts the same) or micro (every answer counts the same)."""

    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None
    average_precision: Estimate | None


@dataclass(frozen=True, slots=True)
class Scores:
    """All classes, and their macro and micro averages."""

    classes: tuple[ClassScore, ...]
    macro: Average
    micro: Average


def one_hot(index: ArrayLike, n_classes: int) -> Bools:
    """Turn class indices `(n,)` into truth `(n, k)`; -1 becomes a row of False.

    Example:
        >>> one_hot([1, -1], 2).astype(int).tolist()
        [[0, 1], [0, 0]]
    """
    column: Bools = np.asarray(index).reshape(-1, 1) == np.arange(n_classes)
    return column


def confusion(truth: ArrayLike, given: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    """Count: entry `(i, j)` is how many of class i were called j.

    Args:
        truth: `(n,)` class indices from 0 to k - 1.
        given: `(n,)` class indices from 0 to k - 1.
        n_classes: k.

    Example:
        >>> confusion([0, 0, 1], [0, 1, 1], 2).tolist()
        [[1, 1], [0, 1]]
    """
    flat = np.asarray(truth, dtype=np.int64) * n_classes + np.asarray(given, dtype=np.int64)
    return np.bincount(flat, minlength=n_classes**2).reshape(n_classes, n_classes)


def largest_confusions(counts: ArrayLike, limit: int) -> list[tuple[int, int, int, int]]:
    """List (class, called, photos, of photos of the class), the most frequent confusion first.

    Example:
        >>> largest_confusions([[5, 2], [1, 4]], limit=1)
        [(0, 1, 2, 7)]
    """
    table = np.asarray(counts, dtype=np.int64)
    wrong = table * ~np.eye(len(table), dtype=np.bool_)
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    pairs = [divmod(int(i), len(table)) for i in order]
    return [(i, j, int(wrong[i, j]), int(table[i].sum())) for i, j in pairs if wrong[i, j]]


def normalised(counts: ArrayLike, by: Literal["recall", "precision"]) -> Floats:
    """Divide a confusion matrix by its rows (recall) or its columns (precision); 0 where empty.

    The diagonal is then each class's recall or precision.
    """
    table = np.asarray(counts, dtype=np.float64)
    total = table.sum(axis=1 if by == "recall" else 0, keepdims=True)
    return np.nan_to_num(divide(table, np.broadcast_to(total, table.shape)))


def average_precisions(truth: ArrayLike, scores: ArrayLike, weights: ArrayLike) -> Floats:
    """Average precision under many weightings at once.

    The sum over thresholds of (gain in recall) x precision, without interpolation; equal scores
    are one threshold.

    Args:
        truth: `(n,)` bool.
        scores: `(n,)`, higher means more likely.
        weights: `(draws, n)`, how often each example counts.

    Returns:
        `(draws,)` in [0, 1]; NaN where no positive has weight.

    Source:
        As `sklearn.metrics.average_precision_score`, which does one weighting at a time.
    """
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    ranked, positive = np.asarray(scores)[order], np.asarray(truth, dtype=np.bool_)[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    n_hits = np.cumsum(positive)
    ends = ends[np.diff(n_hits[ends], prepend=0) > 0]  # other thresholds bring no recall
    w = np.asarray(weights, dtype=np.float32).T[order]  # (n, draws): sums run down contiguous rows
    hits = np.cumsum(w[positive], axis=0)[n_hits[ends] - 1]
    seen = np.cumsum(w, axis=0, out=w)[ends]
    gains = np.diff(hits, axis=0, prepend=np.float32(0))
    area = np.divide(gains * hits, seen, out=np.zeros_like(hits), where=seen > 0)
    total = hits[-1] if len(hits) else np.zeros(w.shape[1])
    return divide(area.sum(0, dtype=np.float64), total.astype(np.float64))


def score(
    truth: Bools, given: Bools, scores: NDArray[np.floating], known: Bools, draws: Bootstrap
) -> Scores:
    """Score every class and their averages, each with its interval.

    Args:
        truth: `(n, k)`, what is so.
        given: `(n, k)`, what was decided.
        scores: `(n, k)`, probabilities.
        known: `(n, k)`, False where the truth is not known; such cells count nowhere.
        draws: bootstrap over the n examples.

    Returns:
        Macro averages run over the classes with support. There, precision counts as 0 for a class
        that was never given. Micro averages pool all known cells.
    """
    if not truth.shape == given.shape == scores.shape == known.shape:
        raise ValueError(
            "truth, given, scores and known need one shape: "
            f"{truth.shape}, {given.shape}, {scores.shape}, {known.shape}"
        )
    yes, said = truth & known, given & known
    right = yes & said
    parts = {
        "precision": (right.astype(float), said.astype(float)),
        "recall": (right.astype(float), yes.astype(float)),
        "f1": (2.0 * right, yes.astype(float) + said),
    }
    supported: Bools = np.asarray(yes.any(axis=0))
    columns = {name: draws.ratios(*part) for name, part in parts.items()}
    values, resampled = _average_precision(yes, scores, known, draws)
    units = (draws.sums(yes) > 0).sum(0)
    ap = [
        draws.estimate(values[j], resampled[:, j], n=int(yes[:, j].sum()), n_units=units[j])
        for j in range(truth.shape[1])
    ]
    classes = tuple(
        ClassScore(
            int(yes[:, j].sum()),
            int(said[:, j].sum()),
            columns["precision"][j],
            columns["recall"][j],
            columns["f1"][j],
            ap[j],
        )
        for j in range(truth.shape[1])
    )
    macro = {name: _macro(*part, supported, draws) for name, part in parts.items()}
    micro = {name: draws.ratio(top.sum(1), bottom.sum(1)) for name, (top, bottom) in parts.items()}
    macro_ap = _mean(values[supported], resampled[:, supported], draws, int(yes.sum()))
    micro_ap = _micro_average_precision(yes, scores, known, draws)
    return Scores(
        classes,
        Average(**macro, average_precision=macro_ap),
        Average(**micro, average_precision=micro_ap),
    )


def _average_precision(
    yes: Bools, scores: NDArray[np.floating], known: Bools, draws: Bootstrap
) -> tuple[Floats, Floats]:
    """Per class: value `(k,)`, and what it was in each draw `(draws, k)`; fewer draws when big."""
    n, k = yes.shape
    most = max(_FEWEST, int(_BUDGET / max(1, n * k)))
    one = np.ones((1, n), dtype=np.float32)
    value = np.array([_masked(yes, scores, known, one, j)[0] for j in range(k)])
    rows: list[Floats] = []
    for block in draws.blocks():
        step = max(16, _CELLS // max(1, n))
        for start in range(0, len(block), step):
            if sum(map(len, rows)) >= most:
                break
            weights = block[start : start + step][:, draws.index]
            rows.append(np.stack([_masked(yes, scores, known, weights, j) for j in range(k)], 1))
    return value, np.concatenate(rows)


def macro_ap_draws(
    truth: Bools, scores: NDArray[np.floating], known: Bools, draws: Bootstrap
) -> tuple[float, Floats]:
    """Return the macro average precision, and what it is in each draw `(draws,)`.

    Args:
        truth: `(n, k)`, what is so.
        scores: `(n, k)`.
        known: `(n, k)`, False where the truth is not known.
        draws: bootstrap over the n examples.
    """
    yes = truth & known
    value, drawn = _average_precision(yes, scores, known, draws)
    supported = yes.any(axis=0)
    defined = np.isfinite(drawn) & supported
    total = np.where(defined, drawn, 0.0).sum(axis=1)
    mean = float(value[supported].mean()) if supported.any() else float("nan")
    return mean, divide(total, defined.sum(axis=1).astype(np.float64))


def _masked(
    yes: Bools, scores: NDArray[np.floating], known: Bools, weights: NDArray[np.float32], j: int
) -> Floats:
    rows = known[:, j]
    if not yes[rows, j].any():
        return np.full(len(weights), np.nan)
    w = weights if rows.all() else weights[:, rows]
    return average_precisions(yes[rows, j], scores[rows, j], w)


def _micro_average_precision(
    yes: Bools, scores: NDArray[np.floating], known: Bools, draws: Bootstrap
) -> Estimate | None:
    """Pool all known cells into one ranking."""
    cells = np.nonzero(known)
    if not yes.any():
        return None
    pooled = Bootstrap(
        draws.index[cells[0]], n_resamples=min(draws.n_resamples, 200), seed=draws.seed
    )
    value, resampled = _average_precision(
        yes[cells][:, None], scores[cells][:, None], np.ones((len(cells[0]), 1), bool), pooled
    )
    return draws.estimate(value[0], resampled[:, 0], n=int(yes.sum()))


def _macro(top: Floats, bottom: Floats, supported: Bools, draws: Bootstrap) -> Estimate | None:
    """Mean over supported classes of sum(top) / sum(bottom), 0 / 0 counting as 0."""
    top, bottom = top[:, supported], bottom[:, supported]
    if not supported.any():
        return None
    value = np.nan_to_num(divide(top.sum(0), bottom.sum(0)))
    resampled = np.nan_to_num(divide(draws.totals(top), draws.totals(bottom)))
    return _mean(value, resampled, draws, len(top))


def _mean(value: Floats, resampled: Floats, draws: Bootstrap, n: int) -> Estimate | None:
    """Mean over classes; in a draw, over the classes that are defined in it."""
    if not value.size:
        return None
    defined = np.isfinite(resampled)
    means = divide(np.where(defined, resampled, 0.0).sum(1), defined.sum(1).astype(float))
    return draws.estimate(float(value.mean()), means, n=n)
