"""How soon and how fast webhooks are delivered, to a receiver that is a process of its own.

Usage: python benchmarks/webhooks.py [--rate 42] [--seconds 20] [--backlog 3000] [--endpoints 3]

The rate is in events a second: 42 is half of 5,000 a minute. One endpoint more hangs all the time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from listlens.core.config import FetchConfig
from listlens.store.event_rows import Announcement
from listlens.store.open import Store, open_store
from listlens.stream.relay import Relay
from listlens.stream.webhooks import Poster, webhook_rules

RECEIVER = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_POST(self):
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/hangs":
            time.sleep(3600)
        line = f"{self.path} {time.time() - said['data']['at_s']}\\n"
        os.write(1, line.encode())  # whole, whatever other threads write
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
server.daemon_threads = True
print(server.server_port, flush=True)
server.serve_forever()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=42.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--backlog", type=int, default=3000)
    parser.add_argument("--endpoints", type=int, default=3)
    options = parser.parse_args()
    command = [sys.executable, "-c", RECEIVER]
    with (
        tempfile.TemporaryDirectory() as folder,
        open_store("sqlite:///listlens.db", Path(folder)) as store,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver,
    ):
        assert receiver.stdout is not None
        url = f"http://127.0.0.1:{int(receiver.stdout.readline())}"
        poster = Poster(webhook_rules(FetchConfig(private=("127.0.0.1",))))
        try:
            for n in range(options.endpoints):
                store.webhooks.add(f"{url}/{n}")
            store.webhooks.add(f"{url}/hangs")
            with Relay(store, poster):
                steady(store, options)
                n = int(options.rate * options.seconds) * options.endpoints
                report("steady", [next(receiver.stdout) for _ in range(n)])
                store.webhooks.disable(options.endpoints + 1, "measured")
                began, cpu = time.perf_counter(), time.process_time()
                announce(store, options.backlog)
                for _ in range(options.backlog * options.endpoints):
                    next(receiver.stdout)
                n, took = options.backlog * options.endpoints, time.perf_counter() - began
                cpu_ms = 1000 * (time.process_time() - cpu) / n
                print(f"backlog: {n / took:.0f} deliveries a second, {cpu_ms:.2f} ms CPU each")
        finally:
            receiver.kill()
            poster.close()


def steady(store: Store, options: argparse.Namespace) -> None:
    """Announce at a steady rate."""
    began = time.perf_counter()
    for n in range(int(options.rate * options.seconds)):
        time.sleep(max(0.0, began + n / options.rate - time.perf_counter()))
        announce(store, 1)


def announce(store: Store, n: int) -> None:
    """Announce n photos of as many listings."""
    results = {"room": {"prediction": "kitchen", "probability": 0.97, "review": False}}
    now = time.time()
    store.outbox.append(
        [
            Announcement(
                f"{now}-{i}", "photo.predicted", f"L{now}{i}", "a",
                {"at_s": now, "results": results}, ("room",),
            )
            for i in range(n)
        ]
    )  # fmt: skip


def report(name: str, lines: Sequence[str]) -> None:
    """Print how long after its announcement a delivery arrived."""
    waits = np.array([float(line.split()[1]) for line in lines])
    p50, p95, p99 = np.percentile(waits, [50, 95, 99])
    print(f"{name}: {len(waits)} deliveries, p50 {p50:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s")


if __name__ == "__main__":
    main()
