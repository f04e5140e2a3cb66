"""Listings: saved with their photos or alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.core.types import ListingRow, PhotoRow
from listlens.store.database import Database, checked_id, chunks
from listlens.store.schema import listing


def save_listings(
    database: Database,
    connection: Connection,
    rows: Sequence[PhotoRow | ListingRow],
    now: datetime,
) -> dict[str, int]:
    """Insert or update the listings of these rows.

    What a row leaves out (seller, attributes) stays as it is; of several rows the last one counts.

    Returns:
        Row ids by external id.
    """
    merged: dict[str, dict[str, Any]] = {}
    for row in rows:
        values = merged.get(row.listing_id)
        if values is None:
            values = merged[row.listing_id] = _new_listing(row.listing_id, now)
        if row.seller_id is not None:
            values["seller_id"] = checked_id(row.seller_id, "seller")
        if row.attributes:
            values["attributes"] = dict(row.attributes)
    insert = database.insert(listing)
    update = {
        "seller_id": sa.func.coalesce(insert.excluded.seller_id, listing.c.seller_id),
        "attributes": sa.func.coalesce(insert.excluded.attributes, listing.c.attributes),
        "updated_at": insert.excluded.updated_at,
    }
    upsert = insert.on_conflict_do_update(index_elements=["external_id"], set_=update)
    # In one order everywhere, so that two PostgreSQL writers cannot lock each other out.
    database.bulk(connection, upsert, [merged[key] for key in sorted(merged)])
    return listing_pks(connection, merged)


def listing_pks(connection: Connection, external_ids: Iterable[str]) -> dict[str, int]:
    """Return row ids by external id; absent ids have no key."""
    found: dict[str, int] = {}
    query = sa.select(listing.c.external_id, listing.c.id)
    for block in chunks(external_ids):
        rows = connection.execute(query.where(listing.c.external_id.in_(block)))
        found.update((name, pk) for name, pk in rows)
    return found


def _new_listing(listing_id: str, now: Any) -> dict[str, Any]:
    return {
        "external_id": checked_id(listing_id, "listing"),
        "seller_id": None,
        "attributes": None,
        "created_at": now,
        "updated_at": now,
    }
