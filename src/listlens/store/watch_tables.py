"""Tables for those who watch: what was used of a budget, and what came in of late."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from listlens.store.columns import BY_KEY, metadata, moment, ref

# What was looked at for a source in a day (2026-11-26) and in a month (2026-11), a row each.
usage = Table(
    "usage",
    metadata,
    Column("source", Text, nullable=False),
    Column("period", String(10), nullable=False),
    Column("photos", BigInteger, nullable=False),
    Column("core_s", Float, nullable=False),  # thread seconds of decoding and networks
    moment("reached_at", nullable=True),  # when it was first seen to be at a cap
    PrimaryKeyConstraint("source", "period"),
    **BY_KEY,
)

# Sums over the photos of a source that a model answered in a day, in the order that the model's
# reference says: its photos are never read again to be compared with the training's.
drift = Table(
    "drift",
    metadata,
    ref("model_id", "model"),
    Column("source", Text, nullable=False),
    Column("day", String(10), nullable=False),
    Column("photos", BigInteger, nullable=False),
    Column("sums", LargeBinary, nullable=False),  # float64, little-endian
    moment("told_at", nullable=True),  # when an alert was given
    PrimaryKeyConstraint("model_id", "source", "day"),
    **BY_KEY,
)
