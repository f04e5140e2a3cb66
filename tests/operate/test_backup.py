"""A backup made again answers as the project did, also where it was taken while a writer ran."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import listlens
from listlens.core.errors import InputError
from listlens.pipeline.backup import MANIFEST, backup, restore
from listlens.pipeline.events import read_event
from listlens.store.schema import metadata


def answers(root: Path, shop: Any) -> dict[str, Any]:
    """Everything that the project says of its photos, and of a file."""
    file = shop.photos / sorted(shop.classes)[0]
    with listlens.open(root) as project:
        said = {
            hit["image"]: hit["probability"]
            for shape in ("disc", "speckle", "stripes")
            for hit in project.search(shape, limit=1000)
        }
        ((_, one),) = project.predict([file], ["label"])
        (like,) = project.search_like(file, limit=1)
        return {**said, "predicted": one.probability, "like": like["image"], **counts(project)}


def counts(project: Any) -> dict[str, Any]:
    status = project.status()
    return {"photos": status["photos"], "thumbnails": len(files(project.root / "thumbnails"))}


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_restored_answers_the_same(
    cli: Callable[..., Any], project: Path, shop: Any, tmp_path: Path
) -> None:
    with listlens.open(project) as opened:
        opened.tag()
        _, token = opened.store.tokens.create(["read"], name="kept")
    archive, again = tmp_path / "shop.tar", tmp_path / "deep" / "again"
    said = cli("backup", archive, "--json", "-p", project)
    assert said.code == 0 and said.json["database"] == "" and said.json["files"] > 5
    assert archive.stat().st_mode & 0o077 == 0, "it holds secrets"
    assert cli("restore", archive, again).code == 0
    assert answers(again, shop) == answers(project, shop)
    with listlens.open(again) as opened:
        assert [one.token_id for one in opened.store.tokens.list()] == [token.token_id]
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
    for wrong in ((archive, "-p", project), (tmp_path / "no" / "folder" / "x.tar", "-p", project)):
        assert cli("backup", *wrong).code in (2, 3)
    assert cli("restore", archive, again).code == 2
    assert cli("restore", tmp_path / "none.tar", tmp_path / "x").code == 3


def test_vectors_that_are_merged_while_they_are_copied_are_in_it(
    project: Path, tmp_path: Path
) -> None:
    with listlens.open(project) as opened:
        space, vectors = opened.backbone.space, opened.store.vectors
        ids = [content.content_id for content in opened.store.contents.scan()]
        before = vectors.get(space, ids)

        def merge(done: int, total: int) -> None:
            kept = vectors.get(space, ids)
            vectors.delete(ids)
            vectors.put(space, ids, kept)
            vectors.compact(0.0)

        backup(opened, tmp_path / "shop.tar", progress=merge)
    assert restore(tmp_path / "shop.tar", tmp_path / "made").absent == ()
    with listlens.open(tmp_path / "made") as made:
        assert (made.store.vectors.get(space, ids) == before).all()
    assert list(project.glob(".kept-*")) == []


def test_what_killed_backups_kept_goes_and_what_others_keep_stays(
    project: Path, tmp_path: Path
) -> None:
    stale, used = project / ".kept-stale", project / ".kept-used"
    for folder in (stale, used):
        folder.mkdir()
    os.utime(stale, (0, 0))
    (project / ".kept-gone").symlink_to("nowhere")  # as one that ends while this looks
    with listlens.open(project) as opened:
        backup(opened, tmp_path / "shop.tar")
    assert used.is_dir() and not stale.exists()


def writing(root: Path, shop: Any, stop: threading.Event, done: list[int]) -> None:
    """What a worker does to the store: photos come, are embedded and answered; files are merged."""
    names = sorted(shop.classes)
    with listlens.open(root) as project:
        n = 0
        while not stop.is_set():
            project.store.events.put(
                [
                    one
                    for i in range(20)
                    if hasattr(
                        one := read_event(
                            {"kind": "listing.changed", "listing_id": f"W{n}-{i}"},
                            project.store.clock(),
                        ),
                        "event_key",
                    )
                ]
            )
            space = project.backbone.space
            ids = [c.content_id for c in list(project.store.contents.scan())[: 5 + n % 10]]
            vectors = project.store.vectors.get(space, ids)
            project.store.vectors.delete(ids)
            for pk, vector in zip(ids, vectors, strict=True):
                project.store.vectors.put(space, [pk], vector[None])
            project.store.vectors.compact(0.0)
            n += 1
            done.append(n)
    assert names


@pytest.mark.slow
def test_a_backup_beside_a_writer_is_the_state_of_one_moment(
    project: Path, shop: Any, tmp_path: Path
) -> None:
    with listlens.open(project) as opened:
        opened.tag()
    before = answers(project, shop)
    stop, done = threading.Event(), list[int]()
    writer = threading.Thread(target=writing, args=(project, shop, stop, done))
    writer.start()
    try:
        with listlens.open(project) as opened:
            for n in range(4):
                begun = len(done)
                report = backup(opened, tmp_path / f"{n}.tar")
                while len(done) < begun + 2:
                    assert writer.is_alive()
                made = restore(tmp_path / f"{n}.tar", tmp_path / f"made{n}")
                assert made.absent == () and report.n_files == made.n_files
    finally:
        stop.set()
        writer.join(60)
    assert len(done) >= 8
    for n in range(4):
        with listlens.open(tmp_path / f"made{n}") as opened:
            ledger = opened.store.events.ledger()
            assert ledger.adds_up and ledger.received % 20 == 0
            assert opened.store.vectors.compact(0.0) >= 0
    assert (
        answers(tmp_path / "made3", shop).items()
        >= {k: v for k, v in before.items() if k not in ("like",)}.items()
    )


def test_a_damaged_archive_leaves_nothing_behind(project: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.tar"
    with listlens.open(project) as opened:
        backup(opened, whole)
    data = whole.read_bytes()
    with tarfile.open(whole) as tar:
        database = tar.getmember("database.sqlite")
        model = next(one for one in tar.getmembers() if one.name.endswith("head.safetensors"))
    cases = {
        "cut": data[: len(data) // 2],
        "no tar": b"no archive at all",
        "database": flipped(data, database.offset_data + 5000),
        "model": flipped(data, model.offset_data + 100),
        "outside": evil("../escaped.txt"),
        "absolute": evil("/tmp/escaped.txt"),
        "link": evil("link", tarfile.SYMTYPE),
        "no manifest": evil("listlens.toml"),
        "manifest": evil(MANIFEST),
    }
    for name, damaged in cases.items():
        (tmp_path / "x.tar").write_bytes(damaged)
        with pytest.raises(InputError):
            restore(tmp_path / "x.tar", tmp_path / "made")
        assert not (tmp_path / "made").exists(), name
    assert not (tmp_path / "escaped.txt").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"project", "whole.tar", "x.tar"}


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]


def evil(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.size = kind, 4 if kind == tarfile.REGTYPE else 0
        tar.addfile(member, io.BytesIO(b"evil"))
    return stream.getvalue()


@pytest.fixture
def on_postgres(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A project on PostgreSQL, with its schema."""
    psycopg = pytest.importorskip("psycopg")
    url = "postgresql://postgres@127.0.0.1:5432/test"
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.OperationalError:
        pytest.skip("no PostgreSQL server")
    root, schema = tmp_path / "shop", "backup_test"
    listlens.init(root).close()
    toml = root / "listlens.toml"
    text = toml.read_text()
    new = f"postgresql+psycopg://postgres@127.0.0.1:5432/test?schema={schema}"
    toml.write_text(text.replace("sqlite:///listlens.db", new))
    yield root, schema
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.mark.postgres
def test_a_project_moves_from_sqlite_to_postgresql(
    cli: Callable[..., Any], project: Path, on_postgres: tuple[Path, str], shop: Any, tmp_path: Path
) -> None:
    url = "postgresql+psycopg://postgres@127.0.0.1:5432/test?schema=backup_test"
    with listlens.open(project) as opened:
        opened.tag()
        opened.store.tokens.create(["read"])
        first = opened.store.photos.source("late", "Folder", "/late")
    assert cli("backup", tmp_path / "shop.tar", "-p", project).code == 0
    moved = tmp_path / "moved"
    done = cli("restore", tmp_path / "shop.tar", moved, "--store", url)
    assert done.code == 0, done.err
    assert answers(moved, shop) == answers(project, shop)
    assert not list(moved.glob("*.sqlite")) + list(moved.glob("*.db"))
    with listlens.open(moved) as opened:
        assert not opened.store.snapshot.is_sqlite
        assert opened.store.photos.source("later", "Folder", "/later") == first + 1
        assert len(opened.store.tokens.list()) == 1
    again = cli("restore", tmp_path / "shop.tar", tmp_path / "twice", "--store", url)
    assert again.code == 2 and "holds rows already" in again.err
    assert not (tmp_path / "twice").exists()


