"""Tasks in `listlens.toml` and in the store: never half, and never the starter tags' name."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.core.config import load_config
from listlens.core.errors import ConfigError, InputError

Cli = Callable[..., Any]
NO_ROOM = "CREATE TRIGGER no BEFORE INSERT ON task BEGIN SELECT RAISE(ABORT, 'no'); END"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    listlens.init(tmp_path / "home").close()
    return tmp_path / "home"


def run_sql(home: Path, statement: str) -> None:
    connection = sqlite3.connect(home / "listlens.db")
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_what_only_the_file_has_is_added_to_the_store_on_opening(home: Path) -> None:
    with listlens.open(home) as project:
        project.add_task("room", "single", ["bath", "bed"])
    run_sql(home, "PRAGMA foreign_keys = OFF")
    for table in ("class", "taxonomy", "task"):  # as after a kill between file and store
        run_sql(home, f"DELETE FROM {table}")
    with listlens.open(home) as project:
        (task,) = project.tasks()
    assert (task.name, [c.name for c in task.classes]) == ("room", ["bath", "bed"])


def test_what_the_store_refuses_is_not_left_in_the_file(home: Path) -> None:
    toml = home / "listlens.toml"
    toml.chmod(0o600)
    before = toml.read_bytes()
    with listlens.open(home) as project:
        run_sql(home, NO_ROOM)
        with pytest.raises(Exception, match="no"):
            project.add_task("room", "single")
        assert toml.read_bytes() == before
        run_sql(home, "DROP TRIGGER no")
        project.add_task("room", "single")
    assert "room" in load_config(toml).tasks
    assert toml.stat().st_mode & 0o777 == 0o600  # it may hold a password
    assert [p.name for p in home.iterdir() if p.name.startswith(".listlens.toml")] == []


def test_the_file_is_replaced_as_a_whole(home: Path) -> None:
    """A reader that has the old file open goes on to see all of the old one."""
    with (home / "listlens.toml").open(encoding="utf-8") as old, listlens.open(home) as project:
        project.add_task("room", "single")
        assert '[tasks."room"]' not in old.read()
    assert '[tasks."room"]' in (home / "listlens.toml").read_text(encoding="utf-8")


def test_the_starter_tags_name_is_kept_for_them(cli: Cli, home: Path) -> None:
    with listlens.open(home) as project, pytest.raises(InputError, match="kept for the starter"):
        project.add_task("starter", "single")
    with (home / "listlens.toml").open("a", encoding="utf-8") as file:
        file.write('\n[tasks.starter]\nkind = "multi"\n')
    with pytest.raises(ConfigError, match="kept for the starter"):
        listlens.open(home)
    assert "another name" in cli("status", "-p", home).err
