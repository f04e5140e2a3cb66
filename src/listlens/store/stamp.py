"""One number that grows with every change of what answers: stages, policies, classes.

Servers and workers hold loaded models; they look at this number and load again only when it has
grown. It is one row that every changer locks until it commits, so a number once read covers all
changes up to it, which the largest id of a table would not on PostgreSQL.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.store.database import Database
from listlens.store.schema import meta

KEY = "answers_stamp"


def bump(database: Database, connection: Connection) -> None:
    """Let the number grow, in the transaction that changes what answers."""
    insert = database.insert(meta).values(key=KEY, value="1")
    grown = sa.cast(sa.cast(meta.c.value, sa.BigInteger) + 1, sa.Text)
    connection.execute(insert.on_conflict_do_update(index_elements=["key"], set_={"value": grown}))


def stamp(database: Database) -> int:
    """Return the number; 0 where nothing was changed yet."""
    with database.read() as connection:
        value = connection.execute(sa.select(meta.c.value).where(meta.c.key == KEY)).scalar()
    return int(value or 0)
