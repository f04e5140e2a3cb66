"""Rows by keys of several columns, found by an index on both databases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.store.database import to_json


def among(
    connection: Connection, columns: Sequence[sa.Column[Any]], keys: Iterable[Sequence[Any]]
) -> sa.ColumnElement[bool]:
    """Return the condition that columns of one table hold one of these keys.

    The keys travel as one JSON text: for a list of bound values SQLite (3.40) reads the whole
    table, and thousands of variables take longer to bind than to look up.

    Args:
        connection: that it is for.
        columns: those that an index begins with.
        keys: of each column a value, text or whole number, as the database keeps it.
    """
    text = sa.literal(to_json([list(key) for key in keys]), sa.Text)
    if connection.dialect.name == "sqlite":
        want = sa.func.json_each(text).table_valued("value", name="want")
        values = [sa.func.json_extract(want.c.value, f"$[{i}]") for i in range(len(columns))]
    else:
        want = sa.func.json_array_elements(sa.cast(text, sa.JSON)).table_valued(
            sa.column("value", sa.JSON), name="want"
        )
        values = [want.c.value[i].as_string() for i in range(len(columns))]
    typed = [sa.cast(one, column.type) for one, column in zip(values, columns, strict=True)]
    return sa.tuple_(*columns).in_(sa.select(*typed))
