"""The training recipe: split, choose, calibrate, set thresholds, fit what is shipped.

Honest by construction. Everything is chosen on out-of-fold logits. A fold's own rows never choose
the strength, the calibration or the thresholds that are applied to them: all three come from the
other folds. With a test split, test rows are seen by nothing until `test_probs`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from listlens.core.errors import TrainingError
from listlens.core.types import Kind, Policy
from listlens.learn.calibration import Calibration, fit_calibration
from listlens.learn.candidates import TrainOptions, scores_of, strengths_for
from listlens.learn.dataset import TrainingSet, known_rows
from listlens.learn.few import Caution, is_few, only_listings
from listlens.learn.heads import Floats, Head
from listlens.learn.large import LargeFit, is_large, train_large
from listlens.learn.learner import AnyCandidate, Learner, all_candidates
from listlens.learn.objectives import Targets, encode
from listlens.learn.policies import Decided, answers, choose_policy
from listlens.learn.split import Plan, Protocol, plan_split
from listlens.learn.trees import encode_nodes, in_leaf_order
from listlens.learn.usable import usable_classes, with_classes

RECIPE = 5
"""Changes when the same examples and options give another result, so that nothing old is kept."""

Progress = Callable[[str, float], None]


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
        protocol: `own split` where a test split was given, else `grouped 5-fold`; see `Plan`.
        split: `(n,)` train, val or test.
        fold: `(n,)` fold of `oof_probs`.
        oof_probs: `(n, k)` float32 (float16 of a large tree, whose test rows are the shipped
            head's), for every row from a model that saw nothing of its group; NaN for rows that
            the embedding was learnt from, the shipped head's for those whose class has no other.
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
    targets: NDArray[Any]
    head: Head
    calibration: Calibration
    policy: Policy
    protocol: Protocol
    split: NDArray[np.str_]
    fold: NDArray[np.int64]
    oof_probs: NDArray[np.floating]
    oof_decided: Decided
    test_probs: NDArray[np.floating]
    leaks: tuple[int, ...]
    set_aside: dict[str, str]
    selection: dict[str, Any] = field(default_factory=dict)

    @property
    def known(self) -> NDArray[np.bool_]:
        """`(n,)`: the row has a known answer."""
        return known_rows(self.kind, self.targets)

    def heldout(self) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
        """Rows `(m,)` with a known answer that the reported numbers rest on, and their probs."""
        known = self.known
        own = self.protocol == "own split"
        there = self.split == "test" if own else self.fold >= 0
        rows = np.flatnonzero(known & there)
        return rows, (self.test_probs if own else self.oof_probs)[rows]


def train(
    data: TrainingSet, options: TrainOptions | None = None, progress: Progress | None = None
) -> Trained:
    """Learn a head, its calibration and its policy, and hold out what is needed to judge them.

    Args:
        data: at least two classes that can be learnt.
        options: see `TrainOptions`.
        progress: called with a phrase and the share done in [0, 1].

    Raises:
        TrainingError: fewer than two usable classes; the message says what is needed.
    """
    options, say = options or TrainOptions(), progress or (lambda phrase, share: None)
    say("splitting", 0.0)
    usable = usable_classes(data, *options.least)
    learnt, plan = planned(data, options)
    if is_large(learnt) and learnt.holdable.all():
        found = train_large(learnt, plan.inner_fold, options.target, say)
        return _from_large(found, plan, options.seed)
    with threadpool_limits(limits=1):  # folds run side by side; BLAS threads would fight them
        return _train(learnt, plan, options, usable.set_aside, say)


def planned(data: TrainingSet, options: TrainOptions) -> tuple[TrainingSet, Plan]:
    """Return the rows with the classes that can be learnt, and who is held out when.

    Raises:
        TrainingError: as `train`.
    """
    if options.few and data.kind != "single":
        raise TrainingError(
            f"classes of one or two photos are learnt in tasks with one class a photo; this one is "
            f"{data.kind}. Train it without few (--few)."
        )
    usable = usable_classes(data, *options.least)
    learnt = with_classes(data, usable.classes)
    _require_train_side(learnt)
    if options.few and (alone := only_listings(learnt)).any():
        learnt = replace(learnt, seen=alone)
    plan = plan_split(learnt, _folds_possible(learnt, options.n_folds), options.seed)
    if options.few:  # what is always trained on is left out where its own group is held out
        plan = replace(plan, leaks=plan.leaks[data.given_split[plan.leaks] != ""])
    return learnt, plan


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
    rows = data.labelled & (data.given_split != "test") & data.holdable
    return max(2, min(n_folds, len(np.unique(data.groups[rows]))))


def _train(
    data: TrainingSet,
    plan: Plan,
    options: TrainOptions,
    set_aside: dict[str, str],
    say: Progress,
) -> Trained:
    targets, answered, classes = encoded(data)
    seen = np.flatnonzero(plan.inner_fold >= 0)
    few = options.few or is_few(data)
    candidates = all_candidates(targets.rows(seen), options, few)
    say("choosing the regularisation", 0.05)
    base, caution = ~data.holdable, _caution(data) if few else None
    strengths = strengths_for(data.kind, options)
    learner = Learner(
        data.embeddings, targets, answered, classes, strengths, base, data.centre, data.groups
    )
    logits = learner.cross_fit(plan.inner_fold, candidates)
    scores = scores_of(logits[:, seen], targets.rows(seen))
    best = candidates[int(np.argmin(scores))]
    say("calibrating", 0.6)
    judged = Judged(targets, answered, classes, options.target, caution)
    calibration = judged.calibration(logits[int(np.argmin(scores))], seen)
    probs, decided = honest(by_loss(logits, targets), judged, plan.inner_fold)
    policy = judged.policy(probs, seen)
    say("fitting the head", 0.7)
    fitted = np.flatnonzero(((plan.inner_fold >= 0) | base) & data.labelled)
    head = learner.fit(fitted, best, plan.inner_fold)
    test_probs = np.full(probs.shape, np.nan, dtype=np.float32)
    if plan.protocol == "own split":
        test = plan.split == "test"
        test_probs[test] = calibration.probs(head.logits(data.embeddings[test]), data.kind)
        say("out-of-fold probabilities", 0.8)
        logits = learner.again(plan.fold, best)
        probs, decided = honest(by_loss(logits, targets), judged, plan.fold)
    if options.few and base.any():  # nothing else is there to answer them by
        probs[base] = calibration.probs(head.logits(data.embeddings[base]), data.kind)
        decided = decided.where(~base, answers(probs, policy, data.kind))
    say("done", 1.0)
    return Trained(
        kind=data.kind,
        classes=classes,
        targets=answered,
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
        selection=_selection(candidates, scores, best, options, plan, len(fitted))
        | _unjudged(caution, classes),
    )


def _from_large(found: LargeFit, plan: Plan, seed: int) -> Trained:
    """A large tree's fit, with the rows of a given test split answered by the shipped head."""
    own = plan.protocol == "own split"
    nothing = np.broadcast_to(np.float16(np.nan), found.oof_probs.shape)  # takes no memory
    test = (plan.split == "test")[:, None]
    return Trained(
        kind="tree",
        classes=found.classes,
        targets=found.targets,
        head=found.head,
        calibration=found.calibration,
        policy=found.policy,
        protocol=plan.protocol,
        split=plan.split,
        fold=plan.fold,
        oof_probs=found.oof_probs,
        oof_decided=found.oof_decided,
        test_probs=np.where(test, found.oof_probs, np.float16(np.nan)) if own else nothing,
        leaks=tuple(int(i) for i in plan.leaks),
        set_aside={},
        selection=found.selection | {"seed": seed},
    )


