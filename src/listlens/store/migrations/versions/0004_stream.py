"""The stream: events that came in, what was applied of them, and what is announced.

Revision ID: 0004
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the inbox, the order of events, the outbox and the counts."""
    op.create_table(
        "event",
        _number(),
        *_texts("event_key"),
        sa.Column("digest", sa.String(length=32), nullable=False),
        *_texts("kind"),
        sa.Column("priority", sa.Integer(), nullable=False),
        *_texts("source", "listing_id", "photo_id"),
        _moment("at"),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.JSON(none_as_null=True), nullable=False),
        *_texts("state"),
        _moment("next_at"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        *_texts("detail"),
        _moment("received_at"),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'leased', 'done', 'dead')", name=op.f("ck_event_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("event_key", name=op.f("uq_event_event_key")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_event_next", "event", ["state", "priority", "next_at", "id"])
    op.create_index(op.f("ix_event_listing_id_photo_id"), "event", ["listing_id", "photo_id"])
    op.create_table(
        "latest",
        *_texts("listing_id", "photo_id", "source"),
        _moment("at"),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Integer(), nullable=False),
        _moment("applied_at"),
        sa.PrimaryKeyConstraint("listing_id", "photo_id", "source", name=op.f("pk_latest")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_latest_deleted_applied_at"), "latest", ["deleted", "applied_at"])
    op.create_table(
        "outbox",
        _number(),
        *_texts("event_key", "kind"),
        sa.Column("tasks", sa.JSON(none_as_null=True), nullable=False),
        *_texts("listing_id", "photo_id"),
        sa.Column("body", sa.JSON(none_as_null=True), nullable=False),
        _moment("created_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("event_key", name=op.f("uq_outbox_event_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_outbox_listing_id_photo_id"), "outbox", ["listing_id", "photo_id"])
    op.create_index(op.f("ix_outbox_created_at"), "outbox", ["created_at"])
    op.create_table(
        "tally",
        *_texts("name"),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tally")),
        sqlite_with_rowid=False,
    )


def _number() -> sa.Column[Any]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("id", kind, autoincrement=True, nullable=False)


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _moment(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)
