"""How long an event takes to the webhook, alone and beside a back-fill of 100,000 photos.

    python benchmarks/latency.py                       # about 6 minutes
    python benchmarks/latency.py --seconds 20 --backfill 3000 --store postgresql+psycopg://...
    python benchmarks/latency.py --smoke               # does it still run: seconds

`listlens serve` with its worker, the images' host and the webhook's receiver are processes of their
own, on one machine. Photos are 1600 x 1200 JPEGs made of real ones, each with a comment of its own,
so that no two have equal bytes and no cache answers. First the peak is measured: so many events at
once, from the first taken in to the last at the webhook. Then new uploads come one by one at half
that rate, first alone, then while the back-fill waits behind them, which must outlast them. A
latency runs from the moment an event should be sent to the moment its webhook is read, so a server
that answers late is not spared. Back-filled photos are announced to the same receiver.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from photos import CACHE, drawn, with_comment
from promote import RUN, address_of, command
from worker import HERE, sources

import listlens
from listlens.stream.announcing import PHOTO_PREDICTED

PUT_AT_ONCE = 1000


def main() -> int:
    options = parse()
    if options.serve:
        return serve(options.serve, options.photos)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        bases = Path(folder) / "bases"
        bases.mkdir()
        for i, data in enumerate(drawn() if options.smoke else sources()):
            (bases / f"{i:02d}.jpg").write_bytes(data)
        with (
            helper("images", bases) as images,
            helper("receiver", bases) as receiver,
            server(Path(folder) / "shop", images, receiver, options) as shop,
        ):
            found = run(shop, images, receiver, options)
    print(table(found))
    if not options.smoke:
        (CACHE / "latency.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peak", type=int, default=2000, help="events that the peak is taken from")
    parser.add_argument("--seconds", type=float, default=90.0, help="of new uploads, each time")
    parser.add_argument("--backfill", type=int, default=100_000)
    parser.add_argument("--share", type=float, default=0.5, help="of the peak")
    parser.add_argument("--store", default="", help="URL of a PostgreSQL; default: SQLite")
    parser.add_argument("--smoke", action="store_true", help="a few small photos, no statement")
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    parser.add_argument("--photos", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.smoke:
        options.peak, options.seconds, options.backfill = 24, 1.0, 60
    return options


def run(shop: Shop, images: Helper, receiver: Helper, options: argparse.Namespace) -> Any:
    """Measure the peak, then both latencies."""
    peak = Uploads(shop, images, receiver)
    peak.all_at_once("warm-up", 8 if options.smoke else 64)
    per_s = peak.all_at_once("peak", options.peak)
    print(f"peak: {60 * per_s:,.0f} photos a minute", flush=True)
    rate, found = options.share * per_s, {"peak_per_minute": 60 * per_s, "lines": []}
    for name, n in (("alone", 0), ("beside a back-fill", options.backfill)):
        if n:
            shop.put(event(images, f"old-{i}", priority="backfill") for i in range(n))
            receiver.others_reach(1 if options.smoke else 200)
        before, began = receiver.n_others, time.monotonic()
        waits = peak.steadily(name, rate, options.seconds)
        done = receiver.n_others - before
        line = {
            "name": name, "per_minute": 60 * rate, "n": len(waits),
            "p50_s": pct(waits, 50), "p95_s": pct(waits, 95), "p99_s": pct(waits, 99),
            "most_s": max(waits), "backfilled_per_minute": 60 * done / (time.monotonic() - began),
            "still_waiting": shop.ledger()["waiting"], "load": round(os.getloadavg()[0], 1),
        }  # fmt: skip
        print(json.dumps(line), flush=True)
        found["lines"].append(line)
        if n and not line["still_waiting"] and not options.smoke:
            raise SystemExit("the back-fill ended before the uploads did: give more of it")
    return found


def pct(waits: list[float], q: float) -> float:
    return round(float(np.percentile(waits, q)), 3)


class Uploads:
    """New uploads, and what became of each."""

    def __init__(self, shop: Shop, images: Helper, receiver: Helper) -> None:
        self.shop, self.images, self.receiver = shop, images, receiver

    def all_at_once(self, name: str, n: int) -> float:
        """Send n events; return how many a second reached the webhook."""
        began = time.time()
        keys = [f"new-{name}-{i}" for i in range(n)]
        self.shop.put(event(self.images, key) for key in keys)
        return n / (max(self.receiver.arrived(keys).values()) - began)

    def steadily(self, name: str, rate: float, seconds: float) -> list[float]:
        """Send events one by one at a steady rate; return the seconds each took to the webhook."""
        due: dict[str, float] = {}
        began = time.time() + 0.5
        with ThreadPoolExecutor(16) as senders:
            for i in range(int(rate * seconds)):
                key = f"new-{name.replace(' ', '-')}-{i}"
                due[key] = began + i / rate
                time.sleep(max(0.0, due[key] - time.time()))
                senders.submit(self.shop.put, iter([event(self.images, key)]))
        arrived = self.receiver.arrived(list(due))
        return [arrived[key] - at for key, at in due.items()]


def event(images: Helper, key: str, **more: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{images.port}/{key}.jpg"
    said = {"id": key, "kind": "photo.added", "listing_id": f"L-{key}", "photo_id": "1"}
    return {**said, "url": url, **more}


# -- the server that is measured ----------------------------------------------------------------


class Shop:
    """The server's API."""

    def __init__(self, url: str, token: str) -> None:
        self._address = url.removeprefix("http://")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        with closing(http.client.HTTPConnection(self._address, timeout=120)) as connection:
            connection.request(method, path, body, self._headers)
            answer = connection.getresponse()
            said = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {said[:300]!r}")
        return json.loads(said)

    def put(self, events: Iterator[dict[str, Any]]) -> None:
        """Send events, a thousand a call at most."""
        while batch := [one for _, one in zip(range(PUT_AT_ONCE), events, strict=False)]:
            self.ask("POST", "/v1/events", json.dumps(batch).encode())

    def ledger(self) -> dict[str, Any]:
        return dict(self.ask("GET", "/v1/ledger"))


