"""One transaction of many repositories, and what a database refuses in words of ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from listlens.core.errors import (
    DiskFullError,
    Retryable,
    StoreBusyError,
    StoreError,
    StoreUnreachableError,
)
from listlens.store.database import Database, connect
from listlens.store.migrate import migrate
from listlens.store.outbox import Outbox
from listlens.store.tallies import add_to, read_all
from listlens.store.troubles import from_postgres, from_sqlite


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = connect("sqlite:///listlens.db", tmp_path)
    migrate(made)
    yield made
    made.close()


def count(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return read_all(connection)


def test_what_is_written_together_is_seen_inside_and_kept_at_the_end(database: Database) -> None:
    with database.together() as outer:
        with database.write() as connection:
            assert connection is outer
            add_to(database, connection, {"a": 1})
        with database.read() as connection:
            assert connection is outer
            assert read_all(connection) == {"a": 1}
        with database.together() as inner:
            assert inner is outer
            add_to(database, inner, {"a": 2, "b": 5})
    assert count(database) == {"a": 3, "b": 5}


def test_an_error_undoes_all_of_it_and_the_next_begins_anew(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.together() as connection:
        add_to(database, connection, {"a": 1})
        with database.write() as inner:
            add_to(database, inner, {"b": 1})
        raise ZeroDivisionError
    assert count(database) == {}
    with database.together() as connection:
        add_to(database, connection, {"c": 1})
    assert count(database) == {"c": 1}


def test_another_thread_does_not_join_and_sees_nothing_before_the_end(database: Database) -> None:
    seen: list[dict[str, int]] = []

    def look() -> None:
        seen.append(count(database))

    with database.together() as connection:
        add_to(database, connection, {"a": 1})
        thread = threading.Thread(target=look)
        thread.start()
        thread.join(30)
    assert seen == [{}]
    look()
    assert seen[1] == {"a": 1}


def test_counts_add_up_over_many_calls_and_zero_changes_nothing(database: Database) -> None:
    for n in (3, 0, -1):
        with database.write() as connection:
            add_to(database, connection, {"a": n, "b": 2 * n})
    with database.write() as connection:
        add_to(database, connection, {})
    assert count(database) == {"a": 2, "b": 4}


def test_an_empty_outbox_takes_nothing_and_gives_nothing(database: Database) -> None:
    outbox = Outbox(database)
    assert outbox.append([]) == 0
    assert outbox.read(7) == ([], 7)
    assert (outbox.last(), outbox.count()) == (0, 0)


@pytest.mark.parametrize(
    ("state", "lost", "kind"),
    [
        ("53100", False, DiskFullError),
        ("55P03", False, StoreBusyError),
        ("40P01", False, StoreBusyError),
        ("40001", False, StoreBusyError),
        ("57P01", True, StoreBusyError),
        ("57P02", True, StoreBusyError),
        ("57P03", True, StoreBusyError),
        ("53300", True, StoreBusyError),
        (None, True, StoreUnreachableError),
        ("08006", True, StoreUnreachableError),
        ("08001", False, StoreUnreachableError),
        (None, False, StoreError),
        ("23505", False, StoreError),
        ("42P01", False, StoreError),
    ],
)
def test_what_postgres_refuses_says_whether_it_may_pass(
    state: str | None, lost: bool, kind: type[Exception]
) -> None:
    error = from_postgres(state, "postgresql://h/d", "first line\nsecond", lost=lost)
    assert type(error) is kind
    assert isinstance(error, Retryable) == (kind is not StoreError)
    assert "first line" in str(error)
    assert "second" not in str(error)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(5, StoreBusyError), (6, StoreBusyError), (13, DiskFullError), (11, StoreError),
     (26, StoreError), (8, StoreError), (14, StoreError), (19, StoreError)],
)  # fmt: skip
def test_what_sqlite_refuses_names_the_file(
    code: int, kind: type[Exception], tmp_path: Path
) -> None:
    path = str(tmp_path / "listlens.db")
    error = from_sqlite(code, path, "message")
    assert type(error) is kind
    assert path in str(error)
    assert from_postgres(None, "postgresql://h/d", "", lost=True).args[0].count("no message") == 1
