"""Thresholds for a stated target, and the decision as a pure function of probabilities.

A score is not decided: its mean and spread are the answer. For trees see `learn.backoff`.
Three targets: `best-f1`, `precision>=P`, `error<=E`. Every policy has an abstain band: photos that
a person should look at, because the decision would be wrong too often.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.core.errors import InputError
from listlens.core.scale import scale_of
from listlens.core.types import Kind, Policy
from listlens.learn import backoff
from listlens.learn.trees import shape_of

# Without a stated error, the band is the least that brings the error among the decided to half of
# the overall error, and no lower than 1 %: below that, labels themselves are wrong as often
# (houses: 10 of 2,140 labels were).
DEFAULT_SHARE = 0.5
DEFAULT_ERROR = 0.01

FINEST = 1e-6
"""Least share of errors that a target may name: seeing it takes a million held-out photos."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy makes of one photo's probabilities.

    Args:
        classes: single: the top class; multi: all classes given, most probable first; tree: the
            node, none where not even its top level is sure enough; score: none.
        probability: of the top class (single), of the least sure of the answers (multi), of the
            node (tree), None for a score.
        review: a person should look.
        score: mean of the predicted votes, on the task's scale; None save for score.
        spread: their standard deviation.
    """

    classes: tuple[str, ...]
    probability: float | None
    review: bool
    score: float | None = None
    spread: float | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """What policies made of n photos, an answer a photo and class.

    Args:
        given: `(n, k)` bool, the class is given; single: one a row, the top class; tree: the
            leaves under the node that is answered; score: none.
        review: `(n, k)` bool, a person should look at this answer; single and tree: at the top
            class's.
    """

    given: NDArray[np.bool_]
    review: NDArray[np.bool_]

    def rows(self, keep: NDArray[np.bool_] | NDArray[np.integer]) -> Decided:
        """Return these rows only: a mask or indices."""
        return Decided(self.given[keep], self.review[keep])

    def where(self, rows: NDArray[np.bool_], other: Decided) -> Decided:
        """Return the same with `other` where `rows` `(n,)` is false."""
        at = rows[:, None]
        return Decided(
            np.where(at, self.given, other.given), np.where(at, self.review, other.review)
        )

    def followed_by(self, other: Decided) -> Decided:
        """Return the same with the rows of another below."""
        return Decided(
            np.concatenate([self.given, other.given]), np.concatenate([self.review, other.review])
        )


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed target: `name` is `best-f1`, `precision` or `error`, `value` its bound."""

    name: str
    value: float = 0.0


def parse_target(text: str) -> Target:
    """Read `best-f1`, `precision>=0.95` or `error<=0.02`.

    Raises:
        InputError: anything else, and a bound of 0 or 1: one of them is always met, and the other
            cannot be promised however many photos there are.

    Example:
        >>> parse_target("precision>=0.95")
        Target(name='precision', value=0.95)
    """
    if text == "best-f1":
        return Target("best-f1")
    match = re.fullmatch(r"(precision>=|error<=)\s*(0?\.\d+)", text.strip())
    value = float(match[2]) if match else 0.0
    if match is None or not FINEST <= value <= 1 - FINEST:
        raise InputError(
            f"target {text!r} is not known; allowed: best-f1, precision>=P, error<=E, with P and E "
            f"between {FINEST:f} and {1 - FINEST:g}, such as precision>=0.95"
        )
    return Target(match[1][:-2], value)


def choose_policy(
    probs: NDArray[np.floating],
    targets: NDArray[Any],
    kind: Kind,
    target: str,
    classes: tuple[str, ...] = (),
) -> Policy:
    """Choose thresholds and the abstain band on probabilities of rows the head has not seen.

    Args:
        probs: `(n, k)` calibrated, out-of-fold.
        targets: class index `(n,)` or answers `(n, k)`; -1 is left out. tree: node index.
        kind: of the task.
        classes: tree: the paths of its leaves.
        target: `best-f1`; `precision>=P`: of each class as given without a person; `error<=E`:
            of the decisions made without a person. A class that cannot reach it gets threshold 1,
            so a person looks (single) or it is never given (multi).

    Returns:
        A policy with the same target.
    """
    wanted = parse_target(target)
    if kind == "score":
        none = (0.0,) * probs.shape[1]
        return Policy(none, none, none, target)
    if kind == "tree":
        allowed = backoff.allowed_error(wanted.name, wanted.value)
        at = backoff.choose_threshold(probs, targets, shape_of(classes), allowed)
        same = (at,) * probs.shape[1]
        # Without an exponent, which `parse_target` does not read.
        return Policy(same, same, same, f"error<={np.format_float_positional(allowed)}")
    if kind == "single":
        return _single(probs, targets, wanted, target)
    bands = [_multi(probs[:, c], targets[:, c], wanted) for c in range(probs.shape[1])]
    low, mid, high = zip(*bands, strict=True) if bands else ((), (), ())
    return Policy(thresholds=mid, review_below=low, review_above=high, target=target)


