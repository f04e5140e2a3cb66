"""Linear heads: logistic regression on standardised embeddings, a whole path of strengths at once.

The problem is scikit-learn's `LogisticRegression` (same optimum, checked by a test): L2, bias not
penalised, `C` times the weighted sum of log losses. Solved faster for two reasons. Data are first
rotated to their principal axes, which L2 does not notice and which leaves at most `n` of the `d`
columns; in these axes the curvature is nearly diagonal, so dividing each axis by its expected
curvature makes L-BFGS converge in some 15 steps instead of 100. And the strengths are solved from
strong to weak regularisation, each starting from the one before. Measured on 2 cores, 1,712 photos
x 1,280, 4 classes, six strengths: see `docs/learning.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_softmax

from listlens.core.types import Kind

Floats = NDArray[np.float32]

# Keeps a bias finite when a fold has no example of a class; far below what a photo weighs.
BIAS_PENALTY = 1e-3
# Relative change of the objective at which L-BFGS stops; halving the digits again moves no
# probability by more than 2e-3 and no accuracy (houses, cars, flipkart).
TOLERANCE = 1e-6
MAX_STEPS = 200


@dataclass(frozen=True)
class Head:
    """`logits = embeddings @ weights.T + bias`; standardisation is folded into both.

    Args:
        weights: `(k, d)` float32.
        bias: `(k,)` float32.
    """

    weights: Floats
    bias: Floats

    def logits(self, embeddings: NDArray[np.floating]) -> Floats:
        """Return `(n, k)` float32 logits of `(n, d)` embeddings.

        Summed in float64, so that a photo gets the same number alone and in a batch.
        """
        wide = embeddings.astype(np.float64) @ self.weights.T.astype(np.float64)
        return (wide + self.bias).astype(np.float32)


@dataclass(frozen=True)
class Rotated:
    """Standardised embeddings in their principal axes: `z = (x - mean) / scale @ basis`."""

    mean: Floats
    scale: Floats
    basis: Floats
    variance: Floats
    z: Floats

    def apply(self, embeddings: NDArray[np.floating]) -> Floats:
        """Bring other embeddings `(m, d)` into the same axes, `(m, r)`."""
        return ((embeddings - self.mean) / self.scale).astype(np.float32) @ self.basis

    def head(self, weights: Floats, bias: Floats) -> Head:
        """Fold rotation and standardisation into a head on raw embeddings; weights `(r, k)`."""
        plain = (self.basis @ weights).T.astype(np.float64) / self.scale
        return Head(plain.astype(np.float32), (bias - plain @ self.mean).astype(np.float32))


def rotate(embeddings: Floats) -> Rotated:
    """Standardise `(n, d)` and rotate to the principal axes, at most `min(n, d)` of them.

    Axes with under a millionth of the largest variance are dropped: within float32 they are noise.
    """
    mean = embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = embeddings.std(axis=0, dtype=np.float64).astype(np.float32)
    scale[scale < 1e-6] = 1.0
    x = (embeddings - mean) / scale
    n, d = x.shape
    tall = n >= d
    values, vectors = np.linalg.eigh(x.T @ x if tall else x @ x.T)
    keep = values > 1e-6 * max(float(values[-1]), 1e-12)
    values, vectors = values[keep][::-1], vectors[:, keep][:, ::-1]
    basis = np.ascontiguousarray(vectors if tall else x.T @ (vectors / np.sqrt(values)))
    return Rotated(mean, scale, basis, (values / n).astype(np.float32), x @ basis)


@dataclass(frozen=True)
class Targets:
    """What is to be learnt, in the same form for both kinds.

    Args:
        yes: `(n, k)` float32, 1 where the class is given.
        weight: `(n, k)` float32, what the answer counts; 0 where it is unknown.
        kind: `single` has one weight a row.
    """

    yes: Floats
    weight: Floats
    kind: Kind

    def rows(self, index: NDArray[np.int64]) -> Targets:
        return Targets(self.yes[index], self.weight[index], self.kind)


def encode(targets: NDArray[np.integer], n_classes: int, kind: Kind) -> Targets:
    """Turn class indices `(n,)` or answers `(n, k)` in {1, 0, -1} into `Targets`."""
    if kind == "single":
        yes = (targets[:, None] == np.arange(n_classes)).astype(np.float32)
        known = np.repeat((targets >= 0)[:, None], n_classes, axis=1)
    else:
        yes, known = (targets == 1).astype(np.float32), targets >= 0
    return Targets(yes, known.astype(np.float32), kind)


def balanced(targets: Targets) -> Targets:
    """Weigh classes (single) or yes and no (multi) inversely to how often they occur.

    Source: scikit-learn's `class_weight="balanced"`, `n / (k * count)`.
    """
    count = (targets.yes * targets.weight).sum(axis=0)
    n = targets.weight.sum(axis=0)
    if targets.kind == "single":
        per_class = n[0] / (np.maximum(count, 1) * max(int((count > 0).sum()), 1))
        factor = (targets.yes @ per_class)[:, None]
    else:
        up, down = n / (2 * np.maximum(count, 1)), n / (2 * np.maximum(n - count, 1))
        factor = np.where(targets.yes > 0, up, down)
    weight = (targets.weight * factor).astype(np.float32)
    return Targets(targets.yes, weight, targets.kind)


def losses(logits: NDArray[np.floating], targets: Targets) -> NDArray[np.float64]:
    """Return each answer's log loss, unweighted: `(n, 1)` for single, `(n, k)` for multi."""
    if targets.kind == "single":
        picked = log_softmax(logits.astype(np.float64), axis=1) * targets.yes
        return np.asarray(-picked.sum(axis=1, keepdims=True), dtype=np.float64)
    signed = np.where(targets.yes > 0, -1.0, 1.0) * logits.astype(np.float64)
    return np.asarray(np.logaddexp(0.0, signed), dtype=np.float64)


