"""Settings to try, and what each makes of photos it has not seen: out-of-fold logits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from listlens.core.errors import TrainingError
from listlens.core.types import Kind
from listlens.learn.heads import Floats, fit_path, rotate, shared_axes
from listlens.learn.objectives import Targets, balanced, losses, outputs
from listlens.learn.policies import parse_target
from listlens.learn.trees import shape_of, sharing

Weighting = Literal["none", "balanced"]


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Args:
        seed: of the split; equal seeds and data give equal models.
        n_folds: of the cross-validation, at least 2.
        target: what thresholds aim at: `best-f1`, `precision>=P` or `error<=E`.
        class_weight: `balanced` weighs classes inversely to how often they occur; `auto` tries both
            for single (cars view: .919 against .908; flipkart level 2: .735 against .730), and
            takes `none` for multi (cars parts: no difference; there thresholds do it).
        strengths: scikit-learn's `C` to choose from, increasing.
        sharing: how much a tree's leaves share, to choose from; see `learn.trees.sharing`. 1 and
            0.5 were best on grocery (fine classes .625 against .617 without) and flipkart (log loss
            2.22 against 2.44).
        discriminants: whether a tree's head may be a linear discriminant, see
            `learn.discriminant`.
        few: learn classes of one listing too, see `learn.few`; of kind single alone.
        min_examples: a class with fewer (multi: fewer yes, or fewer no) is set aside.
        min_groups: so is a class whose examples are in fewer groups, since it could not be both
            learnt and held out.
    """

    seed: int = 0
    n_folds: int = 5
    target: str = "best-f1"
    class_weight: Literal["auto", "none", "balanced"] = "auto"
    strengths: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
    sharing: tuple[float, ...] = (0.0, 0.5, 1.0)
    discriminants: bool = True
    few: bool = False
    min_examples: int = 3
    min_groups: int = 2

    @property
    def least(self) -> tuple[int, int]:
        """Examples and groups that a class needs."""
        return (1, 1) if self.few else (self.min_examples, self.min_groups)

    def __post_init__(self) -> None:
        parse_target(self.target)
        if self.n_folds < 2:
            raise TrainingError(f"n_folds must be at least 2, not {self.n_folds}")
        if not self.strengths or any(c <= 0 for c in self.strengths):
            raise TrainingError(f"strengths must be above 0, not {self.strengths}")
        if list(self.strengths) != sorted(set(self.strengths)):
            raise TrainingError(f"strengths must increase, not {self.strengths}")


@dataclass(frozen=True)
class Candidate:
    """One setting to try: class weight, regularisation, and how much a tree's leaves share."""

    class_weight: Weighting
    strength: float
    sharing: float = 0.0

    def record(self) -> dict[str, Any]:
        """What a run notes of it."""
        return {"C": self.strength, "class_weight": self.class_weight, "sharing": self.sharing}

    def path(self, strengths: Sequence[float]) -> list[float]:
        """The strengths on the way to this one."""
        return [c for c in strengths if c <= self.strength]


def candidates_for(targets: Targets, options: TrainOptions) -> list[Candidate]:
    """All settings to try; `auto` leaves out weights that would change nothing, or do not help."""
    weightings: list[Weighting] = ["none", "balanced"]
    if options.class_weight != "auto":
        weightings = [options.class_weight]
    elif targets.kind != "single" or _even(targets):
        weightings = ["none"]
    shares = options.sharing if targets.kind == "tree" else (0.0,)
    strengths = strengths_for(targets.kind, options)
    return [Candidate(w, c, s) for w in weightings for s in shares for c in strengths]


def strengths_for(kind: Kind, options: TrainOptions) -> tuple[float, ...]:
    """The strengths to try; of a score those between too, since its ranks depend on them more."""
    tried = options.strengths
    if kind != "score":
        return tried
    between = [(a * b) ** 0.5 for a, b in pairwise(tried)]
    return tuple(sorted({*tried, *between}))


