"""Calibration: logits to probabilities that mean what they say.

`single`, `tree` and `score`: one temperature. `multi`: a slope and an offset per class, drawn
towards one common slope and no offset, so that a class with few answers borrows from the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, softmax

from listlens.core.types import Kind
from listlens.learn.objectives import Targets, losses

# Every probability is mixed with this much of the uniform one, so none is ever 0 or 1: below what
# four stored decimals show, above float32's resolution near 1.
FLOOR = 1e-5
# Weight of the pull towards the common slope and offset 0 (and of the common slope towards 1: a few
# photos that are all right would otherwise make every answer certain), in answers: a class with
# this many answers of average information is moved half way. Chosen on cars parts: log loss .3688
# against .3763 with one common slope, nearly flat from 1 to 40; average precision within .001.
PULL = 10.0
# Squared distances of votes are some fifty times smaller than log losses, so the same pull would be
# fifty times as strong.
SCORE_PULL = PULL / 50


@dataclass(frozen=True)
class Calibration:
    """`logits * slope + offset`, then softmax or sigmoid, then mixed with FLOOR of uniform.

    Args:
        slope: `(k,)` float32, above 0; all equal (1 / temperature) save for multi.
        offset: `(k,)` float32; 0 save for multi.
    """

    slope: NDArray[np.float32]
    offset: NDArray[np.float32]

    def probs(self, logits: NDArray[np.floating], kind: Kind) -> NDArray[np.float32]:
        """Return `(n, k)` float32 probabilities in (0, 1); rows sum to 1 save for multi."""
        scaled = logits.astype(np.float64) * self.slope + self.offset
        if kind == "multi":
            p, uniform = expit(scaled), 0.5
        else:
            p, uniform = softmax(scaled, axis=1), 1.0 / scaled.shape[1]
        return np.asarray((1 - FLOOR) * p + FLOOR * uniform, dtype=np.float32)


def identity(n_classes: int) -> Calibration:
    """Leave the logits as they are."""
    return Calibration(np.ones(n_classes, np.float32), np.zeros(n_classes, np.float32))


def fit_calibration(logits: NDArray[np.floating], targets: Targets) -> Calibration:
    """Fit on logits of rows that the head has not seen.

    Args:
        logits: `(n, k)` out-of-fold logits.
        targets: of the same rows; unknown answers have weight 0.

    Source: temperature scaling, Guo et al., "On calibration of modern neural networks" (ICML 2017),
    section 4.2; slope and offset, Platt 1999.
    """
    n_classes = targets.yes.shape[1]
    known = (targets.weight > 0).astype(np.float64)
    weight = known
    if weight.sum() < 2:
        return identity(n_classes)

    pull = SCORE_PULL if targets.kind == "score" else PULL

    def mean_loss(log_slope: float) -> float:
        data = (losses(logits * np.exp(log_slope), targets) * weight).sum()
        return float((data + 0.5 * pull * 0.25 * log_slope**2) / weight.sum())

    found = minimize_scalar(mean_loss, bounds=(np.log(0.1), np.log(10.0)), method="bounded")
    slope = np.full(n_classes, np.exp(found.x))
    offset = np.zeros(n_classes)
    if targets.kind == "multi":
        for c in range(n_classes):
            rows = known[:, c] > 0
            slope[c], offset[c] = _platt(logits[rows, c], targets.yes[rows, c], slope[c])
    return Calibration(slope.astype(np.float32), offset.astype(np.float32))


def _platt(
    logits: NDArray[np.floating], yes: NDArray[np.floating], common: float
) -> tuple[float, float]:
    """Slope and offset of one class, drawn towards `(common, 0)`; the slope stays positive."""
    x = logits.astype(np.float64)

    def loss(params: NDArray[np.float64]) -> float:
        scaled = x * common * np.exp(params[0]) + params[1]
        data = np.logaddexp(0.0, np.where(yes > 0, -scaled, scaled)).sum()
        return float(data + 0.5 * PULL * 0.25 * (params[0] ** 2 + params[1] ** 2))

    found = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=[(-2.0, 2.0), (-4.0, 4.0)])
    return float(common * np.exp(found.x[0])), float(found.x[1])
