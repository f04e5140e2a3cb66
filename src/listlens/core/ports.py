"""Ports: the few places where one thing can take another's place.

Adapters are checked by one contract suite each, in `tests/contracts`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from listlens.core.messages import Message, Outgoing
    from listlens.core.types import EmbeddingSpace, Preprocessing, SourceRow


class Source(Protocol):
    """Where photos and listings come from."""

    name: str
    """Identity of the source in the store: the same name again is the same source."""

    def rows(self) -> Iterator[SourceRow]:
        """Yield every photo, every listing, and a reason for every row that cannot be used.

        Streams: never holds the source in memory. Never raises for one bad row.
        """
        ...


class Backbone(Protocol):
    """Image to embedding. Frozen; the same pixels give the same numbers."""

    space: EmbeddingSpace
    preprocessing: Preprocessing

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Embed images `(n, size_px, size_px, 3)` uint8 RGB to `(n, dim)` float16.

        Any n from 0 up; batches inside. Rounded to float16 once, here, so that what is stored and
        what is computed on the fly are equal.
        """
        ...

    def feature_maps(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the last feature maps, `(n, dim, rows, columns)` float32, for heat-maps.

        Their mean over rows and columns is the embedding.
        """
        ...


class Vectors(Protocol):
    """Embeddings by content, in arrays. Kept beside the database, not in it."""

    def put(
        self, space: EmbeddingSpace, content_ids: Sequence[int], vectors: NDArray[np.float16]
    ) -> None:
        """Store `(n, dim)`; on disk before it returns. A content that has one keeps it."""
        ...

    def get(self, space: EmbeddingSpace, content_ids: Sequence[int]) -> NDArray[np.float16]:
        """Return `(n, dim)` in the order asked. Raises NotFoundError naming what is absent."""
        ...

    def scan(
        self, space: EmbeddingSpace
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
        """Yield all in blocks: ids `(n,)` and vectors `(n, dim)`; memory stays flat."""
        ...

    def missing(self, space: EmbeddingSpace, content_ids: Sequence[int]) -> list[int]:
        """Return those of `content_ids` without an embedding in this space, in order."""
        ...

    def delete(self, content_ids: Sequence[int]) -> int:
        """Remove these contents' embeddings from every space, bytes included; return how many."""
        ...

    def drop(self, space: EmbeddingSpace) -> int:
        """Remove all embeddings of one space, bytes included; return how many."""
        ...

    def compact(self) -> int:
        """Merge small shards, drop orphans and deleted rows; return bytes freed."""
        ...


class Inlet(Protocol):
    """Messages from a broker: at least once, and until they are acknowledged.

    Used by one thread. Whatever the broker does not answer raises BrokerError, which is Retryable;
    after one the inlet is of no more use: it is closed, and another opened.
    """

    def receive(self, most: int, wait_s: float) -> list[Message]:
        """Return 0 to `most` messages, as soon as there are any, after `wait_s` at the latest.

        They stay with this inlet until they are acknowledged or it is closed.
        """
        ...

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Tell the broker that these are dealt with, and need not come again.

        To be called after the commit of what came of them, with all that one `receive` returned.
        """
        ...

    def lag(self) -> int | None:
        """Return how many messages are not acknowledged yet; None where the broker cannot say."""
        ...

    def close(self) -> None:
        """End, and give back what was received and not acknowledged: it comes again at once.

        Never raises, since the broker may be gone.
        """
        ...


class Outlet(Protocol):
    """Messages to a broker. Used by one thread; raises BrokerError like an `Inlet`."""

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Send all, in order, and return once the broker has confirmed that it keeps each.

        Where it raises, any part of them may have been sent: they are sent again.
        """
        ...

    def close(self) -> None:
        """End. Never raises."""
        ...


class Positions(Protocol):
    """How far streams were read, by shard, for brokers that keep no account of their readers.

    Each shard is read by one at a time. The project's database has it, `store.positions`.
    """

    def see(self, stream: str, shards: Collection[str], first: str, later: str) -> dict[str, bool]:
        """Note shards: of a new stream at `first`, new ones of a known stream at `later`.

        Returns:
            Every shard that is noted, to whether it was read to its end.
        """
        ...

    def take(
        self, stream: str, owner: str, shards: Collection[str], lease_s: float
    ) -> dict[str, str]:
        """Lease a fair share of `shards`; return all that the owner has now, to its position."""
        ...

    def move(
        self, stream: str, owner: str, positions: Mapping[str, str], ended: Collection[str] = ()
    ) -> set[str]:
        """Note how far shards were read; return those that the owner has no more."""
        ...

    def drop(self, stream: str, shards: Collection[str]) -> None:
        """Forget shards that are there no more."""
        ...

    def release(self, stream: str, owner: str) -> None:
        """Give back every shard that an owner has."""
        ...

    def noted(self, stream: str) -> dict[str, tuple[str, bool]]:
        """Return every shard that is noted, with its position and whether it was read to its end;
        writes nothing."""
        ...