def encoded(data: TrainingSet) -> tuple[Targets, NDArray[Any], tuple[str, ...]]:
    """Return what heads are fitted to, the targets in terms of the model, and its classes.

    For a tree the classes are the paths of its leaves, and the targets the nodes of the tree that
    these give; otherwise both are the data's own.
    """
    if data.kind == "tree":
        shape, nodes = in_leaf_order(data)
        leaves = tuple(shape.tree.paths[i] for i in shape.tree.leaves)
        targets, answered, classes = encode_nodes(nodes, shape.under), nodes, leaves
    else:
        targets = encode(data.targets, len(data.classes), data.kind)
        answered, classes = data.targets, data.classes
    if data.weights is not None:
        weight = targets.weight * data.weights[:, None]
        targets = replace(targets, weight=weight.astype(np.float32))
    return targets, answered, classes


def _selection(
    candidates: Sequence[AnyCandidate],
    scores: NDArray[np.float64],
    best: AnyCandidate,
    options: TrainOptions,
    plan: Plan,
    n_train: int,
) -> dict[str, Any]:
    """What was tried and how it scored, for the record."""
    return {
        **best.record(),
        "n_folds": int(plan.inner_fold.max()) + 1,
        "n_train": n_train,
        "seed": options.seed,
        "target": options.target,
        "tried": [
            {**c.record(), "loss": round(float(s), 6)}
            for c, s in zip(candidates, scores, strict=True)
        ],
    }


