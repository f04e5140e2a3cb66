"""The one SQL schema, for SQLite and PostgreSQL alike.

Migrations in `migrations/` bring a database to exactly this; a test compares the two. Names follow
the glossary: a photo is a row per listing, a content is its bytes by sha256, and everything costly
hangs on the content.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class UtcTime(TypeDecorator[datetime]):
    """A moment, always aware and in UTC; SQLite keeps no zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; a moment without a zone is a mistake of ours."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a moment needs a time zone: {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite numbers rows by its 64-bit INTEGER PRIMARY KEY only if the type is spelled INTEGER.
_ID: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
_JSON = JSON(none_as_null=True)


def _id() -> Column[Any]:
    return Column("id", _ID, primary_key=True, autoincrement=True)


def _ref(name: str, target: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, _ID, ForeignKey(f"{target}.id"), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, UtcTime(), nullable=nullable)


# An id is never given twice, not even after its row was forgotten: exports and models name ids.
_NEVER_REUSED: dict[str, Any] = {"sqlite_autoincrement": True}
# Small rows found by their whole key: without a rowid they are stored once, in key order.
_BY_KEY: dict[str, Any] = {"sqlite_with_rowid": False}

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

source = Table(
    "source",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("location", Text, nullable=False),
    _moment("created_at"),
    **_NEVER_REUSED,
)

ingest = Table(
    "ingest",
    metadata,
    _id(),
    _ref("source_id", "source"),
    _moment("started_at"),
    _moment("finished_at", nullable=True),
    Column("n_gone", Integer),
    Index(None, "source_id"),
    **_NEVER_REUSED,
)

rejected_row = Table(
    "rejected_row",
    metadata,
    _id(),
    _ref("ingest_id", "ingest"),
    Column("at", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index(None, "ingest_id"),
)

listing = Table(
    "listing",
    metadata,
    _id(),
    Column("external_id", Text, nullable=False, unique=True),
    Column("seller_id", Text, index=True),
    Column("attributes", _JSON),
    _moment("created_at"),
    _moment("updated_at"),
    **_NEVER_REUSED,
)

content = Table(
    "content",
    metadata,
    _id(),
    Column("sha256", LargeBinary(32), nullable=False, unique=True),
    Column("n_bytes", BigInteger, nullable=False),
    Column("format", Text),
    Column("width_px", Integer),
    Column("height_px", Integer),
    Column("measures", _JSON),
    Column("phash", BigInteger),  # 64 bits; the highest one is the sign
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text, nullable=False),
    _moment("created_at"),
    **_NEVER_REUSED,
)

photo = Table(
    "photo",
    metadata,
    _id(),
    _ref("source_id", "source"),
    _ref("listing_id", "listing"),
    Column("photo_key", Text, nullable=False, index=True),
    Column("position", Integer),
    Column("location", Text, nullable=False, index=True),
    Column("size_bytes", BigInteger),
    Column("mtime_ns", BigInteger),
    _ref("content_id", "content", nullable=True),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("row_hash", String(16), nullable=False),  # of what else the source's row said
    _ref("last_ingest_id", "ingest"),
    _moment("created_at"),
    _moment("updated_at"),
    UniqueConstraint("source_id", "listing_id", "photo_key"),
    Index(None, "listing_id"),
    Index(None, "content_id"),
    **_NEVER_REUSED,
)

# What a photo showed before its file changed: forgetting the photo must reach those bytes too.
former_content = Table(
    "former_content",
    metadata,
    _ref("photo_id", "photo"),
    _ref("content_id", "content"),
    PrimaryKeyConstraint("photo_id", "content_id"),
    Index(None, "content_id"),
    **_BY_KEY,
)

space = Table(
    "space",
    metadata,
    _id(),
    Column("key", Text, nullable=False, unique=True),  # EmbeddingSpace.id
    Column("backbone", Text, nullable=False),
    Column("weights_sha256", String(64), nullable=False),
    Column("preprocessing", Text, nullable=False),
    Column("engine", Text, nullable=False),
    Column("precision", Text, nullable=False),
    Column("dim", Integer, nullable=False),
    **_NEVER_REUSED,
)

shard = Table(
    "shard",
    metadata,
    _id(),
    _ref("space_id", "space"),
    Column("file", Text, nullable=False, unique=True),  # relative to the vectors' folder
    Column("n_rows", Integer, nullable=False),
    _moment("created_at"),
    Index(None, "space_id"),
    **_NEVER_REUSED,
)