class _Problem:
    """The objective for one strength, in scaled variables; divided by `C * n` to stay near 1."""

    def __init__(self, rotated: Rotated, targets: Targets, strength: NDArray[np.float64]) -> None:
        self.z, self.targets = rotated.z, targets
        self.n_classes = targets.yes.shape[1]
        self.total = max(float(targets.weight[:, 0].sum()), 1.0)
        if targets.kind == "multi":
            self.total = float(len(targets.yes))
        count = np.maximum((targets.yes * targets.weight).sum(axis=0), 1.0)
        known = np.maximum(targets.weight.sum(axis=0), 2.0)
        prior = np.clip(count / known, 0.0, 1 - 1 / known)
        spread = prior * (1 - prior) * known / self.total
        self.penalty = (1.0 / (strength * self.total)).astype(np.float64)
        curvature = rotated.variance[:, None] * spread + self.penalty
        bias_curvature = spread + BIAS_PENALTY / self.total
        self.step = (1 / np.sqrt(np.vstack([curvature, bias_curvature[None]]))).astype(np.float64)

    def unpack(self, flat: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(flat.reshape(-1, self.n_classes) * self.step)

    def pack(self, params: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((params / self.step).ravel())

    def __call__(self, flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        params = self.unpack(flat)
        logits = self.z @ params[:-1].astype(np.float32) + params[-1].astype(np.float32)
        loss, slope = self._loss(logits)
        slope /= self.total
        penalised = self.penalty * params[:-1]
        gradient = np.vstack([self.z.T @ slope + penalised, slope.sum(axis=0, dtype=np.float64)])
        gradient[-1] += BIAS_PENALTY / self.total * params[-1]
        value = loss / self.total + 0.5 * float((penalised * params[:-1]).sum())
        value += 0.5 * BIAS_PENALTY / self.total * float((params[-1] ** 2).sum())
        return value, (gradient * self.step).ravel()

    def _loss(self, logits: Floats) -> tuple[float, Floats]:
        """Weighted loss, and its derivative by the logits `(n, k)`."""
        yes, weight = self.targets.yes, self.targets.weight
        if self.targets.kind == "single":
            logits -= logits.max(axis=1, keepdims=True)
            picked = (logits * yes).sum(axis=1)
            np.exp(logits, out=logits)
            norm = logits.sum(axis=1)
            loss = weight[:, 0] @ (np.log(norm) - picked).astype(np.float64)
            return float(loss), (logits / norm[:, None] - yes) * weight
        signed = np.where(yes > 0, -logits, logits)
        loss = (weight * np.logaddexp(np.float32(0), signed)).sum(dtype=np.float64)
        return float(loss), (expit(logits) - yes) * weight


def fit_path(
    rotated: Rotated, targets: Targets, strengths: Sequence[float]
) -> list[tuple[Floats, Floats]]:
    """Fit one head per strength, warm-started from strong to weak regularisation.

    Args:
        rotated: the training embeddings.
        targets: of the same rows.
        strengths: scikit-learn's `C`, increasing.

    Returns:
        `(weights (r, k), bias (k,))` in the rotated axes, in the order of `strengths`.
    """
    path: list[tuple[Floats, Floats]] = []
    params = np.zeros((rotated.z.shape[1] + 1, targets.yes.shape[1]))
    for strength in strengths:
        problem = _Problem(rotated, targets, np.full(params.shape[1], strength))
        found = minimize(
            problem,
            problem.pack(params),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": MAX_STEPS, "ftol": TOLERANCE, "gtol": 1e-6, "maxcor": 10},
        )
        params = problem.unpack(found.x)
        path.append((params[:-1].astype(np.float32), params[-1].astype(np.float32)))
    return path


def fit(embeddings: Floats, targets: Targets, strength: float) -> Head:
    """Fit one head on raw embeddings `(n, d)`.

    Example:
        >>> x = np.array([[0.0], [1.0], [2.0], [3.0]], dtype=np.float32)
        >>> head = fit(x, encode(np.array([0, 0, 1, 1]), 2, "single"), 1.0)
        >>> head.logits(x).argmax(axis=1).tolist()
        [0, 0, 1, 1]
    """
    rotated = rotate(embeddings)
    weights, bias = fit_path(rotated, targets, [strength])[0]
    return rotated.head(weights, bias)
