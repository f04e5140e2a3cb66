"""Score a model's probabilities for photos of listings that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from listlens.core.types import Estimate, Kind, Policy
from listlens.learn.policies import Decided, answers
from listlens.metrics.calibration import Bin, expected_calibration_error, reliability
from listlens.metrics.classification import Scores, confusion, normalised, one_hot, score
from listlens.metrics.coverage import CoveragePoint, coverage_at_error, coverage_curve
from listlens.metrics.intervals import Bootstrap

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

ERROR_BUDGETS = (0.005, 0.01, 0.02, 0.05)
"""Errors for which the report says how many photos need no person."""


@dataclass(frozen=True)
class Predicted:
    """Probabilities beside the truth.

    Args:
        kind: ``single`` or ``multi``.
        classes: k names.
        probs: `(n, k)` calibrated probabilities, from a model that saw nothing of these listings.
        targets: single: `(n,)` class index, -1 for unknown; multi: `(n, k)` 1 yes, 0 no, -1
            unknown. Rows without any known answer are left out.
        listings: `(n,)` labels; equal means drawn together for intervals.
        policy: thresholds and band, as shipped.
        decided: `(n, k)` what was decided. Needed where the policy was chosen on these very rows,
            which makes its own decisions rosy; by default the policy's.
    """

    kind: Kind
    classes: tuple[str, ...]
    probs: NDArray[np.floating]
    targets: NDArray[np.integer]
    listings: NDArray[Any]
    policy: Policy
    decided: Decided | None = None

    def __post_init__(self) -> None:
        n, k = len(self.probs), len(self.classes)
        shape = (n,) if self.kind == "single" else (n, k)
        if self.probs.shape != (n, k) or self.targets.shape != shape or len(self.listings) != n:
            raise ValueError(
                f"{self.kind} with {k} classes needs probs (n, {k}), targets {shape} and listings "
                f"(n,): got {self.probs.shape}, {self.targets.shape}, {np.shape(self.listings)}"
            )
        if self.decided is not None and self.decided.given.shape != (n, k):
            raise ValueError(f"decisions must be {(n, k)}, not {self.decided.given.shape}")

    def rows(self, keep: NDArray[Any]) -> Predicted:
        """Return these rows only: a mask or indices."""
        return replace(
            self,
            probs=self.probs[keep],
            targets=self.targets[keep],
            listings=self.listings[keep],
            decided=None if self.decided is None else self.decided.rows(keep),
        )


@dataclass(frozen=True)
class Coverage:
    """What a person need not look at.

    Args:
        unit: ``photos`` for single, ``answers`` (one photo and one class) for multi.
        curve: error among the surest, from few to all.
        at_error: per budget of `ERROR_BUDGETS`, the point of largest coverage within it, or None.
        policy: share decided without a person under the policy, and the error among those.
    """

    unit: str
    curve: tuple[CoveragePoint, ...]
    at_error: tuple[tuple[float, CoveragePoint | None], ...]
    policy_coverage: Estimate | None
    policy_error: Estimate | None
    target: str


@dataclass(frozen=True)
class Evaluation:
    """All numbers of one set of photos; `as_dict` is what report.json holds.

    Args:
        kind: ``single`` or ``multi``.
        classes: k names.
        n: photos scored.
        n_listings: listings they belong to.
        accuracy: single: share of photos whose top class is right; multi: share of known answers
            that are right.
        scores: per class, macro and micro.
        confusion: single: `(k, k)` counts, rows are the given labels; None for multi.
        bins: reliability; single: of the top class, multi: of every answer's probability.
        ece: expected calibration error.
        coverage: see Coverage.
        baseline_name: the simplest thing there is, in words.
        baseline: its accuracy (single) or macro average precision (multi).
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

    @property
    def headline(self) -> Estimate | None:
        """Accuracy for single, macro average precision for multi."""
        macro = self.scores.macro.average_precision
        return self.accuracy if self.kind == "single" else macro

    def as_dict(self) -> dict[str, Any]:
        """Return nested dicts and lists that JSON can hold; undefined numbers are None."""
        out: dict[str, Any] = {"n": self.n, "n_listings": self.n_listings}
        name = "accuracy" if self.kind == "single" else "macro_ap"
        out[name] = _plain(self.headline)
        if self.kind == "multi":
            out["answers_right"] = _plain(self.accuracy)
            out["micro_ap"] = _plain(self.scores.micro.average_precision)
        out["macro"] = _plain(self.scores.macro)
        out["micro"] = _plain(self.scores.micro)
        out["classes"] = [
            {"name": c, **_plain(s)} for c, s in zip(self.classes, self.scores.classes, strict=True)
        ]
        if self.confusion is not None:
            out["confusion"] = {
                "classes": list(self.classes),
                "counts": self.confusion.tolist(),
                "by_recall": normalised(self.confusion, "recall").round(4).tolist(),
                "by_precision": normalised(self.confusion, "precision").round(4).tolist(),
            }
        out["calibration"] = {"ece": _finite(self.ece), "bins": [_plain(b) for b in self.bins]}
        out["coverage"] = {
            "unit": self.coverage.unit,
            "curve": [_plain(p) for p in self.coverage.curve],
            "at_error": [
                {"budget": budget, "point": _plain(p)} for budget, p in self.coverage.at_error
            ],
            "policy": {
                "target": self.coverage.target,
                "coverage": _plain(self.coverage.policy_coverage),
                "error": _plain(self.coverage.policy_error),
            },
        }
        out["baseline"] = {"name": self.baseline_name, name: _plain(self.baseline)}
        if self.without_leaks is not None:
            clean = self.without_leaks
            out["leaking"] = {
                "n": self.n_leaking,
                "without": {"n": clean.n, name: _plain(clean.headline)},
            }
        return out


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
    keep = np.asarray(kept if predicted.kind == "single" else kept.any(axis=1))
    if not keep.any():
        raise ValueError("no photo to evaluate on has a known answer")
    rows = predicted.rows(keep)
    result = _evaluate(
        rows, train_targets, Bootstrap(rows.listings, n_resamples=n_resamples, seed=seed)
    )
    if leaking is None:
        return result
    mask = np.asarray(leaking, dtype=np.bool_)[keep]
    if not mask.any():
        return result
    clean = None
    if not mask.all():
        rest = rows.rows(~mask)
        draws = Bootstrap(rest.listings, n_resamples=n_resamples, seed=seed)
        clean = _evaluate(rest, train_targets, draws)
    return replace(result, n_leaking=int(mask.sum()), without_leaks=clean)


