"""Killed processes, several writers at once, and files that go bad (SQLite, real processes)."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from listlens.core.errors import StoreError
from listlens.core.types import EmbeddingSpace, PhotoRow, Status
from listlens.store.contents import ContentRecord
from listlens.store.open import Store, open_store
from listlens.store.photos import PhotoRecord

URL = "sqlite:///listlens.db"
SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 32)

WRITER = """
import sys
from pathlib import Path
import numpy as np, hashlib
from listlens.core.types import *
from listlens.store.contents import ContentRecord
from listlens.store.open import open_store
from listlens.store.photos import PhotoRecord
name, n_batches = sys.argv[2], int(sys.argv[3])
space = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 32)
with open_store("sqlite:///listlens.db", Path(sys.argv[1])) as store:
    source = store.photos.source(name, "folder", "/")
    ingest = store.photos.begin_ingest(source)
    for batch in range(n_batches):
        keys = [f"{name}-{batch}-{i}" for i in range(20)]
        ids = store.contents.save([
            ContentRecord(hashlib.sha256(k.encode()).hexdigest(), 1, "JPEG", 1, 1, None, Status.OK)
            for k in keys])
        store.vectors.put(space, ids, np.ones((20, 32), np.float16))
        store.photos.save(source, ingest, [
            PhotoRecord(PhotoRow("shared", k, k), 1, 1, pk, Status.OK)
            for k, pk in zip(keys, ids)])
        print(batch, flush=True)
"""

FORGETTER = """
import os, signal, sys
from pathlib import Path
from listlens.store.open import open_store
from listlens.store.thumbnails import Thumbnails
class Deadly(Thumbnails):
    def delete(self, sha256):
        os.kill(os.getpid(), signal.SIGKILL)
