"""Contract suites run over SQLite and PostgreSQL alike."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from listlens.store.open import Store, open_store

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


@pytest.fixture
def new_database() -> Iterator[Callable[[str], str]]:
    """Return URLs of empty databases; PostgreSQL in random schemas, dropped afterwards."""
    schemas: list[str] = []

    def make(kind: str) -> str:
        if kind == "sqlite":
            return "sqlite:///listlens.db"
        url = _postgres_url()
        schemas.append(f"t_{uuid.uuid4().hex[:16]}")
        return f"{url}{'&' if '?' in url else '?'}schema={schemas[-1]}"

    yield make
    for schema in schemas:
        import psycopg

        url = _postgres_url().replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'.encode())


@pytest.fixture(params=DATABASES)
def store_url(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> str:
    """URL of an empty database of each kind."""
    return new_database(request.param)


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """A clock that starts at a fixed moment and goes a second further at every look."""
    moments = iter(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=i) for i in range(10**6))
    return lambda: next(moments)


@pytest.fixture
def store(store_url: str, tmp_path: Path, clock: Callable[[], datetime]) -> Iterator[Store]:
    """An empty store on each database."""
    with open_store(store_url, tmp_path / "shop", clock=clock) as opened:
        yield opened
