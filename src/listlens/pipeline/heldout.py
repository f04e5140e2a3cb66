"""The answers that training gave for photos it had not seen, kept beside the model.

What was reported can be computed again from them, also after labels were corrected. Of very many
photos times classes the file keeps the likeliest classes of each photo (`pipeline.bounded`), so
numbers of a tree's upper levels may then differ from the report's in the third digit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from listlens.core.errors import ModelError
from listlens.learn.policies import Decided, answers
from listlens.pipeline.bounded import (
    MOST_WHOLE,
    bounded_marks,
    bounded_probs,
    whole_marks,
    whole_probs,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from listlens.core.types import Kind, Policy
    from listlens.learn.recipe import Trained

FILE = "heldout.safetensors"


@dataclass(frozen=True)
class Heldout:
    """Held-out probabilities and decisions of the labelled photos.

    Args:
        photo_pks: `(n,)` int64, rows of the store.
        split: `(n,)` str: train, val or test; `new` where `extended` added the photo.
        probs: `(n, k)` float32 (float16 of a large tree), what a row's reported answer rests on:
            the model that saw train and val only for test rows, out-of-fold otherwise. The very
            array `oof_probs` where nothing differs, and so are the decisions.
        decided: decisions of `probs`, `(n, k)`, under thresholds that were not chosen on the row.
        oof_probs: `(n, k)`, out-of-fold for every row.
        oof_decided: decisions of `oof_probs`, alike.
        own_split: whether a test split was given.
        counted: `(n,)`, the out-of-fold answer is by heads on the model's own embeddings that saw
            nothing of the photo. Not so for photos that a fine-tuned network learnt from: theirs is
            by heads on the frozen one, which shows doubtful labels; nor for those of a class that
            has no other listing. They are left out of what is scored. None: all.
    """

    photo_pks: NDArray[np.int64]
    split: NDArray[np.str_]
    probs: NDArray[np.floating]
    decided: Decided
    oof_probs: NDArray[np.floating]
    oof_decided: Decided
    own_split: bool
    counted: NDArray[np.bool_] | None = None

    @classmethod
    def from_trained(cls, trained: Trained, photo_pks: Sequence[int]) -> Heldout:
        """Take what a training held out, in the order of its training set."""
        test = np.isfinite(trained.test_probs[:, :1])
        rows, pks = np.flatnonzero(test), np.asarray(photo_pks, np.int64)
        oof, own = (trained.oof_probs, trained.oof_decided), trained.protocol == "own split"
        # Answered by the very model that learnt from them, where there is no other listing.
        in_sample = (trained.fold < 0) & np.isfinite(trained.oof_probs[:, 0])
        counted = ~in_sample if in_sample.any() else None
        if np.array_equal(trained.test_probs[rows], trained.oof_probs[rows]):
            return cls(pks, trained.split, *oof, *oof, own, counted)
        probs = np.where(test, trained.test_probs, trained.oof_probs)
        # Test rows chose none of it.
        shipped = answers(probs, trained.policy, trained.kind, trained.classes)
        decided = shipped.where(test[:, 0], trained.oof_decided)
        return cls(pks, trained.split, probs.astype(np.float32), decided, *oof, own, counted)

    @property
    def _alike(self) -> bool:
        """Whether no row is reported otherwise than out of fold."""
        return self.probs is self.oof_probs and self.decided is self.oof_decided

    def filled(self, other: Heldout) -> Heldout:
        """Return this with another's out-of-fold answers where this has none, not counted."""
        there = np.isfinite(self.oof_probs[:, 0])
        at = other.rows_of(self.photo_pks.tolist())
        reported = np.isfinite(self.probs[:, 0])
        return replace(
            self,
            probs=np.where(reported[:, None], self.probs, other.probs[at]),
            decided=self.decided.where(reported, other.decided.rows(at)),
            oof_probs=np.where(there[:, None], self.oof_probs, other.oof_probs[at]),
            oof_decided=self.oof_decided.where(there, other.oof_decided.rows(at)),
            counted=there,
        )

    @property
    def counts(self) -> NDArray[np.bool_]:
        """Whether the out-of-fold answers count, `(n,)`."""
        return np.ones(len(self.split), np.bool_) if self.counted is None else self.counted

    @classmethod
    def of(cls, folder: Path) -> Heldout:
        """Read what `save` wrote.

        Raises:
            ModelError: the file is missing or damaged, or of a version without decisions.
        """
        from safetensors.numpy import load_file

        try:
            arrays = load_file(folder / FILE)
            if "oof_given" not in arrays and "probs" in arrays:
                raise ModelError(
                    f"{folder / FILE} is of an older version, which kept no decisions: train the "
                    "task again, listlens train TASK"
                )
            split = arrays["split"].astype(np.uint8).view("S5").reshape(-1).astype("U5")
            oof = _read(arrays, "oof_")
            return cls(
                arrays["photo_pks"],
                split,
                *(oof if "alike" in arrays else _read(arrays, "")),
                *oof,
                bool(arrays["own_split"][0]),
                arrays["counted"].astype(np.bool_) if "counted" in arrays else None,
            )
        except ModelError:
            raise
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise ModelError(f"{folder / FILE} is missing or damaged: {error}") from error
        except Exception as error:  # safetensors raises its own root for a damaged header
            raise ModelError(f"{folder / FILE} is damaged: {error}") from error

    def save(self, folder: Path, kind: Kind = "single") -> None:
        """Write one file into a model folder.

        Args:
            folder: of the model.
            kind: of the task. Of `multi` every class is judged by itself, so all is kept.
        """
        from safetensors.numpy import save

        bounded = kind != "multi" and self.probs.size > MOST_WHOLE
        arrays = {
            "photo_pks": self.photo_pks,
            "split": np.frombuffer(self.split.astype("S5").tobytes(), np.uint8).copy(),
            **_written(self.oof_probs, self.oof_decided, "oof_", bounded),
            "own_split": np.array([self.own_split], np.uint8),
        }
        if bounded and self._alike:
            arrays["alike"] = np.ones(1, np.uint8)
        else:
            arrays |= _written(self.probs, self.decided, "", bounded)
        if self.counted is not None:
            arrays["counted"] = self.counted.astype(np.uint8)
        (folder / FILE).write_bytes(save(arrays))

    def under(self, policy: Policy, kind: Kind, classes: Sequence[str]) -> Heldout:
        """Return this decided by another policy than the training's own.

        The policy may have been chosen on these very photos: what was decided fold by fold in the
        training is gone then.
        """
        oof = _decided(self.oof_probs, policy, kind, classes)
        if self._alike:
            return replace(self, decided=oof, oof_decided=oof)
        own = _decided(self.probs, policy, kind, classes)
        return replace(self, decided=own, oof_decided=oof)

    def at(self, rows: NDArray[np.int64]) -> Heldout:
        """Return these rows; itself, without a copy, where they are all rows in order."""
        if len(rows) == len(self.photo_pks) and (rows == np.arange(len(rows))).all():
            return self
        oof = self.oof_probs[rows], self.oof_decided.rows(rows)
        return Heldout(
            self.photo_pks[rows],
            self.split[rows],
            *(oof if self._alike else (self.probs[rows], self.decided.rows(rows))),
            *oof,
            self.own_split,
            None if self.counted is None else self.counted[rows],
        )

    @cached_property
    def _rows(self) -> dict[int, int]:
        return {pk: i for i, pk in enumerate(self.photo_pks.tolist())}

    def rows_of(self, photo_pks: Sequence[int]) -> NDArray[np.int64]:
        """Rows `(m,)` of these photos, -1 where the training did not have them."""
        return np.array([self._rows.get(pk, -1) for pk in photo_pks], np.int64)

    def extended(
        self, photo_pks: Sequence[int], probs: NDArray[np.float32], decided: Decided
    ) -> Heldout:
        """Return this with the photos that the training did not have, under the model's answers.

        Args:
            photo_pks: n photos, known or not.
            probs: `(n, k)` of the model itself; taken for photos that are not known.
            decided: `(n, k)`, of the policy itself; likewise.
        """
        new = self.rows_of(photo_pks) < 0
        if not new.any():
            return self
        added = decided.rows(new)
        oof = (
            np.concatenate([self.oof_probs, probs[new]]),
            self.oof_decided.followed_by(added),
        )
        own = (
            oof
            if self._alike
            else (
                np.concatenate([self.probs, probs[new]]),
                self.decided.followed_by(added),
            )
        )
        split = np.full(int(new.sum()), "new", dtype="U5")
        return Heldout(
            np.concatenate([self.photo_pks, np.asarray(photo_pks, np.int64)[new]]),
            np.concatenate([self.split, split]),
            *own,
            *oof,
            self.own_split,
            None if self.counted is None else np.concatenate([self.counted, split == "new"]),
        )

    def split_of(self, photo_pk: int) -> str | None:
        """The split of a photo, or None where it had no label."""
        row = self._rows.get(photo_pk)
        return None if row is None else str(self.split[row]) or None

    def probs_of(self, photo_pk: int) -> NDArray[np.floating] | None:
        """The held-out probabilities `(k,)` of a photo, or None."""
        row = self._rows.get(photo_pk)
        return None if row is None else self.probs[row]

    def decided_of(self, photo_pk: int) -> Decided | None:
        """The held-out decisions `(1, k)` of a photo, or None."""
        row = self._rows.get(photo_pk)
        return None if row is None else self.decided.rows(np.array([row]))


