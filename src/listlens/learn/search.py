"""Search within a budget: whatever beats the default clearly on held-out photos, in time.

The default is always among what is tried, and stays unless a trial has a lower loss by more than
the standard error of the paired difference between groups, and no lower score; so does what costs
less against what costs more. What is reported for
an own test split is of photos that nothing here has seen; without one, each fold is judged by the
trial, the setting, the calibration and the thresholds that the other folds choose by models that
have not seen it (nested cross-validation).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from listlens.learn.budget import NO_TIME, STORED, Found, Tried
from listlens.learn.calibration import fit_calibration
from listlens.learn.candidates import TrainOptions, strengths_for
from listlens.learn.dataset import TrainingSet
from listlens.learn.few import HEAD, few_head
from listlens.learn.heads import Floats, Head
from listlens.learn.large import is_large
from listlens.learn.learner import logistic_part
from listlens.learn.policies import choose_policy
from listlens.learn.recipe import (
    Judged,
    Trained,
    encoded,
    honest,
    planned,
    train,
)
from listlens.learn.split import Plan
from listlens.learn.trials import (
    Fitter,
    Outcome,
    OutOfTime,
    Views,
    average,
    chosen,
    logistic,
    nearest_mean,
    row_losses,
    seen_by,
    tree_discriminant,
)
from listlens.learn.unlabelled import LookAlikes, spreading

Progress = Callable[[str, float], None]

Maker = Callable[[float], Floats | str]
"""Seconds left, to the embeddings `(n, d)` of the same photos in another space, or why there are
none."""

STEPS_AROUND = 2
"""Strengths on either side of the default's best that other spaces try."""

UNLABELLED = "with unlabelled"
"""A logistic head that learns from photos without a label too; see `learn.unlabelled`."""

MOST_CELLS = 150_000_000
"""Logits held at once (600 MB): beyond, nothing is searched and the default is kept."""


@dataclass
class _Search:
    """The state of one search: what is compared, on what, until when."""

    data: TrainingSet
    plan: Plan
    default: Trained
    options: TrainOptions
    deadline: float
    spaces: dict[str, Floats]
    unlabelled: Floats | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.targets, self.answered, self.classes = encoded(self.data)
        # Of two folds nothing is left without both: then each is judged by the choice of all.
        n_folds = len(np.unique(self.plan.inner_fold[self.plan.inner_fold >= 0]))
        nested = self.plan.protocol != "own split" and n_folds > 2
        self.views = Views(self.plan.inner_fold, self.data.labelled, nested)
        best = logistic_part(self.default.selection)
        strengths = strengths_for(self.data.kind, self.options)
        at = strengths.index(best.strength)
        near = strengths[max(0, at - STEPS_AROUND) : at + STEPS_AROUND + 1]
        self.candidates = [replace(best, strength=c) for c in near]

    def fitter(self, space: str, head: str) -> Fitter:
        x = self.spaces[space]
        if head == "nearest mean":
            return nearest_mean(x, self.targets)
        if head == HEAD:
            return lambda some: [few_head(x[some], self.targets.rows(some), self.data.centre)]
        if head == UNLABELLED:
            return spreading(self.alike, self.targets)
        if head == "discriminant":
            return tree_discriminant(x, self.answered, self.classes)
        rows = self.plan.inner_fold >= 0
        return logistic(x, self.targets, self.candidates, self.classes, rows)

    @cached_property
    def alike(self) -> LookAlikes:
        """The labelled and the unlabelled photos together."""
        assert self.unlabelled is not None
        return LookAlikes(self.spaces[STORED], self.unlabelled)

    def try_one(self, space: str, head: str) -> Outcome | None:
        """Run a trial; None where time is up."""
        started = time.monotonic()
        x, k = self.spaces[space], len(self.classes)
        try:
            logits = seen_by(self.fitter(space, head), x, self.views, k, self.deadline)
        except OutOfTime:
            self.tried.append(Tried(space, head, NO_TIME, seconds=time.monotonic() - started))
            return None
        outcome = chosen(logits, self.targets, self.views, space, head)
        self.note(outcome, time.monotonic() - started)
        return outcome

    def note(self, outcome: Outcome, seconds: float) -> None:
        """Keep an outcome and its line in the record."""
        self.outcomes.append(outcome)
        self.tried.append(Tried(outcome.space, outcome.head, "", seconds=seconds))

    @cached_property
    def baseline(self) -> int | None:
        """Index of the outcome that is the default; None where it was not reached."""
        head = _AS_TRIED.get(self.default.selection.get("head", ""), "logistic")
        same = [(o.space, o.head) == (STORED, head) for o in self.outcomes]
        return same.index(True) if any(same) else None

    def gain(self, outcome: Outcome, over: Outcome, view: int) -> tuple[float, float]:
        """How much lower a loss is than another in a view, and the standard error of that."""
        rows = self.views.inner(view)
        theirs = row_losses(over.logits[view], self.targets, rows)
        ours = row_losses(outcome.logits[view], self.targets, rows)
        return paired(theirs - ours, self.data.groups[rows])

    def score(self, outcome: Outcome, view: int) -> float:
        """Accuracy or macro average precision in a view."""
        rows = self.views.inner(view)
        return score_of(outcome.logits[view][rows], self.answered[rows], self.data.kind)

    def best(self, view: int) -> int:
        """Index of the outcome that a view keeps: the default's, unless one is clearly better.

        Spaces come in the order of what they cost. One must be clearly better than what is kept of
        the spaces before it, too; within a space the lower loss is enough.
        """
        assert self.baseline is not None  # without it nothing is compared
        default, found = self.outcomes[self.baseline], self.baseline
        least = self.score(default, view)
        for i, outcome in enumerate(self.outcomes):
            gain, error = self.gain(outcome, default, view)
            worse = self.score(outcome, view) < least  # False where the kind has none (NaN)
            if gain <= error or worse:
                continue
            kept = self.outcomes[found]
            lead, spread = self.gain(outcome, kept, view)
            if lead > (0.0 if outcome.space == kept.space else spread):
                found = i
        return found


