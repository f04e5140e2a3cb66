"""Score predicted votes of photos that the model has not seen, and say where each photo stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from listlens.core.types import Estimate
from listlens.evaluate.evaluation import Evaluation, resampling
from listlens.evaluate.leaks import leaks_as_dict, with_and_without
from listlens.evaluate.plain import finite, plain
from listlens.metrics.intervals import Bootstrap
from listlens.metrics.ordinal import (
    emd,
    lcc_estimate,
    mean_estimate,
    means,
    middle,
    pairs_in_order,
    percentiles_within,
    spreads,
    srcc_estimate,
)

Floats = NDArray[np.float64]

N_BINS = 10
"""Groups of equally many photos in which predicted and given means are compared."""

FEWEST_IN_CATEGORY = 20
"""A category with fewer photos gives no percentiles of its own (they would be 5 of 100 apart)."""


@dataclass(frozen=True)
class PredictedScores:
    """Predicted votes beside those that people gave.

    Args:
        classes: names of the k steps.
        scale: `(k,)` their numbers, rising.
        probs: `(n, k)` predicted share of each step, from a model that saw nothing of these
            listings.
        targets: `(n, k)` given shares; a row of NaN is unknown and left out.
        listings: `(n,)` labels; equal means drawn together for intervals.
        weights: `(n,)` number of votes; None where unknown.
    """

    classes: tuple[str, ...]
    scale: Sequence[float]
    probs: NDArray[np.floating]
    targets: NDArray[np.floating]
    listings: NDArray[Any]
    weights: NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.probs), len(self.classes))
        if len(self.scale) != shape[1] or (np.diff(self.scale) <= 0).any():
            raise ValueError(f"need a rising scale of {shape[1]} steps, got {self.scale}")
        if self.probs.shape != shape or self.targets.shape != shape:
            raise ValueError(
                f"scores on {shape[1]} steps need probs and targets {shape}: got "
                f"{self.probs.shape} and {self.targets.shape}"
            )
        lengths = {len(self.listings), shape[0] if self.weights is None else len(self.weights)}
        if lengths != {shape[0]}:
            raise ValueError(f"listings and weights must have {shape[0]} rows, not {lengths}")

    def rows(self, keep: NDArray[Any]) -> PredictedScores:
        """Return these rows only: a mask or indices."""
        return replace(
            self,
            probs=self.probs[keep],
            targets=self.targets[keep],
            listings=self.listings[keep],
            weights=None if self.weights is None else self.weights[keep],
        )


@dataclass(frozen=True, slots=True)
class MeanBin:
    """Photos whose predicted means are alike.

    Args:
        n: photos.
        predicted: mean of their predicted means.
        given: mean of their given means, with its interval.
    """

    n: int
    predicted: float
    given: Estimate | None


@dataclass(frozen=True)
class ScoreEvaluation:
    """All numbers of one set of scored photos; `as_dict` is what report.json holds.

    Args:
        classes: names of the steps.
        scale: their numbers.
        n: photos scored.
        n_listings: listings they belong to.
        srcc: Spearman's rank correlation of predicted and given means.
        lcc: Pearson's correlation of the same.
        emd: Earth Mover's distance of the distributions (r = 1), mean over the photos.
        emd_r2: the same with r = 2, the root of what the loss counts.
        mae: mean distance of predicted and given means, in the scale's numbers.
        accuracy_at_middle: share of photos that both put on the same side of `middle`.
        middle: where the scale is cut.
        spread_lcc: Pearson's correlation of predicted and given spreads.
        pairs_in_order: of two photos, how often the one that people rated higher is predicted
            higher.
        bins: calibration of the mean.
        baseline_name: the simplest thing there is, in words.
        baseline_mae: its `mae`.
        baseline_emd: its `emd`.
        predicted_means: `(n,)`, for figures.
        given_means: `(n,)`, for figures.
        n_leaking: photos whose listing or duplicate was also trained on (given splits only).
        without_leaks: the same evaluation without them; None where there are none.
    """

    classes: tuple[str, ...]
    scale: tuple[float, ...]
    n: int
    n_listings: int
    srcc: Estimate | None
    lcc: Estimate | None
    emd: Estimate | None
    emd_r2: Estimate | None
    mae: Estimate | None
    accuracy_at_middle: Estimate | None
    middle: float
    spread_lcc: Estimate | None
    pairs_in_order: float
    bins: tuple[MeanBin, ...]
    baseline_name: str
    baseline_mae: Estimate | None
    baseline_emd: Estimate | None
    predicted_means: Floats = field(repr=False, compare=False)
    given_means: Floats = field(repr=False, compare=False)
    n_leaking: int = 0
    without_leaks: ScoreEvaluation | None = None
    kind: Literal["score"] = "score"

    @property
    def metric(self) -> str:
        """Name of the headline."""
        return "srcc"

    @property
    def headline(self) -> Estimate | None:
        """Spearman's rank correlation."""
        return self.srcc

    def as_dict(self) -> dict[str, Any]:
        """Return nested dicts and lists that JSON can hold; undefined numbers are None."""
        estimates = ("srcc", "lcc", "emd", "emd_r2", "mae", "accuracy_at_middle", "spread_lcc")
        out: dict[str, Any] = {"n": self.n, "n_listings": self.n_listings}
        out |= {name: plain(getattr(self, name)) for name in estimates}
        out["middle"] = self.middle
        out["pairs_in_order"] = finite(self.pairs_in_order)
        out["scale"] = list(self.scale)
        out["calibration"] = {"bins": [plain(b) for b in self.bins]}
        out["baseline"] = {
            "name": self.baseline_name,
            "mae": plain(self.baseline_mae),
            "emd": plain(self.baseline_emd),
        }
        return out | leaks_as_dict(self)


