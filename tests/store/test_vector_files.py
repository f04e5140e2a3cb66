"""Shard files on disk: what interrupts, damages and removes them; and opening at once."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from listlens.core.errors import (
    ConfigError,
    DiskFullError,
    InputError,
    NotFoundError,
    StoreBusyError,
    StoreError,
)
from listlens.core.types import EmbeddingSpace, Status
from listlens.store import vectors as vectors_module
from listlens.store.contents import ContentRecord
from listlens.store.database import chunks, connect, default_schema
from listlens.store.migrate import HEAD, migrate, stored_revision
from listlens.store.open import Store, open_store
from listlens.store.shards import read_shard, write_shard
from listlens.store.thumbnails import Thumbnails

URL = "sqlite:///listlens.db"
DIM = 16


def space(digit: str = "0", dim: int = DIM, backbone: str = "tiny") -> EmbeddingSpace:
    return EmbeddingSpace(backbone, digit * 64, "squash8", "onnxruntime", "f32", dim)


SPACE = space()


def marked(ids: Sequence[int]) -> NDArray[np.float16]:
    """Vectors whose bytes occur nowhere else."""
    return np.stack([np.full(DIM, 1000 + pk, np.float16) + np.arange(DIM) for pk in ids]).astype(
        np.float16
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(URL, tmp_path) as opened:
        shas = [hashlib.sha256(bytes([i])).hexdigest() for i in range(40)]
        ids = opened.contents.save(
            [ContentRecord(sha, 1, "JPEG", 1, 1, None, Status.OK) for sha in shas]
        )
        assert sorted(ids) == list(range(1, 41))
        yield opened


def shards(store: Store) -> list[Path]:
    return sorted(store.vectors.folder.glob("*/*"))


def on_disk(store: Store, pk: int) -> bool:
    needle = marked([pk]).tobytes()
    files = [path for path in store.root.rglob("*") if path.is_file()]
    return any(needle in path.read_bytes() for path in files)


def test_deleting_removes_the_bytes_of_the_deleted_and_no_others(store: Store) -> None:
    store.vectors.put(SPACE, [1, 2, 3], marked([1, 2, 3]))
    store.vectors.put(SPACE, [4], marked([4]))
    assert store.vectors.delete([2, 4]) == 2
    assert [on_disk(store, pk) for pk in (1, 2, 3, 4)] == [True, False, True, False]
    np.testing.assert_array_equal(store.vectors.get(SPACE, [3, 1]), marked([3, 1]))
    assert len(shards(store)) == 1


def test_putting_again_what_is_there_writes_no_file(store: Store) -> None:
    store.vectors.put(SPACE, [1, 2], marked([1, 2]))
    before = shards(store)
    store.vectors.put(SPACE, [2, 1], marked([7, 8]))
    assert shards(store) == before
    np.testing.assert_array_equal(store.vectors.get(SPACE, [1, 2]), marked([1, 2]))


def test_vectors_of_a_content_that_is_not_there_leave_nothing_behind(store: Store) -> None:
    with pytest.raises(NotFoundError, match="forgotten meanwhile"):
        store.vectors.put(SPACE, [1, 999], marked([1, 2]))
    assert shards(store) == []
    assert store.vectors.missing(SPACE, [1]) == [1]


def test_many_small_shards_become_one_and_keep_every_vector(store: Store) -> None:
    for pk in range(1, 31):
        store.vectors.put(SPACE, [pk], marked([pk]))
    assert len(shards(store)) == 30
    freed = store.vectors.compact()
    assert freed > 0
    assert len(shards(store)) == 1
    np.testing.assert_array_equal(store.vectors.get(SPACE, range(1, 31)), marked(range(1, 31)))


def test_compacting_stops_at_the_target_size(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "TARGET_BYTES", 10 * DIM * 2)
    for pk in range(1, 31):
        store.vectors.put(SPACE, [pk], marked([pk]))
    store.vectors.compact()
    assert [read_shard(path, 10, DIM).shape for path in shards(store)] == [(10, DIM)] * 3
    assert store.vectors.compact() == 0


def test_spaces_are_compacted_apart(store: Store) -> None:
    spaces = [space(digit) for digit in "0123"]
    for one in spaces:
        for pk in (1, 2, 3):
            store.vectors.put(one, [pk], marked([pk]) + int(one.weights_sha256[0]))
    store.vectors.compact()
    assert len(shards(store)) == 4
    assert len({path.parent for path in shards(store)}) == 4
    for one in spaces:
        expected = marked([1, 2, 3]) + int(one.weights_sha256[0])
        np.testing.assert_array_equal(store.vectors.get(one, [1, 2, 3]), expected)


def test_a_space_with_an_odd_name_lies_in_a_plain_folder(store: Store) -> None:
    odd = space(backbone="../my backbone/v1:é")
    store.vectors.put(odd, [1], marked([1]))
    (path,) = shards(store)
    assert path.parent.parent == store.vectors.folder
    np.testing.assert_array_equal(store.vectors.get(odd, [1]), marked([1]))


AGES = {"young-stays": (60.0, True), "old-goes": (7200.0, False)}


@pytest.mark.parametrize(("age_s", "stays"), AGES.values(), ids=AGES)
@pytest.mark.parametrize("name", ["orphan.npy", "half-written.tmp"])
def test_what_a_kill_left_goes_once_it_is_old(
    store: Store, name: str, age_s: float, stays: bool
) -> None:
    store.vectors.put(SPACE, [1], marked([1]))
    path = store.vectors.folder / SPACE.id / name
    path.write_bytes(b"x" * 100)
    moment = time.time() - age_s
    os.utime(path, (moment, moment))
    os.utime(shards(store)[0], (moment, moment))
    assert store.vectors.compact() == (0 if stays else 100)
    assert path.exists() is stays
    np.testing.assert_array_equal(store.vectors.get(SPACE, [1]), marked([1]))


def test_files_of_somebody_else_are_never_swept(store: Store) -> None:
    store.vectors.put(SPACE, [1], marked([1]))
    note = store.vectors.folder / SPACE.id / "README.txt"
    note.write_text("ours")
    os.utime(note, (0, 0))
    store.vectors.compact(grace_s=-60)
    assert note.exists()


@pytest.mark.parametrize("stage", ["before the rows", "after the rows"])
def test_a_compaction_that_dies_loses_nothing_and_is_finished_next_time(
    store: Store, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pk in (1, 2, 3):
        store.vectors.put(SPACE, [pk], marked([pk]))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    name = "_repoint" if stage == "before the rows" else "_remove_noted_files"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(vectors_module.FileVectors, name, die)
        store.vectors.compact()
    np.testing.assert_array_equal(store.vectors.get(SPACE, [1, 2, 3]), marked([1, 2, 3]))
    store.vectors.compact(grace_s=-60)
    assert len(shards(store)) == 1
    np.testing.assert_array_equal(store.vectors.get(SPACE, [1, 2, 3]), marked([1, 2, 3]))


def damage_header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[10:20] = b"\xff" * 10
    path.write_bytes(data)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "header": damage_header,
    "no-magic": lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]),
    "short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "header-only": lambda path: path.write_bytes(path.read_bytes()[:128]),
    "float32": lambda path: np.save(path, np.zeros((2, DIM), np.float32)),
    "other-byte-order": lambda path: np.save(path, np.zeros((2, DIM), ">f2")),
    "fewer-rows": lambda path: np.save(path, np.zeros((1, DIM), np.float16)),
    "narrow": lambda path: np.save(path, np.zeros((2, DIM - 1), np.float16)),
    "flat": lambda path: np.save(path, np.zeros(2 * DIM, np.float16)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_shard_is_named_dropped_and_embedded_again(store: Store, damage: object) -> None:
    store.vectors.put(SPACE, [1, 2], marked([1, 2]))
    (path,) = shards(store)
    store.vectors.put(SPACE, [3], marked([3]))
    damage(path)  # type: ignore[operator]
    with pytest.raises(StoreError, match=rf"{path.name} is damaged.*drop_damaged"):
        store.vectors.get(SPACE, [3, 1])
    np.testing.assert_array_equal(store.vectors.get(SPACE, [3]), marked([3]))
    assert store.vectors.drop_damaged() == 2
    assert not path.exists()
    assert store.vectors.missing(SPACE, [1, 2, 3]) == [1, 2]
    store.vectors.put(SPACE, [1, 2], marked([1, 2]))
    np.testing.assert_array_equal(store.vectors.get(SPACE, [1, 2, 3]), marked([1, 2, 3]))


@pytest.mark.parametrize("seed", range(4))
def test_any_flipped_bits_in_a_header_give_the_vectors_or_our_error(
    tmp_path: Path, seed: int
) -> None:
    path = write_shard(tmp_path, marked([1, 2]))
    sound, rng = path.read_bytes(), np.random.default_rng(seed)
    for _ in range(60):
        data = bytearray(sound)
        for at in rng.integers(0, 128, rng.integers(1, 4)):
            data[at] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(data)
        try:
            np.testing.assert_array_equal(read_shard(path, 2, DIM), marked([1, 2]))
        except StoreError as error:
            assert path.name in str(error)


def test_a_damaged_shard_does_not_stop_deletion_from_it(store: Store) -> None:
    store.vectors.put(SPACE, [1, 2], marked([1, 2]))
    (path,) = shards(store)
    path.write_bytes(b"\x93NUMPY")
    assert store.vectors.delete([1]) == 1
    assert shards(store) == []
    assert store.vectors.missing(SPACE, [1, 2]) == [1, 2]  # the second is embedded again


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_while_writing_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(os, "fsync", lambda _: os.write(full, b"x"))
    with pytest.raises(DiskFullError, match="free some room"):
        write_shard(tmp_path / "v", marked([1]))
    os.close(full)
    assert list((tmp_path / "v").iterdir()) == []


SHA = "ab" * 32


def test_thumbnails_are_replaced_whole_and_removed_once(tmp_path: Path) -> None:
    thumbnails = Thumbnails(tmp_path / "t")
    assert thumbnails.get(SHA) is None
    thumbnails.put(SHA, b"one")
    thumbnails.put(SHA, b"two")
    assert thumbnails.get(SHA) == b"two"
    assert thumbnails.path(SHA) == tmp_path / "t" / "ab" / f"{SHA}.jpg"
    assert (thumbnails.delete(SHA), thumbnails.delete(SHA)) == (True, False)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "name", ["", "ab", SHA.upper(), "../" + SHA, SHA + "\n", "g" * 64], ids=repr
)
def test_a_thumbnail_has_no_other_name_than_a_sha256(tmp_path: Path, name: str) -> None:
    for call in (Thumbnails(tmp_path).get, Thumbnails(tmp_path).delete, Thumbnails(tmp_path).path):
        with pytest.raises(InputError, match="64 hex digits"):
            call(name)


OPENER = """
import sys, time
from pathlib import Path
from listlens.store.open import open_store
while not Path(sys.argv[1], "go").exists():
    time.sleep(0.001)
