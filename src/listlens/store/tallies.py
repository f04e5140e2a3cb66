"""Counts that outlive the rows they counted."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.store.database import Database
from listlens.store.stream_tables import tally


def add_to(database: Database, connection: Connection, counts: Mapping[str, int]) -> None:
    """Add to counts by name, in the caller's transaction; 0 takes the row's lock alone."""
    insert = database.insert(tally)
    update = insert.on_conflict_do_update(
        index_elements=["name"], set_={"n": tally.c.n + insert.excluded.n}
    )
    rows = [{"name": name, "n": counts[name]} for name in sorted(counts)]
    if rows:
        connection.execute(update, rows)


def read_all(connection: Connection) -> dict[str, int]:
    """Return every count by name."""
    return {row.name: row.n for row in connection.execute(sa.select(tally))}
