"""Photos as rows: what goes in, what comes out, and how one becomes the other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from listlens.core.types import PhotoRow, Reason, Status
from listlens.store.database import checked_id, clean_text, to_json
from listlens.store.schema import content, listing, photo

Key = tuple[str, str]
"""A photo within a source: (listing_id, photo_id), both external."""


@dataclass(frozen=True, slots=True)
class KnownPhoto:
    """What the store knows of a photo before this run; enough to see whether anything changed."""

    photo_pk: int
    listing_id: str
    photo_id: str
    location: str
    size_bytes: int | None
    mtime_ns: int | None
    content_id: int | None
    status: Status
    reason: Reason | None
    position: int | None
    seller_id: str | None
    row_hash: str
    etag: str | None = None
    modified: str | None = None

    def says(self, row: PhotoRow) -> bool:
        """Whether the row tells nothing new, so that `touch` is enough if the file is unchanged."""
        return (
            self.location == row.location
            and self.position == row.position
            and self.row_hash == row_hash(row)
        )


@dataclass(frozen=True, slots=True)
class PhotoRecord:
    """A photo as this run found it.

    Args:
        row: as the source described it.
        size_bytes: of the file, or None where it could not be looked at.
        mtime_ns: of the file.
        content_id: from `Contents.save`, or None where no bytes were read.
        status: where it stands.
        reason: why it cannot be used, if so.
        detail: one sentence for a person.
        etag: that the photo's URL gave, to ask later whether it is still the same.
        modified: likewise, its Last-Modified.
    """

    row: PhotoRow
    size_bytes: int | None
    mtime_ns: int | None
    content_id: int | None
    status: Status
    reason: Reason | None = None
    detail: str = ""
    etag: str | None = None
    modified: str | None = None


@dataclass(frozen=True, slots=True)
class PhotoView:
    """A photo as stored, with the sha256 of its content."""

    photo_pk: int
    listing_id: str
    photo_id: str
    position: int | None
    location: str
    status: Status
    reason: Reason | None
    detail: str
    content_id: int | None
    sha256: str | None
    seller_id: str | None


def row_hash(row: PhotoRow) -> str:
    """Return 16 hex digits that change when the row's seller or any of its attributes does.

    Example:
        >>> one = PhotoRow("L1", "a.jpg", "/a.jpg", attributes={"price": 1, "rooms": 2})
        >>> two = PhotoRow("L1", "a.jpg", "/a.jpg", attributes={"rooms": 2, "price": 1})
        >>> row_hash(one) == row_hash(two)
        True
    """
    said = [row.seller_id, sorted(row.attributes.items())]
    return hashlib.sha256(to_json(said).encode()).hexdigest()[:16]


VIEW = (
    sa.select(
        photo.c.id,
        listing.c.external_id,
        photo.c.photo_key,
        photo.c.position,
        photo.c.location,
        photo.c.status,
        photo.c.reason,
        photo.c.detail,
        photo.c.content_id,
        content.c.sha256,
        listing.c.seller_id,
    )
    .join(listing, photo.c.listing_id == listing.c.id)
    .outerjoin(content, photo.c.content_id == content.c.id)
)


def to_view(row: Any) -> PhotoView:
    """Return a row of VIEW as a photo."""
    reason = Reason(row.reason) if row.reason else None
    sha256 = None if row.sha256 is None else bytes(row.sha256).hex()
    return PhotoView(
        row.id, row.external_id, row.photo_key, row.position, row.location, Status(row.status),
        reason, row.detail, row.content_id, sha256, row.seller_id,
    )  # fmt: skip


def to_values(
    record: PhotoRecord, source_id: int, ingest_id: int, listing_pk: int, now: Any
) -> dict[str, Any]:
    """Return the columns of a photo; InputError where an id cannot be kept."""
    row = record.row
    return {
        "source_id": source_id,
        "listing_id": listing_pk,
        "photo_key": checked_id(row.photo_id, "photo"),
        "position": row.position,
        "location": checked_id(row.location, "location"),
        "size_bytes": record.size_bytes,
        "mtime_ns": record.mtime_ns,
        "content_id": record.content_id,
        "status": record.status.value,
        "reason": None if record.reason is None else record.reason.value,
        "detail": clean_text(record.detail),
        "at": clean_text(row.at),
        "row_hash": row_hash(row),
        "etag": record.etag,
        "modified": record.modified,
        "last_ingest_id": ingest_id,
        "created_at": now,
        "updated_at": now,
    }


def to_known(row: Any) -> KnownPhoto:
    """Return what a row of photo, joined to its listing, says."""
    return KnownPhoto(
        row.id, row.external_id, row.photo_key, row.location, row.size_bytes, row.mtime_ns,
        row.content_id, Status(row.status), Reason(row.reason) if row.reason else None,
        row.position, row.seller_id, row.row_hash, row.etag, row.modified,
    )  # fmt: skip