store = open_store("sqlite:///listlens.db", Path(sys.argv[1]))
store.forgetting._thumbnails = Deadly(Path(sys.argv[1]) / "thumbnails")
store.forgetting.execute(store.forgetting.plan(listing="L1"))
"""


def start(code: str, *args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def fill(store: Store, names: str = "ab") -> dict[str, int]:
    source = store.photos.source("s", "folder", "/")
    ingest = store.photos.begin_ingest(source)
    shas = [hashlib.sha256(n.encode()).hexdigest() for n in names]
    ids = store.contents.save([ContentRecord(s, 1, "X", 1, 1, None, Status.OK) for s in shas])
    for at, (name, pk, sha) in enumerate(zip(names, ids, shas, strict=True), start=1):
        row = PhotoRow(f"L{at}", name, f"/{name}")
        store.photos.save(source, ingest, [PhotoRecord(row, 1, 1, pk, Status.OK)])
        store.thumbnails.put(sha, b"small")
    store.vectors.put(SPACE, ids, np.stack([np.full(32, ord(n), np.float16) for n in names]))
    return dict(zip(names, ids, strict=True))


def test_two_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    writers = [start(WRITER, tmp_path, name, 10) for name in ("one", "two")]
    assert [w.communicate(timeout=120) and w.returncode for w in writers] == [0, 0]
    with open_store(URL, tmp_path) as store:
        assert store.photos.counts()["ok"] == 400
        assert len({view.photo_pk for view in store.photos.scan()}) == 400
        assert sum(len(ids) for ids, _ in store.vectors.scan(SPACE)) == 400


def test_a_killed_writer_leaves_whole_batches_that_all_read_back(tmp_path: Path) -> None:
    writer = start(WRITER, tmp_path, "one", 10_000)
    assert writer.stdout is not None
    for _ in range(5):
        writer.stdout.readline()
    time.sleep(0.05)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    with open_store(URL, tmp_path) as store:
        ok = store.photos.counts()["ok"]
        assert ok >= 100
        assert ok % 20 == 0
        for view in store.photos.scan():
            assert view.content_id is not None
            assert store.vectors.missing(SPACE, [view.content_id]) == []
        assert all((block == 1).all() for _, block in store.vectors.scan(SPACE))
        store.vectors.compact(grace_s=-60)
        files = list((tmp_path / "vectors").glob("*/*"))
        assert len(files) == 1  # merged; what the kill left is swept


def test_forgetting_killed_in_the_middle_is_finished_at_the_next_opening(tmp_path: Path) -> None:
    with open_store(URL, tmp_path) as store:
        ids = fill(store)
    killed = start(FORGETTER, tmp_path)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    sha = hashlib.sha256(b"a").hexdigest()
    needle = np.full(32, ord("a"), np.float16).tobytes()
    assert any(needle in p.read_bytes() for p in tmp_path.glob("vectors/*/*"))
    with open_store(URL, tmp_path) as store:
        assert store.thumbnails.get(sha) is None
        assert store.vectors.missing(SPACE, list(ids.values())) == [ids["a"]]
        assert not any(needle in p.read_bytes() for p in tmp_path.glob("vectors/*/*"))
        assert store.contents.get([ids["a"]]) == {}
        assert bytes.fromhex(sha) not in (tmp_path / "listlens.db").read_bytes()


def test_among_many_rows_the_forgotten_ones_leave_no_byte(tmp_path: Path) -> None:
    with open_store(URL, tmp_path) as store:
        source = store.photos.source("s", "folder", "/")
        ingest = store.photos.begin_ingest(source)
        order = np.random.default_rng(0).permutation(4000)
        for part in np.split(order, 8):
            rows = [
                PhotoRow(f"L{i % 400}-mark", f"photo-{i:05}", f"/p/L{i % 400}-mark/{i}",
                         attributes={"text": f"L{i % 400}-mark " * (i % 40)})
                for i in part.tolist()
            ]  # fmt: skip
            records = [PhotoRecord(row, 1, 1, None, Status.PENDING) for row in rows]
            store.photos.save(source, ingest, records)
        for number in (7, 133, 250):
            store.forgetting.execute(store.forgetting.plan(listing=f"L{number}-mark"))
        files = [p for p in tmp_path.rglob("*") if p.is_file()]
        for number, expected in ((7, False), (133, False), (250, False), (8, True)):
            needle = f"L{number}-mark".encode()
            assert any(needle in p.read_bytes() for p in files) is expected, number


@pytest.mark.parametrize("damage", ["truncated", "lost", "other"])
def test_a_damaged_shard_is_named_and_can_be_dropped(tmp_path: Path, damage: str) -> None:
    with open_store(URL, tmp_path) as store:
        ids = list(fill(store).values())
        (shard,) = (tmp_path / "vectors").glob("*/*.npy")
        if damage == "truncated":
            shard.write_bytes(shard.read_bytes()[:-10])
        elif damage == "lost":
            shard.unlink()
        else:
            np.save(shard, np.zeros((9, 9)))
        with pytest.raises(StoreError, match=rf"{shard.name}.*drop_damaged"):
            store.vectors.get(SPACE, ids)
        assert store.vectors.drop_damaged() == 2
        assert store.vectors.missing(SPACE, ids) == ids
        assert [u.content_id for u in store.contents.without_vector(SPACE.id)] == sorted(ids)
        store.vectors.put(SPACE, ids, np.zeros((2, 32), np.float16))
        assert store.vectors.drop_damaged() == 0


def test_a_damaged_shard_does_not_keep_a_listing_from_being_forgotten(tmp_path: Path) -> None:
    with open_store(URL, tmp_path) as store:
        fill(store)
        (shard,) = (tmp_path / "vectors").glob("*/*.npy")
        shard.write_bytes(b"\x93NUMPY rubbish")
        store.forgetting.execute(store.forgetting.plan(listing="L1"))
        assert not shard.exists()


def test_young_files_of_other_writers_are_not_swept(tmp_path: Path) -> None:
    with open_store(URL, tmp_path) as store:
        fill(store)
        young = tmp_path / "vectors" / SPACE.id / "young.npy"
        young.write_bytes(b"x")
        store.vectors.compact()
        assert young.exists()
        assert store.vectors.compact(grace_s=-60) == 1
        assert not young.exists()


def test_a_shard_is_never_unpickled(tmp_path: Path) -> None:
    with open_store(URL, tmp_path) as store:
        ids = list(fill(store).values())
        (shard,) = (tmp_path / "vectors").glob("*/*.npy")
        np.save(shard, np.array([{"evil": 1}, {"evil": 2}], dtype=object), allow_pickle=True)
        with pytest.raises(StoreError, match="damaged"):
            store.vectors.get(SPACE, ids)


def test_thumbnails_of_unknown_contents_and_torn_ones_are_swept(tmp_path: Path) -> None:
    with open_store(URL, tmp_path) as store:
        fill(store)
        known = hashlib.sha256(b"a").hexdigest()
        unknown = hashlib.sha256(b"nobody").hexdigest()
        store.thumbnails.put(known, b"a")
        store.thumbnails.put(unknown, b"left by a kill before its content was saved")
        folder = store.thumbnails.path(known).parent
        old, young = folder / "old.tmp", folder / "young.tmp"
        for path in (old, young):
            path.write_bytes(b"torn")
        for path in (old, store.thumbnails.path(unknown), store.thumbnails.path(known)):
            os.utime(path, (1, 1))
        fresh = hashlib.sha256(b"about to be saved").hexdigest()
        store.thumbnails.put(fresh, b"of a transaction that has not ended")
        (folder / "README.jpg").write_bytes(b"not ours")
        assert store.compact() >= len(b"left by a kill before its content was saved") + 4
        assert store.thumbnails.get(unknown) is None
        assert store.thumbnails.get(known) == b"a"
        assert store.thumbnails.get(fresh) is not None
        assert {path.name for path in folder.iterdir()} >= {"young.tmp", "README.jpg"}
        assert not old.exists()
        assert store.compact() == 0