with open_store("sqlite:///listlens.db", Path(sys.argv[1])) as store:
    store.labels.add_task("room", "single", ["a"])
"""


def test_processes_that_open_a_new_store_at_once_migrate_it_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPENER, str(tmp_path)]
    openers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    time.sleep(0.6)
    (tmp_path / "go").touch()
    results = [(opener.communicate(timeout=60)[1], opener.returncode) for opener in openers]
    assert results == [("", 0)] * 2
    with open_store(URL, tmp_path) as store:
        assert [task.name for task in store.labels.tasks()] == ["room"]
        assert len(store.labels.task("room").classes) == 1


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    database = connect(URL, tmp_path)
    with database.read() as connection:
        assert stored_revision(connection) is None
    dumps = []
    for _ in range(3):
        migrate(database)
        with database.read() as connection:
            assert stored_revision(connection) == HEAD
            rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master ORDER BY name")
            dumps.append([tuple(row) for row in rows])
    database.close()
    assert dumps[0] == dumps[1] == dumps[2]


def test_a_reader_is_not_held_up_by_a_writer_and_a_second_writer_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listlens.store.database.BUSY_TIMEOUT_S", 0.05)
    with open_store(URL, tmp_path) as store:
        other = sqlite3.connect(tmp_path / "listlens.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO meta VALUES ('k', 'v')")
        assert store.photos.counts()["ok"] == 0
        for write in (
            lambda: store.photos.source("s", "folder", "/"),
            lambda: store.labels.add_task("t", "single"),
            lambda: store.contents.save(
                [ContentRecord("0" * 64, 1, None, None, None, None, Status.OK)]
            ),
        ):
            with pytest.raises(StoreBusyError, match="repeat the command"):
                write()
        other.execute("COMMIT")
        other.close()
        assert store.photos.source("s", "folder", "/") == 1


URLS = {
    "relative": ("sqlite:///listlens.db", "listlens.db"),
    "in-a-sub-folder": ("sqlite:///deep/x.db", "deep/x.db"),
    "with-a-driver": ("sqlite+pysqlite:///y.db", "y.db"),
    "odd-name": ("sqlite:///my%20shop é.db", None),
}


@pytest.mark.parametrize(("url", "file"), URLS.values(), ids=URLS)
def test_a_sqlite_url_is_relative_to_the_project(
    tmp_path: Path, url: str, file: str | None
) -> None:
    (tmp_path / "deep").mkdir()
    with open_store(url, tmp_path) as store:
        store.labels.add_task("room", "single")
    found = [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.db")]
    assert found == ([file] if file else found)
    with open_store(url, tmp_path) as store:
        assert [task.name for task in store.labels.tasks()] == ["room"]


def test_an_absolute_url_stays_where_it_is(tmp_path: Path) -> None:
    place = tmp_path / "elsewhere.db"
    open_store(f"sqlite:///{place}", tmp_path / "project").close()
    assert place.exists()
    assert not list((tmp_path / "project").glob("*.db"))


REFUSED = ["", "listlens.db", "mysql://u@h/d", "sqlite://", "sqlite:///:memory:", "oracle://x",
           "http://h/d", "sqlite:/x.db"]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED, ids=repr)
def test_a_url_of_another_kind_is_refused_with_both_that_are_allowed(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(ConfigError, match=r"sqlite:///listlens\.db.*postgresql\+psycopg://"):
        open_store(url, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_database_in_a_folder_that_is_not_there_says_what_to_check(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Check that its folder exists"):
        open_store("sqlite:///none/listlens.db", tmp_path)


@pytest.mark.parametrize(
    ("folder", "schema"),
    [("Shop", "listlens_shop"), ("my shop-2", "listlens_my_shop_2"), ("ж", "listlens"),
     ("__x__", "listlens_x"), ("a" * 100, "listlens_" + "a" * 54)],
)  # fmt: skip
def test_a_project_names_its_schema_by_its_folder(tmp_path: Path, folder: str, schema: str) -> None:
    assert default_schema(tmp_path / folder) == schema


@pytest.mark.parametrize(("n", "size"), [(0, 3), (1, 3), (3, 3), (4, 3), (7, 1)])
def test_chunks_lose_nothing_and_keep_the_order(n: int, size: int) -> None:
    blocks = list(chunks(iter(range(n)), size))
    assert [item for block in blocks for item in block] == list(range(n))
    assert all(0 < len(block) <= size for block in blocks)
