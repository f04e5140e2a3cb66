"""What a head is fitted to: targets in one form for all kinds, and each kind's loss.

`single`: log loss of the given class. `multi`: log loss of every known answer. `tree`: log loss of
the given node, whose probability is the sum of its leaves'. `score`: squared Earth Mover's distance
between the votes and the predicted distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, logsumexp, softmax

from listlens.core.types import Kind

Floats = NDArray[np.float32]

TINY = 1e-12
"""Keeps the logarithm of a node's probability finite in float32."""


@dataclass(frozen=True)
class Targets:
    """What is to be learnt, in the same form for all kinds.

    Args:
        yes: `(n, k)` float32. single: 1 at the class; multi: 1 where the class is given; tree: 1
            at the leaves under the node; score: the share of the votes of each step.
        weight: `(n, 1)` float32, multi `(n, k)`: what the answer counts; 0 where it is unknown.
        kind: of the task.
    """

    yes: Floats
    weight: Floats
    kind: Kind

    def rows(self, index: NDArray[np.int64]) -> Targets:
        return Targets(self.yes[index], self.weight[index], self.kind)

    @property
    def known(self) -> NDArray[np.bool_]:
        """`(n,)`: something is to be learnt from the row."""
        return np.asarray(self.weight.any(axis=1))


def encode(targets: NDArray[Any], n_classes: int, kind: Kind) -> Targets:
    """Turn class indices `(n,)`, answers `(n, k)` in {1, 0, -1} or histograms into `Targets`.

    A tree's nodes are encoded by `learn.trees.encode_nodes`.
    """
    if kind == "single":
        yes = (targets[:, None] == np.arange(n_classes)).astype(np.float32)
        return Targets(yes, (targets >= 0)[:, None].astype(np.float32), kind)
    if kind == "score":
        known = ~np.isnan(targets).any(axis=1, keepdims=True)
        return Targets(
            np.where(known, targets, 0).astype(np.float32), known.astype(np.float32), kind
        )
    return Targets((targets == 1).astype(np.float32), (targets >= 0).astype(np.float32), kind)


def balanced(targets: Targets) -> Targets:
    """Weigh classes (single, tree) or yes and no (multi) inversely to how often they occur.

    Source: scikit-learn's `class_weight="balanced"`, `n / (k * count)`.
    """
    count = (targets.yes * targets.weight).sum(axis=0)
    n = targets.weight.sum(axis=0)
    if targets.kind == "multi":
        up, down = n / (2 * np.maximum(count, 1)), n / (2 * np.maximum(n - count, 1))
        factor = np.where(targets.yes > 0, up, down)
    else:
        per_class = n[0] / (np.maximum(count, 1) * max(int((count > 0).sum()), 1))
        share = targets.yes / np.maximum(targets.yes.sum(axis=1, keepdims=True), 1)
        factor = (share @ per_class)[:, None]
    return Targets(targets.yes, (targets.weight * factor).astype(np.float32), targets.kind)


def outputs(logits: NDArray[np.floating], kind: Kind) -> NDArray[np.floating]:
    """Probabilities `(n, k)` of logits: independent ones for multi, else those that sum to 1."""
    return np.asarray(expit(logits) if kind == "multi" else softmax(logits, axis=1))


def losses(logits: NDArray[np.floating], targets: Targets) -> NDArray[np.float64]:
    """Return each answer's loss, unweighted: `(n, k)` for multi, else `(n, 1)`.

    Rows without an answer (weight 0) get finite numbers that mean nothing.
    """
    wide, yes = logits.astype(np.float64), targets.yes
    if targets.kind == "single":
        return np.asarray(-(log_softmax(wide, axis=1) * yes).sum(axis=1, keepdims=True))
    if targets.kind == "tree":
        # Without an answer no leaf is inside: infinity, and times a weight of 0 no number.
        leaves = np.where(yes.any(axis=1, keepdims=True), yes, 1)
        inside = logsumexp(wide, axis=1, b=leaves, keepdims=True, return_sign=False)
        return np.asarray(logsumexp(wide, axis=1, keepdims=True) - inside)
    if targets.kind == "score":
        gap = np.cumsum(softmax(wide, axis=1) - yes, axis=1)
        return np.asarray(np.square(gap).mean(axis=1, keepdims=True))
    return np.asarray(np.logaddexp(0.0, np.where(yes > 0, -1.0, 1.0) * wide))


def loss_and_slope(logits: Floats, targets: Targets) -> tuple[float, Floats]:
    """Weighted sum of the losses, and its derivative by the logits `(n, k)`, which are overwritten.

    Source: of score, Talebi and Milanfar, "NIMA: Neural image assessment" (IEEE TIP 2018),
    equation 1 with r = 2.
    """
    if targets.kind == "multi":
        return _multi(logits, targets)
    logits -= logits.max(axis=1, keepdims=True)
    if targets.kind == "single":
        picked = (logits * targets.yes).sum(axis=1)
        np.exp(logits, out=logits)
        norm = logits.sum(axis=1)
        loss = targets.weight[:, 0] @ (np.log(norm) - picked).astype(np.float64)
        return float(loss), (logits / norm[:, None] - targets.yes) * targets.weight
    np.exp(logits, out=logits)
    p = logits / logits.sum(axis=1, keepdims=True)
    if targets.kind == "tree":
        inside = p * targets.yes
        node = np.maximum(inside.sum(axis=1, keepdims=True), TINY)
        loss = -(targets.weight[:, 0] @ np.log(node[:, 0]).astype(np.float64))
        return float(loss), (p - inside / node) * targets.weight
    return _score(p, targets)


def _multi(logits: Floats, targets: Targets) -> tuple[float, Floats]:
    yes, weight = targets.yes, targets.weight
    signed = np.where(yes > 0, -logits, logits)
    loss = (weight * np.logaddexp(np.float32(0), signed)).sum(dtype=np.float64)
    return float(loss), (expit(logits) - yes) * weight


def _score(p: Floats, targets: Targets) -> tuple[float, Floats]:
    """Squared distance of the cumulative distributions, and its slope through the softmax."""
    gap = np.cumsum(p - targets.yes, axis=1)
    loss = targets.weight[:, 0] @ np.square(gap).mean(axis=1).astype(np.float64)
    # A step's probability is in its own cumulative sum and in every later one.
    by_p = np.cumsum(gap[:, ::-1], axis=1)[:, ::-1] * (2 / p.shape[1])
    slope = p * (by_p - (p * by_p).sum(axis=1, keepdims=True))
    return float(loss), (slope * targets.weight).astype(np.float32)