_AS_TRIED = {"discriminant": "discriminant", "joint": "average", HEAD: HEAD}
"""What the recipe calls its other heads, to what they are called here."""


def search(
    data: TrainingSet,
    budget_s: float,
    spaces: Sequence[tuple[str, Maker]] = (),
    options: TrainOptions | None = None,
    progress: Progress | None = None,
    unlabelled: Floats | None = None,
) -> Found:
    """Train the default, and then try what may be better until the time is up.

    Args:
        data: as for `recipe.train`, embeddings of the stored space.
        budget_s: seconds; the default is trained even where that takes longer.
        spaces: names of other spaces and how to embed the same photos in them, the cheapest first.
        options: see `TrainOptions`.
        progress: called with a phrase and the share of the budget used.
        unlabelled: `(m, d)` stored embeddings of photos without a label.

    Raises:
        TrainingError: as `recipe.train`.
    """
    started = time.monotonic()
    deadline = started + budget_s
    options = options or TrainOptions()

    def say(phrase: str) -> None:
        if progress is not None:
            progress(phrase, min(1.0, (time.monotonic() - started) / budget_s))

    say("training the default")
    default = train(data, options)
    learnt, plan = planned(data, options)
    state = _Search(
        learnt, plan, default, options, deadline, {STORED: learnt.embeddings}, unlabelled
    )
    with threadpool_limits(limits=1):  # folds run side by side; BLAS threads would fight them
        if not is_large(learnt) and _cells(state) <= MOST_CELLS:
            _try_all(state, spaces, say)
        best = None if state.baseline is None else state.best(0)
        won = best is not None and best != state.baseline
        trained = _trained(state, best) if won and best is not None else default
    space = state.outcomes[best].space if won and best is not None else STORED
    return Found(trained, space, _record(state, best), budget_s, time.monotonic() - started)


def _cells(state: _Search) -> int:
    n, k = len(state.data.names), len(state.classes)
    return n * k * state.views.n * (2 * STEPS_AROUND + 1)


def _try_all(
    state: _Search, spaces: Sequence[tuple[str, Maker]], say: Callable[[str], None]
) -> None:
    """Try every head in every space, in order, as far as time allows."""
    if state.try_one(STORED, "logistic") is None:
        return
    _try_rest(state, STORED, state.outcomes[0], say)
    if state.default.selection.get("head") == HEAD:
        say(HEAD)
        state.try_one(STORED, HEAD)
    if state.unlabelled is not None and state.data.kind == "single":
        say(UNLABELLED)
        state.try_one(STORED, UNLABELLED)
    for name, make in spaces:
        say(f"embedding: {name}")
        started = time.monotonic()
        left = state.deadline - started
        made = make(left) if left > 0 else NO_TIME
        if isinstance(made, str):
            state.tried.append(Tried(name, "any", made, seconds=time.monotonic() - started))
            continue
        state.spaces[name] = made
        say(f"logistic: {name}")
        first = state.try_one(name, "logistic")
        if first is not None:
            _try_rest(state, name, first, say)


def _try_rest(state: _Search, space: str, first: Outcome, say: Callable[[str], None]) -> None:
    """The head of the other kind, and its mean with the logistic one."""
    head = {"single": "nearest mean", "tree": "discriminant"}.get(state.data.kind)
    if head is None:
        return
    say(f"{head}: {space}")
    second = state.try_one(space, head)
    if second is not None:
        state.note(average(first, second), 0.0)


