"""The one SQL schema, for SQLite and PostgreSQL alike.

Migrations in `migrations/` bring a database to exactly this; a test compares the two. Names follow
the glossary: a photo is a row per listing, a content is its bytes by sha256, and everything costly
hangs on the content.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from listlens.store.columns import (
    BY_KEY,
    ID,
    JSON_TEXT,
    NEVER_REUSED,
    id_column,
    metadata,
    moment,
    ref,
)

__all__ = ["metadata"]

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

source = Table(
    "source",
    metadata,
    id_column(),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("location", Text, nullable=False),
    moment("created_at"),
    **NEVER_REUSED,
)

ingest = Table(
    "ingest",
    metadata,
    id_column(),
    ref("source_id", "source"),
    moment("started_at"),
    moment("finished_at", nullable=True),
    Column("n_gone", Integer),
    Index(None, "source_id"),
    **NEVER_REUSED,
)

rejected_row = Table(
    "rejected_row",
    metadata,
    id_column(),
    ref("ingest_id", "ingest"),
    Column("at", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index(None, "ingest_id"),
)

listing = Table(
    "listing",
    metadata,
    id_column(),
    Column("external_id", Text, nullable=False, unique=True),
    Column("seller_id", Text, index=True),
    Column("attributes", JSON_TEXT),
    moment("created_at"),
    moment("updated_at"),
    **NEVER_REUSED,
)

content = Table(
    "content",
    metadata,
    id_column(),
    Column("sha256", LargeBinary(32), nullable=False, unique=True),
    Column("n_bytes", BigInteger, nullable=False),
    Column("format", Text),
    Column("width_px", Integer),
    Column("height_px", Integer),
    Column("measures", JSON_TEXT),
    Column("phash", BigInteger),  # 64 bits; the highest one is the sign
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text, nullable=False),
    moment("created_at"),
    **NEVER_REUSED,
)

photo = Table(
    "photo",
    metadata,
    id_column(),
    ref("source_id", "source"),
    ref("listing_id", "listing"),
    Column("photo_key", Text, nullable=False, index=True),
    Column("position", Integer),
    Column("location", Text, nullable=False, index=True),
    Column("size_bytes", BigInteger),
    Column("mtime_ns", BigInteger),
    ref("content_id", "content", nullable=True),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("row_hash", String(16), nullable=False),  # of what else the source's row said
    Column("etag", Text),  # of a photo behind a URL, to ask whether it is still the same
    Column("modified", Text),
    ref("last_ingest_id", "ingest"),
    moment("created_at"),
    moment("updated_at"),
    UniqueConstraint("source_id", "listing_id", "photo_key"),
    Index(None, "listing_id"),
    Index(None, "content_id"),
    **NEVER_REUSED,
)

# What a photo showed before its file changed: forgetting the photo must reach those bytes too.
former_content = Table(
    "former_content",
    metadata,
    ref("photo_id", "photo"),
    ref("content_id", "content"),
    PrimaryKeyConstraint("photo_id", "content_id"),
    Index(None, "content_id"),
    **BY_KEY,
)

space = Table(
    "space",
    metadata,
    id_column(),
    Column("key", Text, nullable=False, unique=True),  # EmbeddingSpace.id
    Column("backbone", Text, nullable=False),
    Column("weights_sha256", String(64), nullable=False),
    Column("preprocessing", Text, nullable=False),
    Column("engine", Text, nullable=False),
    Column("precision", Text, nullable=False),
    Column("dim", Integer, nullable=False),
    **NEVER_REUSED,
)

shard = Table(
    "shard",
    metadata,
    id_column(),
    ref("space_id", "space"),
    Column("file", Text, nullable=False, unique=True),  # relative to the vectors' folder
    Column("n_rows", Integer, nullable=False),
    moment("created_at"),
    Index(None, "space_id"),
    **NEVER_REUSED,
)

vector = Table(
    "vector",
    metadata,
    ref("space_id", "space"),
    ref("content_id", "content"),
    ref("shard_id", "shard"),
    Column("row", Integer, nullable=False),
    PrimaryKeyConstraint("space_id", "content_id"),
    Index(None, "content_id"),
    Index(None, "shard_id"),
    **BY_KEY,
)

task = Table(
    "task",
    metadata,
    id_column(),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    moment("created_at"),
    **NEVER_REUSED,
)

taxonomy = Table(
    "taxonomy",
    metadata,
    ref("task_id", "task"),
    Column("version", Integer, nullable=False),
    Column("change", Text, nullable=False),
    moment("created_at"),
    PrimaryKeyConstraint("task_id", "version"),
)

# Permanent: a class is closed (`until_version`), never deleted.
class_ = Table(
    "class",
    metadata,
    id_column(),
    ref("task_id", "task"),
    Column("name", Text, nullable=False),
    Column("aliases", JSON_TEXT, nullable=False),
    Column("description", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("since_version", Integer, nullable=False),
    Column("until_version", Integer),
    Index(None, "task_id"),
    **NEVER_REUSED,
)

class_map = Table(
    "class_map",
    metadata,
    id_column(),
    ref("task_id", "task"),
    Column("version", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("from_ids", JSON_TEXT, nullable=False),
    Column("to_ids", JSON_TEXT, nullable=False),
    moment("created_at"),
    CheckConstraint("kind IN ('merge', 'split', 'move')", name="kind"),
    Index(None, "task_id"),
)

annotator = Table(
    "annotator",
    metadata,
    id_column(),
    Column("name", Text, nullable=False, unique=True),
    moment("created_at"),
    **NEVER_REUSED,
)

# Append-only. `about` names what an answer of the same annotator replaces: the photo, or the
# subject where no photo was named.
annotation = Table(
    "annotation",
    metadata,
    id_column(),
    ref("task_id", "task"),
    Column("about", Text, nullable=False),
    Column("subject_kind", Text, nullable=False),
    Column("subject_id", ID, nullable=False),
    Column("other_subject_id", ID),
    ref("photo_id", "photo", nullable=True),
    Column("answer", JSON_TEXT, nullable=False),
    ref("annotator_id", "annotator"),
    Column("given_split", Text),
    Column("given_group", Text),
    Column("at", Text, nullable=False),
    Column("taxonomy_version", Integer, nullable=False),
    moment("created_at"),
    CheckConstraint("subject_kind IN ('content', 'pair', 'listing')", name="subject_kind"),
    Index("ix_annotation_latest", "task_id", "about", "annotator_id", "id"),
    Index(None, "photo_id"),
    Index(None, "subject_id"),
    Index(None, "other_subject_id"),
    **NEVER_REUSED,
)

run = Table(
    "run",
    metadata,
    id_column(),
    ref("task_id", "task"),
    Column("config", JSON_TEXT, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    moment("started_at"),
    moment("finished_at", nullable=True),
    Column("result", JSON_TEXT),
    Index(None, "task_id"),
    **NEVER_REUSED,
)

model = Table(
    "model",
    metadata,
    id_column(),
    ref("task_id", "task"),
    Column("version", Integer, nullable=False),
    Column("folder", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    ref("space_id", "space"),
    Column("taxonomy_version", Integer, nullable=False),
    ref("run_id", "run", nullable=True),
    Column("stage", Text, nullable=False),
    Column("card", JSON_TEXT, nullable=False),
    moment("created_at"),
    Column("share", Float),  # of the contents that a candidate answers, above 0; NULL: none
    UniqueConstraint("task_id", "version"),
    # Whatever the code does, a task never has two models that answer.
    Index(
        "uq_model_live",
        "task_id",
        unique=True,
        sqlite_where=text("stage = 'live'"),
        postgresql_where=text("stage = 'live'"),
    ),
    **NEVER_REUSED,
)

# Every change of a model's stage, only ever added to; rollback reads its way back in it.
stage_change = Table(
    "stage_change",
    metadata,
    id_column(),
    ref("model_id", "model"),
    Column("action", Text, nullable=False),
    Column("from_stage", Text),
    Column("to_stage", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    moment("created_at"),
    Index(None, "model_id"),
    **NEVER_REUSED,
)

policy = Table(
    "policy",
    metadata,
    id_column(),
    ref("model_id", "model"),
    Column("version", Integer, nullable=False),
    Column("body", JSON_TEXT, nullable=False),
    moment("created_at"),
    UniqueConstraint("model_id", "version"),
    **NEVER_REUSED,
)

prediction = Table(
    "prediction",
    metadata,
    ref("model_id", "model"),
    ref("content_id", "content"),
    Column("probs", LargeBinary, nullable=False),
    moment("created_at"),
    Column("policy_version", Integer),  # of the model's policy in force then; NULL: it had none
    PrimaryKeyConstraint("model_id", "content_id"),
    Index(None, "content_id"),
    **BY_KEY,
)

# The text of a content. `words` is what is searched: all lines, in lower case.
reading = Table(
    "reading",
    metadata,
    Column("content_id", ID, ForeignKey("content.id"), primary_key=True, autoincrement=False),
    Column("reader", Text, nullable=False),  # another one, or another version, reads again
    Column("lines", JSON_TEXT, nullable=False),
    Column("measures", JSON_TEXT, nullable=False),
    Column("words", Text, nullable=False),
    moment("created_at"),
)

tombstone = Table(
    "tombstone",
    metadata,
    Column("kind", Text, nullable=False),
    Column("keyed_hash", LargeBinary(32), nullable=False),
    moment("created_at"),
    PrimaryKeyConstraint("kind", "keyed_hash"),
    **BY_KEY,
)

# Files (and log pages) still to be removed after their rows were: a kill in between is finished
# when the store is opened again.
pending_deletion = Table(
    "pending_deletion",
    metadata,
    id_column(),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    moment("created_at"),
    CheckConstraint("kind IN ('thumbnail', 'shard', 'file', 'log')", name="kind"),
)

import listlens.store.job_tables  # noqa: E402  the table of the jobs, registered
import listlens.store.stream_tables  # noqa: E402  the tables of the stream, registered
import listlens.store.topic_tables  # noqa: E402  those of brokers
import listlens.store.webhook_tables  # noqa: E402, F401  and those of the webhooks