def _unjudged(caution: Caution | None, classes: tuple[str, ...]) -> dict[str, Any]:
    """For the record: the classes that nothing could be held out of."""
    if caution is None or not caution.unjudged.any():
        return {}
    return {
        "unjudged": [c for c, not_held in zip(classes, caution.unjudged, strict=True) if not_held]
    }


def _caution(data: TrainingSet) -> Caution:
    """Of the classes of which no row can be held out."""
    counted = data.targets[data.holdable & (data.targets >= 0) & (data.given_split != "test")]
    return Caution(np.bincount(counted, minlength=len(data.classes)) == 0)


@dataclass(frozen=True)
class Judged:
    """What policies are chosen on: encoded targets, the same in terms of the model, its classes.

    Args:
        targets: of all rows.
        answered: the same in terms of the model.
        classes: of the model.
        target: of the policy.
        caution: with few photos; None: none is needed.
    """

    targets: Targets
    answered: NDArray[Any]
    classes: tuple[str, ...]
    target: str
    caution: Caution | None = None

    def calibration(self, logits: Floats, rows: NDArray[np.int64]) -> Calibration:
        """Fit on some rows of `(n, k)` logits."""
        found = fit_calibration(logits[rows], self.targets.rows(rows))
        return found if self.caution is None else self.caution.calibration(found)

    def policy(self, probs: Floats, rows: NDArray[np.int64]) -> Policy:
        """Choose by some rows of `(n, k)` probabilities."""
        kind = self.targets.kind
        found = choose_policy(probs[rows], self.answered[rows], kind, self.target, self.classes)
        return found if self.caution is None else self.caution.policy(found)


Seen = Callable[[int, NDArray[np.int64]], Floats]
"""A fold and the rows of the others, to the logits `(n, k)` that the others choose."""


def by_loss(logits: Floats, targets: Targets) -> Seen:
    """Of out-of-fold logits `(n_candidates, n, k)`, those with the least loss on the others."""
    return lambda fold, others: logits[
        int(np.argmin(scores_of(logits[:, others], targets.rows(others))))
    ]


def honest(seen_by: Seen, judged: Judged, fold: NDArray[np.int64]) -> tuple[Floats, Decided]:
    """Each fold by the candidate, the calibration and the policy that its other folds choose.

    Args:
        seen_by: what the other folds of a fold choose.
        judged: targets of all rows, and what the policy is to reach.
        fold: `(n,)`; rows with -1 get NaN, and nothing is given.

    Returns:
        Probabilities and decisions `(n, k)`.
    """
    targets, kind = judged.targets, judged.targets.kind
    probs = np.full(targets.yes.shape, np.nan, dtype=np.float32)
    given, review = np.zeros(probs.shape, np.bool_), np.zeros(probs.shape, np.bool_)
    for f in np.unique(fold[fold >= 0]):
        others, held = np.flatnonzero((fold >= 0) & (fold != f)), np.flatnonzero(fold == f)
        best = seen_by(int(f), others)
        calibration = judged.calibration(best, others)
        probs[held] = calibration.probs(best[held], kind)
        policy = judged.policy(calibration.probs(best, kind), others)
        decided = answers(probs[held], policy, kind, judged.classes)
        given[held], review[held] = decided.given, decided.review
    return probs, Decided(given, review)
