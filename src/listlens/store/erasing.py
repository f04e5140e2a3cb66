"""What to erase, and how: the statements of forgetting, each in its caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.store.by_keys import among
from listlens.store.database import Database, chunks
from listlens.store.listings import listing_pks
from listlens.store.mentions import Mentions
from listlens.store.schema import (
    annotation,
    content,
    former_content,
    listing,
    photo,
    rejected_row,
)
from listlens.store.stream_tables import event, latest, outbox
from listlens.store.tallies import add_to

What = Literal["listing", "photo", "seller", "annotator"]


def listings_named(connection: Connection, what: What, name: str) -> dict[int, str]:
    """Return the listings that go, external id by row id."""
    if what == "photo":
        return {}
    column = listing.c.external_id if what == "listing" else listing.c.seller_id
    query = sa.select(listing.c.id, listing.c.external_id).where(column == name)
    return {row.id: row.external_id for row in connection.execute(query)}


def photos_named(
    connection: Connection,
    what: What,
    name: str,
    in_listing: str | None,
    listings: dict[int, str],
) -> list[tuple[int, str, str]]:
    """Return the photos that go: (photo_pk, listing_id, photo_id), of every source."""
    query = sa.select(photo.c.id, listing.c.external_id, photo.c.photo_key).join(
        listing, photo.c.listing_id == listing.c.id
    )
    if what == "photo":
        query = query.where(photo.c.photo_key == name)
        if in_listing is not None:
            query = query.where(listing.c.external_id == in_listing)
        return [(row[0], row[1], row[2]) for row in connection.execute(query)]
    return [
        (row[0], row[1], row[2])
        for block in chunks(listings)
        for row in connection.execute(query.where(photo.c.listing_id.in_(block)))
    ]


def photos_of_source(
    connection: Connection, source_id: int, keys: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    """Return the rows of a source's photos by (listing_id, photo_id); absent ones have no key."""
    named = list(dict.fromkeys(keys))
    listings = listing_pks(connection, dict.fromkeys(listing_id for listing_id, _ in named))
    by_pair = {(listings[key[0]], key[1]): key for key in named if key[0] in listings}
    pair = (photo.c.listing_id, photo.c.photo_key)
    query = sa.select(photo.c.id, *pair).where(photo.c.source_id == source_id)
    return {
        by_pair[row.listing_id, row.photo_key]: row.id
        for block in chunks(by_pair)
        for row in connection.execute(query.where(among(connection, pair, block)))
    }


def contents_of(connection: Connection, photo_pks: Sequence[int]) -> list[int]:
    """Return the contents that photos show or showed."""
    found: set[int] = set()
    for block in chunks(photo_pks):
        now = sa.select(photo.c.content_id).where(photo.c.id.in_(block))
        then = sa.select(former_content.c.content_id).where(former_content.c.photo_id.in_(block))
        found.update(connection.execute(now.where(photo.c.content_id.is_not(None))).scalars())
        found.update(connection.execute(then).scalars())
    return sorted(found)


def unused_contents(connection: Connection, contents: Sequence[int]) -> list[int]:
    """Return those contents that no photo shows or showed any more."""
    found: list[int] = []
    shown = sa.exists().where(photo.c.content_id == content.c.id)
    showed = sa.exists().where(former_content.c.content_id == content.c.id)
    for block in chunks(contents):
        query = sa.select(content.c.id).where(content.c.id.in_(block), ~shown, ~showed)
        found.extend(connection.execute(query).scalars())
    return sorted(found)


def delete_where(
    connection: Connection, table: sa.Table, column: Any, values: Sequence[Any], *also: Any
) -> int:
    """Delete rows whose column is one of the values; return how many."""
    return sum(
        connection.execute(sa.delete(table).where(column.in_(block), *also)).rowcount
        for block in chunks(values)
    )


def delete_about_listings(connection: Connection, listing_pks: Sequence[int]) -> int:
    about = annotation.c.subject_kind == "listing"
    return delete_where(connection, annotation, annotation.c.subject_id, listing_pks, about)


def forget_events(
    database: Database,
    connection: Connection,
    listings: Sequence[str],
    photos: Sequence[tuple[str, str]],
) -> None:
    """Delete what came in or was announced of listings and of single photos; count it on."""
    n_events = 0
    for table in (event, outbox, latest):
        n = delete_where(connection, table, table.c.listing_id, listings)
        key = (table.c.listing_id, table.c.photo_id)
        for block in chunks(photos):
            these = among(connection, key, block)
            n += connection.execute(sa.delete(table).where(these)).rowcount
        n_events += n if table is event else 0
    if n_events:
        add_to(database, connection, {"forgotten": n_events})


def forget_rejected(
    connection: Connection, name: str, listings: Iterable[str], photos: Iterable[tuple[str, str]]
) -> None:
    """Delete rejected rows that name what is forgotten; the next run notes them anew."""
    mentions = Mentions({name, *listings, *(key for _, key in photos)})
    query = sa.select(rejected_row.c.id, rejected_row.c.at, rejected_row.c.detail)
    named = [
        row.id
        for row in connection.execute(query)
        if mentions.within(row.at) or mentions.within(row.detail)
    ]
    delete_where(connection, rejected_row, rejected_row.c.id, named)
