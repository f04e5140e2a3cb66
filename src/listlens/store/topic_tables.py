"""The table of topics at brokers: what came of each, and up to where it was told."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, PrimaryKeyConstraint, Table, Text

from listlens.store.columns import BY_KEY, metadata, moment

# A topic is named by its address without user, password and options. `cursor` is the position in
# the outbox up to which a broker has confirmed everything; one process at a time moves it.
topic = Table(
    "topic",
    metadata,
    Column("name", Text, nullable=False),
    Column("way", Text, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("owner", Text),
    moment("leased_until", nullable=True),
    Column("n", BigInteger, nullable=False),  # messages that came, or were sent
    Column("duplicates", BigInteger, nullable=False),
    Column("dead", BigInteger, nullable=False),
    Column("lag", BigInteger),  # messages that wait, where that is known
    Column("trouble", Text, nullable=False),  # what is wrong; empty where nothing is
    moment("told_at"),
    # Announcements that were removed because of their age before this topic was told of them.
    Column("lost", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("way IN ('in', 'out')", name="way"),
    PrimaryKeyConstraint("name", "way"),
    **BY_KEY,
)