def _single(
    probs: NDArray[np.floating], targets: NDArray[np.integer], wanted: Target, text: str
) -> Policy:
    rows = targets >= 0
    p, truth, n_classes = probs[rows].astype(np.float64), targets[rows], probs.shape[1]
    top, given = p.max(axis=1), p.argmax(axis=1)
    wrong = given != truth
    if wanted.name == "precision":
        at = [
            1 - largest_risk(1 - top[given == c], wrong[given == c], 1 - wanted.value, exact=True)
            for c in range(n_classes)
        ]
    else:
        at = [1 - largest_risk(1 - top, wrong, *_error_target(wanted, wrong))] * n_classes
    thresholds = tuple(float(min(max(t, 0.0), 1.0)) for t in at)
    return Policy(thresholds, thresholds, thresholds, text)


def _error_target(wanted: Target, wrong: NDArray[np.bool_]) -> tuple[float, bool]:
    """The error allowed among the decided, and whether it is a promise."""
    if wanted.name == "error":
        return wanted.value, True
    overall = float(wrong.mean()) if len(wrong) else 0.0
    return max(DEFAULT_SHARE * overall, DEFAULT_ERROR), False


def _multi(
    probs: NDArray[np.floating], answers: NDArray[np.integer], wanted: Target
) -> tuple[float, float, float]:
    """Lower end of the band, threshold, upper end, of one class."""
    rows = answers >= 0
    p, yes = probs[rows].astype(np.float64), answers[rows] == 1
    if wanted.name == "precision":
        threshold = 1 - largest_risk(1 - p, ~yes, 1 - wanted.value, exact=True)
    elif wanted.name == "error":
        threshold = 0.5
    else:
        threshold = best_f1_threshold(p, yes)
    given = p >= threshold
    risk, wrong = np.where(given, 1 - p, p), given != yes
    limit = largest_risk(risk, wrong, *_error_target(wanted, wrong))
    return min(limit, threshold), threshold, max(1 - limit, threshold)


def largest_risk(
    risk: NDArray[np.float64], wrong: NDArray[np.bool_], allowed: float, exact: bool
) -> float:
    """The largest risk that may be decided alone while the share of errors stays allowed.

    Args:
        risk: `(n,)` in [0, 1], larger is less sure.
        wrong: `(n,)`.
        allowed: share of errors among the decided.
        exact: count one error more than seen, which makes the bound hold on average for new
            photos and not only for these (Angelopoulos et al., "Conformal risk control", ICLR 2024,
            equation 4).

    Returns:
        1 where all may be decided, 0 where none may; otherwise midway to the next risk.
    """
    order = np.argsort(risk, kind="stable")
    sorted_risk, extra = risk[order], int(exact)
    share = (np.cumsum(wrong[order]) + extra) / (np.arange(1, len(order) + 1) + extra)
    last_of_tie = np.append(np.diff(sorted_risk) > 0, True) if len(order) else np.zeros(0, bool)
    fits = np.flatnonzero((share <= allowed + 1e-12) & last_of_tie)
    if not len(fits):
        return 0.0
    last = int(fits[-1])
    if last == len(order) - 1:
        return 1.0
    return float((sorted_risk[last] + sorted_risk[last + 1]) / 2)


def best_f1_threshold(probs: NDArray[np.float64], yes: NDArray[np.bool_]) -> float:
    """The threshold with the best F1, midway between two probabilities; 0.5 without a yes."""
    if not yes.any():
        return 0.5
    order = np.argsort(-probs, kind="stable")
    p, hits = probs[order], np.cumsum(yes[order])
    f1 = 2 * hits / (np.arange(1, len(p) + 1) + yes.sum())
    f1[:-1][np.diff(p) == 0] = -1
    best = int(np.argmax(f1))
    below = p[best + 1] if best + 1 < len(p) else 0.0
    return float((p[best] + below) / 2)


