"""A full disk: it is said in plain words, nothing is lost, and work goes on once there is room."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

import listlens
from listlens.stream.running import make_worker

SLOW = pytest.mark.slow
SQLITE = "sqlite:///listlens.db"
COMMAND = [sys.executable, "-c", "import sys; from listlens.cli import main; sys.exit(main())"]


def fill(disk: Path, n_free: int) -> Path:
    """Leave so many bytes on a disk; return the file to remove."""
    ballast = disk / "ballast"
    ballast.write_bytes(b"\0" * (shutil.disk_usage(disk).free - n_free))
    return ballast


def make_project(root: Path, url: str, n_photos: int, draw_photo: Any) -> Path:
    (root / "files").mkdir(parents=True)
    (root / "listlens.toml").write_text(
        f'[store]\nurl = "{url}"\n[events]\nphotos = "files"\n[worker]\nin_flight = 8\n'
    )
    for n in range(n_photos):
        draw_photo("speckle", n).save(root / "files" / f"{n}.jpg")
    return root


@dataclass
class Waiting:
    """A worker that finds the disk full while it works."""

    line: Any
    caplog: pytest.LogCaptureFixture
    n_photos: int

    def waits_out(
        self,
        disk: Path,
        n_free: int,
        make_room: Callable[[Path], None],
        beside: Callable[[], None] = lambda: None,
    ) -> str:
        """Fill the disk, let it work, make room once it waits; return what it said."""
        project = self.line.project
        worker = make_worker(project, self.line.inference, self.line.pages)
        ballast = fill(disk, n_free)
        thread = threading.Thread(target=worker.run, args=(threading.Event(), "drained"))
        thread.start()
        beside()
        end = time.monotonic() + 60
        while not any("Going on in" in message for message in self.caplog.messages):
            assert time.monotonic() < end and thread.is_alive()
            time.sleep(0.05)
        time.sleep(0.5)
        assert thread.is_alive()  # it waits for room, and says so
        make_room(ballast)
        thread.join(90)
        return "\n".join(self.caplog.messages)

    def is_whole(self) -> None:
        """Every event is accounted for once."""
        project = self.line.project
        ledger = project.store.events.ledger()
        assert ledger.outcomes == {"predicted": self.n_photos}
        assert ledger.adds_up
        assert project.store.photos.counts()["ok"] == self.n_photos
        told = [(said["kind"], said["photo_id"]) for said in self.line.announced()]
        assert sorted(told) == sorted(("photo.predicted", f"{n}.jpg") for n in range(self.n_photos))
        assert not list(project.root.rglob("*.tmp"))


@pytest.mark.parametrize(
    "full", ["all", pytest.param("folder", marks=SLOW), pytest.param("database", marks=SLOW)]
)
def test_a_full_disk_is_waited_out_and_nothing_is_lost(
    full: str,
    mount: Callable[[int, Path], Path],
    tmp_path: Path,
    new_line: Callable[..., Any],
    draw_photo: Any,
    said: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = mount(24, tmp_path / "disk")
    root = (tmp_path if full == "database" else disk) / "shop"
    place = {"all": root, "folder": tmp_path, "database": disk}[full]
    make_project(root, f"sqlite:///{place / 'listlens.db'}", 24, draw_photo)
    with listlens.open(root) as project:
        line = new_line()
        line.project = project
        line.put(*[said(f"{n}.jpg") for n in range(24)])
        waiting = Waiting(line, caplog, 24)
        shown = waiting.waits_out(disk, 150_000 if full == "all" else 40_000, Path.unlink)
        assert "disk is full" in shown
        waiting.is_whole()


# -- PostgreSQL --------------------------------------------------------------------------------


class Cluster:
    """A PostgreSQL of its own: its tables, or its log, lie on a small disk."""

    def __init__(self, folder: Path, programs: Path, disk: Path, full: str) -> None:
        self.folder, self._programs = folder, programs
        self._data = (disk if full == "tables" else folder) / "data"
        shutil.chown(disk, "postgres", "postgres")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres?schema=shop"
        log = (disk if full == "log" else folder) / "log"
        how = ["-A", "trust", "-U", "postgres", "--no-sync", "--wal-segsize=1", f"--waldir={log}"]
        self._run("initdb", "-D", self._data, *how)

    def _run(self, program: str, *arguments: str | Path, check: bool = True) -> None:
        subprocess.run(
            [self._programs / program, *arguments],
            user="postgres", group="postgres", extra_groups=[],
            cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=check,
        )  # fmt: skip

    def start(self) -> None:
        """Start it where it does not run."""
        options = (
            f"-p {self._port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync=off"
            " -c wal_keep_size=1GB -c wal_init_zero=off"  # as where a replica or an archive lags
        )
        says = self.folder / "said"
        self._run("pg_ctl", "start", "-w", "-D", self._data, "-l", says, "-o", options, check=False)

    def write(self) -> None:
        """Write until its log is full, as others may that have tables there."""
        url = self.url.replace("+psycopg", "").partition("?")[0]
        with pytest.raises(psycopg.Error), psycopg.connect(url, autocommit=True) as one:
            for n in range(100):
                one.execute(f"CREATE TABLE noise{n} AS SELECT generate_series(1, 10000)")

    def said(self) -> str:
        """What it wrote into its own log."""
        return (self.folder / "said").read_text()

    def stop(self) -> None:
        """End it."""
        self._run("pg_ctl", "stop", "-m", "immediate", "-D", self._data, check=False)


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder that PostgreSQL's user may enter, as it may not enter pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="listlens-full-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def new_cluster(
    outside: Path, mount: Callable[[int, Path], Path]
) -> Iterator[Callable[[str], tuple[Cluster, Path]]]:
    """Make and start a cluster; skips where PostgreSQL's programs are not installed."""
    found = shutil.which("initdb") or next(Path("/usr/lib/postgresql").glob("*/bin/initdb"), None)
    if found is None:
        pytest.skip("no initdb here: a PostgreSQL of its own cannot be made")
    made: list[Cluster] = []

    def make(full: str) -> tuple[Cluster, Path]:
        disk = mount(64 if full == "tables" else 8, outside / "disk")
        shutil.chown(outside, "postgres", "postgres")
        made.append(Cluster(outside, Path(found).resolve().parent, disk, full))
        made[0].start()
        return made[0], disk

    yield make
    for one in made:
        one.stop()


