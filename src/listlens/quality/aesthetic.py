"""The aesthetic score: how much a crowd would like the photo. A linear head on the embedding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from listlens.core.scale import scale_of
from listlens.learn.heads import Head
from listlens.learn.objectives import outputs
from listlens.quality.weights import load_weights

NAME = "aesthetic"


@dataclass(frozen=True)
class AestheticModel:
    """A score head: a distribution over the steps of its scale.

    Args:
        steps: `(k,)` of the scale, rising.
        head: on embeddings of the embedded backbone.
    """

    steps: tuple[float, ...]
    head: Head

    def votes(self, embeddings: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the share of the votes `(n, k)` of each step, for embeddings `(n, d)`."""
        return outputs(self.head.logits(embeddings), "score")

    def score(self, embedding: NDArray[np.floating]) -> float:
        """Return the mean vote of one photo `(d,)`, 0 for the lowest step and 1 for the highest."""
        mean = float(self.votes(embedding[None])[0] @ np.array(self.steps))
        return round((mean - self.steps[0]) / (self.steps[-1] - self.steps[0]), 4)


@cache
def aesthetic_model() -> AestheticModel:
    """Load the model that comes with listlens.

    Raises:
        ModelError: its files are damaged; install listlens again.
    """
    arrays, card = load_weights(NAME)
    return AestheticModel(scale_of(card["steps"]), Head(arrays["weights"], arrays["bias"]))