def mix_of(kind: Kind, classes: tuple[str, ...], candidate: Candidate) -> Floats | None:
    """How classes share strength under a candidate."""
    return sharing(shape_of(classes).tree, candidate.sharing) if kind == "tree" else None


def _even(targets: Targets) -> bool:
    """The largest class has at most a quarter more than the smallest."""
    count = (targets.yes * targets.weight).sum(axis=0)
    return bool(count.max() <= 1.25 * count.min())


def cross_fit(
    embeddings: Floats,
    targets: Targets,
    fold: NDArray[np.int64],
    candidates: Sequence[Candidate],
    classes: tuple[str, ...] = (),
    always: NDArray[np.bool_] | None = None,
) -> Floats:
    """Out-of-fold logits for every candidate.

    Args:
        embeddings: `(n, d)`.
        targets: rows whose weights are all 0 are not trained on, but get logits.
        fold: `(n,)`; rows with -1 are left out altogether (their logits are NaN).
        candidates: those alike but for the strength in a row, strengths increasing.
        classes: tree: the paths of its leaves.
        always: `(n,)` rows with fold -1 that every fold is trained on.

    Returns:
        `(n_candidates, n, k)` float32.
    """
    known = targets.known
    base = np.zeros(len(fold), np.bool_) if always is None else always
    logits = np.full((len(candidates), *targets.yes.shape), np.nan, dtype=np.float32)
    axes = shared_axes(embeddings[(fold >= 0) | base])

    def one(f: int) -> None:
        rows = np.flatnonzero((((fold >= 0) & (fold != f)) | base) & known)
        held = np.flatnonzero(fold == f)
        rotated = rotate(embeddings[rows], axes)
        z = rotated.apply(embeddings[held])
        for _, run in groupby(
            enumerate(candidates), key=lambda c: (c[1].class_weight, c[1].sharing)
        ):
            at, tried = zip(*run, strict=True)
            wanted = weighted(targets.rows(rows), tried[0])
            mix = mix_of(targets.kind, classes, tried[0])
            path = fit_path(rotated, wanted, [c.strength for c in tried], mix)
            for i, (weights, bias) in zip(at, path, strict=True):
                logits[i, held] = z @ weights + bias

    side_by_side(one, np.unique(fold[fold >= 0]).tolist())
    return logits


def side_by_side(work: Callable[[int], None], items: Iterable[int]) -> None:
    """Run in threads (BLAS releases the GIL); the first error is raised."""
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        for _ in pool.map(work, items):
            pass


def weighted(targets: Targets, candidate: Candidate) -> Targets:
    return balanced(targets) if candidate.class_weight == "balanced" else targets


def scores_of(paths: Floats, targets: Targets) -> NDArray[np.float64]:
    """Mean loss of known answers, one per candidate; of a score 1 less the means' correlation.

    Heads that are held back hard rank photos best and spread their answers too little, which
    calibration puts right; the loss would not see that. On aesthetic_thumbs the correlation chooses
    what ranks by .63, the loss by .62.
    """
    weight = targets.weight
    if targets.kind == "score":
        return np.array([1 - _correlation(p, targets) for p in paths])
    total = max(float(weight.sum()), 1.0)
    return np.array([(losses(p, targets) * weight).sum() / total for p in paths])


def _correlation(logits: Floats, targets: Targets) -> float:
    """Of predicted and given means, weighted; -1 where one side is constant."""
    steps = np.arange(targets.yes.shape[1], dtype=np.float64)
    said = outputs(logits.astype(np.float64), targets.kind) @ steps
    given, weight = targets.yes @ steps, targets.weight[:, 0].astype(np.float64)
    spread = np.cov(said, given, aweights=weight) if (weight > 0).sum() > 1 else np.zeros((2, 2))
    scale = float(np.sqrt(spread[0, 0] * spread[1, 1]))
    return float(spread[0, 1]) / scale if scale > 0 else -1.0
