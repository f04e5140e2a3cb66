"""Score a model's probabilities for photos of listings that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from listlens.core.tree import Tree
from listlens.core.types import Estimate, Kind, Policy
from listlens.evaluate.coverage import Coverage, coverage
from listlens.evaluate.hierarchy import N_CONFUSIONS, Hierarchy, columns_of, hierarchy
from listlens.evaluate.leaks import leaks_as_dict, with_and_without
from listlens.evaluate.plain import finite, plain
from listlens.learn.policies import Decided, answers
from listlens.metrics.calibration import Bin, expected_calibration_error, reliability
from listlens.metrics.classification import (
    Average,
    ClassScore,
    Scores,
    confusion,
    largest_confusions,
    normalised,
    one_hot,
    score,
)
from listlens.metrics.hierarchy import overlap, tree_scores
from listlens.metrics.intervals import Bootstrap
from listlens.metrics.many_classes import score_answers

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

MANY_CLASSES = 100
"""Beyond, classes are counted sparsely (no average precision), and report.json lists the largest
confusions in place of a table of k x k."""

METRICS: dict[Kind, str] = {
    "single": "accuracy", "multi": "macro_ap", "tree": "hierarchical_f1", "score": "srcc"
}  # fmt: skip
"""What the headline is, by kind."""

_WEIGHTS = 20_000_000  # (draw, listing) pairs at most, save that 200 draws are always made


@dataclass(frozen=True)
class Predicted:
    """Probabilities beside the truth.

    Args:
        kind: ``single``, ``multi`` or ``tree``; for ``score`` see `scores.PredictedScores`.
        classes: k names; tree: the paths of its leaves.
        probs: `(n, k)` calibrated probabilities, from a model that saw nothing of these listings.
        targets: single: `(n,)` class index, -1 for unknown; multi: `(n, k)` 1 yes, 0 no, -1
            unknown; tree: `(n,)` node of `tree`, which may be an inner one, -1 for unknown. Rows
            without any known answer are left out.
        listings: `(n,)` labels; equal means drawn together for intervals.
        policy: thresholds and band, as shipped.
        decided: `(n, k)` what was decided. Needed where the policy was chosen on these very rows,
            which makes its own decisions rosy; by default the policy's. tree: all leaves under
            the node that is answered.
        tree: the nodes of a tree task, of which the classes are leaves.
    """

    kind: Kind
    classes: tuple[str, ...]
    probs: NDArray[np.floating]
    targets: NDArray[np.integer]
    listings: NDArray[Any]
    policy: Policy
    decided: Decided | None = None
    tree: Tree | None = None

    def __post_init__(self) -> None:
        n, k = len(self.probs), len(self.classes)
        if self.kind == "score" or (self.kind == "tree") != (self.tree is not None):
            raise ValueError(f"{self.kind} with tree {self.tree is not None} cannot be evaluated")
        shape = (n, k) if self.kind == "multi" else (n,)
        if self.probs.shape != (n, k) or self.targets.shape != shape or len(self.listings) != n:
            raise ValueError(
                f"{self.kind} with {k} classes needs probs (n, {k}), targets {shape} and listings "
                f"(n,): got {self.probs.shape}, {self.targets.shape}, {np.shape(self.listings)}"
            )
        if self.decided is not None and self.decided.given.shape != (n, k):
            raise ValueError(f"decisions must be {(n, k)}, not {self.decided.given.shape}")

    def rows(self, keep: NDArray[Any]) -> Predicted:
        """Return these rows only: a mask or indices."""
        if keep.dtype == np.bool_ and keep.all():
            return self  # without a copy: with thousands of classes it is large
        return replace(
            self,
            probs=self.probs[keep],
            targets=self.targets[keep],
            listings=self.listings[keep],
            decided=None if self.decided is None else self.decided.rows(keep),
        )


@dataclass(frozen=True)
class Evaluation:
    """All numbers of one set of photos; `as_dict` is what report.json holds.

    Args:
        kind: ``single``, ``multi`` or ``tree``.
        classes: k names; tree: the paths of its leaves.
        n: photos scored.
        n_listings: listings they belong to.
        accuracy: single: share of photos whose top class is right; multi: share of known answers
            that are right; tree: share of the photos labelled with a leaf whose likeliest leaf is
            right. The numbers up to `coverage` rest on the same photos.
        scores: per class, macro and micro.
        confusion: single, tree: `(k, k)` counts, rows are the given labels; None for multi.
        bins: reliability; single, tree: of the top class, multi: of every answer's probability.
        ece: expected calibration error.
        coverage: see Coverage.
        baseline_name: the simplest thing there is, in words.
        baseline: its headline metric.
        n_leaking: photos whose listing or duplicate was also trained on (given splits only).
        without_leaks: the same evaluation without them; None where there are none.
    """

    kind: Kind
    classes: tuple[str, ...]
    n: int
    n_listings: int
    accuracy: Estimate | None
    scores: Scores
    confusion: NDArray[np.int64] | None
    bins: tuple[Bin, ...]
    ece: float
    coverage: Coverage
    baseline_name: str
    baseline: Estimate | None
    n_leaking: int = 0
    without_leaks: Evaluation | None = None
    hierarchy: Hierarchy | None = None

    @property
    def metric(self) -> str:
        """Name of the headline, see `METRICS`."""
        return METRICS[self.kind]

    @property
    def headline(self) -> Estimate | None:
        """Accuracy for single, macro average precision for multi, hierarchical F1 for tree."""
        if self.hierarchy is not None:
            return self.hierarchy.scores.f1
        macro = self.scores.macro.average_precision
        return self.accuracy if self.kind == "single" else macro

    def as_dict(self) -> dict[str, Any]:
        """Return nested dicts and lists that JSON can hold; undefined numbers are None."""
        out: dict[str, Any] = {"n": self.n, "n_listings": self.n_listings}
        out[self.metric] = plain(self.headline)
        if self.kind == "multi":
            out["answers_right"] = plain(self.accuracy)
            out["micro_ap"] = plain(self.scores.micro.average_precision)
        if self.hierarchy is not None:
            out["accuracy"] = plain(self.accuracy)
            out |= self.hierarchy.as_dict()
        out["macro"] = plain(self.scores.macro)
        out["micro"] = plain(self.scores.micro)
        out["classes"] = [
            {"name": c, **plain(s)} for c, s in zip(self.classes, self.scores.classes, strict=True)
        ]
        if self.confusion is not None and len(self.classes) > MANY_CLASSES:
            out["confusion"] = {
                "largest": [
                    {"given": self.classes[i], "called": self.classes[j], "n": n, "of": of}
                    for i, j, n, of in largest_confusions(self.confusion, N_CONFUSIONS)
                ]
            }
        elif self.confusion is not None:
            out["confusion"] = {
                "classes": list(self.classes),
                "counts": self.confusion.tolist(),
                "by_recall": normalised(self.confusion, "recall").round(4).tolist(),
                "by_precision": normalised(self.confusion, "precision").round(4).tolist(),
            }
        out["calibration"] = {"ece": finite(self.ece), "bins": [plain(b) for b in self.bins]}
        out["coverage"] = {
            "unit": self.coverage.unit,
            "curve": [plain(p) for p in self.coverage.curve],
            "at_error": [
                {"budget": budget, "point": plain(p)} for budget, p in self.coverage.at_error
            ],
            "policy": {
                "target": self.coverage.target,
                "coverage": plain(self.coverage.policy_coverage),
                "error": plain(self.coverage.policy_error),
            },
        }
        out["baseline"] = {"name": self.baseline_name, self.metric: plain(self.baseline)}
        return out | leaks_as_dict(self)


def evaluate(
    predicted: Predicted,
    *,
    train_targets: ArrayLike | None = None,
    leaking: ArrayLike | None = None,
    seed: int = 0,
    n_resamples: int = 1000,
) -> Evaluation:
    """Score probabilities against the truth, with 95 % intervals by listing.

    Args:
        predicted: see Predicted.
        train_targets: what the model was trained on, for the baseline; the scored targets
            themselves by default (cross-validation).
        leaking: `(n,)` bool, photos whose group was also trained on.
        seed: of the bootstrap.
        n_resamples: draws of the bootstrap.

    Raises:
        ValueError: shapes do not fit, or no row has a known answer.

    Example:
        >>> import numpy as np
        >>> policy = Policy((0.5, 0.5), (0.5, 0.5), (0.5, 0.5))
        >>> p = Predicted("single", ("bed", "sofa"), np.array([[0.9, 0.1], [0.2, 0.8]]),
        ...               np.array([0, 1]), np.array([1, 2]), policy)
        >>> evaluate(p).accuracy.value
        1.0
    """
    kept = predicted.targets >= 0
    keep = np.asarray(kept.any(axis=1) if predicted.kind == "multi" else kept)
    if not keep.any():
        raise ValueError("no photo to evaluate on has a known answer")
    rows = predicted.rows(keep)

    def judged(some: NDArray[np.bool_]) -> Evaluation:
        return _evaluate(rows.rows(some), train_targets, n_resamples, seed)

    return with_and_without(judged, keep, leaking)


def resampling(listings: ArrayLike, n_resamples: int, seed: int) -> Bootstrap:
    """Return draws of listings; fewer, and never fewer than 200, where listings are many.

    With 200 draws the ends of an interval are uncertain by about 7 % of its width; from 20,000
    listings on, intervals are so narrow that it does not show.
    """
    draws = Bootstrap(listings, n_resamples=n_resamples, seed=seed)
    fewer = max(200, _WEIGHTS // max(1, draws.n_groups))
    draws.n_resamples = min(n_resamples, fewer)
    return draws


def _evaluate(
    p: Predicted, train_targets: ArrayLike | None, n_resamples: int, seed: int
) -> Evaluation:
    draws = resampling(p.listings, n_resamples, seed)
    train = p.targets if train_targets is None else np.asarray(train_targets)
    if p.tree is not None:
        return _evaluate_tree(p, p.tree, train, draws)
    if p.kind == "single":
        return _evaluate_single(p, train, draws)
    return _evaluate_multi(p, train, draws)


def _evaluate_single(
    p: Predicted, train: NDArray[Any], draws: Bootstrap, asked: Bools | None = None
) -> Evaluation:
    """`asked (n,)`: a person is asked; by default where the decisions or the policy say so."""
    n, k = p.probs.shape
    top = p.probs.argmax(1)
    sure: Floats = p.probs.max(1).astype(np.float64)
    wrong = top != p.targets
    if k > MANY_CLASSES:
        scores = score_answers(p.targets, top, k, draws)
    else:
        truth, known = one_hot(p.targets, k), np.ones((n, k), dtype=bool)
        scores = score(truth, one_hot(top, k), p.probs, known, draws)
    if asked is None:
        asked = np.any((p.decided or answers(p.probs, p.policy, p.kind)).review, axis=1)
    bins = reliability(sure, ~wrong)
    most = _most_frequent(train, k)
    return Evaluation(
        kind="single",
        classes=p.classes,
        n=n,
        n_listings=draws.n_groups,
        accuracy=draws.ratio(~wrong, np.ones(n)),
        scores=scores,
        confusion=confusion(p.targets, top, k),
        bins=bins,
        ece=expected_calibration_error(bins),
        coverage=coverage("photos", sure, wrong, asked, p.policy.target, draws),
        baseline_name=f"always “{p.classes[most]}”, the most frequent class",
        baseline=draws.ratio(p.targets == most, np.ones(n)),
    )


def _evaluate_multi(p: Predicted, train: NDArray[Any], draws: Bootstrap) -> Evaluation:
    decided = p.decided or answers(p.probs, p.policy, p.kind)
    given, truth, known = decided.given, p.targets == 1, p.targets >= 0
    cells = np.nonzero(known)
    # As the policy ranks: by the probability of the answer given, yes or no.
    sure = np.where(given, p.probs, 1 - p.probs)[cells].astype(np.float64)
    wrong = (given != truth)[cells]
    bins = reliability(p.probs[cells], truth[cells])
    pooled = Bootstrap(draws.index[cells[0]], n_resamples=draws.n_resamples, seed=draws.seed)
    flat = score(truth, truth, np.zeros(truth.shape), known, draws)
    return Evaluation(
        kind="multi",
        classes=p.classes,
        n=len(p.probs),
        n_listings=draws.n_groups,
        accuracy=pooled.ratio(~wrong, np.ones(len(wrong))),
        scores=score(truth, given, p.probs, known, draws),
        confusion=None,
        bins=bins,
        ece=expected_calibration_error(bins),
        coverage=coverage("answers", sure, wrong, decided.review[cells], p.policy.target, pooled),
        baseline_name="the same score for every photo",
        baseline=flat.macro.average_precision,
    )


def _evaluate_tree(p: Predicted, tree: Tree, train: NDArray[Any], draws: Bootstrap) -> Evaluation:
    """Judge the likeliest leaf where the truth is a leaf, and the nodes everywhere."""
    columns = columns_of(p.classes, tree)
    column = np.full(len(tree.paths) + 1, -1)
    column[columns] = np.arange(len(columns))
    leaf, trained = column[p.targets], column[train]
    there = leaf >= 0
    found = hierarchy(p, tree, draws)
    most = columns[_most_frequent(trained, len(columns))]
    always = overlap(tree.parent, np.full(len(leaf), most), p.targets)
    flat = replace(p, kind="single", tree=None, targets=leaf, decided=None)
    base = (
        _evaluate_single(
            flat.rows(there), trained, draws.rows(there), np.zeros(there.sum(), np.bool_)
        )
        if there.any()
        else unscored(p)
    )
    return replace(
        base,
        kind="tree",
        n=len(leaf),
        n_listings=draws.n_groups,
        coverage=replace(
            base.coverage,
            policy_coverage=found.decided.answered,
            policy_error=found.decided.error,
        ),
        baseline_name=f"always “{tree.paths[most]}”, the most frequent class",
        baseline=tree_scores(always, tree.n_levels, draws).f1,
        hierarchy=found,
    )


def unscored(p: Predicted) -> Evaluation:
    """What is known where no photo is left to judge by, or none has a leaf: nothing."""
    none = Average(None, None, None, None)
    classes = tuple(ClassScore(0, 0, None, None, None, None) for _ in p.classes)
    return Evaluation(
        kind=p.kind,
        classes=p.classes,
        n=0,
        n_listings=0,
        accuracy=None,
        scores=Scores(classes, none, none),
        confusion=None,
        bins=(),
        ece=float("nan"),
        coverage=Coverage("photos", (), (), None, None, p.policy.target),
        baseline_name="",
        baseline=None,
    )


def _most_frequent(train: NDArray[Any], n_classes: int) -> int:
    return int(np.bincount(train[train >= 0], minlength=n_classes).argmax())
