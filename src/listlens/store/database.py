"""One database, SQLite or PostgreSQL: connections, transactions, and errors in our words."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

from listlens.core.errors import (
    ConfigError,
    InputError,
    ListlensError,
    MissingExtraError,
)
from listlens.store.columns import UtcTime
from listlens.store.schema import metadata
from listlens.store.troubles import BUSY_TIMEOUT_S, disk_error, from_postgres, from_sqlite

T = TypeVar("T")
Clock = Callable[[], datetime]

CHUNK = 500
"""Keys per `IN (...)`: SQLite allowed 999 variables before 3.32, and pairs take two each."""

_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def utc_now() -> datetime:
    """Return this moment in UTC: the clock of every store that is not handed another."""
    return datetime.now(UTC)


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Cut items into lists of at most `size`.

    Example:
        >>> list(chunks("abcde", 2))
        [['a', 'b'], ['c', 'd'], ['e']]
    """
    block: list[T] = []
    for item in items:
        block.append(item)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


def to_json(value: Any) -> str:
    """Write JSON that both databases take: not-a-number becomes null, text is well-formed UTF-8."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
    return clean_text(text)


def _finite(value: Any) -> Any:
    """Replace what JSON has no word for (nan, inf) by None, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def clean_text(text: str) -> str:
    """Replace what PostgreSQL refuses in a text (NUL, lone surrogates) by a question mark."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "?").encode("utf-8", "replace").decode("utf-8")


def checked_id(text: str, what: str) -> str:
    """Return an id unchanged, or raise InputError where a database could not keep it exactly."""
    if "\0" in text or (not text.isascii() and clean_text(text) != text):
        raise InputError(
            f"{what} {text!r} holds a NUL or a lone surrogate, which no database keeps. "
            "Make it printable first (listlens.sources.paths)."
        )
    return text


class Database:
    """An engine with its rules. Built by `connect`.

    Args:
        url: as `connect` took it.
        engine: with every event attached.
        clock: returns the current moment, aware.
        schema: PostgreSQL schema of this project; None on SQLite.
    """

    def __init__(self, url: URL, engine: Engine, clock: Clock, schema: str | None) -> None:
        self.url = url
        self.engine = engine
        self.clock = clock
        self.schema = schema
        self._writer = engine.execution_options(listlens_write=True)
        self._open = threading.local()

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite; PostgreSQL otherwise."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one consistent state and changes nothing."""
        if (joined := self._joined()) is not None:
            yield joined
            return
        with self._our_errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection in one transaction: all of it is kept, or none.

        On SQLite it begins with `BEGIN IMMEDIATE`: a deferred transaction that reads, then writes,
        fails at once when another process wrote in between, however long it is ready to wait.
        """
        if (joined := self._joined()) is not None:
            yield joined
            return
        with self._our_errors(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def together(self) -> Iterator[Connection]:
        """Make one transaction of all that this thread reads and writes inside: all, or nothing.

        What `read` and `write` give inside is this connection, so every repository takes part.
        """
        if (joined := self._joined()) is not None:
            yield joined
            return
        with self.write() as connection:
            self._open.connection = connection
            try:
                yield connection
            finally:
                self._open.connection = None

    def _joined(self) -> Connection | None:
        """The transaction that this thread is in, if `together` opened one."""
        return getattr(self._open, "connection", None)

    def drop_traces(self) -> bool:
        """Remove deleted rows from the files: empty SQLite's log, vacuum PostgreSQL's tables.

        Returns:
            False where readers in other processes kept SQLite's log from being emptied.
        """
        with self._our_errors():
            if self.is_sqlite:
                raw = self.engine.raw_connection()
                try:
                    row = raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                finally:
                    raw.close()
                return bool(row[0] == 0)
            with self.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(
                    "VACUUM " + ", ".join(f'"{name}"' for name in metadata.tables)
                )
            return True

    def insert(self, table: Table) -> SqliteInsert:
        """Return an insert that knows `on_conflict_do_update` in this database's dialect."""
        if self.is_sqlite:
            return sqlite.insert(table)
        # The two have the same methods; one type keeps callers readable.
        return cast(SqliteInsert, postgresql.insert(table))

    def bulk(
        self, connection: Connection, statement: sa.Insert, rows: Sequence[dict[str, Any]]
    ) -> None:
        """Run an insert for many rows that have the same keys.

        SQLAlchemy's own `executemany` spends more time on each row's parameters than SQLite on
        the row; here the statement is compiled and its value conversions looked up once.
        """
        if not rows:
            return
        dialect = self.engine.dialect
        compiled = statement.compile(dialect=dialect, column_keys=list(rows[0]))
        convert = [
            (name, lru_cache(maxsize=64)(process) if isinstance(bind.type, UtcTime) else process)
            for name, bind in compiled.binds.items()
            if (process := bind.type.dialect_impl(dialect).bind_processor(dialect)) is not None
        ]
        ready = [dict(row) for row in rows]
        for row in ready:
            for name, process in convert:
                row[name] = process(row[name])
        if not self.is_sqlite:
            connection.exec_driver_sql(str(compiled), ready)
            return
        in_order = itemgetter(*(compiled.positiontup or ()))
        connection.exec_driver_sql(str(compiled), [in_order(row) for row in ready])

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        try:
            yield
        except ListlensError:
            raise
        except DBAPIError as error:
            raise self.translate(error) from error
        except OSError as error:
            raise disk_error(error) from error

    def translate(self, error: DBAPIError) -> Exception:
        """Return the error of ours that says what happened and what to do."""
        shown = self.url.render_as_string(hide_password=True)
        original = error.orig
        code = getattr(original, "sqlite_errorcode", None)
        if code is not None:
            return from_sqlite(int(code) & 0xFF, str(self.url.database), str(original))
        lost = isinstance(error, OperationalError | InterfaceError)
        return from_postgres(getattr(original, "sqlstate", None), shown, str(original), lost=lost)


