"""Upgrade listlens under load: does a call fail, is an answer wrong, is an event lost or doubled?

    python benchmarks/migrate.py
    python benchmarks/migrate.py --old 2378ede --store postgresql+psycopg://postgres@127.0.0.1/test

An older version, taken from the repository's history, makes a project, trains it, and serves it
with its worker. Callers ask for predictions and send events all the time. Then the new version
brings the tables up to date while the old server goes on answering, a new server starts beside the
old one, takes half of the calls and then all, and the old one is told to stop. Every answer is held
against what the old server said before, and every event against what was announced.
"""

from __future__ import annotations

import argparse
import base64
import io
import itertools
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from photos import CACHE, HERE, with_comment

COMMAND = "import sys; from listlens.cli import main; sys.exit(main())"
SCHEMA = "src/listlens/store/migrate.py"
OLD = "8cae28d"
"""Of schema 0007. From the first release on: the last release."""
PHOTOS, CALLERS, SENDERS = 12, 3, 2


def main() -> int:
    options = parse()
    if options.make:
        return make(options.make, options.store)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        old = Version(unpacked(options.old, Path(folder) / "old"))
        found = upgrade(Path(folder), old, Version(HERE.parent / "src"), options)
    print(json.dumps(found, indent=1))
    return 1 if found["problems"] else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--old", default=OLD, help="commit or tag of the older version")
    parser.add_argument("--store", default="", help="URL of a PostgreSQL; default: SQLite")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each of the five stretches")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


# -- two versions -------------------------------------------------------------------------------


