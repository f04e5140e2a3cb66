"""Opening, migrating and refusing, on SQLite and PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from listlens.core.errors import StoreError
from listlens.store.database import connect
from listlens.store.migrate import HEAD, stored_revision
from listlens.store.open import open_store
from listlens.store.schema import metadata


def test_the_migrated_database_equals_the_schema(store_url: str, tmp_path: Path) -> None:
    open_store(store_url, tmp_path).close()
    database = connect(store_url, tmp_path)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert stored_revision(connection) == HEAD
    database.close()


def test_opening_again_keeps_everything(store_url: str, tmp_path: Path) -> None:
    with open_store(store_url, tmp_path) as store:
        task = store.labels.add_task("room", "single", ["a"])
    with open_store(store_url, tmp_path) as store:
        assert store.labels.task("room") == task


def test_a_store_of_the_first_version_is_upgraded_and_keeps_what_it_holds(
    store_url: str, tmp_path: Path
) -> None:
    with open_store(store_url, tmp_path) as store:
        task = store.labels.add_task("room", "single", ["a"])
    database = connect(store_url, tmp_path)
    with database.write() as connection:
        webhooks = ("webhook_parked", "webhook_delivery", "webhook")
        for name in ("reading", "event", "latest", "outbox", "tally", "token", *webhooks):
            connection.execute(sa.text(f"DROP TABLE {name}"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    database.close()
    with open_store(store_url, tmp_path) as store:
        assert store.labels.task("room") == task
        assert store.readings.counts() == (0, 0)
        assert store.events.ledger().received == 0
        assert store.tokens.list() == store.webhooks.list() == ()


def test_a_store_of_a_newer_version_says_to_upgrade(store_url: str, tmp_path: Path) -> None:
    open_store(store_url, tmp_path).close()
    database = connect(store_url, tmp_path)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(StoreError, match=r"newer listlens \(schema 9999.*pip install --upgrade"):
        open_store(store_url, tmp_path)


def test_a_failed_write_keeps_nothing(store_url: str, tmp_path: Path) -> None:
    with open_store(store_url, tmp_path) as store:
        source = store.photos.source("s", "folder", "/")
    database = connect(store_url, tmp_path)
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute(sa.text("UPDATE source SET name = 'other'"))
        raise ZeroDivisionError
    database.close()
    with open_store(store_url, tmp_path) as store:
        assert store.photos.source("s", "folder", "/") == source
