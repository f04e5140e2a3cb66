"""How far streams were read by whoever reads them.

Revision ID: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create the table; a stream that was not read yet has no rows."""
    op.create_table(
        "stream_position",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("stream", "shard", "position")),
        sa.Column("ended", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("stream", "shard", name=op.f("pk_stream_position")),
        sqlite_with_rowid=False,
    )