def _evaluate(p: Predicted, train_targets: ArrayLike | None, draws: Bootstrap) -> Evaluation:
    n, k = p.probs.shape
    decided = p.decided or answers(p.probs, p.policy, p.kind)
    given = decided.given
    if p.kind == "single":
        top = p.probs.argmax(1)
        truth, known = one_hot(p.targets, k), np.ones((n, k), dtype=bool)
        sure: Floats = p.probs.max(1).astype(np.float64)
        wrong, asked = top != p.targets, np.any(decided.review, axis=1)
        bins, draws_of = reliability(sure, ~wrong), draws
        table = confusion(p.targets, top, k)
    else:
        truth, known = p.targets == 1, p.targets >= 0
        cells = np.nonzero(known)
        # As the policy ranks: by the probability of the answer given, yes or no.
        sure = np.where(given, p.probs, 1 - p.probs)[cells].astype(np.float64)
        wrong = (given != truth)[cells]
        asked = decided.review[cells]
        bins = reliability(p.probs[cells], truth[cells])
        draws_of, table = (
            Bootstrap(draws.index[cells[0]], n_resamples=draws.n_resamples, seed=draws.seed),
            None,
        )
    train = p.targets if train_targets is None else np.asarray(train_targets)
    name, baseline = _baseline(p, train, truth, known, draws)
    return Evaluation(
        kind=p.kind,
        classes=p.classes,
        n=n,
        n_listings=draws.n_groups,
        accuracy=draws_of.ratio(~wrong, np.ones(len(wrong))),
        scores=score(truth, given, p.probs, known, draws),
        confusion=table,
        bins=bins,
        ece=expected_calibration_error(bins),
        coverage=_coverage(p, sure, wrong, asked, draws_of),
        baseline_name=name,
        baseline=baseline,
    )


def _coverage(p: Predicted, sure: Floats, wrong: Bools, asked: Bools, draws: Bootstrap) -> Coverage:
    return Coverage(
        unit="photos" if p.kind == "single" else "answers",
        curve=coverage_curve(sure, wrong),
        at_error=tuple((e, coverage_at_error(sure, wrong, e)) for e in ERROR_BUDGETS),
        policy_coverage=draws.ratio(~asked, np.ones(len(asked))),
        policy_error=draws.ratio(wrong & ~asked, ~asked),
        target=p.policy.target,
    )


def _baseline(
    p: Predicted, train: NDArray[Any], truth: Bools, known: Bools, draws: Bootstrap
) -> tuple[str, Estimate | None]:
    """The best that can be done without looking at a photo."""
    if p.kind == "single":
        counts = np.bincount(train[train >= 0], minlength=len(p.classes))
        most = int(counts.argmax())
        right = draws.ratio(p.targets == most, np.ones(len(p.targets)))
        return f"always “{p.classes[most]}”, the most frequent class", right
    flat = score(truth, truth, np.zeros(truth.shape), known, draws)
    return "the same score for every photo", flat.macro.average_precision


def _plain(value: Any) -> Any:
    """Dataclasses to dicts of JSON values, recursively."""
    if value is None:
        return None
    return {key: _finite(v) for key, v in asdict(value).items()}


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return value
