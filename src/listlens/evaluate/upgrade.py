"""What would change if another model answered: flips, counts a class, photos to look at.

Needs no label: it says what changes, not which is right; `evaluate.comparison` says that.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.core.scale import scale_of
from listlens.core.types import Kind
from listlens.evaluate.comparison import MOVED
from listlens.learn.policies import Decided, named
from listlens.metrics.ordinal import means

EXAMPLES = 6
"""Photos kept of each kind of flip: those whose probabilities change most."""

MOST_KINDS = 2000
"""Kinds of flips of which photos are kept; a large tree may have millions. All are counted."""

UP, DOWN = "higher", "lower"


@dataclass(frozen=True)
class Said:
    """What one model says of n contents.

    Args:
        classes: its k classes by today's names.
        probs: `(n, k)`.
        decided: `(n, k)`, under its policy.
    """

    classes: tuple[str, ...]
    probs: NDArray[np.floating]
    decided: Decided

    @property
    def review(self) -> NDArray[np.bool_]:
        """Whether a person should look, `(n,)`."""
        return np.asarray(self.decided.review.any(axis=1))


@dataclass(frozen=True, slots=True)
class Example:
    """A content whose answer changes, by how much (in [0, 1]), and what both models say of it."""

    content_id: int
    size: float
    first: str
    second: str


@dataclass(frozen=True)
class Flip:
    """A kind of change, how often it happens, and the photos where it is largest.

    Args:
        first: what the first model says; multi: the class, preceded by "not " where it is not
            given; score: empty.
        second: what the second says instead; score: ``higher`` or ``lower``.
        n: contents.
        examples: at most `EXAMPLES`, the largest change first.
    """

    first: str
    second: str
    n: int
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassMove:
    """How many contents have a class under each model.

    Args:
        name: of the class; of a score a step, to which scores are rounded.
        before: under the first model.
        after: under the second.
        gained: under the second only.
        lost: under the first only.
    """

    name: str
    before: int
    after: int
    gained: int
    lost: int


@dataclass(frozen=True)
class Upgrade:
    """What would change.

    Args:
        kind: of the task.
        n: contents that both models answered.
        n_changed: whose decision changes; score: whose mean moves by `MOVED` of the scale.
        review_before: contents that a person should look at under the first model.
        review_after: and under the second.
        classes: every class of either model, the largest change first.
        flips: every kind of change, the most frequent first.
    """

    kind: Kind
    n: int
    n_changed: int
    review_before: int
    review_after: int
    classes: tuple[ClassMove, ...]
    flips: tuple[Flip, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**asdict(self), "share_changed": self.n_changed / self.n if self.n else 0.0}


@dataclass
class Tally:
    """Counts blocks of contents as they come; memory stays flat.

    Args:
        kind: of the task.

    Example:
        >>> probs = [np.array([[0.9, 0.1]]), np.array([[0.2, 0.8]])]
        >>> both = [Said(("a", "b"), p, Decided(p > 0.5, p > 2)) for p in probs]
        >>> tally = Tally("single")
        >>> tally.add([7], *both)
        >>> [(flip.first, flip.second, flip.n) for flip in tally.result().flips]
        [('a', 'b', 1)]
    """

    kind: Kind
    n: int = 0
    n_changed: int = 0
    _review: list[int] = field(default_factory=lambda: [0, 0])
    _before: Counter[str] = field(default_factory=Counter)
    _after: Counter[str] = field(default_factory=Counter)
    _gained: Counter[str] = field(default_factory=Counter)
    _lost: Counter[str] = field(default_factory=Counter)
    _flips: Counter[tuple[str, str]] = field(default_factory=Counter)
    _kept: dict[tuple[str, str], list[tuple[float, int, str, str]]] = field(default_factory=dict)

    def add(self, content_ids: Sequence[int], first: Said, second: Said) -> None:
        """Count a block: n content ids and what both models say of them."""
        self.n += len(content_ids)
        self._review[0] += int(first.review.sum())
        self._review[1] += int(second.review.sum())
        count = {"multi": self._multi, "score": self._score}.get(self.kind, self._one)
        count(content_ids, first, second)

    def result(self) -> Upgrade:
        """Return what was counted."""
        names = dict.fromkeys([*self._before, *self._after])
        classes = [
            ClassMove(
                name, self._before[name], self._after[name], self._gained[name], self._lost[name]
            )
            for name in names
        ]
        flips = [
            Flip(first, second, n, self._examples((first, second)))
            for (first, second), n in self._flips.most_common()
        ]
        moved = sorted(classes, key=lambda c: (-abs(c.after - c.before), -c.gained - c.lost))
        before, after = self._review
        return Upgrade(self.kind, self.n, self.n_changed, before, after, tuple(moved), tuple(flips))

    def _examples(self, key: tuple[str, str]) -> tuple[Example, ...]:
        found = sorted(self._kept.get(key, ()), reverse=True)
        return tuple(Example(-pk, round(size, 5), a, b) for size, pk, a, b in found)

    def _flip(self, key: tuple[str, str], pk: int, size: float, said: tuple[str, str]) -> None:
        self._flips[key] += 1
        if key not in self._kept and len(self._kept) >= MOST_KINDS:
            return
        kept = self._kept.setdefault(key, [])
        entry = (size, -pk, *said)  # of equal changes the earlier content
        if len(kept) < EXAMPLES:
            heapq.heappush(kept, entry)
        else:
            heapq.heappushpop(kept, entry)

    def _one(self, ids: Sequence[int], first: Said, second: Said) -> None:
        """A class or a node a content; a node may be none at all."""
        said = [_names(self.kind, side) for side in (first, second)]
        self._before.update(said[0].tolist())
        self._after.update(said[1].tolist())
        changed = np.flatnonzero(said[0] != said[1])
        self.n_changed += len(changed)
        sizes = _distance(first, second, changed)
        for at, size in zip(changed.tolist(), sizes.tolist(), strict=True):
            key = (str(said[0][at]), str(said[1][at]))
            self._lost[key[0]] += 1
            self._gained[key[1]] += 1
            self._flip(key, int(ids[at]), size, key)

    def _multi(self, ids: Sequence[int], first: Said, second: Said) -> None:
        n, any_changed = len(ids), np.zeros(len(ids), np.bool_)
        for name in dict.fromkeys([*first.classes, *second.classes]):
            old, new = _column(first, name, n), _column(second, name, n)
            self._before[name] += int(old[0].sum())
            self._after[name] += int(new[0].sum())
            changed = old[0] != new[0]
            any_changed |= changed
            self._gained[name] += int((changed & new[0]).sum())
            self._lost[name] += int((changed & old[0]).sum())
            for at in np.flatnonzero(changed).tolist():
                key = (f"not {name}", name) if new[0][at] else (name, f"not {name}")
                self._flip(key, int(ids[at]), abs(float(new[1][at] - old[1][at])), key)
        self.n_changed += int(any_changed.sum())

    def _score(self, ids: Sequence[int], first: Said, second: Said) -> None:
        scale = np.asarray(scale_of(first.classes))
        span = float(scale[-1] - scale[0])
        old, new = (_mean(side) for side in (first, second))
        steps = [np.abs(v[:, None] - scale).argmin(axis=1) for v in (old, new)]
        for tally, at in zip((self._before, self._after), steps, strict=True):
            tally.update(first.classes[i] for i in at.tolist())
        for a, b in zip(*(at.tolist() for at in steps), strict=True):
            if a != b:
                self._lost[first.classes[a]] += 1
                self._gained[first.classes[b]] += 1
        moved = (new - old) / span
        changed = np.flatnonzero(np.abs(moved) >= MOVED)
        self.n_changed += len(changed)
        for at in changed.tolist():
            said = (f"{old[at]:.2f}", f"{new[at]:.2f}")
            self._flip(("", UP if moved[at] > 0 else DOWN), int(ids[at]), abs(moved[at]), said)


def _names(kind: Kind, said: Said) -> NDArray[np.object_]:
    """The decided class or node of each row; ``none`` where not even the top level is sure."""
    if kind == "tree":
        decisions = named(said.probs, said.decided, kind, said.classes)
        names = [d.classes[0] if d.classes else "none" for d in decisions]
        return np.array(names, dtype=object)
    found: NDArray[np.object_] = np.array(said.classes, object)[said.decided.given.argmax(axis=1)]
    return found


def _distance(first: Said, second: Said, rows: NDArray[np.integer]) -> NDArray[np.float64]:
    """Share of the probability that moves from one class to another, `(len(rows),)`."""
    shared = [c for c in first.classes if c in set(second.classes)]
    kept = np.zeros(len(rows))
    for name in shared:
        a = first.probs[rows, first.classes.index(name)]
        kept += np.minimum(a, second.probs[rows, second.classes.index(name)])
    return np.clip(1 - kept, 0, 1)


def _column(said: Said, name: str, n: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Whether a class is given, and its probability; no and 0 by a model that lacks it."""
    if name not in said.classes:
        return np.zeros(n, np.bool_), np.zeros(n)
    at = said.classes.index(name)
    return said.decided.given[:, at], np.asarray(said.probs[:, at], np.float64)


def _mean(said: Said) -> NDArray[np.float64]:
    probs = np.asarray(said.probs, np.float64)
    return np.asarray(means(probs / probs.sum(axis=1, keepdims=True), scale_of(said.classes)))
