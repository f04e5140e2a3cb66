"""Marks of photos that were deleted long ago go, and with the last of a listing the listing.

A mark (a row of `latest`) makes that an event which comes late changes nothing. Once it is older
than events are kept it has done its work. A listing whose photos are all gone, and of which nobody
has said anything for as long, is not needed by anything either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.store.by_keys import among
from listlens.store.database import Database, chunks
from listlens.store.event_rows import EventState
from listlens.store.schema import annotation, listing, photo
from listlens.store.stream_tables import event, latest

AT_ONCE = 2000
"""Marks of one transaction."""

_KEY = (latest.c.listing_id, latest.c.photo_id, latest.c.source)


def prune_marks(database: Database, before: datetime, limit: int = AT_ONCE) -> int:
    """Remove up to `limit` marks of photos that were deleted before a moment; return how many.

    With the last mark of a listing that has no photo go what orders the events of the listing
    itself and its row, where nobody has annotated it. Where the listing was spoken of since, or
    an event of it is on its way, its last marks wait as long again.
    """
    now = database.clock()
    old = (latest.c.deleted == 1, latest.c.applied_at < before)
    with database.write() as connection:
        query = sa.select(*_KEY).where(*old).order_by(latest.c.applied_at).limit(limit)
        marks = [
            (row[0], row[1], row[2])
            for row in connection.execute(query.with_for_update(skip_locked=True))
        ]
        listings = sorted({mark[0] for mark in marks})
        empty = _without_photos(connection, listings, set(marks))
        spoken = _spoken_of(connection, empty, before)
        waiting = [mark for mark in marks if mark[0] in spoken]
        for block in chunks(waiting):
            later = sa.update(latest).where(among(connection, _KEY, block))
            connection.execute(later.values(applied_at=now))
        gone = [mark for mark in marks if mark[0] not in spoken]
        for block in chunks(gone):
            connection.execute(sa.delete(latest).where(among(connection, _KEY, block)))
        _remove_listings(connection, sorted(empty - spoken))
    return len(gone)


def _without_photos(
    connection: Connection, listings: Sequence[str], marks: set[tuple[str, str, str]]
) -> set[str]:
    """Return those listings of which nothing is known but these marks, and no photo."""
    left = set(listings)
    for block in chunks(listings):
        photos = sa.select(*_KEY).where(latest.c.listing_id.in_(block), latest.c.photo_id != "")
        left -= {row[0] for row in connection.execute(photos) if tuple(row) not in marks}
        # Whoever saves a photo holds its listing: wait for that, and look after it.
        held = sa.select(listing.c.id, listing.c.external_id).where(
            listing.c.external_id.in_(block)
        )
        held = held.order_by(listing.c.external_id).with_for_update()
        names = {row.id: row.external_id for row in connection.execute(held)}
        shown = sa.select(photo.c.listing_id).where(photo.c.listing_id.in_(sorted(names)))
        left -= {names[pk] for pk in connection.execute(shown.distinct()).scalars()}
    return left


def _spoken_of(connection: Connection, listings: Iterable[str], before: datetime) -> set[str]:
    """Return those listings that an event or a source has spoken of since, or is about to."""
    found: set[str] = set()
    waiting = event.c.state.in_((EventState.WAITING.value, EventState.LEASED.value))
    for block in chunks(sorted(listings)):
        for query in (
            sa.select(latest.c.listing_id).where(
                latest.c.listing_id.in_(block),
                latest.c.photo_id == "",
                latest.c.applied_at >= before,
            ),
            sa.select(listing.c.external_id).where(
                listing.c.external_id.in_(block), listing.c.updated_at >= before
            ),
            sa.select(event.c.listing_id).where(event.c.listing_id.in_(block), waiting),
        ):
            found |= set(connection.execute(query).scalars())
    return found


def _remove_listings(connection: Connection, listings: Sequence[str]) -> None:
    """Remove what orders the events of listings, and their rows where nobody annotated them."""
    about: Any = sa.select(annotation.c.id).where(
        annotation.c.subject_kind == "listing", annotation.c.subject_id == listing.c.id
    )
    for block in chunks(listings):
        of_listing = (latest.c.listing_id.in_(block), latest.c.photo_id == "")
        connection.execute(sa.delete(latest).where(*of_listing))
        alone = (listing.c.external_id.in_(block), ~about.exists())
        connection.execute(sa.delete(listing).where(*alone))