AnyEvaluation = Evaluation | ScoreEvaluation


def evaluate_scores(
    predicted: PredictedScores,
    *,
    train_targets: ArrayLike | None = None,
    leaking: ArrayLike | None = None,
    seed: int = 0,
    n_resamples: int = 1000,
) -> ScoreEvaluation:
    """Score predicted votes against those given, with 95 % intervals by listing.

    Args:
        predicted: see PredictedScores.
        train_targets: `(m, k)` what the model was trained on, for the baseline; the scored targets
            themselves by default (cross-validation).
        leaking: `(n,)` bool, photos whose group was also trained on.
        seed: of the bootstrap.
        n_resamples: draws of the bootstrap.

    Raises:
        ValueError: no row has known votes.

    Example:
        >>> import numpy as np
        >>> votes = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
        >>> p = PredictedScores(("1", "2"), (1.0, 2.0), votes, votes, np.arange(3))
        >>> round(evaluate_scores(p).srcc.value, 6)
        1.0
    """
    keep = ~np.isnan(predicted.targets).any(axis=1)
    if not keep.any():
        raise ValueError("no photo to evaluate on has known votes")
    rows = predicted.rows(keep)
    train = np.asarray(rows.targets if train_targets is None else train_targets, np.float64)
    train = train[~np.isnan(train).any(axis=1)]

    def judged(some: NDArray[np.bool_]) -> ScoreEvaluation:
        part = rows.rows(some)
        return _evaluate(part, train, resampling(part.listings, n_resamples, seed), seed)

    return with_and_without(judged, keep, leaking)


def _evaluate(p: PredictedScores, train: Floats, draws: Bootstrap, seed: int) -> ScoreEvaluation:
    scale = tuple(float(step) for step in p.scale)
    said, given = means(p.probs, scale), means(p.targets, scale)
    cut, width = middle(scale), scale[-1] - scale[0]
    usual = np.broadcast_to(train.mean(axis=0), p.targets.shape)
    return ScoreEvaluation(
        classes=p.classes,
        scale=scale,
        n=len(said),
        n_listings=draws.n_groups,
        srcc=srcc_estimate(said, given, draws),
        lcc=lcc_estimate(said, given, draws),
        emd=mean_estimate(emd(p.probs, p.targets), 1.0, draws),
        emd_r2=mean_estimate(emd(p.probs, p.targets, r=2), 1.0, draws),
        mae=mean_estimate(np.abs(said - given), width, draws),
        accuracy_at_middle=draws.ratio((said > cut) == (given > cut), np.ones(len(said))),
        middle=cut,
        spread_lcc=lcc_estimate(spreads(p.probs, scale), spreads(p.targets, scale), draws),
        pairs_in_order=pairs_in_order(said, given, p.listings, seed=seed),
        bins=_bins(said, given, scale, draws),
        baseline_name="the usual votes for every photo",
        baseline_mae=mean_estimate(np.abs(means(usual, scale) - given), width, draws),
        baseline_emd=mean_estimate(emd(usual, p.targets), 1.0, draws),
        predicted_means=said,
        given_means=given,
    )


