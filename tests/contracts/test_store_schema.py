"""Opening, migrating and refusing, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from listlens.core.errors import StoreError
from listlens.store import migrate as migrations
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


def make_store_of(revision: str, store_url: str, root: Path, rows: Sequence[str]) -> None:
    """Make a database as an older version left it, and fill it."""
    config = Config()
    folder = Path(migrations.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    database = connect(store_url, root)
    with database.write() as connection:
        if database.schema is not None:
            connection.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{database.schema}"')
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for row in rows:
            connection.execute(sa.text(row))
    database.close()


BEFORE_RELEASES = {("0006", "model")}
"""A rule that was put on a table that others wrote already, before there was a release."""


def test_each_migration_only_adds_so_that_the_version_before_goes_on_with_it(
    tmp_path: Path,
) -> None:
    revisions = sorted(
        path.name[:4]
        for path in (Path(migrations.__file__).parent / "migrations" / "versions").glob("0*.py")
    )
    assert revisions[-1] == HEAD
    before: dict[str, Any] = {}
    for revision in revisions:
        make_store_of(revision, "sqlite:///listlens.db", tmp_path, [])
        after = shape(tmp_path)
        for table, (columns, unique) in before.items():
            known, told = after[table][0], f"{revision}: {table}"
            assert {name: known[name][:2] for name in columns} == {
                name: column[:2] for name, column in columns.items()
            }, told
            for name in known.keys() - columns.keys():
                _, needed, default = known[name]
                assert not needed or default, f"{told}.{name}: an older version leaves it out"
            if (revision, table) not in BEFORE_RELEASES:
                assert after[table][1] == unique, told
        before = after


def shape(root: Path) -> dict[str, tuple[dict[str, tuple[str, bool, Any]], set[str]]]:
    """Table to columns (type, needed, default), and to what must be unique in it."""
    database = connect("sqlite:///listlens.db", root)
    with database.read() as connection:
        found = sa.inspect(connection)
        shapes = {
            table: (
                {
                    c["name"]: (str(c["type"]), not c["nullable"], c["default"])
                    for c in found.get_columns(table)
                },
                {str(i["column_names"]) for i in found.get_indexes(table) if i["unique"]}
                | {str(u["column_names"]) for u in found.get_unique_constraints(table)},
            )
            for table in found.get_table_names()
        }
    database.close()
    return shapes


TASK = "INSERT INTO task (id, name, kind, created_at) VALUES ({0}, '{1}', 'single', '2026-01-01')"
TAXONOMY = (
    "INSERT INTO taxonomy (task_id, version, change, created_at) VALUES ({0}, 1, '', '2026-01-01')"
)
SPACE = (
    "INSERT INTO space (id, key, backbone, weights_sha256, preprocessing, engine, precision, dim) "
    "VALUES (1, 'tiny', 'tiny', '0', 'squash8', 'onnxruntime', 'f32', 4)"
)
MODEL = (
    "INSERT INTO model (id, task_id, version, folder, sha256, space_id, taxonomy_version, stage, "
    "card, created_at) VALUES ({0}, {1}, {2}, 'm', 'a', 1, 1, 'live', '{{}}', '2026-01-01')"
)


def test_a_store_of_the_first_version_is_upgraded_and_keeps_what_it_holds(
    store_url: str, tmp_path: Path
) -> None:
    rows = [TASK.format(1, "room"), TAXONOMY.format(1)]
    make_store_of("0001", store_url, tmp_path, rows)
    with open_store(store_url, tmp_path) as store:
        assert store.labels.task("room").taxonomy_version == 1
        assert store.readings.counts() == (0, 0)
        assert store.events.ledger().received == 0
        assert store.tokens.list() == store.webhooks.list() == ()


def test_models_of_a_store_without_stages_answer_as_they_did(
    store_url: str, tmp_path: Path
) -> None:
    tasks = [TASK.format(1, "room"), TASK.format(2, "view"), TAXONOMY.format(1), TAXONOMY.format(2)]
    models = [MODEL.format(i, *at) for i, at in enumerate([(1, 1), (2, 1), (1, 2), (1, 3)], 10)]
    make_store_of("0002", store_url, tmp_path, [*tasks, SPACE, *models])
    with open_store(store_url, tmp_path) as store:
        live = {task: store.models.live(task) for task in (1, 2)}
        assert {task: m and m.version for task, m in live.items()} == {1: 3, 2: 1}
        assert [m.stage for m in store.models.list(1)] == ["retired", "retired", "live"]
        told = [(c.version, c.action) for c in store.stages.history(1)]
        assert told == [(1, "registered"), (1, "superseded"), (2, "promoted"), (2, "superseded"),
                        (3, "promoted")]  # fmt: skip
        assert store.stages.rollback(1)[1].version == 2  # as if it had been promoted over
        assert [c.version for c in store.stages.history(2)] == [1]


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
