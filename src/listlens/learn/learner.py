"""Fits candidates of every kind: logistic regression, discriminants, both, and for few labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.learn.calibration import fit_calibration
from listlens.learn.candidates import (
    Candidate,
    TrainOptions,
    candidates_for,
    cross_fit,
    mix_of,
    weighted,
)
from listlens.learn.discriminant import (
    SETTINGS,
    Setting,
    cross_fit_discriminants,
    fit_discriminant,
)
from listlens.learn.few import HEAD, Few, few_head
from listlens.learn.heads import Floats, Head, fit
from listlens.learn.objectives import Targets
from listlens.learn.trees import shape_of


@dataclass(frozen=True)
class Joint:
    """Both heads' logits, half and half; both are linear, so together they are one head.

    On grocery the mean has the lowest out-of-fold loss (.70 against .72 and .78 alone), and of
    the test's leaves .66 are right where logistic regression has .63.
    """

    logistic: Candidate
    discriminant: Setting

    def record(self) -> dict[str, Any]:
        """What a run notes of it."""
        return {**self.discriminant.record(), **self.logistic.record(), "head": "joint"}


AnyCandidate = Candidate | Setting | Joint | Few

JOINT_SETTINGS = (Setting(0.3, 16.0), Setting(0.6, 16.0))
JOINT_FROM = 0.1
"""Least strength of the logistic head in a joint one: it then adds what the discriminant lacks."""


def all_candidates(
    targets: Targets, options: TrainOptions, few: bool = False
) -> list[AnyCandidate]:
    """All settings to try: logistic regressions first, then of a tree the others."""
    if few:
        return [Few()]
    logistic = candidates_for(targets, options)
    if targets.kind != "tree" or not options.discriminants:
        return [*logistic]
    partners = [c for c in logistic if c.strength >= JOINT_FROM and c.sharing == 1.0]
    joint = [Joint(c, setting) for c in partners for setting in JOINT_SETTINGS]
    return [*logistic, *SETTINGS, *joint]


def candidate_of(record: Mapping[str, Any]) -> AnyCandidate:
    """The candidate that noted this, see `record`."""
    head = record.get("head", "logistic")
    if head == HEAD:
        return Few()
    if head == "discriminant":
        return Setting(record["shrinkage"], record["leaning"])
    logistic = Candidate(record["class_weight"], float(record["C"]), record.get("sharing", 0.0))
    if head == "joint":
        return Joint(logistic, Setting(record["shrinkage"], record["leaning"]))
    return logistic


def logistic_part(record: Mapping[str, Any]) -> Candidate:
    """The logistic regression of a candidate that noted this, for those who go on from its loss.

    A discriminant has none; then it is one of middling strength whose leaves share with their
    parents.
    """
    found = candidate_of(record)
    if isinstance(found, Joint):
        return found.logistic
    return found if isinstance(found, Candidate) else Candidate("none", 0.1, 1.0)


@dataclass(frozen=True)
class Learner:
    """One training set, and how candidates are fitted on rows of it.

    Args:
        embeddings: `(n, d)`.
        targets: encoded.
        answered: the same in terms of the model; of a tree its nodes `(n,)`.
        classes: of the model.
        strengths: on the way to each logistic candidate.
        base: `(n,)` rows that every fold learns from, see `TrainingSet.holdable`; None: no row.
        centre: see `TrainingSet`.
        groups: `(n,)` see `TrainingSet`; those of a fold are left out of `base`, too.
    """

    embeddings: Floats
    targets: Targets
    answered: NDArray[Any]
    classes: tuple[str, ...]
    strengths: tuple[float, ...]
    base: NDArray[np.bool_] | None = None
    centre: Floats | None = None
    groups: NDArray[np.int64] | None = None

    def cross_fit(self, fold: NDArray[np.int64], wanted: Sequence[AnyCandidate]) -> Floats:
        """Out-of-fold logits `(n_wanted, n, k)`; rows with fold -1 are left out (NaN)."""
        logistic = [c for c in wanted if isinstance(c, Candidate)]
        settings = [c for c in wanted if isinstance(c, Setting)]
        for one in wanted:
            if isinstance(one, Joint):
                logistic += [] if one.logistic in logistic else [one.logistic]
                settings += [] if one.discriminant in settings else [one.discriminant]
        logits: dict[AnyCandidate, Floats] = {}
        if Few() in wanted:
            logits[Few()] = self._few(fold)
        if logistic:
            found = cross_fit(
                self.embeddings, self.targets, fold, logistic, self.classes, self.base
            )
            logits |= dict(zip(logistic, found, strict=True))
        if settings:
            logits |= dict(zip(settings, self._discriminants(fold, settings), strict=True))
        return np.stack([
            (logits[one.logistic] + logits[one.discriminant]) / 2
            if isinstance(one, Joint) else logits[one]
            for one in wanted
        ])  # fmt: skip

    def again(self, fold: NDArray[np.int64], best: AnyCandidate) -> Floats:
        """Out-of-fold logits `(1, n, k)` of one candidate, as it comes out among the others."""
        logistic = best.logistic if isinstance(best, Joint) else best
        if isinstance(logistic, Setting | Few):
            return self.cross_fit(fold, [best])
        way = [replace(logistic, strength=c) for c in logistic.path(self.strengths)]
        return self.cross_fit(fold, [*way, best] if isinstance(best, Joint) else way)[-1:]

    def fit(self, rows: NDArray[np.int64], best: AnyCandidate, fold: NDArray[np.int64]) -> Head:
        """The head of one candidate on these rows, on the scale of its out-of-fold logits.

        Args:
            rows: to learn from.
            best: the candidate.
            fold: of the cross-fit whose answers say how a discriminant is scaled.
        """
        if isinstance(best, Few):
            return few_head(self.embeddings[rows], self.targets.rows(rows), self.centre)
        if isinstance(best, Joint):
            one, other = (self.fit(rows, b, fold) for b in (best.logistic, best.discriminant))
            half = np.float32(0.5)
            return Head(half * (one.weights + other.weights), half * (one.bias + other.bias))
        if isinstance(best, Setting):
            raw = fit_discriminant(
                self.embeddings, self.answered, rows, shape_of(self.classes), best
            )
            (logits,) = self._discriminants(fold, [best], scaled=False)
            seen = np.flatnonzero(fold >= 0)
            slope = fit_calibration(logits[seen], self.targets.rows(seen)).slope[0]
            return Head(raw.weights * np.float32(slope), raw.bias * np.float32(slope))
        wanted = weighted(self.targets.rows(rows), best)
        mix = mix_of(self.targets.kind, self.classes, best)
        return fit(self.embeddings[rows], wanted, best.path(self.strengths), mix)

    def _few(self, fold: NDArray[np.int64]) -> Floats:
        """Out-of-fold logits `(n, k)` of the head for few labels."""
        logits = np.full(self.targets.yes.shape, np.nan, np.float32)
        base = np.zeros(len(fold), np.bool_) if self.base is None else self.base
        for f in np.unique(fold[fold >= 0]):
            held = np.flatnonzero(fold == f)
            free = base if self.groups is None else base & ~np.isin(self.groups, self.groups[held])
            rows = np.flatnonzero((((fold >= 0) & (fold != f)) | free) & self.targets.known)
            logits[held] = self.fit(rows, Few(), fold).logits(self.embeddings[held])
        return logits

    def _discriminants(
        self, fold: NDArray[np.int64], settings: Sequence[Setting], scaled: bool = True
    ) -> Floats:
        shape = shape_of(self.classes)
        return cross_fit_discriminants(
            self.embeddings,
            self.answered,
            self.targets,
            fold,
            shape,
            settings,
            base=self.base,
            scaled=scaled,
        )
