"""What was used of each source's budget, and sums over what came in, a day each.

Revision ID: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create both tables, empty: nothing is known of what came before."""
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "usage",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("period", sa.String(10), nullable=False),
        sa.Column("photos", sa.BigInteger(), nullable=False),
        sa.Column("core_s", sa.Float(), nullable=False),
        sa.Column("reached_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("source", "period", name=op.f("pk_usage")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "drift",
        sa.Column("model_id", whole, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("photos", sa.BigInteger(), nullable=False),
        sa.Column("sums", sa.LargeBinary(), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_drift_model_id")),
        sa.PrimaryKeyConstraint("model_id", "source", "day", name=op.f("pk_drift")),
        sqlite_with_rowid=False,
    )
