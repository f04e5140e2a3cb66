"""An index of the dead letters, which are few among all events and asked for often.

Revision ID: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create the index; it holds the dead letters alone."""
    dead = sa.text("state = 'dead'")
    columns = ["state", "id", "reason"]
    op.create_index("ix_event_dead", "event", columns, sqlite_where=dead, postgresql_where=dead)
