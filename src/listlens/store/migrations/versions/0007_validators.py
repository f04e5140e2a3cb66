"""What a photo's URL gave to ask later whether the photo is still the same.

Revision ID: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns; of photos ingested before they are empty, and asked for whole once."""
    for name in ("etag", "modified"):
        op.add_column("photo", sa.Column(name, sa.Text(), nullable=True))
