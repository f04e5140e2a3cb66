"""Two models of one task on the same held-out photos: which is better, and what flips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.core.scale import scale_of
from listlens.core.tree import SEPARATOR, Tree
from listlens.core.types import Estimate, Kind
from listlens.evaluate.evaluation import METRICS, resampling
from listlens.evaluate.plain import plain
from listlens.learn.dataset import known_rows
from listlens.metrics.classification import macro_ap_draws
from listlens.metrics.hierarchy import cut, overlap
from listlens.metrics.intervals import Bootstrap, divide, rescaled, wilson
from listlens.metrics.ordinal import means, srcc, srcc_draws
from listlens.metrics.paired import by_chance, difference

Floats = NDArray[np.float64]
Drawn = tuple[float, Floats]

MOVED = 0.1
"""A score counts as flipped where it comes nearer to, or further from, the given mean by this share
of the scale."""


@dataclass(frozen=True)
class Side:
    """One model's answers, from copies of it that had not seen the photo.

    Args:
        version: of the model.
        classes: its k classes by today's names; tree: its leaves, score: its steps.
        probs: `(n, k)`.
        given: `(n, k)` bool, what is decided; used for multi.
    """

    version: int
    classes: tuple[str, ...]
    probs: NDArray[np.floating]
    given: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Flip:
    """An answer that one model has right and the other wrong.

    Args:
        image: name of the photo.
        given: its label; multi: the class, preceded by "not " where the label says no.
        first: what the first model says.
        second: what the second says.
        size: by how much the probability of the right answer changes; score: by how much nearer
            the mean comes, or, negative, how much further away.
    """

    image: str
    given: str
    first: str
    second: str
    size: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """What two models make of the same photos.

    Args:
        kind: of the task.
        metric: name of the headline.
        versions: of the two models.
        n: photos.
        n_listings: listings they belong to.
        unit: what flips: ``photos``, or ``answers`` for multi.
        first: headline of the first model.
        second: of the second.
        gain: second less first, with the paired interval.
        n_both_right: answers that both have right; score: photos whose mean both have within
            `MOVED` of the scale.
        n_both_wrong: and wrong.
        mended: right in the second only, the largest change first.
        broken: right in the first only.
        chance: how often chance alone flips so one-sidedly.
        only_in: classes that only one of the models knows, by version.
    """

    kind: Kind
    metric: str
    versions: tuple[int, int]
    n: int
    n_listings: int
    unit: str
    first: Estimate | None
    second: Estimate | None
    gain: Estimate | None
    n_both_right: int
    n_both_wrong: int
    mended: tuple[Flip, ...]
    broken: tuple[Flip, ...]
    chance: float
    only_in: dict[int, tuple[str, ...]]

    @property
    def verdict(self) -> str:
        """Which model is better, in a sentence."""
        one, two = self.versions
        if self.gain is None:
            return f"Too few answers to say whether model {one} or model {two} is better."
        if self.gain.low > 0:
            return f"Model {two} is better than model {one}."
        if self.gain.high < 0:
            return f"Model {one} is better than model {two}."
        return f"Model {one} and model {two} cannot be told apart on these photos."

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "kind": self.kind,
            "metric": self.metric,
            "models": list(self.versions),
            "n": self.n,
            "n_listings": self.n_listings,
            "unit": self.unit,
            "first": plain(self.first),
            "second": plain(self.second),
            "gain": plain(self.gain),
            "verdict": self.verdict,
            "both_right": self.n_both_right,
            "both_wrong": self.n_both_wrong,
            "n_mended": len(self.mended),
            "n_broken": len(self.broken),
            "by_chance": round(self.chance, 6),
            "mended": [flip.as_dict() for flip in self.mended],
            "broken": [flip.as_dict() for flip in self.broken],
            "only_in": {str(v): list(names) for v, names in self.only_in.items()},
        }


@dataclass(frozen=True)
class _Judged:
    """One side against the truth: headline in all draws, and every answer `(m,)`."""

    drawn: Drawn
    right: NDArray[np.bool_]
    said: list[str]
    sure: Floats


def compare(
    kind: Kind,
    classes: Sequence[str],
    given: NDArray[Any],
    names: Sequence[str],
    listings: NDArray[Any],
    sides: tuple[Side, Side],
    *,
    seed: int = 0,
    n_resamples: int = 1000,
) -> Comparison:
    """Compare two models on the same photos.

    Args:
        kind: of the task.
        classes: of the task today; tree: its nodes.
        given: what the labels say: indices of `classes` `(n,)`, answers `(n, k)`, or for a score
            shares of the votes `(n, k)`.
        names: of the photos.
        listings: `(n,)`; equal means drawn together.
        sides: the two models' answers for the same photos.
        seed: of the bootstrap.
        n_resamples: draws.

    Raises:
        ValueError: no photo has a known answer.
    """
    known = known_rows(kind, given)
    if not known.any():
        raise ValueError("no photo to compare on has a known answer")
    rows = np.flatnonzero(known)
    given, listings = given[rows], listings[rows]
    photos = [names[i] for i in rows.tolist()]
    one, two = (Side(s.version, s.classes, s.probs[rows], s.given[rows]) for s in sides)
    draws = resampling(listings, n_resamples, seed)
    truth, about, judged = _judge(kind, classes, given, (one, two), draws)
    a, b = judged
    if kind == "score":
        gain = a.sure - b.sure  # distances from the given mean
        mended, broken = gain >= MOVED, gain <= -MOVED
    else:
        gain = b.sure - a.sure
        mended, broken = b.right & ~a.right, a.right & ~b.right
    flips = [
        Flip(photos[int(about[i])], truth[i], a.said[i], b.said[i], round(float(gain[i]), 6))
        for i in range(len(truth))
    ]
    n = len(photos)
    return Comparison(
        kind=kind,
        metric=METRICS[kind],
        versions=(one.version, two.version),
        n=n,
        n_listings=draws.n_groups,
        unit="answers" if kind == "multi" else "photos",
        first=_estimate(kind, a.drawn, n, draws),
        second=_estimate(kind, b.drawn, n, draws),
        gain=_gain(kind, a.drawn, b.drawn, n, draws),
        n_both_right=int((a.right & b.right).sum()),
        n_both_wrong=int((~a.right & ~b.right).sum()),
        mended=_largest(flips, mended),
        broken=_largest(flips, broken),
        chance=by_chance(int(mended.sum()), int(broken.sum())),
        only_in=_only_in(one, two),
    )


def _judge(
    kind: Kind,
    classes: Sequence[str],
    given: NDArray[Any],
    sides: tuple[Side, Side],
    draws: Bootstrap,
) -> tuple[list[str], NDArray[np.intp], list[_Judged]]:
    """What the labels say of each answer, the photo each is of, and both sides' answers."""
    n = len(given)
    if kind == "multi":
        shared = [c for c in classes if all(c in side.classes for side in sides)]
        columns = [list(classes).index(c) for c in shared]
        wanted = given[:, columns]
        cells = np.nonzero(wanted >= 0)
        said = [
            shared[j] if wanted[i, j] else f"not {shared[j]}" for i, j in zip(*cells, strict=True)
        ]
        return said, cells[0], [_multi(side, shared, wanted, cells, draws) for side in sides]
    if kind == "score":
        scale = scale_of(classes)
        wanted = means(given, scale)
        span = scale[-1] - scale[0]
        judged = [_score(side, wanted, span, draws) for side in sides]
        return [f"{value:.2f}" for value in wanted], np.arange(n), judged
    said = [classes[i] for i in given.tolist()]
    judge = _tree if kind == "tree" else _single
    return said, np.arange(n), [judge(side, said, draws) for side in sides]


