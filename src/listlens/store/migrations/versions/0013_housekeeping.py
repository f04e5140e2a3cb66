"""Indexes that the ledger counts by, and what a topic missed because its broker failed for long.

Revision ID: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Create the indexes and the column; an older version leaves the column at 0."""
    done = sa.text("state = 'done'")
    columns = ["state", "outcome"]
    op.create_index("ix_event_done", "event", columns, sqlite_where=done, postgresql_where=done)
    put_off = sa.text("state = 'waiting' AND reason IS NOT NULL")
    op.create_index(
        "ix_event_put_off",
        "event",
        ["state", "reason"],
        sqlite_where=put_off,
        postgresql_where=put_off,
    )
    op.add_column("topic", sa.Column("lost", sa.BigInteger(), nullable=False, server_default="0"))
