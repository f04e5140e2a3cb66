"""Heads from one to five labelled photos a class: class means, and what tells them apart.

With so few photos a column's spread among them says nothing, so standardising by it, which helps
with many, hurts: of the four rooms of homes, one photo each, a logistic head on standardised
embeddings is right on .56 of unseen photos, this one on .90. Here each photo counts as a direction
from the centre of the shop; a head leans towards the mean direction of each class, and logistic
regression adds what tells the classes apart (benchmarks/few_labels.py --few).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.types import Policy
from listlens.learn.calibration import Calibration
from listlens.learn.heads import Floats, Head, Rotated, fit_path
from listlens.learn.objectives import Targets, balanced
from listlens.learn.policies import parse_target

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.learn.dataset import TrainingSet

MOST = 5
"""Labelled photos of the middle class up to which this head is used. With 5 a class it is right on
.96, .70, .76 and .71 (houses, cars, flipkart, grocery), logistic regression on .90, .64, .74 and
.69; with 10 on .96, .76, .81 and .80 against .96, .77, .80 and .82."""

LENGTH = 8.0
"""Of every photo's direction; with STRENGTHS it says how far logistic regression goes."""

LEANING = 10.0
"""Logits between a photo at the mean of its class, and one at right angles to it. From 5 to 20
alike where every class has few photos; where a quarter of the classes has, 10 finds .43, .08, .08
and .22 of these (houses, cars, flipkart, grocery; one photo each) where 0 finds .11, .00, .03, .18,
and loses .000, .003, .006 and .009 of the others."""

STRENGTHS = (1e-2, 1e-1, 1.0)
"""The last is used, the others are on the way. With few labels nothing can be held out to choose
it: .3, 1 and 3 were alike."""

CAUTION = 0.7
"""Times the slope that held-out photos ask for, and no more than it: they are few, and of classes
that have two listings. The best slope on new photos was .5 to 1.1, theirs .6 to 1.3."""

UNJUDGED_SLOPE = 0.4
"""At most, where a class has no listing to hold out: then the best was .36 to 1.0, the least where
one class had one photo and the others 40."""

SURE = 0.9
"""Least probability that is decided alone, unless the target asks for another."""


@dataclass(frozen=True)
class Few:
    """The only setting that is tried; see `few_head`."""

    def record(self) -> dict[str, Any]:
        """What a run notes of it."""
        return {"head": HEAD, "C": STRENGTHS[-1], "class_weight": "balanced", "sharing": 0.0}


HEAD = "few labels"


def is_few(data: TrainingSet) -> bool:
    """Whether the middle class has so few labelled photos outside test that this head is used."""
    if data.kind != "single" or data.seen is not None:
        return False
    learnt = data.targets[(data.targets >= 0) & (data.given_split != "test")]
    return bool(np.median(np.bincount(learnt, minlength=len(data.classes))) <= MOST)


def only_listings(data: TrainingSet) -> NDArray[np.bool_]:
    """Rows `(n,)` whose class is in no other listing or duplicate group, test aside.

    Without them there would be nothing to learn their class from, so they cannot be held out.
    """
    learnt = (data.targets >= 0) & (data.given_split != "test")
    pairs = np.unique(np.stack([data.targets[learnt], data.groups[learnt]]), axis=1)
    n_groups = np.bincount(pairs[0].astype(np.int64), minlength=len(data.classes))
    return np.asarray(learnt & (n_groups[data.targets] == 1))


@dataclass(frozen=True)
class Caution:
    """What keeps a head of few photos from being surer than it can know.

    Args:
        unjudged: `(k,)` bool, classes of which no photo could be held out.
    """

    unjudged: NDArray[np.bool_]

    def calibration(self, found: Calibration) -> Calibration:
        """A flatter one than held-out photos ask for."""
        slope = CAUTION * np.minimum(found.slope, 1)
        if self.unjudged.any():
            slope = np.minimum(slope, UNJUDGED_SLOPE)
        return Calibration(slope.astype(np.float32), found.offset)

    def policy(self, found: Policy) -> Policy:
        """One that decides alone no less sure than SURE, and never a class that is unjudged."""
        wanted = parse_target(found.target)
        least = {"precision": wanted.value, "error": 1 - wanted.value}.get(wanted.name, SURE)
        at = tuple(
            1.0 if alone else max(t, least)
            for t, alone in zip(found.thresholds, self.unjudged.tolist(), strict=True)
        )
        return replace(found, thresholds=at, review_below=at, review_above=at)


def few_head(embeddings: Floats, targets: Targets, centre: Floats | None = None) -> Head:
    """Fit a head on raw embeddings.

    Args:
        embeddings: `(n, d)`.
        targets: of kind `single`; a class without a row is as good as never answered.
        centre: `(d,)` what directions are taken from: the mean of the shop's photos; None: of the
            labelled ones, classes alike.

    Example:
        >>> from listlens.learn.objectives import encode
        >>> x = np.array([[0.0, 1], [1, 0]], dtype=np.float32)
        >>> few_head(x, encode(np.array([0, 1]), 2, "single")).logits(x).argmax(axis=1)
        array([0, 1])
    """
    if centre is None:
        share = balanced(targets).weight[:, 0]
        centre = share @ embeddings / max(float(share.sum()), 1e-12)
    off = embeddings - centre
    far = np.maximum(np.linalg.norm(off, axis=1), 1e-12)
    x = (off * (LENGTH / far)[:, None]).astype(np.float32)
    basis = _span(x)
    z = x @ basis
    scale = np.full(x.shape[1], float(far.mean()) / LENGTH, np.float32)
    rotated = Rotated(centre.astype(np.float32), scale, basis, np.square(z).mean(axis=0), z)
    weights, bias = fit_path(rotated, balanced(targets), STRENGTHS)[-1]
    return rotated.head(weights + LEANING / LENGTH * _mean_directions(z, targets), bias)


def _span(x: Floats) -> Floats:
    """Orthonormal axes `(d, r)` of the rows `(n, d)`; see `heads.rotate`."""
    values, vectors = np.linalg.eigh(x @ x.T)
    keep = values > 1e-6 * max(float(values[-1]), 1e-12)
    return np.asarray(x.T @ (vectors[:, keep] / np.sqrt(values[keep])), np.float32)


def _mean_directions(z: Floats, targets: Targets) -> Floats:
    """`(r, k)` of length 1: the mean of each class; zeros for one without a row."""
    share = targets.yes * targets.weight
    sums = z.T @ share
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=0), 1e-12), np.float32)
