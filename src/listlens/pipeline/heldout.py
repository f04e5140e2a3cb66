"""The answers that training gave for photos it had not seen, kept beside the model.

What was reported can be computed again from them, also after labels were corrected.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from listlens.core.errors import ModelError
from listlens.learn.policies import Decided, answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from listlens.learn.recipe import Trained

FILE = "heldout.safetensors"


@dataclass(frozen=True)
class Heldout:
    """Held-out probabilities and decisions of the labelled photos.

    Args:
        photo_pks: `(n,)` int64, rows of the store.
        split: `(n,)` str: train, val or test; `new` where `extended` added the photo.
        probs: `(n, k)` float32, what a row's reported answer rests on: the model that saw train
            and val only for test rows, out-of-fold otherwise.
        decided: decisions of `probs`, `(n, k)`, under thresholds that were not chosen on the row.
        oof_probs: `(n, k)` float32, out-of-fold for every row.
        oof_decided: decisions of `oof_probs`, alike.
        own_split: whether a test split was given.
        counted: `(n,)`, the out-of-fold answer is by heads on the model's own embeddings. Not so
            for photos that a fine-tuned network learnt from: theirs is by heads on the frozen one,
            which shows doubtful labels, and is left out of what is scored. None: all.
    """

    photo_pks: NDArray[np.int64]
    split: NDArray[np.str_]
    probs: NDArray[np.float32]
    decided: Decided
    oof_probs: NDArray[np.float32]
    oof_decided: Decided
    own_split: bool
    counted: NDArray[np.bool_] | None = None

    @classmethod
    def from_trained(cls, trained: Trained, photo_pks: Sequence[int]) -> Heldout:
        """Take what a training held out, in the order of its training set."""
        test = np.isfinite(trained.test_probs[:, :1])
        probs = np.where(test, trained.test_probs, trained.oof_probs)
        # Test rows chose none of it.
        shipped = answers(probs, trained.policy, trained.kind, trained.classes)
        return cls(
            np.asarray(photo_pks, np.int64),
            trained.split,
            probs.astype(np.float32),
            shipped.where(test[:, 0], trained.oof_decided),
            trained.oof_probs,
            trained.oof_decided,
            trained.protocol == "own split",
        )

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

    def counts(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the out-of-fold answers of these rows count."""
        return np.ones(len(rows), np.bool_) if self.counted is None else self.counted[rows]

    @classmethod
    def of(cls, folder: Path) -> Heldout:
        """Read what `save` wrote.

        Raises:
            ModelError: the file is missing or damaged, or of a version without decisions.
        """
        from safetensors.numpy import load_file

        try:
            arrays = load_file(folder / FILE)
            if "given" not in arrays and "probs" in arrays:
                raise ModelError(
                    f"{folder / FILE} is of an older version, which kept no decisions: train the "
                    "task again, listlens train TASK"
                )
            split = arrays["split"].astype(np.uint8).view("S5").reshape(-1).astype("U5")
            return cls(
                arrays["photo_pks"],
                split,
                arrays["probs"],
                _decided(arrays, ""),
                arrays["oof_probs"],
                _decided(arrays, "oof_"),
                bool(arrays["own_split"][0]),
                arrays["counted"].astype(np.bool_) if "counted" in arrays else None,
            )
        except ModelError:
            raise
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise ModelError(f"{folder / FILE} is missing or damaged: {error}") from error
        except Exception as error:  # safetensors raises its own root for a damaged header
            raise ModelError(f"{folder / FILE} is damaged: {error}") from error

    def save(self, folder: Path) -> None:
        """Write one file into a model folder."""
        from safetensors.numpy import save

        split = np.frombuffer(self.split.astype("S5").tobytes(), np.uint8).copy()
        arrays = {
            "photo_pks": self.photo_pks,
            "split": split,
            "probs": np.ascontiguousarray(self.probs),
            "oof_probs": np.ascontiguousarray(self.oof_probs),
            "given": self.decided.given.astype(np.uint8),
            "review": self.decided.review.astype(np.uint8),
            "oof_given": self.oof_decided.given.astype(np.uint8),
            "oof_review": self.oof_decided.review.astype(np.uint8),
            "own_split": np.array([self.own_split], np.uint8),
        }
        if self.counted is not None:
            arrays["counted"] = self.counted.astype(np.uint8)
        (folder / FILE).write_bytes(save(arrays))

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
        added = decided.rows(new)
        split = np.full(int(new.sum()), "new", dtype="U5")
        return Heldout(
            np.concatenate([self.photo_pks, np.asarray(photo_pks, np.int64)[new]]),
            np.concatenate([self.split, split]),
            np.concatenate([self.probs, probs[new]]),
            self.decided.followed_by(added),
            np.concatenate([self.oof_probs, probs[new]]),
            self.oof_decided.followed_by(added),
            self.own_split,
            None if self.counted is None else np.concatenate([self.counted, split == "new"]),
        )

    def split_of(self, photo_pk: int) -> str | None:
        """The split of a photo, or None where it had no label."""
        row = self._rows.get(photo_pk)
        return None if row is None else str(self.split[row]) or None

    def probs_of(self, photo_pk: int) -> NDArray[np.float32] | None:
        """The held-out probabilities `(k,)` of a photo, or None."""
        row = self._rows.get(photo_pk)
        return None if row is None else self.probs[row]

    def decided_of(self, photo_pk: int) -> Decided | None:
        """The held-out decisions `(1, k)` of a photo, or None."""
        row = self._rows.get(photo_pk)
        return None if row is None else self.decided.rows(np.array([row]))


def _decided(arrays: dict[str, NDArray[np.uint8]], prefix: str) -> Decided:
    return Decided(*(arrays[prefix + name].astype(np.bool_) for name in ("given", "review")))
