"""One event on its way through the worker, and what has been found out so far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from listlens.core.errors import PhotoError
from listlens.core.types import PhotoRow, Reason
from listlens.pipeline.events import PHOTO_ADDED, PHOTO_CHANGED, PHOTO_DELETED
from listlens.store.events import ALONE_AFTER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from listlens.store.contents import ContentRecord
    from listlens.store.event_rows import EventView

MOST_LOST = 10
"""Workers that may end with an event before its photo fails. It is alone in its worker from the
third on (`ALONE_AFTER`), so the last ones were its own doing. Of 20,000 events, while others killed
100 workers within minutes, two were in hand six times."""

AGAIN_S = 5.0
"""A worker that is to end when nothing is due waits so long for what it put off by itself."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that may pass: the event is tried again.

    Args:
        reason: machine-readable.
        detail: one sentence for a person.
        retry_after_s: how long it asks to wait at least.
        counts: whether it is one of the tries that an event has.
    """

    reason: Reason
    detail: str
    retry_after_s: float = 0.0
    counts: bool = True


DIED = Trouble(Reason.WORKER_DIED, f"{MOST_LOST} workers ended while they had this event")


@dataclass(slots=True, eq=False)
class Work:
    """An event that this worker leases.

    Args:
        event: as stored.
        location: where the photo is: its URL, or the path of its file.
        host: of the URL; empty for a file.
        data: the photo's bytes, while they are needed.
        lease: of their memory, where they are many.
        n_bytes: of the photo.
        sha256: of the bytes, once they are here.
        content_id: of bytes that the store knows.
        again: whether the store knew them and they are looked at for another network, or anew.
        record: what decoding found out about bytes that it does not know.
        thumbnail: of those, where it is kept.
        vectors: `EmbeddingSpace.id` to embedding, where the network looked just now.
        error: why the photo can never be used.
        trouble: why it cannot be used now.
        stale: whether a newer event of the photo was applied already.
        forgotten: whether it may not come in again, on request.
        embed_only: why it is looked at without being answered; empty where it is answered.
        trace: its span, where somebody traces.
        since_s: when it was leased, by the monotonic clock.
    """

    event: EventView
    location: str = ""
    host: str = ""
    data: bytes = b""
    lease: object | None = None
    n_bytes: int = 0
    sha256: str = ""
    content_id: int | None = None
    again: bool = False
    record: ContentRecord | None = None
    thumbnail: bytes | None = None
    vectors: dict[str, NDArray[np.float16]] = field(default_factory=dict)
    error: PhotoError | None = None
    trouble: Trouble | None = None
    stale: bool = False
    forgotten: bool = False
    embed_only: str = ""
    trace: Any = None
    since_s: float = 0.0

    def let_go(self) -> None:
        """Forget the bytes: somebody else has them, or nobody needs them."""
        self.data, self.lease = b"", None

    @property
    def shows_photo(self) -> bool:
        """Whether it says that there is a photo to look at."""
        return self.event.kind in (PHOTO_ADDED, PHOTO_CHANGED)

    @property
    def suspect(self) -> bool:
        """Whether it may be what ended workers: it is then worked on alone."""
        return self.event.lost >= ALONE_AFTER

    @property
    def deletes(self) -> bool:
        """Whether it says that a photo is gone."""
        return self.event.kind == PHOTO_DELETED

    @property
    def usable(self) -> bool:
        """Whether there is a photo that can be answered."""
        return self.shows_photo and not (self.error or self.trouble or self.stale or self.forgotten)

    def row(self, *, with_listing: bool = True) -> PhotoRow:
        """The photo as a row of its source, with what it says of its listing unless that is old."""
        body = self.event.body
        return PhotoRow(
            self.event.listing_id,
            self.event.photo_id,
            self.location or "unknown",
            body.get("position"),
            body.get("seller_id") if with_listing else None,
            body.get("attributes", {}) if with_listing else {},
            f"event {self.event.event_key}",
        )


def again_s(works: Iterable[Work]) -> float:
    """Seconds until those are tried again that wait for what is in hand, and not for others."""
    found = (work.trouble for work in works)
    return max(
        (t.retry_after_s for t in found if t and not t.counts and t.retry_after_s <= AGAIN_S),
        default=0.0,
    )


def given_up(works: Iterable[Work]) -> list[Work]:
    """Let photos fail that were too often with workers that ended.

    Returns:
        What ended a worker even then, or shows no photo: put it aside, and write nothing else.
    """
    lost = [work for work in works if work.event.lost >= MOST_LOST]
    for work in lost:
        if work.event.lost == MOST_LOST and work.shows_photo:  # stored and announced as others are
            work.error = PhotoError(DIED.reason, DIED.detail)
    return [work for work in lost if work.error is None]