def _decided(
    probs: NDArray[np.floating], policy: Policy, kind: Kind, classes: Sequence[str]
) -> Decided:
    """Decide held-out rows; nothing is given where there is no answer."""
    there = np.isfinite(probs[:, :1])
    found = answers(np.nan_to_num(probs), policy, kind, classes)
    return Decided(found.given & there, found.review & there)


def _written(
    probs: NDArray[np.floating], decided: Decided, prefix: str, bounded: bool
) -> dict[str, NDArray[Any]]:
    """What a file holds of probabilities and their decisions."""
    if not bounded:
        return {
            f"{prefix}probs": np.ascontiguousarray(probs),
            f"{prefix}given": decided.given.astype(np.uint8),
            f"{prefix}review": decided.review.astype(np.uint8),
        }
    return {
        **bounded_probs(probs, f"{prefix}probs"),
        **bounded_marks(decided.given, f"{prefix}given"),
        **bounded_marks(decided.review, f"{prefix}review"),
        "n_classes": np.array([probs.shape[1]], np.int64),
    }


def _read(arrays: Mapping[str, NDArray[Any]], prefix: str) -> tuple[NDArray[np.floating], Decided]:
    """Read what `_written` gave."""
    names = [f"{prefix}{name}" for name in ("given", "review")]
    if "n_classes" not in arrays:
        return arrays[f"{prefix}probs"], Decided(*(arrays[n].astype(np.bool_) for n in names))
    k = int(arrays["n_classes"][0])
    decided = Decided(*(whole_marks(arrays, name, k) for name in names))
    return whole_probs(arrays, f"{prefix}probs", k), decided
