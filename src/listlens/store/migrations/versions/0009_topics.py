"""Topics at brokers: what came of each, and up to where it was told.

Revision ID: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "topic",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("name", "way")),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        *(sa.Column(n, sa.BigInteger(), nullable=False) for n in ("n", "duplicates", "dead")),
        sa.Column("lag", sa.BigInteger(), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("way IN ('in', 'out')", name=op.f("ck_topic_way")),
        sa.PrimaryKeyConstraint("name", "way", name=op.f("pk_topic")),
        sqlite_with_rowid=False,
    )