def connect(url: str, root: Path, *, clock: Clock = utc_now) -> Database:
    """Prepare a database; nothing is opened yet.

    Args:
        url: ``sqlite:///listlens.db`` (relative to root) or
            ``postgresql+psycopg://user@host/database``; there, ``?schema=name`` names the
            project's own schema, by default ``listlens_`` and the name of the root folder.
        root: the project's folder.
        clock: returns the current moment, aware.

    Returns:
        The database.

    Raises:
        ConfigError: a URL that is neither of the two.
        MissingExtraError: PostgreSQL without psycopg.
    """
    try:
        parsed = sa.make_url(url)
    except ArgumentError:
        raise ConfigError(f"store URL {url!r} is not a URL. {_allowed()}") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        return _connect_sqlite(parsed, root, clock)
    if backend == "postgresql":
        return _connect_postgres(parsed, root, clock)
    raise ConfigError(
        f"store URL {parsed.render_as_string(hide_password=True)!r} cannot be used. {_allowed()}"
    )


def _allowed() -> str:
    return "Use 'sqlite:///listlens.db' or 'postgresql+psycopg://user@host/database'."


def _connect_sqlite(url: URL, root: Path, clock: Clock) -> Database:
    """Build the SQLite engine.

    In WAL mode `synchronous=NORMAL` loses nothing on kill -9, and on a power cut at most the last
    commits, never consistency (https://sqlite.org/pragma.html#pragma_synchronous): what is lost is
    computed again. `secure_delete` overwrites what is deleted, so forgotten text leaves no trace.
    """
    url = url.set(drivername="sqlite+pysqlite", database=str(root / str(url.database)))
    engine = sa.create_engine(
        url,
        json_serializer=to_json,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA cache_size = -32768")  # 32 MiB

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("listlens_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return Database(url, engine, clock, None)


def _write_ahead(connection: Any) -> None:
    """Switch to WAL; while another process switches too, SQLite fails without waiting, so we do."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except Exception as error:
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF in (5, 6)
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _connect_postgres(url: URL, root: Path, clock: Clock) -> Database:
    """Build the PostgreSQL engine; every connection looks into the project's schema only."""
    schema = str(url.query.get("schema") or default_schema(root))
    if not _SCHEMA_NAME.fullmatch(schema):
        raise ConfigError(
            f"PostgreSQL schema {schema!r} is not allowed: small letters, digits and _, at most "
            "63, not beginning with a digit. Set it by ?schema=name in the store URL."
        )
    url = url.difference_update_query(["schema"]).set(drivername="postgresql+psycopg")
    try:
        engine = sa.create_engine(url, json_serializer=to_json, pool_pre_ping=True)
    except ImportError as error:
        raise MissingExtraError("PostgreSQL", "postgres") from error

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.autocommit = True  # outside a transaction, or a rollback would undo it
        connection.execute(f'SET search_path TO "{schema}"')
        connection.autocommit = False

    return Database(url, engine, clock, schema)


def default_schema(root: Path) -> str:
    """Return the PostgreSQL schema of a project that names none: from its folder's name.

    Example:
        >>> default_schema(Path("/home/ann/My shop 2"))
        'listlens_my_shop_2'
    """
    slug = re.sub(r"[^a-z0-9]+", "_", root.resolve().name.lower()).strip("_")
    return f"listlens_{slug}"[:63].rstrip("_")
