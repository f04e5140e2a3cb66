"""Bring a database to the schema of this version, once, whoever opens it first."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.core.errors import StoreError
from listlens.store.database import Database

HEAD = "0013"
"""Newest revision under `migrations/versions`; a test holds it equal to what Alembic finds."""

_LOCK = 0x6C697374  # "list": two processes that open a new PostgreSQL store take turns


def migrate(database: Database) -> None:
    """Create or upgrade the tables; an up-to-date store costs one query and no Alembic import.

    Raises:
        StoreError: written by a newer listlens, or not a database.
        StoreBusyError: another process is migrating for too long.
    """
    with database.read() as connection:
        if stored_revision(connection) == HEAD:
            return
    with database.write() as connection:
        if database.schema is not None:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            connection.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{database.schema}"')
        stored = stored_revision(connection)
        if stored != HEAD:
            _upgrade(connection, stored)


def stored_revision(connection: Connection) -> str | None:
    """Return the schema revision of the database, or None where there are no tables yet."""
    if connection.dialect.name == "sqlite":
        found = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
    else:
        found = "SELECT to_regclass('alembic_version')"
    if connection.exec_driver_sql(found).scalar() is None:
        return None
    value = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if value is None else str(value)


def _upgrade(connection: Connection, stored: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        if stored is not None:
            ScriptDirectory.from_config(config).get_revision(stored)
    except CommandError:
        raise StoreError(
            f"the store was written by a newer listlens (schema {stored}; this version knows "
            f"{HEAD}). Upgrade: pip install --upgrade listlens"
        ) from None
    command.upgrade(config, "head")
