"""The technical score: how much is lost to blur, noise, codecs, light, colour and tilt.

A photo's embedding, eight of its measures and its signals go through one small network that gives
a penalty, 0 or more, for each family of distortions. The score is `exp(-sum of penalties)`: 1 where
nothing is wrong. So the reasons are parts of the score itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from listlens.quality.signals import signals
from listlens.quality.weights import load_weights

if TYPE_CHECKING:
    from listlens.images.measures import Measures

Floats = NDArray[np.float32]

NAME = "technical"
MEASURES = (
    *("dark", "bright", "brightness", "contrast"),
    *("sharpness", "noise", "entropy", "colourfulness"),
)
"""Those of `images.measures` that say something of quality; the rest say how it is framed."""
SPREADS = {"sharpness": 1.0, "noise": 0.01}
"""Measures of which the logarithm is taken, and what is added before."""
MOST_DEVIATIONS = 8.0
"""A number further from the training photos' mean counts as this far."""


def features(
    embedding: NDArray[np.floating], measures: Measures, view: NDArray[np.uint8]
) -> Floats:
    """Put together what the network reads of one photo.

    Args:
        embedding: `(1280,)`, of the embedded backbone.
        measures: of the same photo.
        view: `(h, w, 3)` uint8 RGB, the short side at most `signals.VIEW_PX`.

    Returns:
        `(d,)` float32: embedding, measures, signals.
    """
    raw = [float(getattr(measures, name)) for name in MEASURES]
    known = [
        float(np.log(value + SPREADS[name])) if name in SPREADS else value
        for name, value in zip(MEASURES, raw, strict=True)
    ]
    return np.concatenate(
        [embedding.astype(np.float32), np.array(known, np.float32), signals(view)]
    )


@dataclass(frozen=True)
class TechnicalModel:
    """Networks of one shape, whose penalties are averaged: project the embedding, one hidden layer,
    a penalty a family.

    Args:
        families: `(k,)` in plain words.
        mean, scale: `(d,)` of the training photos' features.
        project: `(m, p, 1280)`: the part of the embedding that counts, by network.
        hidden: `(m, h, p + d - 1280)`; hidden_bias: `(m, h)`.
        output: `(m, k, h)`; output_bias: `(m, k)`.
        noticed: `(k,)`: from which penalty on a family is named as a reason.
    """

    families: tuple[str, ...]
    mean: Floats
    scale: Floats
    project: Floats
    hidden: Floats
    hidden_bias: Floats
    output: Floats
    output_bias: Floats
    noticed: Floats

    def penalties(self, photo: Floats) -> Floats:
        """Return the penalty `(k,)`, 0 or more, of one photo's features `(d,)`.

        One photo at a time and in float64, so that it gets the same alone and in a batch.
        """
        x = (photo.astype(np.float64) - self.mean) / self.scale
        x = np.clip(x, -MOST_DEVIATIONS, MOST_DEVIATIONS)
        n_embedding = self.project.shape[-1]
        found = np.zeros(len(self.families))
        for i, project in enumerate(self.project):
            seen = np.concatenate([project @ x[:n_embedding], x[n_embedding:]])
            hidden = np.maximum(self.hidden[i] @ seen + self.hidden_bias[i], 0)
            found += np.logaddexp(0, self.output[i] @ hidden + self.output_bias[i])
        return np.asarray(found / len(self.project), np.float32)

    def reasons(self, penalties: Floats) -> list[str]:
        """Name the families that lower the score noticeably, the worst first."""
        found = np.flatnonzero(penalties >= self.noticed)
        return [self.families[i] for i in found[np.argsort(-penalties[found], kind="stable")]]


def score(penalties: Floats) -> float:
    """Return the technical score of penalties, in (0, 1], to four digits.

    Example:
        >>> score(np.zeros(3, np.float32)), score(np.array([0.5, 0.2], np.float32))
        (1.0, 0.4966)
    """
    return round(float(np.exp(-penalties.sum(dtype=np.float64))), 4)


@cache
def technical_model() -> TechnicalModel:
    """Load the model that comes with listlens.

    Raises:
        ModelError: its files are damaged; install listlens again.
    """
    arrays, card = load_weights(NAME)
    return TechnicalModel(tuple(card["families"]), **arrays)
