"""The training recipe: split, choose, calibrate, set thresholds, fit what is shipped.

Honest by construction. Everything is chosen on out-of-fold logits. A fold's own rows never choose
the strength or the calibration that is applied to them: both come from the other folds. With a test
split, test rows are seen by nothing until `test_probs`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from listlens.core.errors import TrainingError
from listlens.core.types import Kind, Policy
from listlens.learn.calibration import Calibration, fit_calibration
from listlens.learn.dataset import TrainingSet
from listlens.learn.heads import Head, Targets, balanced, encode, fit, fit_path, losses, rotate
from listlens.learn.policies import choose_policy, parse_target
from listlens.learn.split import Plan, Protocol, plan_split
from listlens.learn.usable import usable_classes, with_classes

Floats = NDArray[np.float32]
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Args:
        seed: of the split; equal seeds and data give equal models.
        n_folds: of the cross-validation, at least 2.
        target: what thresholds aim at: `best-f1`, `precision>=P` or `error<=E`.
        class_weight: `balanced` weighs classes inversely to how often they occur.
        strengths: scikit-learn's `C` to choose from, increasing.
        min_examples: a class with fewer (multi: fewer yes, or fewer no) is set aside.
        min_groups: so is a class whose examples are in fewer groups, since it could not be both
            learnt and held out.
    """

    seed: int = 0
    n_folds: int = 5
    target: str = "best-f1"
    class_weight: Literal["none", "balanced"] = "none"
    strengths: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0)
    min_examples: int = 3
    min_groups: int = 2

    def __post_init__(self) -> None:
        parse_target(self.target)
        if self.n_folds < 2:
            raise TrainingError(f"n_folds must be at least 2, not {self.n_folds}")
        if not self.strengths or any(c <= 0 for c in self.strengths):
            raise TrainingError(f"strengths must be above 0, not {self.strengths}")
        if list(self.strengths) != sorted(set(self.strengths)):
            raise TrainingError(f"strengths must increase, not {self.strengths}")


@dataclass(frozen=True)
class Trained:
    """What a training gives.

    Args:
        kind: of the task.
        classes: those that could be learnt, in the order of the data's classes.
        targets: as in `TrainingSet`, in terms of `classes`; -1 for a class set aside.
        head: the shipped head, fitted on everything but test.
        calibration: of the shipped head.
        policy: thresholds for the target.
        protocol: `own split` where a test split was given, else `grouped 5-fold`.
        split: `(n,)` train, val or test.
        fold: `(n,)` fold of `oof_probs`.
        oof_probs: `(n, k)` float32, for every row from a model that saw nothing of its group.
        test_probs: `(n, k)` float32, for test rows from a model that saw train and val only; NaN
            elsewhere.
        leaks: rows of a given test or val whose group is on an earlier side too.
        set_aside: class to the reason why it could not be learnt.
        selection: JSON-able: what was tried and how it scored.
    """

    kind: Kind
    classes: tuple[str, ...]
    targets: NDArray[np.integer]
    head: Head
    calibration: Calibration
    policy: Policy
    protocol: Protocol
    split: NDArray[np.str_]
    fold: NDArray[np.int64]
    oof_probs: Floats
    test_probs: Floats
    leaks: tuple[int, ...]
    set_aside: dict[str, str]
    selection: dict[str, Any] = field(default_factory=dict)

    def heldout(self) -> tuple[NDArray[np.int64], Floats]:
        """Rows `(m,)` with a known answer that the reported numbers rest on, and their probs."""
        known = self.targets >= 0 if self.kind == "single" else (self.targets >= 0).any(axis=1)
        own = self.protocol == "own split"
        rows = np.flatnonzero(known & (self.split == "test") if own else known)
        return rows, (self.test_probs if own else self.oof_probs)[rows]


def train(
    data: TrainingSet, options: TrainOptions = TrainOptions(), progress: Progress | None = None
) -> Trained:
    """Learn a head, its calibration and its policy, and hold out what is needed to judge them.

    Args:
        data: at least two classes that can be learnt.
        options: see `TrainOptions`.
        progress: called with a phrase and the share done in [0, 1].

    Raises:
        TrainingError: fewer than two usable classes; the message says what is needed.
    """
    say = progress or (lambda phrase, share: None)
    say("splitting", 0.0)
    usable = usable_classes(data, options.min_examples, options.min_groups)
    learnt = with_classes(data, usable.classes)
    plan = plan_split(learnt, _folds_possible(learnt, options.n_folds), options.seed)
    with threadpool_limits(limits=1):  # folds run side by side; BLAS threads would fight them
        return _train(learnt, plan, options, usable.set_aside, say)


def _folds_possible(data: TrainingSet, n_folds: int) -> int:
    """No more folds than groups with a label outside test."""
    rows = data.labelled & (data.given_split != "test")
    return max(2, min(n_folds, len(np.unique(data.groups[rows]))))


