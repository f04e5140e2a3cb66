"""Which photos fine-tuning may see, and whether what it made is used: decided on listings apart.

The labelled photos outside test are parted by listing and duplicate group. Most are learnt from,
some say when to stop, the rest decide: on those, a head on the new embeddings meets a head on the
frozen ones, both fitted, chosen and calibrated by the same recipe on the same folds. Photos of test
decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.core.errors import TrainingError
from listlens.core.types import Kind
from listlens.learn.dataset import TrainingSet
from listlens.learn.objectives import Targets
from listlens.learn.recipe import Trained, encoded
from listlens.learn.split import grouped_folds, label_matrix
from listlens.metrics.intervals import Bootstrap

DECIDING = 5
"""One fold of this many decides, where no val split was given."""
STOPPING = 8
"""Of the rest, one fold of this many says when to stop."""
LEAST_PHOTOS = 40
"""Deciding photos at least: a 95 % interval of fewer is too wide for any likely difference."""

TINY = 1e-12


@dataclass(frozen=True)
class Parts:
    """Who does what; each `(n,)` bool, and no listing or duplicate group is in two of them.

    Args:
        learn: labelled photos that the network learns from.
        stop: say when to stop.
        decide: say which head is used.
    """

    learn: NDArray[np.bool_]
    stop: NDArray[np.bool_]
    decide: NDArray[np.bool_]


def part(data: TrainingSet, seed: int = 0) -> Parts:
    """Part the labelled photos outside test.

    A given val split decides, where it is large enough. Photos to learn from whose listing or
    picture is in val or test too are left out.

    Raises:
        TrainingError: too few photos for three parts.
    """
    usable = data.labelled & (data.given_split != "test")
    labels = label_matrix(data)
    decide = usable & (data.given_split == "val")
    if decide.sum() < LEAST_PHOTOS:
        decide = _fold(usable, labels, data.groups, DECIDING, seed)
    elsewhere = np.isin(data.groups, data.groups[decide | (data.given_split == "test")])
    rest = usable & ~decide & ~elsewhere
    if decide.sum() < LEAST_PHOTOS or len(np.unique(data.groups[rest])) < 2 * STOPPING:
        raise TrainingError(
            f"{int(usable.sum())} labelled photos of {len(np.unique(data.groups[usable]))} "
            f"listings are too few to fine-tune on: {LEAST_PHOTOS} of other listings must be left "
            f"to decide whether it helped, and {2 * STOPPING} listings to learn from. Label more "
            "photos, or train without --finetune."
        )
    stop = _fold(rest, labels, data.groups, STOPPING, seed + 1)
    return Parts(rest & ~stop, stop, decide)


def _fold(
    among: NDArray[np.bool_],
    labels: NDArray[np.float64],
    groups: NDArray[np.int64],
    n_folds: int,
    seed: int,
) -> NDArray[np.bool_]:
    """One grouped fold among some rows, as a mask."""
    chosen = np.zeros(len(among), np.bool_)
    chosen[among] = grouped_folds(labels[among], groups[among], n_folds, seed) == 0
    return chosen


@dataclass(frozen=True)
class Difference:
    """Tuned less frozen, with the 95 % interval of paired draws of listings."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """What the deciding photos say.

    Args:
        chosen: the fine-tuned network is used.
        reason: why, or why not, in a sentence.
        n_photos: deciding photos.
        n_listings: their listings or duplicate groups.
        metric: name of `frozen` and `tuned`.
        frozen: share of right answers by the head on frozen embeddings.
        tuned: the same on fine-tuned ones.
        gain: of the metric.
        loss_gain: of the loss: below 0 is better.
    """

    chosen: bool
    reason: str
    n_photos: int
    n_listings: int
    metric: str
    frozen: float
    tuned: float
    gain: Difference
    loss_gain: Difference

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


METRICS: dict[Kind, str] = {
    "single": "accuracy",
    "tree": "accuracy",
    "multi": "right answers",
    "score": "within half a step",
}


def compare(
    data: TrainingSet, frozen: Trained, tuned: Trained, decide: NDArray[np.bool_]
) -> Comparison:
    """Compare two trainings on the deciding photos; the tuned one must win to be chosen.

    It wins where its loss is lower by more than chance (the whole 95 % interval of the paired
    difference is below 0) and it does not answer fewer photos rightly. The loss counts every photo
    by how sure the answer was, and so tells heads apart on fewer photos than counting right
    answers does.

    Args:
        data: whose targets and groups.
        frozen: from the frozen embeddings; both were trained with the same rows `seen`.
        tuned: from the fine-tuned ones.
        decide: `(n,)` rows.
    """
    targets = encoded(with_learnt(data, frozen.classes))[0]
    rows = np.flatnonzero(decide & targets.known & np.isfinite(tuned.oof_probs).all(axis=1))
    wanted = targets.rows(rows)
    draws = Bootstrap(data.groups[rows])
    weight = np.minimum(wanted.weight, 1.0)  # unknown answers count 0, votes as they are weighed
    heads = [t.oof_probs[rows].astype(np.float64) for t in (frozen, tuned)]
    lost = [loss_of(p, wanted) * weight for p in heads]
    right = [right_of(p, wanted) * (weight > 0) for p in heads]
    known = (weight > 0).sum(axis=1).astype(np.float64)
    loss_gain = paired(draws, (lost[1] - lost[0]).sum(axis=1), weight.sum(axis=1))
    gain = paired(draws, (right[1] - right[0]).sum(axis=1), known)
    before, after = (float(r.sum() / max(known.sum(), 1.0)) for r in right)
    chosen = loss_gain.high < 0 and gain.value >= 0
    return Comparison(
        chosen,
        _reason(chosen, loss_gain, gain),
        len(rows),
        draws.n_groups,
        METRICS[data.kind],
        before,
        after,
        gain,
        loss_gain,
    )


def with_learnt(data: TrainingSet, classes: Sequence[str]) -> TrainingSet:
    """The same rows in terms of the classes that were learnt (of a tree and a score: all)."""
    from listlens.learn.usable import with_classes

    if data.kind in ("tree", "score"):
        return data
    return with_classes(replace(data, seen=None), tuple(classes))


def paired(
    draws: Bootstrap, difference: NDArray[np.float64], weight: NDArray[np.float64]
) -> Difference:
    """Mean difference over rows `(n,)`, and its percentile interval over draws of listings."""
    value = float(difference.sum() / max(weight.sum(), TINY))
    totals = draws.totals(np.column_stack([difference, weight]))
    low, high = np.percentile(totals[:, 0] / np.maximum(totals[:, 1], TINY), [2.5, 97.5])
    return Difference(value, float(low), float(high))


def loss_of(probs: NDArray[np.float64], targets: Targets) -> NDArray[np.float64]:
    """Loss of calibrated probabilities, `(n, k)` for multi, else `(n, 1)`; as `learn.objectives`.

    Example:
        >>> from listlens.learn.objectives import encode
        >>> loss_of(np.array([[0.5, 0.5]]), encode(np.array([1]), 2, "single")).round(4).tolist()
        [[0.6931]]
    """
    if targets.kind == "score":
        gap = np.cumsum(probs - targets.yes, axis=1)
        return np.asarray(np.square(gap).mean(axis=1, keepdims=True))
    if targets.kind == "multi":
        given = np.where(targets.yes > 0, probs, 1 - probs)
    else:
        given = (probs * targets.yes).sum(axis=1, keepdims=True)
    return np.asarray(-np.log(np.maximum(given, TINY)))


def right_of(probs: NDArray[np.float64], targets: Targets) -> NDArray[np.float64]:
    """Whether the answer is right: the likeliest class (tree: leaf) is given, each yes or no of
    multi at one half, the mean of a score within half a step."""
    if targets.kind == "multi":
        return np.asarray((probs >= 0.5) == (targets.yes > 0), np.float64)
    if targets.kind == "score":
        steps = np.arange(probs.shape[1])
        return np.asarray(np.abs((probs - targets.yes) @ steps) <= 0.5, np.float64)[:, None]
    best = probs.argmax(axis=1)[:, None]
    return np.asarray(np.take_along_axis(targets.yes, best, axis=1) > 0, np.float64)


def _reason(chosen: bool, loss: Difference, gain: Difference) -> str:
    interval = f"{loss.value:+.3f}, 95 % interval {loss.low:+.3f} to {loss.high:+.3f}"
    if chosen:
        return f"its loss is lower on listings that it never saw ({interval})"
    if loss.high < 0:
        return f"its loss is lower ({interval}), but it answers fewer photos rightly"
    return f"its loss is not surely lower on listings that it never saw ({interval})"