@contextmanager
def server(
    root: Path, images: Helper, receiver: Helper, options: argparse.Namespace
) -> Iterator[Shop]:
    """`listlens serve` with its worker and one webhook."""
    root.mkdir()
    hosts = [f"127.0.0.1:{one.port}" for one in (images, receiver)]
    settings = f"[fetch]\nprivate = {json.dumps(hosts)}\nper_host = 16\n"
    if options.store:
        settings += f'[store]\nurl = "{options.store}?schema=latency_{os.getpid()}"\n'
    (root / "listlens.toml").write_text(settings, encoding="utf-8")
    listlens.open(root).close()
    token = command(root, "token", "create", "--scope", "admin").splitlines()[-1]
    command(root, "webhooks", "add", f"http://127.0.0.1:{receiver.port}/")
    run = [*RUN, "serve", "--port", "0", "-p", str(root)]
    with (root / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        yield Shop(address_of(process), token)
    finally:
        process.terminate()
        process.wait(60)


# -- processes beside it ------------------------------------------------------------------------


class Helper:
    """A process that serves, and the lines that it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.port, self.n_others = int(process.stdout.readline()), 0
        self._lines, self._at = process.stdout, dict[str, float]()
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._lines:
            key, at, kind = line.split()
            if kind != PHOTO_PREDICTED:
                raise RuntimeError(f"{key}: {kind}")
            if key.startswith("new-"):
                self._at[key] = float(at)
            else:
                self.n_others += 1
            self._news.put(None)

    def arrived(self, keys: list[str]) -> dict[str, float]:
        """Wait until all of these were announced; return when each was."""
        while not all(key in self._at for key in keys):
            self._news.get(timeout=120)
        return {key: self._at[key] for key in keys}

    def others_reach(self, n: int) -> None:
        while self.n_others < n:
            self._news.get(timeout=120)


@contextmanager
def helper(name: str, photos: Path) -> Iterator[Helper]:
    arguments = [sys.executable, __file__, "--serve", name, "--photos", str(photos)]
    process = subprocess.Popen(arguments, cwd=HERE, stdout=subprocess.PIPE, text=True)
    try:
        yield Helper(process)
    finally:
        process.kill()
        process.wait()


def serve(name: str, photos: Path) -> int:
    """Be the images' host, or the receiver, which prints what arrives and when."""
    bases = [path.read_bytes() for path in sorted(photos.glob("*.jpg"))]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            key = self.path.encode()
            self.answer(with_comment(bases[hash(key) % len(bases)], key))

        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            line = f"{said['data']['event_id']} {time.time()} {said['type']}\n"
            os.write(1, line.encode())  # whole, whatever other threads write
            self.answer(b"")

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    print(listening.server_port, flush=True)
    listening.serve_forever()
    return 0


def table(found: dict[str, Any]) -> str:
    lines = [
        f"Peak {found['peak_per_minute']:,.0f} photos a minute; {os.cpu_count()} cores.",
        "| new uploads | a minute | n | p50 s | p95 s | p99 s | most s | back-filled a minute |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one['name']} | {one['per_minute']:,.0f} | {one['n']:,} | {one['p50_s']:.2f} | "
        f"{one['p95_s']:.2f} | {one['p99_s']:.2f} | {one['most_s']:.2f} | "
        f"{one['backfilled_per_minute']:,.0f} |"
        for one in found["lines"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
