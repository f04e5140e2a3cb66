"""What tables share: names, kinds of table, and columns of types that mean the same on SQLite and
PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, DateTime, Dialect, ForeignKey, Integer, MetaData
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


# An id is never given twice, not even after its row was forgotten: exports and models name ids.
NEVER_REUSED: dict[str, Any] = {"sqlite_autoincrement": True}
# Small rows found by their whole key: without a rowid they are stored once, in key order.
BY_KEY: dict[str, Any] = {"sqlite_with_rowid": False}


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
ID: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
JSON_TEXT = JSON(none_as_null=True)


def id_column() -> Column[Any]:
    """The row's own number."""
    return Column("id", ID, primary_key=True, autoincrement=True)


def ref(name: str, target: str, *, nullable: bool = False) -> Column[Any]:
    """The number of a row of another table."""
    return Column(name, ID, ForeignKey(f"{target}.id"), nullable=nullable)


def moment(name: str, *, nullable: bool = False) -> Column[Any]:
    """A moment, aware and in UTC."""
    return Column(name, UtcTime(), nullable=nullable)
