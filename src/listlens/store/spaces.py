"""Embedding spaces as rows: what must be equal for two embeddings to be compared."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.core.types import EmbeddingSpace
from listlens.store.database import Database
from listlens.store.schema import space


def space_pk(connection: Connection, wanted: EmbeddingSpace) -> int | None:
    """Return the row id of a space, or None where nothing was stored in it yet."""
    query = sa.select(space.c.id).where(space.c.key == wanted.id)
    return connection.execute(query).scalar()


def save_space(database: Database, connection: Connection, wanted: EmbeddingSpace) -> int:
    """Return the row id of a space, made if it is new."""
    found = space_pk(connection, wanted)
    if found is not None:
        return found
    row = {"key": wanted.id, **asdict(wanted)}
    connection.execute(database.insert(space).values(row).on_conflict_do_nothing())
    query = sa.select(space.c.id).where(space.c.key == wanted.id)
    return int(connection.execute(query).scalar_one())


def to_space(row: Any) -> EmbeddingSpace:
    """Return the space of a row that holds the columns of `schema.space`."""
    return EmbeddingSpace(
        backbone=row.backbone,
        weights_sha256=row.weights_sha256,
        preprocessing=row.preprocessing,
        engine=row.engine,
        precision=row.precision,
        dim=row.dim,
    )