@pytest.mark.slow
@pytest.mark.parametrize("full", ["tables", "log"])
def test_a_full_disk_of_postgresql_is_waited_out_and_nothing_is_lost(
    full: str,
    new_cluster: Callable[[str], tuple[Cluster, Path]],
    tmp_path: Path,
    new_line: Callable[..., Any],
    draw_photo: Any,
    said: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster, disk = new_cluster(full)
    root = make_project(tmp_path / "shop", cluster.url, 80, draw_photo)
    with listlens.open(root) as project:
        line = new_line()
        line.project = project
        line.put(*[said(f"{n}.jpg") for n in range(80)])

        def make_room(ballast: Path) -> None:
            ballast.unlink()
            cluster.start()  # a full log has ended it, as an operator would see

        waiting = Waiting(line, caplog, 80)
        others = cluster.write if full == "log" else lambda: None
        shown = waiting.waits_out(disk, 65_536, make_room, others)
        if full == "tables":
            assert re.search(r"the disk of postgresql\S* is full", shown), shown
        else:
            assert "cannot talk to postgresql" in shown
            assert "PANIC" in cluster.said() and "No space left on device" in cluster.said()
        waiting.is_whole()


# -- full before the start -----------------------------------------------------------------------


@pytest.fixture
def full_shop(mount: Callable[[int, Path], Path], tmp_path: Path, draw_photo: Any) -> Path:
    """A project on a small disk of its own, with 24 events that wait and a token."""
    root = make_project(mount(24, tmp_path / "disk") / "shop", SQLITE, 24, draw_photo)
    with listlens.open(root) as project:
        project.put_events(
            {"kind": "photo.added", "listing_id": "L1", "photo_id": str(n), "path": f"{n}.jpg"}
            for n in range(24)
        )
        project.store.tokens.create(["read"])
    return root


@pytest.mark.slow
@pytest.mark.parametrize("command", [["work", "--drain"], ["serve", "--port", "0"]])
def test_what_is_started_on_a_disk_without_any_room_says_so(
    command: list[str], full_shop: Path
) -> None:
    ballast = fill(full_shop.parent, 0)
    how: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60}
    ran = subprocess.run([*COMMAND, *command, "-p", str(full_shop)], check=False, **how)
    assert ran.returncode == 5, ran
    assert "the disk is full" in ran.stderr and "free some room" in ran.stderr
    assert "Traceback" not in ran.stderr
    ballast.unlink()
    with listlens.open(full_shop) as project:
        assert project.ledger()["waiting"] == 24


@pytest.mark.slow
def test_a_server_that_starts_with_too_little_room_tells_health_and_goes_on(
    full_shop: Path, tmp_path: Path
) -> None:
    ballast = fill(full_shop.parent, 250_000)
    command = [*COMMAND, "serve", "--port", "0", "-p", str(full_shop)]
    how: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True}
    with (
        listlens.open(full_shop) as project,
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, stderr=log, **how) as process,
    ):
        try:
            address = "http" + process.stdout.readline().partition("http")[2].partition(";")[0]
            health = until(lambda: httpx.get(f"{address}/health").json(), "degraded")
            assert "the disk is full" in health["detail"]
            ballast.unlink()
            assert until(lambda: httpx.get(f"{address}/health").json(), "ready")["detail"] == ""
            until(lambda: {"status": project.ledger()["done"]}, 24)
            assert project.ledger()["adds_up"]
        finally:
            process.terminate()
            assert process.wait(60) == 0
    said = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    (first, *_) = [one for one in said if "Going on in" in one["event"]]
    assert first["level"] == "warning" and first["logger"] == "listlens.stream"


def until(ask: Callable[[], dict[str, Any]], status: object) -> dict[str, Any]:
    """Ask until the status is this, for a minute at most; return what was said."""
    end = time.monotonic() + 60
    while (said := ask())["status"] != status:
        assert time.monotonic() < end, said
        time.sleep(0.1)
    return said
