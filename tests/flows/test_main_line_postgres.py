"""The main line on PostgreSQL gives what it gives on SQLite."""

from __future__ import annotations

import csv
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import listlens

pytestmark = pytest.mark.postgres
Cli = Callable[..., Any]
DEFAULT = "postgresql+psycopg://postgres@127.0.0.1:5432/test"


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """URL of a schema of its own; skips without a server, but fails in CI."""
    import psycopg

    url = os.environ.get("LISTLENS_TEST_POSTGRES", DEFAULT)
    server = url.replace("+psycopg", "")
    try:
        psycopg.connect(server, connect_timeout=3).close()
    except psycopg.OperationalError as error:
        message = f"no PostgreSQL at {url} (LISTLENS_TEST_POSTGRES): {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    schema = f"t_{uuid.uuid4().hex[:16]}"
    yield f"{url}{'&' if '?' in url else '?'}schema={schema}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'.encode())


@pytest.fixture
def home(postgres_url: str, tmp_path: Path) -> Path:
    """A new project whose store is on PostgreSQL."""
    listlens.init(tmp_path / "home").close()
    toml = tmp_path / "home" / "listlens.toml"
    text = toml.read_text(encoding="utf-8")
    toml.write_text(text.replace("sqlite:///listlens.db", postgres_url), encoding="utf-8")
    return tmp_path / "home"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_commands_give_the_same_on_postgres(
    cli: Cli, home: Path, shop: Any, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    cli("init", plain)
    tables, summaries = [], []
    for project in (home, plain):
        assert cli("ingest", shop.photos, "-p", project, "--json").json["embedded"] == 36
        assert cli("task", "add", "shape", "-p", project).code == 0
        imported = cli("labels", "import", "shape", shop.labels, "-p", project, "--json").json
        assert imported["annotations"] == 36
        trained = cli("train", "shape", "-p", project, "--json")
        assert trained.code == 0, trained.err
        summaries.append(trained.json["summary"])
        assert cli("train", "shape", "-p", project, "--json").json["reused"] is True
        assert cli("tag", "-p", project, "--json").json["shape"]["predicted"] == 36
        cli("export", tmp_path / f"{project.name}.csv", "--probs", "-p", project)
        tables.append(rows_of(tmp_path / f"{project.name}.csv"))
    assert summaries[0] == summaries[1]
    assert sorted(tables[0], key=str) == sorted(tables[1], key=str)

    exported = tmp_path / "labels.jsonl"
    cli("labels", "export", "shape", exported, "-p", home)
    back = cli("labels", "import", "shape", exported, "-p", home, "--json").json
    assert back["annotations"] == 0
    assert len(cli("search", "disc", "-p", home, "--json").json["photos"]) == 12
    plan = cli("forget", "--listing", "home-00", "--dry-run", "-p", home, "--json").json
    done = cli("forget", "--listing", "home-00", "--yes", "-p", home, "--json").json
    assert (done["photos"], done["dry_run"]) == (3, False)
    assert {**done, "dry_run": True} == plan
    assert cli("ingest", shop.photos, "-p", home, "--json").json["reasons"] == {"forgotten": 3}
    assert cli("status", "-p", home, "--json").json["photos"] == {"ok": 33}


def test_auto_goes_on_in_a_project_on_postgres(cli: Cli, home: Path, shop: Any) -> None:
    first = cli("auto", shop.photos, shop.labels, "--out", home, "--json")
    assert first.code == 0, first.err
    report = (home / "report.json").read_bytes()
    again = cli("auto", shop.photos, shop.labels, "--out", home, "--json").json
    assert (again["train"]["reused"], again["ingest"]["embedded"]) == (True, 0)
    assert (home / "report.json").read_bytes() == report


def test_a_server_that_is_not_there_is_named_without_its_password(cli: Cli, tmp_path: Path) -> None:
    cli("init", tmp_path / "p")
    toml = tmp_path / "p" / "listlens.toml"
    text = toml.read_text(encoding="utf-8")
    url = "postgresql+psycopg://me:secret@127.0.0.1:1/none?connect_timeout=2"
    toml.write_text(text.replace("sqlite:///listlens.db", url), encoding="utf-8")
    ran = cli("status", "-p", tmp_path / "p")
    assert ran.code == 5
    assert "127.0.0.1" in ran.err
    assert "secret" not in ran.err
