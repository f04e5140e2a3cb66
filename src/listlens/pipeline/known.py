"""What the store already knows of bytes that come in: why they are no photo, or their embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from listlens.core.errors import NotFoundError, PhotoError
from listlens.core.types import Status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from listlens.core.types import EmbeddingSpace
    from listlens.store.open import Store


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
