"""Rows of a source on their way into the store: what is known of them, and what is settled."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from listlens.core.types import PhotoRow, Reason, RejectedRow, Status
from listlens.sources.paths import real_path
from listlens.sources.urls import is_url
from listlens.store.photos import PhotoRecord

if TYPE_CHECKING:
    from listlens.core.errors import PhotoError
    from listlens.core.types import SourceRow
    from listlens.pipeline.contents import FileRead
    from listlens.store.contents import KnownContent
    from listlens.store.photos import KnownPhoto

MAX_ID_BYTES = 2000
"""PostgreSQL indexes keys of up to 2,704 bytes; a longer id is a wrong row, on every database."""

RETRIED = {Reason.TOO_MANY_PIXELS}
"""Failures that other limits would not have given: tried again, from the header alone.

What was too slow is not among them: it would cost its whole time again on every run.
"""


@dataclass(frozen=True, slots=True)
class Item:
    """A source row on its way: what is known of it, and its file's size and time."""

    row: PhotoRow
    known: KnownPhoto | None
    size_bytes: int | None
    mtime_ns: int | None
    etag: str | None = None
    modified: str | None = None

    @property
    def remote(self) -> bool:
        """Whether it lies behind a URL: then its host says whether it changed."""
        return is_url(self.row.location)

    @property
    def settled(self) -> bool:
        """Its content was settled before, and needs no other look."""
        return (
            self.known is not None
            and self.known.content_id is not None
            and self.known.reason not in RETRIED
        )

    @property
    def validators(self) -> tuple[str | None, str | None]:
        """What to ask its URL with, so that it sends nothing where nothing changed."""
        known = self.known
        if known is None or not self.settled or known.location != self.row.location:
            return None, None
        return known.etag, known.modified

    def fetched(self, read: FileRead) -> Item:
        """The same, with what its URL gave."""
        size = self.known.size_bytes if read.same and self.known else read.n_bytes
        return replace(self, size_bytes=size, etag=read.etag, modified=read.modified)

    @property
    def unchanged(self) -> bool:
        """Same row, same file by place, size and time, and its content was settled before."""
        return (
            self.known is not None
            and self.settled
            and not self.remote
            and self.known.says(self.row)
            and (self.known.size_bytes, self.known.mtime_ns) == (self.size_bytes, self.mtime_ns)
        )

    def record(self, content: KnownContent | None, error: PhotoError | None) -> PhotoRecord:
        """What to store of it: its file's content, or why the file could not be read."""
        file = (self.row, self.size_bytes, self.mtime_ns)
        if content is not None:
            return PhotoRecord(
                *file, content.content_id, content.status, content.reason, content.detail,
                self.etag, self.modified,
            )  # fmt: skip
        assert error is not None
        return PhotoRecord(*file, None, Status.FAILED, error.reason, error.detail)


def storable(row: SourceRow) -> SourceRow:
    """The row, or its rejection where an id is longer than a database can index."""
    if isinstance(row, RejectedRow):
        return row
    photo_id = row.photo_id if isinstance(row, PhotoRow) else ""
    for name in (row.listing_id, photo_id, row.seller_id or ""):
        if len(name) > MAX_ID_BYTES // 4 and len(name.encode()) > MAX_ID_BYTES:
            detail = f"the id {name[:40]!r}... is longer than {MAX_ID_BYTES:,} bytes"
            return RejectedRow(row.at[:MAX_ID_BYTES], Reason.BAD_ROW, detail)
    return row


def with_file(row: PhotoRow, known: KnownPhoto | None) -> Item:
    """Size and time of the file; a file that cannot be asked is settled when it is read."""
    if is_url(row.location):
        return Item(row, known, known.size_bytes if known else None, None)
    try:
        status = os.stat(real_path(row.location))
    except (OSError, ValueError):
        return Item(row, known, None, None)
    return Item(row, known, status.st_size, status.st_mtime_ns)