def _single(side: Side, truth: list[str], draws: Bootstrap) -> _Judged:
    said = [side.classes[i] for i in side.probs.argmax(axis=1).tolist()]
    right = np.array([a == b for a, b in zip(said, truth, strict=True)])
    column = {name: i for i, name in enumerate(side.classes)}
    sure = np.array([row[column[t]] if t in column else 0.0
                     for t, row in zip(truth, side.probs, strict=True)])  # fmt: skip
    return _Judged(_ratio(right, np.ones(len(right)), draws), right, said, sure)


def _tree(side: Side, truth: list[str], draws: Bootstrap) -> _Judged:
    tree = Tree.of([*truth, *side.classes])
    parent = np.array(tree.parent)
    leaf = np.array([tree.index[c] for c in side.classes])[side.probs.argmax(axis=1)]
    nodes = np.array([tree.index[t] for t in truth])
    found = overlap(parent, leaf, nodes)
    called = cut(parent, leaf, nodes).tolist()
    right = np.asarray(found.shared == found.true)
    top, bottom = 2.0 * found.shared, (found.answered + found.true).astype(np.float64)
    under = {
        t: np.array([c == t or c.startswith(t + SEPARATOR) for c in side.classes])
        for t in dict.fromkeys(truth)
    }
    sure = np.array(
        [float(p[under[t]].sum()) for t, p in zip(truth, side.probs, strict=True)], np.float64
    )
    return _Judged(_ratio(top, bottom, draws), right, [tree.paths[i] for i in called], sure)


