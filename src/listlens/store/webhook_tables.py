"""Tables of the webhooks: who is told, what is tried again, and what was tried."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from listlens.store.columns import BY_KEY, ID, JSON_TEXT, NEVER_REUSED, id_column, metadata, moment

# `cursor` is the position in the outbox up to which everything was delivered or parked. The secret
# is kept as it is: signing needs it.
webhook = Table(
    "webhook",
    metadata,
    id_column(),
    Column("url", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kinds", JSON_TEXT, nullable=False),
    Column("tasks", JSON_TEXT, nullable=False),
    Column("secret", Text, nullable=False),
    Column("former_secret", Text),
    moment("former_until", nullable=True),
    Column("cursor", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("failures", Integer, nullable=False),  # in a row, since the last one that was taken
    Column("detail", Text, nullable=False),  # why it is disabled, or what failed last
    Column("owner", Text),
    moment("leased_until", nullable=True),
    moment("probe_at", nullable=True),  # when one more may be tried although many fail
    moment("delivered_at", nullable=True),
    moment("created_at"),
    CheckConstraint("state IN ('active', 'disabled')", name="state"),
    **NEVER_REUSED,
)

# What was tried and is to be tried again, or (without `next_at`) failed for good. It holds a
# position, not the event: what was forgotten meanwhile is gone from here too.
parked = Table(
    "webhook_parked",
    metadata,
    Column("webhook_id", ID, ForeignKey("webhook.id"), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    moment("first_at"),
    moment("next_at", nullable=True),
    Column("detail", Text, nullable=False),
    PrimaryKeyConstraint("webhook_id", "position"),
    Index(None, "webhook_id", "next_at"),
    **BY_KEY,
)

delivery = Table(
    "webhook_delivery",
    metadata,
    id_column(),
    Column("webhook_id", ID, ForeignKey("webhook.id"), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", Integer),  # HTTP, or none where nothing answered
    Column("took_ms", Integer, nullable=False),
    Column("detail", Text, nullable=False),
    moment("at"),
    CheckConstraint("outcome IN ('delivered', 'retried', 'failed', 'dropped')", name="outcome"),
    Index(None, "webhook_id", "id"),
    Index(None, "at"),
    **NEVER_REUSED,
)
