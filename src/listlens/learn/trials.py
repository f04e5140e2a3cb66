"""What a search tries: a way to fit heads, and what it makes of photos it has not seen.

A search that reports on the photos it chose by flatters itself. So every trial is also made as each
outer fold needs it: without that fold, choices and all. A model that leaves out two folds serves
the outer loop of either, so that this costs three times a plain cross-validation, not five times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from listlens.learn.candidates import Candidate, mix_of, side_by_side, weighted
from listlens.learn.discriminant import SETTINGS, discriminant, sums_of
from listlens.learn.heads import Floats, Head, fit_path, rotate, shared_axes
from listlens.learn.nearest_mean import SHRINKAGES, nearest_means
from listlens.learn.objectives import Targets, losses
from listlens.learn.trees import shape_of

Fitter = Callable[[NDArray[np.int64]], list[Head]]
"""Rows to train on, to one head per setting."""


class OutOfTime(Exception):
    """The deadline passed while a trial was running."""


@dataclass(frozen=True)
class Views:
    """Who may see whom: view 0 is of all folds, view f + 1 is of all but fold f.

    Args:
        fold: `(n,)`, -1 for rows that are in none.
        known: `(n,)` rows that can be learnt from.
        nested: whether there are views for the outer folds; without, only view 0.
    """

    fold: NDArray[np.int64]
    known: NDArray[np.bool_]
    nested: bool

    @property
    def folds(self) -> list[int]:
        return [int(f) for f in np.unique(self.fold[self.fold >= 0])]

    @property
    def n(self) -> int:
        """How many views there are."""
        return 1 + len(self.folds) * self.nested

    def inner(self, view: int) -> NDArray[np.int64]:
        """Rows with a known answer that a view may choose by."""
        return np.flatnonzero((self.fold >= 0) & (self.fold != view - 1) & self.known)

    def left_out(self) -> list[tuple[int, ...]]:
        """The sets of folds that models are trained without."""
        single = [(f,) for f in self.folds]
        return single + (list(combinations(self.folds, 2)) if self.nested else [])


def logistic(
    embeddings: Floats,
    targets: Targets,
    candidates: Sequence[Candidate],
    classes: tuple[str, ...],
    rows: NDArray[np.bool_],
) -> Fitter:
    """Logistic regression along a path of strengths; see `heads.fit_path`."""
    axes = shared_axes(embeddings[rows])
    mix = mix_of(targets.kind, classes, candidates[0])
    strengths = [c.strength for c in candidates]

    def fitted(some: NDArray[np.int64]) -> list[Head]:
        rotated = rotate(embeddings[some], axes)
        wanted = weighted(targets.rows(some), candidates[0])
        return [rotated.head(*found) for found in fit_path(rotated, wanted, strengths, mix)]

    return fitted


def nearest_mean(embeddings: Floats, targets: Targets) -> Fitter:
    """Nearest-mean heads of flat classes along a path of shrinkages."""
    return lambda some: nearest_means(embeddings[some], targets.rows(some), SHRINKAGES)


def tree_discriminant(
    embeddings: Floats, nodes: NDArray[np.integer], classes: tuple[str, ...]
) -> Fitter:
    """Discriminants of a tree in all settings; see `learn.discriminant`."""
    shape = shape_of(classes)

    def fitted(some: NDArray[np.int64]) -> list[Head]:
        sums = sums_of(embeddings, nodes, some, shape)
        return [discriminant(sums, shape.tree, setting) for setting in SETTINGS]

    return fitted


def seen_by(
    fitter: Fitter, embeddings: Floats, views: Views, n_outputs: int, deadline: float
) -> Floats:
    """What each view sees of a trial: logits by models that left out the row's fold, and its own.

    Args:
        fitter: fits on some rows.
        embeddings: `(n, d)`.
        views: who may see whom.
        n_outputs: k.
        deadline: `time.monotonic()` at which to give up.

    Returns:
        `(n_views, n_settings, n, k)` float32, NaN for rows that are in no fold. In view f + 1 the
        rows of fold f are from models that left out fold f, all others from models that left out
        theirs and fold f.

    Raises:
        OutOfTime: it did not fit.
    """
    known = views.known & (views.fold >= 0)
    logits: list[Floats] = []

    def one(at: int) -> None:
        if time.monotonic() > deadline:
            raise OutOfTime
        out = views.left_out()[at]
        heads = fitter(np.flatnonzero(known & ~np.isin(views.fold, out)))
        if not logits:
            shape = (views.n, len(heads), len(embeddings), n_outputs)
            logits.append(np.full(shape, np.nan, np.float32))
        for f in out:
            rows = np.flatnonzero(views.fold == f)
            others = [g + 1 for g in out if g != f] or ([0, f + 1] if views.nested else [0])
            made = np.stack([head.logits(embeddings[rows]) for head in heads])
            for view in others:
                logits[0][view, :, rows] = made.transpose(1, 0, 2)

    one(0)
    side_by_side(one, range(1, len(views.left_out())))
    return logits[0]


def tempered(logits: Floats, targets: Targets, rows: NDArray[np.int64]) -> tuple[Floats, float]:
    """Scale logits `(n, k)` by the one factor that suits these rows best.

    Heads of different kinds can be compared, and averaged, only so.

    Returns:
        The scaled logits of all rows, and the factor.
    """
    seen, some = targets.rows(rows), logits[rows]

    def loss(log_slope: float) -> float:
        return float((losses(some * np.exp(log_slope), seen) * seen.weight).sum())

    found = minimize_scalar(
        loss, bounds=(np.log(1e-3), np.log(30.0)), method="bounded", options={"xatol": 0.02}
    )
    factor = float(np.exp(found.x))
    return np.asarray(logits * np.float32(factor), np.float32), factor


@dataclass(frozen=True)
class Outcome:
    """What one trial came to.

    Args:
        space: whose embeddings.
        head: kind of head.
        logits: `(n_views, n, k)` of the setting that each view chose, tempered by the view.
        setting: which setting view 0 chose.
        factor: that tempers it.
        parts: of an average, the two that it averages.
    """

    space: str
    head: str
    logits: Floats
    setting: int = 0
    factor: float = 1.0
    parts: tuple[Outcome, ...] = ()


def chosen(logits: Floats, targets: Targets, views: Views, space: str, head: str) -> Outcome:
    """Let each view choose among the settings of a trial, by what it may see.

    Args:
        logits: `(n_views, n_settings, n, k)` from `seen_by`.
        targets: of all rows.
        views: who may see whom.
        space: for the record.
        head: for the record.
    """
    kept = np.full((views.n, *logits.shape[2:]), np.nan, np.float32)
    settings, factors = [], []
    for view in range(views.n):
        rows = views.inner(view)
        made = [tempered(one, targets, rows) for one in logits[view]]
        scores = [row_losses(one, targets, rows).sum() for one, _ in made]
        best = int(np.argmin(scores))
        kept[view] = made[best][0]
        settings.append(best)
        factors.append(made[best][1])
    return Outcome(space, head, kept, settings[0], factors[0])


def average(one: Outcome, other: Outcome) -> Outcome:
    """The mean of two tempered heads of one space: a head of the same space, and no more to run."""
    mean = ((one.logits + other.logits) / 2).astype(np.float32)
    return Outcome(one.space, "average", mean, parts=(one, other))


def row_losses(logits: Floats, targets: Targets, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weighted loss of each of some rows `(m,)`."""
    seen = targets.rows(rows)
    return np.asarray((losses(logits[rows], seen) * seen.weight).sum(axis=1))