def _multi(
    side: Side,
    shared: list[str],
    wanted: NDArray[Any],
    cells: tuple[NDArray[np.intp], ...],
    draws: Bootstrap,
) -> _Judged:
    columns = [side.classes.index(c) for c in shared]
    probs, given = side.probs[:, columns], side.given[:, columns]
    truth, known = wanted == 1, wanted >= 0
    undefined = float("nan"), np.full(draws.n_resamples, np.nan)
    drawn = macro_ap_draws(truth, probs, known, draws) if shared else undefined
    said = [shared[j] if given[i, j] else f"not {shared[j]}" for i, j in zip(*cells, strict=True)]
    sure = np.where(truth, probs, 1 - probs)[cells]
    return _Judged(drawn, (given == truth)[cells], said, sure.astype(np.float64))


def _score(side: Side, wanted: Floats, span: float, draws: Bootstrap) -> _Judged:
    found = means(side.probs, scale_of(side.classes))
    off = np.abs(found - wanted) / span
    drawn = srcc(found, wanted), srcc_draws(found, wanted, draws)
    return _Judged(drawn, off < MOVED, [f"{value:.2f}" for value in found], off)


def _ratio(top: NDArray[Any], bottom: NDArray[Any], draws: Bootstrap) -> Drawn:
    value = float(top.sum() / bottom.sum()) if bottom.sum() else float("nan")
    return value, divide(draws.totals(top)[:, 0], draws.totals(bottom)[:, 0])


def _estimate(kind: Kind, drawn: Drawn, n: int, draws: Bootstrap) -> Estimate | None:
    """The value with an interval of its own; a correlation lies in [-1, 1]."""
    value, spread = drawn
    if kind == "score":
        return rescaled(draws.estimate((value + 1) / 2, (spread + 1) / 2, n=n), -1, 1)
    return draws.estimate(value, spread, n=n)


def _gain(kind: Kind, first: Drawn, second: Drawn, n: int, draws: Bootstrap) -> Estimate | None:
    """The paired difference; where every draw says the same, as unsure as so few listings are."""
    found = difference(first, second, n)
    if found is None:
        return None
    widest = 2.0 if kind == "score" else 1.0
    if draws.n_groups == 1:
        return Estimate(found.value, -widest, widest, n)
    if found.value and found.high - found.low < 1e-9:
        share = min(abs(found.value) / widest, 1.0)
        low, high = (widest * x for x in wilson(share * draws.n_groups, draws.n_groups))
        low, high = (low, high) if found.value > 0 else (-high, -low)
        return Estimate(found.value, min(low, found.value), max(high, found.value), n)
    return found


def _largest(flips: list[Flip], rows: NDArray[np.bool_]) -> tuple[Flip, ...]:
    found = [flips[i] for i in np.flatnonzero(rows).tolist()]
    return tuple(sorted(found, key=lambda flip: -abs(flip.size)))


def _only_in(one: Side, two: Side) -> dict[int, tuple[str, ...]]:
    found = {
        a.version: tuple(c for c in a.classes if c not in b.classes)
        for a, b in ((one, two), (two, one))
    }
    return {version: names for version, names in found.items() if names}
