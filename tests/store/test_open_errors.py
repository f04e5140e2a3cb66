"""What a user reads when the store cannot be opened or written."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from listlens.core.errors import (
    ConfigError,
    DiskFullError,
    ListlensError,
    MissingExtraError,
    StoreBusyError,
    StoreError,
    StoreUnreachableError,
)
from listlens.store.database import connect, default_schema
from listlens.store.migrate import HEAD
from listlens.store.open import open_store
from listlens.store.troubles import disk_error

SQLITE = "sqlite:///listlens.db"


@pytest.mark.parametrize(
    "url", ["mysql://x/y", "listlens.db", "sqlite://", "sqlite:///:memory:", "", "postgresql+"]
)
def test_a_url_that_cannot_be_used_names_those_that_can(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sqlite:///listlens\.db"):
        open_store(url, tmp_path)


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    url = "postgresql+psycopg://ann:s3cret@127.0.0.1:1/shop"
    with pytest.raises(StoreUnreachableError, match="Check that the server runs") as caught:
        open_store(url, tmp_path)
    assert "s3cret" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


@pytest.mark.parametrize("name", ["Shop", "a b", 'x"; DROP', "1a"])
def test_a_schema_name_that_needs_quoting_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="small letters"):
        connect(f"postgresql+psycopg://h/d?schema={name}", tmp_path)


def test_projects_get_schemas_of_their_own(tmp_path: Path) -> None:
    assert default_schema(tmp_path / "Meine Läden") == "listlens_meine_l_den"
    assert len(default_schema(tmp_path / ("x" * 200))) <= 63


def test_a_file_that_is_no_database_is_left_alone_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "listlens.db"
    path.write_bytes(b"this is not a database, but somebody's letter" * 50)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"not a working SQLite database.*backup"):
        open_store(SQLITE, tmp_path)
    assert path.read_bytes() == before


def test_a_damaged_database_says_so(tmp_path: Path) -> None:
    open_store(SQLITE, tmp_path).close()
    path = tmp_path / "listlens.db"
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"listlens\.db"), open_store(SQLITE, tmp_path) as store:
        store.photos.counts()


def test_a_root_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        open_store(SQLITE, tmp_path / "shop")


def test_a_database_path_that_is_a_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "listlens.db").mkdir()
    with pytest.raises(StoreError, match="cannot open"):
        open_store(SQLITE, tmp_path)


def test_a_locked_database_is_busy_and_retryable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listlens.store.database.BUSY_TIMEOUT_S", 0.1)
    with open_store(SQLITE, tmp_path) as store:
        other = sqlite3.connect(tmp_path / "listlens.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError, match="another process"):
            store.photos.source("s", "folder", "/")
        other.execute("ROLLBACK")
        other.close()
        assert store.photos.source("s", "folder", "/") == 1


def test_a_full_disk_keeps_what_was_committed(tmp_path: Path) -> None:
    with open_store(SQLITE, tmp_path) as store:
        store.labels.add_task("kept", "single")
        database = connect(SQLITE, tmp_path)
        with pytest.raises(DiskFullError, match="free some room"), database.write() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            rows = [{"k": str(i), "v": "x" * 4000} for i in range(50)]
            connection.execute(sa.text("INSERT INTO meta VALUES (:k, :v)"), rows)
        database.close()
        assert [task.name for task in store.labels.tasks()] == ["kept"]


def test_a_full_disk_under_files_is_told_from_other_troubles() -> None:
    full = disk_error(OSError(errno.ENOSPC, "No space left on device", "/x"))
    assert isinstance(full, DiskFullError)
    assert full.errno == errno.ENOSPC
    other = disk_error(OSError(errno.EACCES, "Permission denied", "/x"))
    assert isinstance(other, StoreError)


def test_postgres_without_psycopg_names_the_extra(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from pathlib import Path\n"
        "from listlens.store.open import open_store\n"
        f"open_store('postgresql+psycopg://h/d', Path({str(tmp_path)!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert MissingExtraError.__name__ in done.stderr
    assert "listlens[postgres]" in done.stderr


def test_every_error_of_the_store_is_ours(tmp_path: Path) -> None:
    with open_store(SQLITE, tmp_path) as store, pytest.raises(ListlensError):
        store.photos.begin_ingest(999)  # no such source


def test_an_up_to_date_store_opens_without_alembic(tmp_path: Path) -> None:
    open_store(SQLITE, tmp_path).close()
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from listlens.store.open import open_store\n"
        "begin = time.perf_counter()\n"
        f"open_store({SQLITE!r}, Path({str(tmp_path)!r})).close()\n"
        "assert 'alembic' not in sys.modules\n"
        "print(time.perf_counter() - begin)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.15 * 4  # 10 ms here; four times the target for a busy machine


def test_the_newest_migration_is_the_one_the_code_expects() -> None:
    from alembic.script import ScriptDirectory

    import listlens.store.migrate as home

    folder = Path(home.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_current_head() == HEAD
