"""The training recipe: split, choose, calibrate, set thresholds, fit what is shipped.

Honest by construction. Everything is chosen on out-of-fold logits. A fold's own rows never choose
the strength, the calibration or the thresholds that are applied to them: all three come from the
other folds. With a test split, test rows are seen by nothing until `test_probs`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from listlens.core.errors import TrainingError
from listlens.core.types import Kind, Policy
from listlens.learn.calibration import Calibration, fit_calibration
from listlens.learn.dataset import TrainingSet
from listlens.learn.heads import (
    Head,
    Targets,
    balanced,
    encode,
    fit,
    fit_path,
    losses,
    rotate,
    shared_axes,
)
from listlens.learn.policies import Decided, answers, choose_policy, parse_target
from listlens.learn.split import Plan, Protocol, plan_split
from listlens.learn.usable import usable_classes, with_classes

RECIPE = 2
"""Changes when the same examples and options give another result, so that nothing old is kept."""

Floats = NDArray[np.float32]
Progress = Callable[[str, float], None]
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
        min_examples: a class with fewer (multi: fewer yes, or fewer no) is set aside.
        min_groups: so is a class whose examples are in fewer groups, since it could not be both
            learnt and held out.
    """

    seed: int = 0
    n_folds: int = 5
    target: str = "best-f1"
    class_weight: Literal["auto", "none", "balanced"] = "auto"
    strengths: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
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
        policy: thresholds for the target, as shipped: chosen on all rows that were trained on, so
            what it makes of them is rosier than what it makes of new photos.
        protocol: `own split` where a test split was given, else `grouped 5-fold`.
        split: `(n,)` train, val or test.
        fold: `(n,)` fold of `oof_probs`.
        oof_probs: `(n, k)` float32, for every row from a model that saw nothing of its group.
        oof_decided: decisions of `oof_probs`, `(n, k)`, each fold's under the thresholds that the
            other folds choose.
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
    oof_decided: Decided
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
    _require_train_side(learnt)
    plan = plan_split(learnt, _folds_possible(learnt, options.n_folds), options.seed)
    with threadpool_limits(limits=1):  # folds run side by side; BLAS threads would fight them
        return _train(learnt, plan, options, usable.set_aside, say)


def _require_train_side(data: TrainingSet) -> None:
    """Val is held out as one fold, so a given split needs something to learn from besides it."""
    sides = data.given_split
    if not (sides == "test").any() or (data.labelled & np.isin(sides, ("", "train"))).any():
        return
    raise TrainingError(
        f"the given split has no labelled photo in train ({(sides == 'val').sum()} photos are in "
        f"val, {(sides == 'test').sum()} in test). Mark some as train, or leave their split empty."
    )


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
    seen = np.flatnonzero(plan.inner_fold >= 0)
    candidates = _candidates(targets.rows(seen), options)
    say("choosing the regularisation", 0.05)
    logits = cross_fit(data.embeddings, targets, plan.inner_fold, candidates)
    scores = _scores(logits[:, seen], targets.rows(seen))
    best = candidates[int(np.argmin(scores))]
    say("calibrating", 0.6)
    calibration = fit_calibration(logits[int(np.argmin(scores))][seen], targets.rows(seen))
    probs, decided = _honest(logits, targets, data, plan.inner_fold, options.target)
    policy = choose_policy(probs[seen], data.targets[seen], data.kind, options.target)
    say("fitting the head", 0.7)
    fitted = np.flatnonzero((plan.inner_fold >= 0) & data.labelled)
    way = best.path(options.strengths)
    head = fit(data.embeddings[fitted], _weighted(targets.rows(fitted), best), way)
    test_probs = np.full(probs.shape, np.nan, dtype=np.float32)
    if plan.protocol == "own split":
        test = plan.split == "test"
        test_probs[test] = calibration.probs(head.logits(data.embeddings[test]), data.kind)
        say("out-of-fold probabilities", 0.8)
        again = [Candidate(best.class_weight, c) for c in way]
        logits = cross_fit(data.embeddings, targets, plan.fold, again)[-1:]
        probs, decided = _honest(logits, targets, data, plan.fold, options.target)
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
        oof_probs=probs,
        oof_decided=decided,
        test_probs=test_probs,
        leaks=tuple(int(i) for i in plan.leaks),
        set_aside=set_aside,
        selection=_selection(candidates, scores, best, options, plan, len(fitted)),
    )


def _selection(
    candidates: Sequence[Candidate],
    scores: NDArray[np.float64],
    best: Candidate,
    options: TrainOptions,
    plan: Plan,
    n_train: int,
) -> dict[str, Any]:
    """What was tried and how it scored, for the record."""
    return {
        "C": best.strength,
        "class_weight": best.class_weight,
        "n_folds": int(plan.inner_fold.max()) + 1,
        "n_train": n_train,
        "seed": options.seed,
        "target": options.target,
        "tried": [
            {"C": c.strength, "class_weight": c.class_weight, "log_loss": round(float(s), 6)}
            for c, s in zip(candidates, scores, strict=True)
        ],
    }