def _record(state: _Search, best: int | None) -> tuple[Tried, ...]:
    """The lines with what each came to beside the default."""
    made = iter(enumerate(state.outcomes))
    return tuple(
        row if row.outcome else _line(state, row, *next(made), best) for row in state.tried
    )


def _line(state: _Search, row: Tried, i: int, outcome: Outcome, best: int | None) -> Tried:
    rows = state.views.inner(0)
    loss = float(row_losses(outcome.logits[0], state.targets, rows).mean())
    row = replace(row, loss=loss, score=state.score(outcome, 0))
    if state.baseline is None:
        return replace(row, outcome=NO_TIME)
    gain, error = state.gain(outcome, state.outcomes[state.baseline], 0)
    word = "default" if i == state.baseline else "kept" if i == best else "not clearly better"
    return replace(row, outcome=word, gain=gain, error=error)


def paired(difference: NDArray[np.float64], groups: NDArray[np.int64]) -> tuple[float, float]:
    """Mean of a difference `(n,)` and its standard error, between groups.

    Source: the linearised variance of a ratio over clusters, Cochran, "Sampling techniques" (1977),
    equation 9.35 without the finite-population term.
    """
    member = np.unique(groups, return_inverse=True)[1]
    n_groups, n = int(member.max()) + 1, len(difference)
    mean = float(difference.mean())
    off = np.bincount(member, difference - mean)
    spread = float(np.square(off).sum()) * n_groups / max(n_groups - 1, 1)
    return mean, float(np.sqrt(spread)) / n


def score_of(logits: Floats, answered: NDArray[Any], kind: str) -> float:
    """Accuracy (single), macro average precision (multi); NaN for other kinds."""
    if kind == "single":
        return float((logits.argmax(axis=1) == answered).mean())
    if kind != "multi":
        return float("nan")
    found = []
    for column in range(logits.shape[1]):
        known = answered[:, column] >= 0
        told = answered[known, column]
        if told.size and told.min() < told.max():
            found.append(average_precision_score(told, logits[known, column]))
    return float(np.mean(found)) if found else float("nan")


def _trained(state: _Search, best: int) -> Trained:
    """What `recipe.train` gives, for the outcome that is kept."""
    outcome, plan, data = state.outcomes[best], state.plan, state.data
    judged = Judged(state.targets, state.answered, state.classes, state.options.target)
    seen = np.flatnonzero(plan.inner_fold >= 0)
    final = outcome.logits[0]
    calibration = fit_calibration(final[seen], state.targets.rows(seen))
    if state.views.nested:
        per_fold = [state.outcomes[state.best(f + 1)].logits[f + 1] for f in state.views.folds]
        probs, decided = honest(lambda f, others: per_fold[f], judged, plan.inner_fold)
    else:
        probs, decided = honest(lambda f, others: final, judged, plan.inner_fold)
    policy = choose_policy(
        probs[seen], state.answered[seen], data.kind, state.options.target, state.classes
    )
    fitted = np.flatnonzero((plan.inner_fold >= 0) & data.labelled)
    head = _fit(state, outcome, fitted)
    test_probs = np.full(probs.shape, np.nan, dtype=np.float32)
    if plan.protocol == "own split":
        test = plan.split == "test"
        made = head.logits(state.spaces[outcome.space][test])
        test_probs[test] = calibration.probs(made, data.kind)
        again = _out_of_fold(state, outcome)
        probs, decided = honest(lambda f, others: again, judged, plan.fold)
    return replace(
        state.default,
        head=head,
        calibration=calibration,
        policy=policy,
        oof_probs=probs,
        oof_decided=decided,
        test_probs=test_probs,
        selection=state.default.selection | {"head": outcome.head, "space": outcome.space},
    )


def _fit(state: _Search, outcome: Outcome, rows: NDArray[np.int64]) -> Head:
    """The head of an outcome, tempered, trained on some rows."""
    if outcome.parts:
        one, other = (_fit(state, part, rows) for part in outcome.parts)
        return Head(
            ((one.weights + other.weights) / 2).astype(np.float32),
            ((one.bias + other.bias) / 2).astype(np.float32),
        )
    head = state.fitter(outcome.space, outcome.head)(rows)[outcome.setting]
    factor = np.float32(outcome.factor)
    return Head(head.weights * factor, head.bias * factor)


def _out_of_fold(state: _Search, outcome: Outcome) -> Floats:
    """Logits for every row by models that left out its fold, test included, in one setting."""
    fold, x = state.plan.fold, state.spaces[outcome.space]
    logits = np.full((len(fold), len(state.classes)), np.nan, np.float32)
    for f in np.unique(fold):
        rows = np.flatnonzero((fold != f) & state.data.labelled)
        held = np.flatnonzero(fold == f)
        logits[held] = _fit(state, outcome, rows).logits(x[held])
    return logits
