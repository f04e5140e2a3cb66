"""What a head is learnt from: embeddings, targets, and what must stay together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.core.errors import TrainingError
from listlens.core.tree import Tree
from listlens.core.types import Kind

SPLITS = ("", "train", "val", "test")


def known_rows(kind: Kind, targets: NDArray[Any]) -> NDArray[np.bool_]:
    """Return `(n,)`: the row has a known answer; targets as in `TrainingSet`."""
    if kind == "score":
        return np.asarray(~np.isnan(targets).any(axis=1))
    return np.asarray((targets >= 0).any(axis=1) if kind == "multi" else targets >= 0)


@dataclass(frozen=True)
class TrainingSet:
    """One row per labelled photo.

    Args:
        kind: of the task.
        classes: names, in the order of the targets; tree: the paths of all its nodes, in the
            order of `core.tree.Tree.of`; score: its steps, increasing numbers.
        embeddings: `(n, d)` float32.
        targets: single: `(n,)` int64 class index, -1 where unusable (a conflict, say); multi:
            `(n, k)` int8, 1 yes, 0 no, -1 unknown; tree: `(n,)` int64 node, which may be an inner
            one, -1 where unusable; score: `(n, k)` float32 shares of the votes that sum to 1, NaN
            where unusable.
        groups: `(n,)` int64; equal numbers must stay on one side of every split.
        listings: `(n,)` int64; what intervals are drawn by.
        given_split: `(n,)` str: empty, `train`, `val` or `test`. Either no row has one or some
            have; a row without one is then training data.
        names: photo ids, for messages.
        weights: `(n,)` float32, what a row counts, above 0; None: all alike.
        seen: `(n,)` bool, rows that are always trained on and never held out: the embedding itself
            was learnt from them (fine-tuning), or nothing else is there of their class (see
            `learn.few`); None: no row.
        centre: `(d,)` mean embedding of the shop's photos, labelled or not; None: not known.

    Raises:
        TrainingError: shapes do not fit, a value is out of range, an embedding is not finite.
    """

    kind: Kind
    classes: tuple[str, ...]
    embeddings: NDArray[np.float32]
    targets: NDArray[Any]
    groups: NDArray[np.int64]
    listings: NDArray[np.int64]
    given_split: NDArray[np.str_]
    names: tuple[str, ...]
    weights: NDArray[np.float32] | None = None
    seen: NDArray[np.bool_] | None = None
    centre: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n, k = len(self.names), len(self.classes)
        if len(set(self.classes)) != k:
            raise TrainingError(f"class names must differ: {list(self.classes)}")
        if self.embeddings.ndim != 2:
            raise TrainingError(f"embeddings must be (n, d), not {self.embeddings.shape}")
        shape = (n,) if self.kind in ("single", "tree") else (n, k)
        wanted = {"embeddings": (n, self.embeddings.shape[1]), "targets": shape}
        wanted |= dict.fromkeys(("groups", "listings", "given_split"), (n,))
        for name, expected in wanted.items():
            found = getattr(self, name).shape
            if found != expected:
                raise TrainingError(f"{name} has shape {found}; {n} names need {expected}")
        self._check_values(k)

    def _check_values(self, n_classes: int) -> None:
        if self.kind == "score":
            self._check_histograms()
        else:
            top = 1 if self.kind == "multi" else n_classes - 1
            if self.targets.size and not -1 <= self.targets.min() <= self.targets.max() <= top:
                raise TrainingError(f"targets must be in [-1, {top}]")
        if self.kind == "tree" and Tree.of(self.classes).paths != self.classes:
            raise TrainingError("the classes of a tree are all its nodes, parents before children")
        if self.weights is not None and not (
            self.weights.shape == self.given_split.shape and (self.weights > 0).all()
        ):
            raise TrainingError("weights must be one number above 0 for each row")
        unknown = sorted(set(self.given_split.tolist()) - set(SPLITS))
        if unknown:
            raise TrainingError(f"unknown split {unknown[0]!r}; allowed: train, val, test or empty")
        bad = np.flatnonzero(~np.isfinite(self.embeddings).all(axis=1))
        if len(bad):
            raise TrainingError(
                f"{len(bad)} embeddings are not finite, the first of {self.names[bad[0]]!r}; "
                "embed these photos again"
            )

    def _check_histograms(self) -> None:
        rows = self.targets[self.labelled]
        if (rows < 0).any() or not np.allclose(rows.sum(axis=1), 1, atol=1e-4):
            raise TrainingError("the votes of a row must be 0 or more, and their shares sum to 1")

    def rows(self, keep: NDArray[Any]) -> TrainingSet:
        """Return these rows only: a mask or indices."""
        index = np.arange(len(self.names))[keep]
        return replace(
            self,
            embeddings=self.embeddings[index],
            targets=self.targets[index],
            groups=self.groups[index],
            listings=self.listings[index],
            given_split=self.given_split[index],
            names=tuple(self.names[i] for i in index.tolist()),
            weights=None if self.weights is None else self.weights[index],
            seen=None if self.seen is None else self.seen[index],
        )

    @property
    def holdable(self) -> NDArray[np.bool_]:
        """`(n,)`: the row can be held out, see `seen`."""
        return np.ones(len(self.names), np.bool_) if self.seen is None else ~self.seen

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """`(n,)`: at least one answer is known."""
        return known_rows(self.kind, self.targets)