@dataclass(frozen=True)
class Candidate:
    """One setting to try: class weight and regularisation."""

    class_weight: Weighting
    strength: float

    def path(self, strengths: Sequence[float]) -> list[float]:
        """The strengths on the way to this one."""
        return [c for c in strengths if c <= self.strength]


def _candidates(targets: Targets, options: TrainOptions) -> list[Candidate]:
    """All settings to try; `auto` leaves out weights that would change nothing, or do not help."""
    weightings: list[Weighting] = ["none", "balanced"]
    if options.class_weight != "auto":
        weightings = [options.class_weight]
    elif targets.kind == "multi" or _even(targets):
        weightings = ["none"]
    return [Candidate(w, c) for w in weightings for c in options.strengths]


def _even(targets: Targets) -> bool:
    """The largest class has at most a quarter more than the smallest."""
    count = (targets.yes * targets.weight).sum(axis=0)
    return bool(count.max() <= 1.25 * count.min())


def cross_fit(
    embeddings: Floats,
    targets: Targets,
    fold: NDArray[np.int64],
    candidates: Sequence[Candidate],
) -> Floats:
    """Out-of-fold logits for every candidate.

    Args:
        embeddings: `(n, d)`.
        targets: rows whose weights are all 0 are not trained on, but get logits.
        fold: `(n,)`; rows with -1 are left out altogether (their logits are NaN).
        candidates: those of one class weight in a row, strengths increasing.

    Returns:
        `(n_candidates, n, k)` float32.
    """
    known = targets.weight.any(axis=1)
    logits = np.full((len(candidates), *targets.yes.shape), np.nan, dtype=np.float32)
    axes = shared_axes(embeddings[fold >= 0])

    def one(f: int) -> None:
        rows = np.flatnonzero((fold >= 0) & (fold != f) & known)
        held = np.flatnonzero(fold == f)
        rotated = rotate(embeddings[rows], axes)
        z = rotated.apply(embeddings[held])
        for _, run in groupby(enumerate(candidates), key=lambda item: item[1].class_weight):
            at, tried = zip(*run, strict=True)
            weighted = _weighted(targets.rows(rows), tried[0])
            path = fit_path(rotated, weighted, [c.strength for c in tried])
            for i, (weights, bias) in zip(at, path, strict=True):
                logits[i, held] = z @ weights + bias

    _side_by_side(one, np.unique(fold[fold >= 0]).tolist())
    return logits


def _side_by_side(work: Callable[[int], None], items: Iterable[int]) -> None:
    """Run in threads (BLAS releases the GIL); the first error is raised."""
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        for _ in pool.map(work, items):
            pass


def _weighted(targets: Targets, candidate: Candidate) -> Targets:
    return balanced(targets) if candidate.class_weight == "balanced" else targets


def _scores(paths: Floats, targets: Targets) -> NDArray[np.float64]:
    """Mean log loss of known answers, one per strength."""
    weight = targets.weight[:, :1] if targets.kind == "single" else targets.weight
    total = max(float(weight.sum()), 1.0)
    return np.array([(losses(p, targets) * weight).sum() / total for p in paths])


def _honest(
    logits: Floats, targets: Targets, data: TrainingSet, fold: NDArray[np.int64], target: str
) -> tuple[Floats, Decided]:
    """Each fold by the candidate, the calibration and the policy that its other folds choose.

    Args:
        logits: `(n_candidates, n, k)` out-of-fold logits.
        targets: of all rows.
        data: the same targets, as policies are chosen on.
        fold: `(n,)`; rows with -1 get NaN, and nothing is given.
        target: of the policy.

    Returns:
        Probabilities and decisions `(n, k)`.
    """
    probs = np.full(logits.shape[1:], np.nan, dtype=np.float32)
    given, review = np.zeros(probs.shape, np.bool_), np.zeros(probs.shape, np.bool_)
    for f in np.unique(fold[fold >= 0]):
        others, held = np.flatnonzero((fold >= 0) & (fold != f)), np.flatnonzero(fold == f)
        seen = targets.rows(others)
        best = logits[int(np.argmin(_scores(logits[:, others], seen)))]
        calibration = fit_calibration(best[others], seen)
        probs[held] = calibration.probs(best[held], data.kind)
        others_probs = calibration.probs(best[others], data.kind)
        policy = choose_policy(others_probs, data.targets[others], data.kind, target)
        decided = answers(probs[held], policy, data.kind)
        given[held], review[held] = decided.given, decided.review
    return probs, Decided(given, review)
