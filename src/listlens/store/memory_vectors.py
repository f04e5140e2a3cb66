"""Embeddings in memory, and the checks that every adapter of the port makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.core.errors import InputError, NotFoundError
from listlens.core.types import EmbeddingSpace
from listlens.store.database import chunks

BLOCK = 8192
"""Embeddings per block of a scan: 21 MB of 1,280 numbers."""


class MemoryVectors:
    """The port `core.ports.Vectors` in memory, for tests and one-shot work without a store."""

    def __init__(self) -> None:
        self._spaces: dict[str, dict[int, NDArray[np.float16]]] = {}

    def put(
        self, space: EmbeddingSpace, content_ids: Sequence[int], vectors: NDArray[np.float16]
    ) -> None:
        """As the port says."""
        ids, array = checked_vectors(space, content_ids, vectors)
        held = self._spaces.setdefault(space.id, {})
        for pk, row in zip(ids, array, strict=True):
            held.setdefault(pk, row.copy())

    def get(self, space: EmbeddingSpace, content_ids: Sequence[int]) -> NDArray[np.float16]:
        """As the port says."""
        held = self._spaces.get(space.id, {})
        ids = [int(pk) for pk in content_ids]
        require_present(space, ids, held)
        return np.array([held[pk] for pk in ids], np.float16).reshape(len(ids), space.dim)

    def scan(
        self, space: EmbeddingSpace
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
        """As the port says."""
        for block in chunks(sorted(self._spaces.get(space.id, {})), BLOCK):
            yield np.array(block, np.int64), self.get(space, block)

    def missing(self, space: EmbeddingSpace, content_ids: Sequence[int]) -> list[int]:
        """As the port says."""
        held = self._spaces.get(space.id, {})
        return [int(pk) for pk in content_ids if int(pk) not in held]

    def delete(self, content_ids: Sequence[int]) -> int:
        """As the port says."""
        gone = {int(pk) for pk in content_ids}
        return sum(held.pop(pk, None) is not None for held in self._spaces.values() for pk in gone)

    def drop(self, space: EmbeddingSpace) -> int:
        """As the port says."""
        return len(self._spaces.pop(space.id, {}))

    def compact(self) -> int:
        """As the port says; there is nothing to free."""
        return 0


def checked_vectors(
    space: EmbeddingSpace, content_ids: Sequence[int], vectors: NDArray[np.float16]
) -> tuple[list[int], NDArray[np.float16]]:
    """Return ids and vectors, the first of an id given twice; InputError where they do not fit."""
    array = np.asarray(vectors)
    ids = [int(pk) for pk in content_ids]
    if array.dtype != np.float16 or array.shape != (len(ids), space.dim):
        raise InputError(
            f"embeddings of {len(ids)} contents in this space are float16 "
            f"{(len(ids), space.dim)}; got {array.dtype} {array.shape}"
        )
    first = {pk: at for at, pk in reversed(list(enumerate(ids)))}
    keep = sorted(first.values())
    return [ids[at] for at in keep], array[keep]


def require_present(space: EmbeddingSpace, ids: Sequence[int], found: Mapping[int, Any]) -> None:
    """Raise NotFoundError naming the contents that have no embedding."""
    absent = [pk for pk in ids if pk not in found]
    if absent:
        shown = ", ".join(map(str, absent[:10])) + (", ..." if len(absent) > 10 else "")
        raise NotFoundError(
            f"{len(absent)} of {len(ids)} contents have no embedding in {space.id}: {shown}. "
            "Embed them first (listlens ingest)."
        )
