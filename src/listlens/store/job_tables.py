"""The table of the jobs: long work that one process at a time does."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, Table, Text

from listlens.store.columns import JSON_TEXT, NEVER_REUSED, id_column, metadata, moment

job = Table(
    "job",
    metadata,
    id_column(),
    Column("kind", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("asked", JSON_TEXT, nullable=False),
    Column("who", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("owner", Text),
    moment("leased_until", nullable=True),
    Column("cancelling", Integer, nullable=False),
    Column("starts", Integer, nullable=False),
    Column("step", Text, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("log", Text, nullable=False),  # its last lines
    Column("result", JSON_TEXT),
    Column("problem", JSON_TEXT),  # as RFC 9457 shapes it
    moment("created_at"),
    moment("started_at", nullable=True),
    moment("finished_at", nullable=True),
    CheckConstraint("state IN ('waiting', 'running', 'done', 'failed', 'cancelled')", name="state"),
    Index(None, "state", "id"),
    **NEVER_REUSED,
)