class Version:
    """The package as it was at some time."""

    def __init__(self, source: Path) -> None:
        self.env = {**os.environ, "PYTHONPATH": str(source)}
        self.schema = schema_of((source / SCHEMA.removeprefix("src/")).read_text())

    def run(self, *args: str) -> str:
        done = subprocess.run(
            [sys.executable, *args], env=self.env, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout.strip()

    @contextmanager
    def serving(self, root: Path) -> Any:
        """Serve until the end of the block; gives the address and the process."""
        command = [sys.executable, "-c", COMMAND, "serve", "--port", "0", "-p", str(root)]
        with (root / f"log-{self.schema}").open("w") as log:
            process = subprocess.Popen(
                command, env=self.env, stdout=subprocess.PIPE, stderr=log, text=True
            )
        try:
            assert process.stdout is not None
            said = (re.search(r"http://[\w.]+:\d+", line) for line in process.stdout)
            yield next(filter(None, said))[0], process
        finally:
            process.terminate()
            process.wait(60)


def schema_of(text: str) -> str:
    found = re.search(r'^HEAD = "(\d+)"', text, re.M)
    assert found is not None
    return found[1]


def git(*args: str) -> bytes:
    return subprocess.run(
        ["git", "-C", str(HERE.parent), *args], stdout=subprocess.PIPE, check=True
    ).stdout


def unpacked(commit: str, target: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(git("archive", commit, "src"))) as archive:
        archive.extractall(target, filter="data")
    return target / "src"


def make(root: Path, store: str) -> int:
    """Make and train the project, with whichever version this process imports; prints a token."""
    from api import make_project

    lines = {'photos = ""': 'photos = "../events"'}
    if store:
        lines['url = "sqlite:///listlens.db"'] = f'url = "{store}"'
    print(make_project(root, settings=lines))
    return 0


# -- the upgrade --------------------------------------------------------------------------------


def upgrade(folder: Path, old: Version, new: Version, options: argparse.Namespace) -> Any:
    """Upgrade under load; return what happened."""
    root, schema = folder / "shop", f"migrate_{os.getpid()}"
    store = f"{options.store}?schema={schema}" if options.store else ""
    token = old.run(__file__, "--make", str(root), "--store", store).splitlines()[-1]
    photos = sorted((folder / "photos").rglob("*.png"))[:PHOTOS]
    steps: dict[str, str] = {}
    with old.serving(root) as (before, process):
        load = Load([before], token, photos, folder / "events")
        expected = load.predict()
        load.start()
        try:
            time.sleep(options.seconds)
            began = time.monotonic()
            new.run("-c", COMMAND, "status", "-p", str(root))
            steps["new command, tables brought up to date"] = f"{time.monotonic() - began:.1f} s"
            time.sleep(options.seconds)
            with new.serving(root) as (after, _):
                load.addresses = [before, after]
                time.sleep(options.seconds)
                load.addresses = [after]
                time.sleep(1.0)
                began = time.monotonic()
                process.terminate()
                assert process.wait(60) == 0, "the old server did not end well"
                steps["old server stopped"] = f"{time.monotonic() - began:.1f} s"
                time.sleep(options.seconds)
                load.end()
                load.addresses = [after]
                problems = load.settled() + load.wrong(expected)
                ledger = load.ask("/v1/ledger")
        finally:
            load.end()
    if options.store:
        from faults import drop

        drop(options.store, schema)
    return {
        "database": (options.store or "sqlite").partition(":")[0],
        "schema": f"{old.schema} to {new.schema}",
        **steps,
        "predict calls": len(load.answers),
        "by the old, the new server": [
            sum(one[0] == url for one in load.answers) for url in (before, after)
        ],
        "slowest call": f"{max(took for _, took, _ in load.answers):.2f} s",
        "events": len(load.keys),
        "ledger": ledger,
        "problems": problems[:20],
    }


class Load:
    """Callers and senders that go on until they are told to stop, and keep all that they hear."""

    def __init__(self, addresses: list[str], token: str, photos: list[Path], events: Path) -> None:
        self.addresses, self._token, self._events = addresses, token, events
        events.mkdir()
        records = [
            {"id": str(i), "base64": base64.b64encode(photo.read_bytes()).decode()}
            for i, photo in enumerate(photos)
        ]
        self._body = {"records": records, "tasks": ["room"]}
        self.answers: list[tuple[str, float, Any]] = []
        self.failed: list[str] = []
        self.keys: list[str] = []
        self._numbers, self._turn = itertools.count(), itertools.count()
        self._stop = threading.Event()
        steps = [self._call] * CALLERS + [self._send] * SENDERS
        self._threads = [threading.Thread(target=self._go_on, args=(step,)) for step in steps]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def ask(self, path: str, body: Any = None, address: str = "") -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request((address or self.addresses[0]) + path, data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def predict(self, address: str = "") -> Any:
        return self.ask("/v1/predict", self._body, address)["records"]

    def _go_on(self, step: Any) -> None:
        while not self._stop.is_set():
            addresses = self.addresses
            address = addresses[next(self._turn) % len(addresses)]
            try:
                step(address)
            except Exception as error:
                self.failed.append(f"{step.__name__}: {error!r}")

    def _call(self, address: str) -> None:
        began = time.monotonic()
        found = self.predict(address)
        self.answers.append((address, time.monotonic() - began, found))

    def _send(self, address: str) -> None:
        """A photo of its own bytes, as an event."""
        n = next(self._numbers)
        (self._events / f"{n}.jpg").write_bytes(jpeg(n))
        said = {
            "id": f"e{n}",
            "kind": "photo.added",
            "listing_id": f"L{n // 5}",
            "photo_id": f"{n}",
        }
        taken = self.ask("/v1/events", {**said, "path": f"{n}.jpg"}, address)
        assert taken["new"] == 1, taken
        self.keys.append(said["id"])
        time.sleep(0.05)

    def settled(self) -> list[str]:
        """Wait for the last event; say what was lost, doubled, or came out otherwise."""
        end = time.monotonic() + 120
        while self.ask("/v1/ledger")["done"] < len(self.keys) and time.monotonic() < end:
            time.sleep(0.5)
        ledger, told, cursor = self.ask("/v1/ledger"), Counter[str](), "0"
        problems = [] if ledger["adds_up"] else ["the ledger does not add up"]
        if ledger["outcomes"] != {"predicted": len(self.keys)}:
            problems.append(f"of {len(self.keys)} events: {ledger}")
        while True:
            page = self.ask(f"/v1/feed?limit=1000&cursor={cursor}")
            told.update(one["event_id"] for one in page["events"])
            cursor = page["cursor"]
            if not page["more"]:
                break
        if told != Counter(self.keys):
            problems.append("announced other than once each")
        return problems

    def wrong(self, expected: Any) -> list[str]:
        """Calls that failed, and answers unlike the one before."""
        problems = list(self.failed)
        for address, _, records in self.answers:
            for one, was in zip(records, expected, strict=True):
                off = 1.0 if one["status"] != "ok" else distance(one, was)
                if off > 0.02 or one["results"]["room"]["model"] != was["results"]["room"]["model"]:
                    problems.append(f"{address}: {one}, not {was}")
        return problems


def distance(one: Any, was: Any) -> float:
    probs, before = (x["results"]["room"]["probabilities"] for x in (one, was))
    return max(abs(p - before[name]) for name, p in probs.items())


def jpeg(n: int) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.effect_noise((96, 72), 40 + n % 60).convert("RGB").save(stream, "JPEG")
    return with_comment(stream.getvalue(), str(n).encode())


if __name__ == "__main__":
    sys.exit(main())