@pytest.mark.postgres
def test_on_postgresql_the_dump_is_named_and_the_files_are_taken(
    cli: Callable[..., Any], on_postgres: tuple[Path, str], shop: Any, tmp_path: Path
) -> None:
    root, schema = on_postgres
    with listlens.open(root) as project:
        project.ingest(shop.photos)
    said = cli("backup", tmp_path / "shop.tar", "--json", "-p", root)
    line = said.json["database"]
    assert f"--schema={schema}" in line and "pg_dump" in line and line in said.err
    made = cli("restore", tmp_path / "shop.tar", tmp_path / "again", "--json")
    assert made.code == 0 and "pg_restore" in made.err
    names = [[p.relative_to(one).as_posix() for p in files(one / "vectors")]
             for one in (root, tmp_path / "again")]  # fmt: skip
    assert names[0] == names[1] and names[0]
    assert json.loads(made.out)["absent"] == []


@pytest.fixture
def other_database(on_postgres: tuple[Path, str]) -> Iterator[str]:
    """A new database on the same server, as one makes to restore into."""
    import psycopg

    url, name = "postgresql://postgres@127.0.0.1:5432", f"again_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"{url}/test", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{url}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def rows(root: Path) -> dict[str, Any]:
    """The rows of every table, how far the webhook was told, and the tokens."""
    with listlens.open(root) as project:
        with project.store._db.read() as connection:
            found: dict[str, Any] = {
                table.name: connection.execute(
                    sa.select(sa.func.count()).select_from(table)
                ).scalar()
                for table in metadata.sorted_tables
            }
        (hook,), (token,) = project.store.webhooks.list(), project.store.tokens.list()
        return {**found, "told": (hook.url, hook.cursor), "scopes": token.scopes}


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.skipif(shutil.which("pg_dump") is None, reason="needs pg_dump")
def test_the_line_that_is_printed_dumps_what_pg_restore_brings_back(
    cli: Callable[..., Any],
    project: Path,
    on_postgres: tuple[Path, str],
    other_database: str,
    shop: Any,
    tmp_path: Path,
) -> None:
    url = f"postgresql+psycopg://postgres@127.0.0.1:5432/test?schema={on_postgres[1]}"
    with listlens.open(project) as opened:
        opened.tag()
        opened.store.tokens.create(["read"])
        opened.put_events([{"kind": "listing.changed", "listing_id": "L", "attributes": {"n": 1}}])
    assert cli("webhooks", "add", "https://shop.example/hooks", "-p", project).code == 0
    assert cli("backup", tmp_path / "shop.tar", "-p", project).code == 0
    big, again = tmp_path / "big", tmp_path / "again"
    assert cli("restore", tmp_path / "shop.tar", big, "--store", url).code == 0
    assert rows(big) == rows(project)
    line = cli("backup", tmp_path / "big.tar", "--json", "-p", big).json["database"]
    subprocess.run(line, shell=True, cwd=tmp_path, check=True)
    command = ["pg_restore", "--no-owner", f"--dbname={other_database}", tmp_path / "big.dump"]
    subprocess.run(command, check=True)
    assert cli("restore", tmp_path / "big.tar", again).code == 0
    settings = (again / "listlens.toml").read_text()
    there = other_database.replace("postgresql:", "postgresql+psycopg:")
    (again / "listlens.toml").write_text(settings.replace(url.partition("?")[0], there))
    assert rows(again) == rows(big)
    assert answers(again, shop) == answers(big, shop) == answers(project, shop)
