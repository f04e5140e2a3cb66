"""Which photos fine-tuning may see, and whether what it made is used: decided on listings apart.

Of the labelled photos outside test, a part stays apart, by listing and duplicate group. It says
when to stop, and whether a head on the new embeddings beats one on the frozen ones; both are
fitted, chosen and calibrated by the same recipe on the same folds. The part has two halves, and
each is judged on the round that the other one chose. Photos of test decide nothing: the heads that
are compared are fitted without them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.core.errors import TrainingError
from listlens.core.types import Estimate, Kind
from listlens.learn.candidates import TrainOptions
from listlens.learn.dataset import TrainingSet
from listlens.learn.objectives import Targets
from listlens.learn.recipe import Trained, encoded, train
from listlens.learn.split import grouped_folds, label_matrix
from listlens.metrics.intervals import Bootstrap, divide
from listlens.metrics.paired import difference

APART = 5
"""One fold of this many stays apart, where no val split was given."""
LEAST_PHOTOS = 40
"""Photos apart at least: a 95 % interval of fewer is too wide for any likely difference."""
MOST_APART = 2000
"""Photos apart at most, about: their pixels and what stands at the cut stay in memory (240 KB a
photo on the network that comes with listlens), and a share is known to 2 of 100 by then."""
LEAST_GROUPS = 8
"""Listings or duplicate groups at least, apart and to learn from."""

TINY = 1e-12


@dataclass(frozen=True)
class Parts:
    """Who does what; no listing or duplicate group is in two parts.

    Args:
        learn: `(n,)` bool, labelled photos that the network learns from.
        apart: `(n,)` bool, labelled photos that say when to stop and which head is used.
        halves: `(n,)`, 0 or 1 for photos apart, else -1; no listing is in both.
    """

    learn: NDArray[np.bool_]
    apart: NDArray[np.bool_]
    halves: NDArray[np.int64]

    def rows(self, keep: NDArray[np.bool_]) -> Parts:
        """Return these rows only."""
        return Parts(self.learn[keep], self.apart[keep], self.halves[keep])


def part(data: TrainingSet, seed: int = 0) -> Parts:
    """Part the labelled photos outside test.

    A given val split is what stays apart, where it is large enough; of a very large one only a
    part, and the rest is not learnt from either. Photos to learn from whose listing or picture is
    in val or test too are left out.

    Raises:
        TrainingError: too few photos for both parts.
    """
    usable = data.labelled & (data.given_split != "test")
    labels = label_matrix(data)
    given = usable & (data.given_split == "val")
    own = given.sum() >= LEAST_PHOTOS
    among, least = (given, 1) if own else (usable, APART)
    n_folds = max(least, math.ceil(among.sum() / MOST_APART))
    apart = among.copy()
    if n_folds > 1:
        apart[among] = grouped_folds(labels[among], data.groups[among], n_folds, seed) == 0
    held = given if own else apart
    elsewhere = np.isin(data.groups, data.groups[held | (data.given_split == "test")])
    learn = usable & ~held & ~elsewhere
    require_enough(data, usable, learn, apart)
    halves = np.full(len(usable), -1, np.int64)
    halves[apart] = grouped_folds(labels[apart], data.groups[apart], 2, seed)
    return Parts(learn, apart, halves)


def require_enough(
    data: TrainingSet,
    usable: NDArray[np.bool_],
    learn: NDArray[np.bool_],
    apart: NDArray[np.bool_],
    n_lost: int = 0,
) -> None:
    """Raise TrainingError where there are too few photos to learn from, or to decide by.

    Args:
        data: whose groups.
        usable: `(n,)` bool, labelled photos outside test.
        learn: those to learn from.
        apart: those that stay apart.
        n_lost: photos that could not be read, for the message.
    """
    few = min(len(np.unique(data.groups[rows])) for rows in (learn, apart)) < LEAST_GROUPS
    if not few and apart.sum() >= LEAST_PHOTOS:
        return
    lost = (
        f" ({n_lost} more have lost their file: bring it back, or ingest again)" if n_lost else ""
    )
    raise TrainingError(
        f"{int(usable.sum())} labelled photos of {len(np.unique(data.groups[usable]))} "
        f"listings are too few to fine-tune on{lost}: {LEAST_PHOTOS} photos of {LEAST_GROUPS} "
        "other listings must stay apart to decide whether it helped. Label more photos, or train "
        "without --finetune."
    )


@dataclass(frozen=True)
class Comparison:
    """What the photos apart say.

    Args:
        chosen: the fine-tuned network is used.
        reason: why, or why not, in a sentence.
        n_photos: photos apart.
        n_listings: their listings or duplicate groups.
        metric: name of `frozen` and `tuned`.
        frozen: share of right answers by the head on frozen embeddings.
        tuned: the same on fine-tuned ones.
        gain: of the metric, tuned less frozen, with the interval of paired draws of listings.
        loss_gain: of the loss, alike: below 0 is better.
    """

    chosen: bool
    reason: str
    n_photos: int
    n_listings: int
    metric: str
    frozen: float
    tuned: float
    gain: Estimate
    loss_gain: Estimate

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


METRICS: dict[Kind, str] = {
    "single": "accuracy",
    "tree": "accuracy",
    "multi": "right answers",
    "score": "within half a step",
}


def decide(
    data: TrainingSet,
    parts: Parts,
    embeddings: Mapping[int, NDArray[np.float32]],
    best: int,
    best_by_half: tuple[int, int],
    options: TrainOptions,
) -> tuple[Comparison, Trained | None]:
    """Fit heads on the embeddings of the rounds, and compare them; where it won, return its head.

    Args:
        data: whose targets and groups.
        parts: who learnt and who stayed apart.
        embeddings: round to `(n, d)`; 0 is the frozen network, which is always among them.
        best: the round that all photos apart chose.
        best_by_half: the round that each half chose.
        options: of the heads.

    Returns:
        The comparison, of heads fitted without the photos of test; and the head of the best round,
        with test held out as ever, or None where the frozen network stays. Its out-of-fold answers
        for a half are by the round that the other half chose: the best round was chosen on them,
        and would tell of them more than it can do.
    """

    def fitted(keep: NDArray[np.bool_], turn: int) -> Trained:
        seen = replace(data, embeddings=embeddings[turn], seen=parts.learn)
        return train(seen.rows(keep), options)

    rows = data.given_split != "test"
    heads = {turn: fitted(rows, turn) for turn in {0, best, *best_by_half}}
    of_halves = [heads[turn] for turn in best_by_half]
    found = compare(data.rows(rows), parts.rows(rows), heads[0], of_halves)
    if not found.chosen:
        return found, None
    if not rows.all():
        heads = {turn: fitted(np.ones_like(rows), turn) for turn in {best, *best_by_half}}
    return found, _crossed(parts, heads[best], [heads[turn] for turn in best_by_half])


def _crossed(parts: Parts, best: Trained, of_halves: Sequence[Trained]) -> Trained:
    """The best head, with out-of-fold answers for each half by the round that the other chose."""
    probs, decided = best.oof_probs, best.oof_decided
    for half, chosen in enumerate(of_halves):
        other = parts.halves == 1 - half
        probs = np.where(other[:, None], chosen.oof_probs, probs)
        decided = chosen.oof_decided.where(other, decided)
    return replace(best, oof_probs=probs, oof_decided=decided)


def compare(
    data: TrainingSet, parts: Parts, frozen: Trained, tuned: Sequence[Trained]
) -> Comparison:
    """Compare heads on the photos apart; the tuned one must win to be chosen.

    It wins where its loss is lower by more than chance (the whole 95 % interval of the paired
    difference is below 0) and it does not answer fewer photos rightly. The loss counts every photo
    by how sure the answer was, and so tells heads apart on fewer photos than counting right
    answers does.

    Args:
        data: whose targets and groups.
        parts: who stayed apart.
        frozen: from the frozen embeddings; all were trained with the same rows `seen`.
        tuned: from fine-tuned ones, two: of the round that the photos of half 0 chose, and of half
            1's. Each is judged on the other half.
    """
    targets = encoded(with_learnt(data, frozen.classes))[0]
    probs = np.where((parts.halves == 1)[:, None], tuned[0].oof_probs, tuned[1].oof_probs)
    rows = np.flatnonzero(parts.apart & targets.known)
    wanted = targets.rows(rows)
    draws = Bootstrap(data.groups[rows])
    weight = np.minimum(wanted.weight, 1.0)  # unknown answers count 0, votes as they are weighed
    heads = [p[rows].astype(np.float64) for p in (frozen.oof_probs, probs)]
    lost = [loss_of(p, wanted) * weight for p in heads]
    right = [right_of(p, wanted) * (weight > 0) for p in heads]
    known = (weight > 0).sum(axis=1).astype(np.float64)
    before, after = (_mean(draws, r.sum(axis=1), known) for r in right)
    gain = difference(before, after, len(rows))
    losses = [_mean(draws, loss.sum(axis=1), weight.sum(axis=1)) for loss in lost]
    loss_gain = difference(losses[0], losses[1], len(rows))
    assert gain is not None and loss_gain is not None, "the photos apart are labelled"
    chosen = loss_gain.high < 0 and gain.value >= 0
    return Comparison(
        chosen,
        _reason(chosen, loss_gain),
        len(rows),
        draws.n_groups,
        METRICS[data.kind],
        before[0],
        after[0],
        gain,
        loss_gain,
    )


def with_learnt(data: TrainingSet, classes: Sequence[str]) -> TrainingSet:
    """The same rows in terms of the classes that were learnt (of a tree and a score: all)."""
    from listlens.learn.usable import with_classes

    if data.kind in ("tree", "score"):
        return data
    return with_classes(replace(data, seen=None), tuple(classes))


def _mean(
    draws: Bootstrap, amounts: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Amounts `(n,)` per weight: of all rows, and in each draw."""
    totals = draws.totals(np.column_stack([amounts, weight]))
    return float(amounts.sum() / weight.sum()), divide(totals[:, 0], totals[:, 1])


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


def _reason(chosen: bool, loss: Estimate) -> str:
    interval = f"{loss.value:+.3f}, 95 % interval {loss.low:+.3f} to {loss.high:+.3f}"
    if chosen:
        return f"its loss is lower on listings that it never saw ({interval})"
    if loss.high < 0:
        return f"its loss is lower ({interval}), but it answers fewer photos rightly"
    return f"its loss is not surely lower on listings that it never saw ({interval})"
