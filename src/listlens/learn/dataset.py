"""What a head is learnt from: embeddings, targets, and what must stay together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from listlens.core.errors import TrainingError
from listlens.core.types import Kind

SPLITS = ("", "train", "val", "test")


@dataclass(frozen=True)
class TrainingSet:
    """One row per labelled photo.

    Args:
        kind: `single` or `multi`.
        classes: names, in the order of the targets.
        embeddings: `(n, d)` float32.
        targets: single: `(n,)` int64 class index, -1 where unusable (a conflict, say); multi:
            `(n, k)` int8, 1 yes, 0 no, -1 unknown.
        groups: `(n,)` int64; equal numbers must stay on one side of every split.
        listings: `(n,)` int64; what intervals are drawn by.
        given_split: `(n,)` str: empty, `train`, `val` or `test`. Either no row has one or some
            have; a row without one is then training data.
        names: photo ids, for messages.

    Raises:
        TrainingError: shapes do not fit, a value is out of range, an embedding is not finite.
    """

    kind: Kind
    classes: tuple[str, ...]
    embeddings: NDArray[np.float32]
    targets: NDArray[np.integer]
    groups: NDArray[np.int64]
    listings: NDArray[np.int64]
    given_split: NDArray[np.str_]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        n, k = len(self.names), len(self.classes)
        if len(set(self.classes)) != k:
            raise TrainingError(f"class names must differ: {list(self.classes)}")
        if self.embeddings.ndim != 2:
            raise TrainingError(f"embeddings must be (n, d), not {self.embeddings.shape}")
        shape = (n,) if self.kind == "single" else (n, k)
        wanted = {"embeddings": (n, self.embeddings.shape[1]), "targets": shape}
        wanted |= dict.fromkeys(("groups", "listings", "given_split"), (n,))
        for name, expected in wanted.items():
            found = getattr(self, name).shape
            if found != expected:
                raise TrainingError(f"{name} has shape {found}; {n} names need {expected}")
        self._check_values(k)

    def _check_values(self, n_classes: int) -> None:
        top = n_classes - 1 if self.kind == "single" else 1
        if self.targets.size and not -1 <= self.targets.min() <= self.targets.max() <= top:
            raise TrainingError(f"targets must be in [-1, {top}]")
        unknown = sorted(set(self.given_split.tolist()) - set(SPLITS))
        if unknown:
            raise TrainingError(f"unknown split {unknown[0]!r}; allowed: train, val, test or empty")
        bad = np.flatnonzero(~np.isfinite(self.embeddings).all(axis=1))
        if len(bad):
            raise TrainingError(
                f"{len(bad)} embeddings are not finite, the first of {self.names[bad[0]]!r}; "
                "embed these photos again"
            )

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """`(n,)`: at least one answer is known."""
        return np.asarray((self.targets >= 0).reshape(len(self.names), -1).any(axis=1))
