"""What the store already knows of bytes that come in: why they are no photo, or their embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from listlens.core.errors import NotFoundError, PhotoError
from listlens.core.types import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.types import EmbeddingSpace
    from listlens.store.open import Store

MOST_REMEMBERED = 10_000_000
"""Contents remembered at 8 bytes each; a larger store is asked each time."""

_PAGE = 20_000


class Seen:
    """Which contents may be in a store, so that it need not be asked about all the others.

    Asking costs a tenth of what looking at a photo does, and most uploads are new. Remembers the
    first 8 bytes of each sha256: one new content in 10^12 is asked about in vain. `refresh` and
    `may_be` may be called from two threads.

    Args:
        store: whose contents.
        most: contents remembered at most.
    """

    def __init__(self, store: Store, most: int = MOST_REMEMBERED) -> None:
        self._store, self._most = store, most
        self._last_id = self._n = 0
        self._old: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._new: set[int] = set()
        self._whole = False

    def refresh(self) -> None:
        """Read what came since the last time; a new content counts from then on."""
        while self._n <= self._most:
            rows = self._store.contents.after(self._last_id, _PAGE)
            self._new.update(_prefix(sha) for _, sha in rows)
            self._n += len(rows)
            if rows:
                self._last_id = rows[-1][0]
            if len(self._new) > _PAGE:
                merged = np.fromiter(self._new, np.uint64, len(self._new))
                self._old, self._new = np.union1d(self._old, merged), set()
            if len(rows) < _PAGE:
                self._whole = True
                return
        self._whole = False
        self._old, self._new = np.empty(0, np.uint64), set()

    def may_be(self, sha256: str) -> bool:
        """Whether a content may be in the store; False is certain, up to the last refresh."""
        if not self._whole:
            return True
        new, old = self._new, self._old
        prefix = int(sha256[:16], 16)
        if prefix in new:
            return True
        at = int(np.searchsorted(old, np.uint64(prefix)))
        return at < len(old) and int(old[at]) == prefix


def _prefix(sha256: bytes) -> int:
    return int.from_bytes(sha256[:8], "big")


@dataclass(frozen=True)
class Known:
    """What is known of some bytes.

    Args:
        error: why they are no photo, where that is known.
        vectors: `EmbeddingSpace.id` to embedding `(dim,)` float16.
    """

    error: PhotoError | None = None
    vectors: dict[str, NDArray[np.float16]] = field(default_factory=dict)


def known_contents(
    store: Store, spaces: Sequence[EmbeddingSpace], sha256s: Sequence[str]
) -> dict[str, Known]:
    """Look bytes up by their sha256 (hex); those that the store has never seen have no key.

    One query where all are new, which is the usual case for uploads.
    """
    found = store.contents.lookup(sha256s)
    known = {
        sha: Known(PhotoError(one.reason, one.detail))
        for sha, one in found.items()
        if one.status is Status.FAILED and one.reason is not None
    }
    usable = {sha: one.content_id for sha, one in found.items() if one.status is Status.OK}
    known |= {sha: Known() for sha in usable}
    for space in spaces if usable else ():
        absent = set(store.vectors.missing(space, list(usable.values())))
        there = {sha: pk for sha, pk in usable.items() if pk not in absent}
        if not there:
            continue
        try:
            vectors = store.vectors.get(space, list(there.values()))
        except NotFoundError:  # forgotten between the two looks
            continue
        for sha, vector in zip(there, vectors, strict=True):
            known[sha].vectors[space.id] = vector
    return known
