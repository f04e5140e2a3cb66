"""What traces cost: photos a second over HTTP and CPU a photo, with and without them.

    python benchmarks/traces.py               # about 3 minutes
    python benchmarks/traces.py --smoke       # does it still run: seconds

Photos and callers are those of `api.py`, one photo a call; with `--drawn` small drawn photos, of
which more go through in a second, so that traces weigh more. Both servers run, and take turns of a
few seconds each, so that what else the machine does meets both; the ratio is that of neighbouring
turns. The collector is a program of its own that takes what it is sent and throws it away; its CPU
is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from api import Turn, closed, make_project, started
from photos import CACHE, drawn, mix
from run import machine

OFF, ON = "without traces", "with traces"
PORTS = {OFF: 8767, ON: 8768}
SINK = 8769


class Sink(BaseHTTPRequestHandler):
    """A collector's door."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def main() -> int:
    """Measure and print; return 0."""
    options = parse()
    if options.sink:
        ThreadingHTTPServer(("127.0.0.1", SINK), Sink).serve_forever()
    photos = (
        drawn()
        if options.smoke or options.drawn
        else [p for p in mix() if b"\x04\xb0\x06\x40" in p[:1000]]
    )
    seconds, repeats = (1.0, 1) if options.smoke else (options.seconds, options.repeats)
    CACHE.mkdir(parents=True, exist_ok=True)
    turns: dict[str, list[Turn]] = {OFF: [], ON: []}
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, ExitStack() as stack:
        stack.enter_context(collecting())
        command = "import sys; from listlens.cli import main; sys.exit(main())"
        servers = []
        for name in (OFF, ON):
            root = Path(folder) / str(PORTS[name]) / "shop"
            token = make_project(root, 60_000)
            asked = ["-c", command, "serve", "-p", str(root), "--port", str(PORTS[name])]
            sent = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{SINK}"} if name == ON else {}
            ours = started(name, asked, token, port=PORTS[name], more=sent)
            servers.append(stack.enter_context(ours))
        numbers = itertools.count(time.time_ns())
        for server in servers:
            asyncio.run(closed(server, photos, numbers, 1.0))
        for repeat in range(repeats):
            for server in servers if repeat % 2 else servers[::-1]:
                turn = asyncio.run(closed(server, photos, numbers, seconds))
                turns[server.name].append(turn)
                print(
                    f"{repeat + 1}/{repeats} {server.name}: {turn.n / turn.seconds:.1f}/s",
                    flush=True,
                )
    print("\n" + report(turns))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=8, help="turns of each server")
    parser.add_argument("--seconds", type=float, default=8.0, help="of one turn")
    parser.add_argument("--drawn", action="store_true", help="small drawn photos")
    parser.add_argument("--smoke", action="store_true", help="a few small photos, no statement")
    parser.add_argument("--sink", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


@contextmanager
def collecting() -> Iterator[None]:
    """Run the collector until the end of the block."""
    process = subprocess.Popen([sys.executable, __file__, "--sink"])
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def report(turns: dict[str, list[Turn]]) -> str:
    """Medians, and the ratio of neighbouring turns."""
    lines = [machine(), "", "| | photos/s | CPU a photo |", "|---|---|---|"]
    for name, mine in turns.items():
        rate = median(t.n / t.seconds for t in mine)
        cpu = median(1000 * t.cpu_s / max(1, t.n) for t in mine)
        lines.append(f"| {name} | {rate:.1f} | {cpu:.2f} ms |")
    pairs = list(zip(turns[OFF], turns[ON], strict=True))
    rates = [(on.n / on.seconds) / max(1e-9, off.n / off.seconds) for off, on in pairs]
    cpus = [(on.cpu_s / max(1, on.n)) / max(1e-9, off.cpu_s / max(1, off.n)) for off, on in pairs]
    lines += [
        "",
        f"With traces: {median(rates):.3f} of the photos a second ({min(rates):.3f} to "
        f"{max(rates):.3f}), {median(cpus):.3f} of the CPU a photo.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