def _train(
    data: TrainingSet,
    plan: Plan,
    options: TrainOptions,
    set_aside: dict[str, str],
    say: Progress,
) -> Trained:
    targets = encode(data.targets, len(data.classes), data.kind)
    seen = plan.inner_fold >= 0
    say("choosing the regularisation", 0.05)
    paths = cross_fit(data.embeddings, targets, plan.inner_fold, options)
    scores = _scores(paths[:, seen], targets.rows(np.flatnonzero(seen)))
    best = int(np.argmin(scores))
    strength = options.strengths[best]
    say("calibrating", 0.5)
    calibration = fit_calibration(paths[best][seen], targets.rows(np.flatnonzero(seen)))
    chosen = _chosen_elsewhere(paths, targets, plan.inner_fold)
    cv_probs = _calibrated_elsewhere(chosen, targets, plan.inner_fold)
    policy = choose_policy(cv_probs[seen], data.targets[seen], data.kind, options.target)
    say("fitting the head", 0.6)
    head = _fit_rows(data.embeddings, targets, seen & data.labelled, strength, options)
    test_probs = np.full(cv_probs.shape, np.nan, dtype=np.float32)
    oof_probs = cv_probs
    if plan.protocol == "own split":
        test = plan.split == "test"
        test_probs[test] = calibration.probs(head.logits(data.embeddings[test]), data.kind)
        say("out-of-fold probabilities", 0.7)
        again = replace(options, strengths=(strength,))
        logits = cross_fit(data.embeddings, targets, plan.fold, again)[0]
        oof_probs = _calibrated_elsewhere(logits, targets, plan.fold)
    say("done", 1.0)
    return Trained(
        kind=data.kind,
        classes=data.classes,
        targets=data.targets,
        head=head,
        calibration=calibration,
        policy=policy,
        protocol=plan.protocol,
        split=plan.split,
        fold=plan.fold,
        oof_probs=oof_probs,
        test_probs=test_probs,
        leaks=tuple(int(i) for i in plan.leaks),
        set_aside=set_aside,
        selection={
            "tried": [
                {"C": c, "log_loss": float(s)}
                for c, s in zip(options.strengths, scores, strict=True)
            ],
            "C": strength,
            "class_weight": options.class_weight,
            "n_folds": int(plan.inner_fold.max()) + 1,
            "seed": options.seed,
            "target": options.target,
            "n_train": int((seen & data.labelled).sum()),
        },
    )


def cross_fit(
    embeddings: Floats, targets: Targets, fold: NDArray[np.int64], options: TrainOptions
) -> Floats:
    """Out-of-fold logits for every strength.

    Args:
        embeddings: `(n, d)`.
        targets: rows whose weights are all 0 are not trained on, but get logits.
        fold: `(n,)`; rows with -1 are left out altogether (their logits are NaN).
        options: strengths and class weight.

    Returns:
        `(n_strengths, n, k)` float32.
    """
    known = targets.weight.any(axis=1)
    shape = (len(options.strengths), *targets.yes.shape)
    logits = np.full(shape, np.nan, dtype=np.float32)

    def one(f: int) -> None:
        rows = np.flatnonzero((fold >= 0) & (fold != f) & known)
        held = np.flatnonzero(fold == f)
        if not len(rows):
            raise TrainingError(
                "every labelled photo is in one group, so none can be held out; label photos of "
                "other listings"
            )
        rotated = rotate(embeddings[rows])
        path = fit_path(rotated, _weighted(targets.rows(rows), options), options.strengths)
        z = rotated.apply(embeddings[held])
        for i, (weights, bias) in enumerate(path):
            logits[i, held] = z @ weights + bias

    _side_by_side(one, np.unique(fold[fold >= 0]).tolist())
    return logits


def _side_by_side(work: Callable[[int], None], items: Iterable[int]) -> None:
    """Run in threads (BLAS releases the GIL); the first error is raised."""
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        for _ in pool.map(work, items):
            pass


def _weighted(targets: Targets, options: TrainOptions) -> Targets:
    return balanced(targets) if options.class_weight == "balanced" else targets


def _fit_rows(
    embeddings: Floats,
    targets: Targets,
    rows: NDArray[np.bool_],
    strength: float,
    options: TrainOptions,
) -> Head:
    index = np.flatnonzero(rows)
    return fit(embeddings[index], _weighted(targets.rows(index), options), strength)


def _scores(paths: Floats, targets: Targets) -> NDArray[np.float64]:
    """Mean log loss of known answers, one per strength."""
    weight = targets.weight[:, :1] if targets.kind == "single" else targets.weight
    total = max(float(weight.sum()), 1.0)
    return np.array([(losses(p, targets) * weight).sum() / total for p in paths])


def _chosen_elsewhere(paths: Floats, targets: Targets, fold: NDArray[np.int64]) -> Floats:
    """Each fold's logits at the strength that is best on all other folds."""
    chosen = np.full(paths.shape[1:], np.nan, dtype=np.float32)
    for f in np.unique(fold[fold >= 0]):
        others = np.flatnonzero((fold >= 0) & (fold != f))
        best = int(np.argmin(_scores(paths[:, others], targets.rows(others))))
        chosen[fold == f] = paths[best][fold == f]
    return chosen


def _calibrated_elsewhere(logits: Floats, targets: Targets, fold: NDArray[np.int64]) -> Floats:
    """Each fold's probabilities under the calibration fitted on all other folds."""
    probs = np.full(logits.shape, np.nan, dtype=np.float32)
    for f in np.unique(fold[fold >= 0]):
        others, held = np.flatnonzero((fold >= 0) & (fold != f)), fold == f
        calibration = fit_calibration(logits[others], targets.rows(others))
        probs[held] = calibration.probs(logits[held], targets.kind)
    return probs