vector = Table(
    "vector",
    metadata,
    _ref("space_id", "space"),
    _ref("content_id", "content"),
    _ref("shard_id", "shard"),
    Column("row", Integer, nullable=False),
    PrimaryKeyConstraint("space_id", "content_id"),
    Index(None, "content_id"),
    Index(None, "shard_id"),
    **_BY_KEY,
)

task = Table(
    "task",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    _moment("created_at"),
    **_NEVER_REUSED,
)

taxonomy = Table(
    "taxonomy",
    metadata,
    _ref("task_id", "task"),
    Column("version", Integer, nullable=False),
    Column("change", Text, nullable=False),
    _moment("created_at"),
    PrimaryKeyConstraint("task_id", "version"),
)

# Permanent: a class is closed (`until_version`), never deleted.
class_ = Table(
    "class",
    metadata,
    _id(),
    _ref("task_id", "task"),
    Column("name", Text, nullable=False),
    Column("aliases", _JSON, nullable=False),
    Column("description", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("since_version", Integer, nullable=False),
    Column("until_version", Integer),
    Index(None, "task_id"),
    **_NEVER_REUSED,
)

class_map = Table(
    "class_map",
    metadata,
    _id(),
    _ref("task_id", "task"),
    Column("version", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("from_ids", _JSON, nullable=False),
    Column("to_ids", _JSON, nullable=False),
    _moment("created_at"),
    CheckConstraint("kind IN ('merge', 'split', 'move')", name="kind"),
    Index(None, "task_id"),
)

annotator = Table(
    "annotator",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    _moment("created_at"),
    **_NEVER_REUSED,
)

# Append-only. `about` names what an answer of the same annotator replaces: the photo, or the
# subject where no photo was named.
annotation = Table(
    "annotation",
    metadata,
    _id(),
    _ref("task_id", "task"),
    Column("about", Text, nullable=False),
    Column("subject_kind", Text, nullable=False),
    Column("subject_id", _ID, nullable=False),
    Column("other_subject_id", _ID),
    _ref("photo_id", "photo", nullable=True),
    Column("answer", _JSON, nullable=False),
    _ref("annotator_id", "annotator"),
    Column("given_split", Text),
    Column("given_group", Text),
    Column("at", Text, nullable=False),
    Column("taxonomy_version", Integer, nullable=False),
    _moment("created_at"),
    CheckConstraint("subject_kind IN ('content', 'pair', 'listing')", name="subject_kind"),
    Index("ix_annotation_latest", "task_id", "about", "annotator_id", "id"),
    Index(None, "photo_id"),
    Index(None, "subject_id"),
    Index(None, "other_subject_id"),
    **_NEVER_REUSED,
)

run = Table(
    "run",
    metadata,
    _id(),
    _ref("task_id", "task"),
    Column("config", _JSON, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    _moment("started_at"),
    _moment("finished_at", nullable=True),
    Column("result", _JSON),
    Index(None, "task_id"),
    **_NEVER_REUSED,
)

model = Table(
    "model",
    metadata,
    _id(),
    _ref("task_id", "task"),
    Column("version", Integer, nullable=False),
    Column("folder", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    _ref("space_id", "space"),
    Column("taxonomy_version", Integer, nullable=False),
    _ref("run_id", "run", nullable=True),
    Column("stage", Text, nullable=False),
    Column("card", _JSON, nullable=False),
    _moment("created_at"),
    UniqueConstraint("task_id", "version"),
    **_NEVER_REUSED,
)

policy = Table(
    "policy",
    metadata,
    _id(),
    _ref("model_id", "model"),
    Column("version", Integer, nullable=False),
    Column("body", _JSON, nullable=False),
    _moment("created_at"),
    UniqueConstraint("model_id", "version"),
    **_NEVER_REUSED,
)

prediction = Table(
    "prediction",
    metadata,
    _ref("model_id", "model"),
    _ref("content_id", "content"),
    Column("probs", LargeBinary, nullable=False),
    _moment("created_at"),
    PrimaryKeyConstraint("model_id", "content_id"),
    Index(None, "content_id"),
    **_BY_KEY,
)

tombstone = Table(
    "tombstone",
    metadata,
    Column("kind", Text, nullable=False),
    Column("keyed_hash", LargeBinary(32), nullable=False),
    _moment("created_at"),
    PrimaryKeyConstraint("kind", "keyed_hash"),
    **_BY_KEY,
)

# Files (and log pages) still to be removed after their rows were: a kill in between is finished
# when the store is opened again.
pending_deletion = Table(
    "pending_deletion",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    _moment("created_at"),
    CheckConstraint("kind IN ('thumbnail', 'shard', 'file', 'log')", name="kind"),
)