def _bins(
    said: Floats, given: Floats, scale: tuple[float, ...], draws: Bootstrap
) -> tuple[MeanBin, ...]:
    """Compare means in groups of equally many photos."""
    low, width = scale[0], scale[-1] - scale[0]
    found = []
    for rows in np.array_split(np.argsort(said, kind="stable"), min(N_BINS, len(said))):
        own = np.zeros(len(said), np.bool_)
        own[rows] = True
        mean = mean_estimate(given[own] - low, width, draws.rows(own))
        shifted = mean and Estimate(mean.value + low, mean.low + low, mean.high + low, mean.n)
        found.append(MeanBin(len(rows), float(said[own].mean()), shifted))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class ScoredPhoto:
    """Where a photo stands.

    Args:
        image: name of the photo.
        mean: predicted, on the task's scale.
        spread: standard deviation of the predicted votes.
        percentile: share of the photos it is compared with that are predicted lower, in [0, 1].
        category: that it is compared within; "" for all photos.
        given: mean that people gave; None where nobody did.
        reasons: what pulls it down.
    """

    image: str
    mean: float
    spread: float
    percentile: float
    category: str = ""
    given: float | None = None
    reasons: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        found: dict[str, Any] = plain(self)
        return {**found, "reasons": list(self.reasons)}


def scored_photos(
    names: Sequence[str],
    probs: NDArray[np.floating],
    scale: Sequence[float],
    *,
    targets: NDArray[np.floating] | None = None,
    categories: Sequence[str | None] | None = None,
    reasons: Sequence[Sequence[str]] | None = None,
) -> tuple[ScoredPhoto, ...]:
    """Rank photos, the best first, each within its own category.

    Scores bunch in the middle of a scale, so the place among one's like says more than the number.

    Args:
        names: `(n,)` names of photos.
        probs: `(n, k)` predicted votes.
        scale: `(k,)` numbers of the steps.
        targets: `(n, k)` given votes; rows of NaN where there are none.
        categories: `(n,)`; photos of none, and of categories with fewer than
            `FEWEST_IN_CATEGORY`, are compared with all photos.
        reasons: `(n,)` lists of what pulls the photo down.
    """
    mean, spread = means(probs, scale), spreads(probs, scale)
    groups = _categories(len(names), categories)
    overall = percentiles_within(mean, np.zeros(len(mean)))
    place = np.where(groups == "", overall, percentiles_within(mean, groups))
    given = None if targets is None else means(targets, scale)
    order = np.lexsort((np.arange(len(mean)), -mean, -place))
    return tuple(
        ScoredPhoto(
            image=names[i],
            mean=round(float(mean[i]), 4),
            spread=round(float(spread[i]), 4),
            percentile=round(float(place[i]), 4),
            category=str(groups[i]),
            given=None if given is None or np.isnan(given[i]) else round(float(given[i]), 4),
            reasons=() if reasons is None else tuple(reasons[i]),
        )
        for i in order.tolist()
    )


def _categories(n: int, categories: Sequence[str | None] | None) -> NDArray[np.str_]:
    names = np.array([name or "" for name in categories or [""] * n], dtype=np.str_)
    found, index, count = np.unique(names, return_inverse=True, return_counts=True)
    small: NDArray[np.str_] = np.where(count < FEWEST_IN_CATEGORY, "", found)[index.reshape(-1)]
    return small
