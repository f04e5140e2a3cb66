"""A copy of the database at one moment, and the files that its rows name."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.core.errors import InputError, StoreError
from listlens.store.database import Database, connect
from listlens.store.migrate import migrate
from listlens.store.schema import metadata, model, photo, shard, task
from listlens.store.stream_tables import event
from listlens.store.troubles import disk_error

ROWS = 2000
"""Moved at once from one database to another."""

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

    def copy(self, to: Path, keep: Callable[[list[str]], None]) -> None:
        """Write the database as it is at one moment (SQLite's online backup, in one step).

        Readers and the writer go on meanwhile; what they write is not in it. The writer waits only
        while `keep` runs: a file that rows name is there as long as nobody writes.

        Args:
            to: the file to write.
            keep: called once, with the vector files and model folders that rows of this moment
                name, relative to the project's folder.

        Raises:
            StoreError: it cannot be read whole.
            DiskFullError: no room.
        """
        try:
            with (
                closing(sqlite3.connect(self.path, timeout=30)) as source,
                closing(sqlite3.connect(to)) as target,
            ):
                with self._db.write():
                    source.execute("BEGIN")  # the moment: begun by its first reading
                    keep(_named_files(source))
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

    def fill(self, copied: Path) -> int:
        """Put every row of a copy into this database, which must be new; return how many.

        All of them, or none. Ids stay as they are, and none is ever given twice.

        Args:
            copied: a SQLite database of this version.

        Raises:
            InputError: there are photos, events or tasks in it already.
        """
        source = connect(f"sqlite:///{copied.name}", copied.parent, clock=self._db.clock)
        n_rows = 0
        try:
            migrate(source)
            with source.read() as reading, self._db.write() as writing:
                _require_new(writing)
                for table in reversed(metadata.sorted_tables):
                    writing.execute(sa.delete(table))
                for table in metadata.sorted_tables:
                    rows = reading.execution_options(yield_per=ROWS).execute(sa.select(table))
                    for part in rows.mappings().partitions(ROWS):
                        self._db.bulk(writing, sa.insert(table), [dict(row) for row in part])
                        n_rows += len(part)
                if not self._db.is_sqlite:
                    _continue_numbers(reading, writing)
        finally:
            source.close()
        return n_rows


def _require_new(connection: Connection) -> None:
    for table in (photo, event, task):
        if connection.execute(sa.select(table.c.id).limit(1)).first() is not None:
            raise InputError(
                f"the database holds rows already (table {table.name}). Name another one, or "
                "another schema: ?schema=NAME"
            )


def _continue_numbers(reading: Connection, writing: Connection) -> None:
    """Let PostgreSQL's numbers go on where SQLite's were, those of deleted rows passed over."""
    given = reading.execute(sa.text("SELECT name, seq FROM sqlite_sequence")).all()
    last = {row.name: int(row.seq) for row in given}
    for table in metadata.sorted_tables:
        number = table.c.get("id")
        if number is None or not number.autoincrement:
            continue
        highest = writing.execute(sa.select(sa.func.max(number))).scalar() or 0
        upto = max(highest, last.get(table.name, 0))
        if upto:
            name = sa.func.pg_get_serial_sequence(f'"{table.name}"', "id")
            writing.execute(sa.select(sa.func.setval(name, upto)))


def named_files(copied: Path) -> list[str]:
    """Return the vector files and model folders that rows of a copy name.

    Args:
        copied: a SQLite database.

    Returns:
        Paths relative to the project's folder.
    """
    with closing(sqlite3.connect(copied)) as connection:
        return _named_files(connection)


def _named_files(connection: sqlite3.Connection) -> list[str]:
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
