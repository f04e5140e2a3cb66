"""Photos a minute through the worker, end to end, and its CPU beside the batch path's.

    python benchmarks/worker.py                  # 3,000 files, 3,000 URLs, the batch path: minutes
    python benchmarks/worker.py --photos 500 --store postgresql+psycopg://...
    python benchmarks/worker.py --smoke          # does it still run: seconds

Photos of 1600 x 1200 made from real ones, no two with equal bytes. Each line is a process of its
own that first passes over 64 photos, so that imports and compiling are left out. A photo counts
once its results are stored and announced. The images' host is another process, so that its CPU is
not the worker's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

from meter import Meter
from photos import CACHE, detailed, drawn, jpeg, write_set

import listlens

HERE = Path(__file__).resolve().parent
N_WARM_UP = 64
SIZE = (1600, 1200)
SHAPES = 2


def main() -> int:
    options = parse()
    if options.line:
        return run_line(options)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root = Path(folder)
        photos = drawn() if options.smoke else sources()
        n = 30 if options.smoke else options.photos
        for name, count in (("warm-up", 8 if options.smoke else N_WARM_UP), ("photos", n)):
            write_set(root / "files" / name, photos, count, seed=len(name))
        found: dict[str, list[dict[str, Any]]] = {}
        for repeat in range(1 if options.smoke else options.repeats):
            for line in ("batch", "files", "urls"):
                result = measured(line, root, options, repeat)
                found.setdefault(line, []).append(result)
                print(f"{line}: {json.dumps(result)}", flush=True)
    print(table(found, options.store or "sqlite"))
    if not options.smoke:
        (CACHE / "worker.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=1, help="medians are shown")
    parser.add_argument("--store", default="", help="URL of a PostgreSQL; default: SQLite")
    parser.add_argument("--smoke", action="store_true", help="a few small photos, no statement")
    parser.add_argument("--line", default="", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--profile", default="", help="file for cProfile of the worker's thread")
    return parser.parse_args()


def sources() -> list[bytes]:
    """JPEGs of 1600 x 1200 made from the demo's photos, made once."""
    folder = CACHE / "large"
    if len(list(folder.glob("*.jpg"))) < 24:
        folder.mkdir(parents=True, exist_ok=True)
        for i, path in enumerate(detailed(40)):
            (folder / f"{i:02d}.jpg").write_bytes(jpeg(path, SIZE))
    return [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]


def measured(line: str, root: Path, options: argparse.Namespace, repeat: int) -> dict[str, Any]:
    """Run one line in a process of its own."""
    url = f"{options.store}?schema=bench_{line}_{os.getpid()}_{repeat}" if options.store else ""
    command = [sys.executable, __file__, "--line", line, "--root", str(root), "--store", url]
    command += ["--profile", options.profile] if options.profile and line == "files" else []
    host = ImagesHost(root / "files") if line == "urls" else None
    try:
        port = str(host.port) if host else ""
        done = subprocess.run(
            command, env={**os.environ, "IMAGES_PORT": port}, stdout=subprocess.PIPE, text=True,
            check=True,
        )  # fmt: skip
    finally:
        if host:
            host.close()
    return dict(json.loads(done.stdout.splitlines()[-1]))


class ImagesHost:
    """Serves a folder on loopback, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        code = "import sys, worker; worker.serve(sys.argv[1])"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)], cwd=HERE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(folder: str) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    print(server.server_address[1], flush=True)
    server.serve_forever()


def run_line(options: argparse.Namespace) -> int:
    """Measure one line in this process; prints JSON."""
    with tempfile.TemporaryDirectory(dir=options.root) as folder:
        port = os.environ.get("IMAGES_PORT", "")
        settings = [f'[events]\nphotos = "{options.root / "files"}"', "[fetch]"]
        settings += [f'private = ["127.0.0.1:{port}"]'] if port else []
        settings += [f'[store]\nurl = "{options.store}"'] if options.store else []
        (Path(folder) / "listlens.toml").write_text("\n".join(settings), encoding="utf-8")
        with listlens.open(folder) as project:
            line = batch if options.line == "batch" else stream
            line(project, options.root / "files", "warm-up", port, "")
            meter = Meter()
            n = line(project, options.root / "files", "photos", port, options.profile)
            meter.report(n, load=round(os.getloadavg()[0], 1))
    return 0


def batch(project: Any, files: Path, which: str, port: str, profile: str) -> int:
    """What `listlens ingest` and `listlens tag` do."""
    report = project.ingest(files / which)
    project.tag()
    assert report.failed == 0, report
    return int(report.new)


def stream(project: Any, files: Path, which: str, port: str, profile: str) -> int:
    """Events in, the worker until there are none, and everything announced."""
    from listlens.pipeline.event_door import let_in, understood
    from listlens.stream.running import work

    store, before = project.store, project.store.outbox.last()
    paths = sorted((files / which).rglob("*.jpg"))
    names = [path.relative_to(files).as_posix() for path in paths]
    place = (lambda n: {"url": f"http://127.0.0.1:{port}/{n}"}) if port else lambda n: {"path": n}
    said = [
        {"kind": "photo.added", "listing_id": Path(n).parent.name, "photo_id": n, **place(n)}
        for n in names
    ]
    now = store.clock()
    let_in(store, (one for event in said for one in understood(event, project.config.events, now)))
    if profile:
        import cProfile

        profiler = cProfile.Profile()
        profiler.runcall(work, project, threading.Event(), "drained")
        profiler.dump_stats(profile)
    else:
        work(project, threading.Event(), "drained")
    announced, _ = store.outbox.read(before, limit=len(names) + 1)
    assert len(announced) == len(names), (len(announced), store.events.ledger())
    assert all(one.kind == "photo.predicted" for one in announced)
    return len(names)


def table(found: dict[str, list[dict[str, Any]]], store: str) -> str:
    batch_ms = median(r["cpu_ms"] for r in found["batch"])
    rows = [
        f"On {store.split(':', maxsplit=1)[0]}, {os.cpu_count()} cores, "
        f"load before it ended {max(r['load'] for rs in found.values() for r in rs)}:",
        "| line | photos a minute | CPU ms a photo | of the batch path | peak MB |",
        "|---|---|---|---|---|",
    ]
    for line, results in found.items():
        ms = median(r["cpu_ms"] for r in results)
        per_minute = 60_000 / median(r["wall_ms"] for r in results)
        peak = max(r["peak_mb"] for r in results)
        rows.append(f"| {line} | {per_minute:,.0f} | {ms:.2f} | {ms / batch_ms:.2f} | {peak:.0f} |")
    return "\n".join(rows)


if __name__ == "__main__":
    began = time.monotonic()
    sys.exit(main())
