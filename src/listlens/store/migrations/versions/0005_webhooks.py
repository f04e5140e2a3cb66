"""Webhooks: who is told, what is tried again, and what was tried.

Revision ID: 0005
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables of endpoints, of parked deliveries and of the delivery log."""
    op.create_table(
        "webhook",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        *_texts("url", "name"),
        sa.Column("kinds", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("tasks", sa.JSON(none_as_null=True), nullable=False),
        *_texts("secret"),
        sa.Column("former_secret", sa.Text(), nullable=True),
        _moment("former_until"),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        *_texts("state"),
        sa.Column("failures", sa.Integer(), nullable=False),
        *_texts("detail"),
        sa.Column("owner", sa.Text(), nullable=True),
        *(_moment(name) for name in ("leased_until", "probe_at", "delivered_at")),
        _moment("created_at", nullable=False),
        sa.CheckConstraint("state IN ('active', 'disabled')", name=op.f("ck_webhook_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "webhook_parked",
        sa.Column("webhook_id", _ID, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _moment("first_at", nullable=False),
        _moment("next_at"),
        *_texts("detail"),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhook.id"], name=op.f("fk_webhook_parked_webhook_id")
        ),
        sa.PrimaryKeyConstraint("webhook_id", "position", name=op.f("pk_webhook_parked")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_webhook_parked_webhook_id_next_at"), "webhook_parked", ["webhook_id", "next_at"]
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("webhook_id", _ID, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        *_texts("outcome"),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("took_ms", sa.Integer(), nullable=False),
        *_texts("detail"),
        _moment("at", nullable=False),
        sa.CheckConstraint(
            "outcome IN ('delivered', 'retried', 'failed', 'dropped')",
            name=op.f("ck_webhook_delivery_outcome"),
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhook.id"], name=op.f("fk_webhook_delivery_webhook_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_webhook_delivery_webhook_id_id"), "webhook_delivery", ["webhook_id", "id"]
    )
    op.create_index(op.f("ix_webhook_delivery_at"), "webhook_delivery", ["at"])


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _moment(name: str, *, nullable: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)
