"""A copy of the database at one moment, and the files that its rows name."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from listlens.core.errors import StoreError
from listlens.store.database import Database
from listlens.store.schema import model, shard
from listlens.store.troubles import disk_error

VECTORS = "vectors"
"""Folder of the vector files, in the project's."""


class Snapshot:
    """Copies the database of a project while others work with it."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @property
    def is_sqlite(self) -> bool:
        """Whether there is a file to copy; on PostgreSQL its own tools do it."""
        return self._db.is_sqlite

    @property
    def path(self) -> Path:
        """The file of the database, on SQLite."""
        return Path(str(self._db.url.database))

    def copy(self, to: Path) -> None:
        """Write the database as it is at one moment (SQLite's online backup, in one step).

        Readers and the writer go on meanwhile; what they write is not in it.

        Raises:
            StoreError: it cannot be read whole.
            DiskFullError: no room.
        """
        try:
            with (
                closing(sqlite3.connect(self.path, timeout=30)) as source,
                closing(sqlite3.connect(to)) as target,
            ):
                source.backup(target, pages=-1)
                target.execute("PRAGMA journal_mode = DELETE")  # one file, without a log
        except sqlite3.Error as error:
            raise StoreError(f"{self.path} cannot be copied: {error}") from error
        except OSError as error:
            raise disk_error(error) from error

    def dump_line(self, to: str) -> str:
        """Return the command that dumps the project's schema, on PostgreSQL."""
        url = self._db.url.set(drivername="postgresql", password=None)
        return (
            f"pg_dump --format=custom --schema={self._db.schema} --file={to} "
            f"'{url.render_as_string()}'"
        )

    def named_files(self) -> list[str]:
        """Return the vector files and model folders that rows name now; see `named_files`."""
        with self._db.read() as connection:
            shards = connection.execute(sa.select(shard.c.file).order_by(shard.c.id)).scalars()
            named = [f"{VECTORS}/{file}" for file in shards]
            folders = connection.execute(sa.select(model.c.folder).order_by(model.c.id)).scalars()
            return named + [folder for folder in folders if folder]


def named_files(copied: Path) -> list[str]:
    """Return the vector files and model folders that rows of a copy name.

    Args:
        copied: a SQLite database.

    Returns:
        Paths relative to the project's folder.
    """
    with closing(sqlite3.connect(copied)) as connection:
        shards = connection.execute("SELECT file FROM shard ORDER BY id").fetchall()
        models = connection.execute("SELECT folder FROM model ORDER BY id").fetchall()
    return [f"{VECTORS}/{row[0]}" for row in shards] + [row[0] for row in models if row[0]]


def check_database(path: Path) -> None:
    """Raise StoreError where a file is no whole SQLite database."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        raise StoreError(f"the database in the backup is damaged: {said}")
