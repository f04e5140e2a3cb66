"""Contract suites run over SQLite and PostgreSQL alike."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from listlens.store.database import connect
from listlens.store.open import Store, open_store
from listlens.store.schema import metadata

DEFAULT_POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432/test"


def _postgres_url() -> str:
    """Return the URL of a server that answers; skip without one, but fail in CI."""
    import psycopg

    url = os.environ.get("LISTLENS_TEST_POSTGRES", DEFAULT_POSTGRES)
    try:
        psycopg.connect(url.replace("+psycopg", ""), connect_timeout=3).close()
    except psycopg.OperationalError as error:
        message = f"no PostgreSQL at {url} (LISTLENS_TEST_POSTGRES): {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return url


DATABASES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


def _drop(url: str) -> None:
    import psycopg

    server, schema = url.replace("+psycopg", "").split("schema=")
    with psycopg.connect(server.rstrip("?&"), autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'.encode())


def _fresh_schema() -> str:
    url = _postgres_url()
    # Commits need not reach the disk: no test pulls the server's plug.
    quick = "options=-csynchronous_commit%3Doff"
    return f"{url}{'&' if '?' in url else '?'}{quick}&schema=t_{uuid.uuid4().hex[:16]}"


@pytest.fixture(scope="session")
def emptied_postgres() -> Iterator[Callable[[], str]]:
    """Return the URL of one migrated schema, emptied at every call: quicker than a new one."""
    made: list[str] = []

    def make() -> str:
        if not made:
            made.append(_fresh_schema())
            return made[0]
        database = connect(made[0], Path())
        with database.write() as connection:
            names = ", ".join(f'"{name}"' for name in metadata.tables)
            connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
        database.close()
        return made[0]

    yield make
    for url in made:
        _drop(url)


@pytest.fixture
def new_database(emptied_postgres: Callable[[], str]) -> Callable[[str], str]:
    """Return URLs of empty databases of a kind."""
    return lambda kind: "sqlite:///listlens.db" if kind == "sqlite" else emptied_postgres()


@pytest.fixture(params=DATABASES)
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a database of each kind that nobody has opened yet."""
    if request.param == "sqlite":
        yield "sqlite:///listlens.db"
        return
    url = _fresh_schema()
    yield url
    _drop(url)


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """A clock that starts at a fixed moment and goes a second further at every look."""
    moments = iter(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=i) for i in range(10**6))
    return lambda: next(moments)


@pytest.fixture(params=DATABASES)
def store(
    request: pytest.FixtureRequest,
    new_database: Callable[[str], str],
    tmp_path: Path,
    clock: Callable[[], datetime],
) -> Iterator[Store]:
    """An empty store on each database."""
    with open_store(new_database(request.param), tmp_path / "shop", clock=clock) as opened:
        yield opened