def decide(
    probs: NDArray[np.floating], policy: Policy, kind: Kind, classes: Sequence[str]
) -> list[Decision]:
    """Decide each row of `(n, k)` probabilities.

    Example:
        >>> policy = Policy((0.6, 0.6), (0.6, 0.6), (0.6, 0.6))
        >>> (one,) = decide(np.array([[0.45, 0.55]]), policy, "single", ["bed", "sofa"])
        >>> one.classes, one.probability, one.review
        (('sofa',), 0.55, True)
    """
    if np.ndim(probs) != 2 or np.shape(probs)[1] != len(classes):
        raise InputError(
            f"probabilities {np.shape(probs)} and {len(classes)} classes do not belong together"
        )
    return named(probs, answers(probs, policy, kind, classes), kind, classes)


def answers(
    probs: NDArray[np.floating], policy: Policy, kind: Kind, classes: Sequence[str] = ()
) -> Decided:
    """Decide each answer of `(n, k)` probabilities; a tree needs the paths of its leaves.

    Example:
        >>> policy = Policy((0.6, 0.6), (0.6, 0.6), (0.6, 0.6))
        >>> answers(np.array([[0.45, 0.55]]), policy, "single").review.tolist()
        [[False, True]]
    """
    p = np.asarray(probs, dtype=None if kind == "tree" else np.float64)
    low, mid, high = (
        np.array(v) for v in (policy.review_below, policy.thresholds, policy.review_above)
    )
    if p.ndim != 2 or p.shape[1] != len(mid):
        raise InputError(
            f"probabilities {p.shape} and a policy for {len(mid)} classes do not belong together"
        )
    if kind == "score":
        return Decided(np.zeros(p.shape, np.bool_), np.zeros(p.shape, np.bool_))
    if kind == "tree":
        return Decided(*backoff.answer(p, shape_of(tuple(classes)), policy.thresholds[0]))
    # A threshold of 1 means never: stored probabilities are rounded, and the surest become 1.
    below_one = np.minimum(p, np.nextafter(1.0, 0.0))
    if kind == "multi":
        return Decided(below_one >= mid, (below_one >= low) & (below_one < high))
    given = np.arange(p.shape[1]) == p.argmax(axis=1)[:, None]
    return Decided(given, given & (below_one < mid))


def named(
    probs: NDArray[np.floating], decided: Decided, kind: Kind, classes: Sequence[str]
) -> list[Decision]:
    """Put decided answers in the names of the classes, a decision a row of `(n, k)`."""
    p = np.asarray(probs, dtype=np.float64)
    if kind == "score":
        return _scored(p, scale_of(classes))
    if kind == "tree":
        return _nodes(p, decided, tuple(classes))
    given, order = decided.given, np.argsort(-p, axis=1, kind="stable")
    sure = p.max(axis=1) if kind == "single" else np.where(given, p, 1 - p).min(axis=1)
    names = [tuple(classes[c] for c in order[i] if given[i, c]) for i in range(len(p))]
    return [
        Decision(name, float(v), bool(r))
        for name, v, r in zip(names, sure, np.any(decided.review, axis=1), strict=True)
    ]


def _scored(probs: NDArray[np.float64], scale: Sequence[float]) -> list[Decision]:
    """Mean and spread of each row's predicted votes."""
    steps, total = np.asarray(scale), probs.sum(axis=1)  # stored probabilities are rounded
    mean = probs @ steps / total
    spread = np.sqrt(np.maximum(probs @ np.square(steps) / total - np.square(mean), 0))
    return [
        Decision((), None, False, float(m), float(s)) for m, s in zip(mean, spread, strict=True)
    ]


def _nodes(
    probs: NDArray[np.float64], decided: Decided, classes: tuple[str, ...]
) -> list[Decision]:
    """The node answered in each row, or none and the probability of the likeliest at the top."""
    shape = shape_of(classes)
    tops = shape.under[[i for i, depth in enumerate(shape.tree.depth) if depth == 1]]
    best = (probs @ tops.T.astype(np.float64)).max(axis=1)
    result = []
    for row, given, review, top in zip(probs, decided.given, decided.review, best, strict=True):
        path = shape.common(given)
        sure = float(row[given].sum()) if path else float(top)
        result.append(Decision((path,) if path else (), min(sure, 1.0), bool(review.any())))
    return result
