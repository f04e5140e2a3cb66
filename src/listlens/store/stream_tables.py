"""Tables of the stream: events on their way in, what was applied, and what is announced."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

from listlens.store.columns import BY_KEY, JSON_TEXT, NEVER_REUSED, id_column, metadata, moment

# Said with literals, as the indexes of these events do: else SQLite does not use those.
IS_DEAD = text("state = 'dead'")
IS_DONE = text("state = 'done'")
IS_PUT_OFF = text("state = 'waiting' AND reason IS NOT NULL")

# The durable inbox. `next_at` is when something may happen to a row by itself: one that waits is
# taken, a lease runs out, a done one is old enough to be pruned. So one index serves all three.
event = Table(
    "event",
    metadata,
    id_column(),
    Column("event_key", Text, nullable=False, unique=True),
    Column("digest", String(32), nullable=False),  # of what it said: a key used twice is noticed
    Column("kind", Text, nullable=False),  # empty: not understood, `body` holds what came
    Column("priority", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("listing_id", Text, nullable=False),
    Column("photo_id", Text, nullable=False),
    moment("at"),
    Column("sequence", BigInteger, nullable=False),
    Column("body", JSON_TEXT, nullable=False),
    Column("state", Text, nullable=False),
    moment("next_at"),
    Column("attempts", Integer, nullable=False),
    Column("lost", Integer, nullable=False),  # times its worker died with it
    Column("owner", Text),
    Column("outcome", Text),
    Column("reason", Text),
    Column("detail", Text, nullable=False),
    moment("received_at"),
    moment("finished_at", nullable=True),
    CheckConstraint("state IN ('waiting', 'leased', 'done', 'dead')", name="state"),
    Index("ix_event_next", "state", "priority", "next_at", "id"),
    Index(None, "listing_id", "photo_id"),
    # Dead letters are kept until somebody replays them, perhaps for years: listed by id, and
    # counted by reason.
    Index("ix_event_dead", "state", "id", "reason", sqlite_where=IS_DEAD, postgresql_where=IS_DEAD),
    # The ledger counts without reading a row: done ones by outcome, those that were put off by
    # reason. An event enters the first once, when it ends.
    Index("ix_event_done", "state", "outcome", sqlite_where=IS_DONE, postgresql_where=IS_DONE),
    Index(
        "ix_event_put_off", "state", "reason", sqlite_where=IS_PUT_OFF, postgresql_where=IS_PUT_OFF
    ),
    **NEVER_REUSED,
)

# The newest event of each photo (and of each listing, with an empty photo id) that was applied: an
# older one that arrives later changes nothing.
latest = Table(
    "latest",
    metadata,
    Column("listing_id", Text, nullable=False),
    Column("photo_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    moment("at"),
    Column("sequence", BigInteger, nullable=False),
    Column("deleted", Integer, nullable=False),
    moment("applied_at"),
    PrimaryKeyConstraint("listing_id", "photo_id", "source"),
    Index(None, "deleted", "applied_at"),
    **BY_KEY,
)

# What was announced, in the order of commits: a reader that remembers the last id misses nothing.
outbox = Table(
    "outbox",
    metadata,
    id_column(),
    Column("event_key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("tasks", JSON_TEXT, nullable=False),
    Column("listing_id", Text, nullable=False),
    Column("photo_id", Text, nullable=False),
    Column("body", JSON_TEXT, nullable=False),
    moment("created_at"),
    Index(None, "listing_id", "photo_id"),
    Index(None, "created_at"),
    **NEVER_REUSED,
)

# Counts that outlive the rows they counted.
tally = Table(
    "tally",
    metadata,
    Column("name", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
    **BY_KEY,
)
