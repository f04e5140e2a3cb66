"""Photos a second over HTTP, one photo a call, against two plain routes; and all under overload.

    python benchmarks/api.py               # about 5 minutes
    python benchmarks/api.py --smoke       # does it still run: seconds

Every photo is a 1600 x 1200 JPEG made of a real one, no two with equal bytes, sent as a form by
callers on connections that stay open. Throughput is that of a server that lets all 32 wait, however
slow the machine is today; overload meets one with its defaults. The servers take turns, a few
seconds each, so that what else the machine does meets all of them. CPU is that of the server's
process, threads included. (a) needs PyTorch; without it, it is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from photos import CACHE, HERE, drawn, mix, with_comment
from run import MALLOC, machine

CALLERS = 32
CLASSES = ("bathroom", "bedroom", "frontal", "kitchen")
OURS, BOUNDED = "listlens serve", "listlens serve, default bound on waiting"
PLAIN, TORCH = "(b) our engine, no batching", "(a) Pillow, eager PyTorch"
PORTS = {OURS: 8761, BOUNDED: 8762, PLAIN: 8763, TORCH: 8764}
IN_TIME_S = 0.5
BOUNDARY = "listlens-benchmark"


@dataclass
class Turn:
    """What one turn of a server gave."""

    seconds: float
    cpu_s: float
    took_s: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    @property
    def n(self) -> int:
        return sum(status == 200 for status in self.statuses)


@dataclass(frozen=True)
class Server:
    """A server that runs, and how to call it."""

    name: str
    port: int
    pid: int
    token: str = ""

    def head(self, n_bytes: int) -> bytes:
        return (
            "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {self.token}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
            f"Content-Length: {n_bytes}\r\n\r\n"
        ).encode()


def main() -> int:
    """Measure and print; return 0."""
    options = parse()
    photos = drawn() if options.smoke else [p for p in mix() if b"\x04\xb0\x06\x40" in p[:1000]]
    seconds, repeats = (1.0, 1) if options.smoke else (options.seconds, options.repeats)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, ExitStack() as stack:
        servers = start_all(Path(folder), stack)
        numbers = itertools.count(time.time_ns())
        for server in servers:
            asyncio.run(closed(server, photos, numbers, 1.0))
        patient = [server for server in servers if server.name != BOUNDED]
        turns: dict[str, list[Turn]] = {server.name: [] for server in patient}
        for repeat in range(repeats):
            for server in patient:
                turn = asyncio.run(closed(server, photos, numbers, seconds))
                turns[server.name].append(turn)
                print(f"{repeat + 1}/{repeats} {server.name}: {turn.n / seconds:.1f}/s", flush=True)
        rate = 1.5 * median(t.n / t.seconds for t in turns[OURS])
        over = {
            server.name: asyncio.run(overload(server, photos, numbers, seconds, rate))
            for server in servers
            if server.name in (BOUNDED, PLAIN)
        }
    print("\n" + report(turns, over, rate))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="turns of every server")
    parser.add_argument("--seconds", type=float, default=10.0, help="of one turn")
    parser.add_argument("--smoke", action="store_true", help="a few small photos, no statement")
    return parser.parse_args()


def start_all(folder: Path, stack: ExitStack) -> list[Server]:
    """Start the servers that can run here."""
    command = "import sys; from listlens.cli import main; sys.exit(main())"
    servers = []
    for name, max_queue_ms in ((OURS, 60_000), (BOUNDED, 0)):
        root = folder / str(PORTS[name]) / "shop"
        token = make_project(root, max_queue_ms)
        ours = ["-c", command, "serve", "-p", str(root), "--port", str(PORTS[name])]
        servers.append(stack.enter_context(started(name, ours, token)))
    script = str(HERE / "api_routes.py")
    servers.append(stack.enter_context(started(PLAIN, [script, "plain", str(PORTS[PLAIN])])))
    if importlib.util.find_spec("torch") is None:
        print("skipped: (a): PyTorch is not installed (pip install 'listlens[finetune]')")
        return servers
    torch = [script, "torch", str(PORTS[TORCH])]
    return [*servers, stack.enter_context(started(TORCH, torch))]


def make_project(root: Path, max_queue_ms: int = 0, settings: dict[str, str] | None = None) -> str:
    """Train a task of four classes on drawn pictures; return a token for everything.

    Args:
        root: of the project.
        max_queue_ms: of `[serve]`; 0 for the default.
        settings: lines of the new `listlens.toml`, and what stands there instead.
    """
    import numpy as np
    from PIL import Image

    import listlens

    folder = root.parent / "photos"
    rng, rows = np.random.default_rng(0), []
    for i in range(48):
        path = folder / f"home-{i // 4}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cells = 4 << 2 * (i % 4)
        noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((256, 256), Image.Resampling.NEAREST).save(path)
        rows.append((f"{path.parent.name}/{path.name}", CLASSES[i % 4]))
    with (root.parent / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "label"), *rows])
    listlens.init(root).close()
    toml = root / "listlens.toml"
    text = toml.read_text()
    if max_queue_ms:
        text = re.sub("max_queue_ms = [0-9]+", f"max_queue_ms = {max_queue_ms}", text)
    for line, instead in (settings or {}).items():
        assert f"\n{line}\n" in text, line
        text = text.replace(f"\n{line}\n", f"\n{instead}\n")
    toml.write_text(text)
    with listlens.open(root) as project:
        project.ingest(folder)
        project.add_task("room", "single", CLASSES)
        project.import_labels("room", root.parent / "labels.csv")
        project.train("room")
        return project.store.tokens.create(["admin"])[0]


@contextmanager
def started(
    name: str,
    command: list[str],
    token: str = "",
    *,
    port: int = 0,
    more: dict[str, str] | None = None,
) -> Iterator[Server]:
    """Run a server until the end of the block, with further variables of the environment."""
    port = port or PORTS[name]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            stdout=log,
            stderr=log,
            env={**os.environ, **(MALLOC if name == TORCH else {}), **(more or {})},
        )
        try:
            asyncio.run(ready(port, process))
            yield Server(name, port, process.pid, token)
        finally:
            process.terminate()
            process.wait(60)


async def ready(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"the server on port {port} ended") from None
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise SystemExit(f"the server on port {port} does not start")


def body(photo: bytes) -> bytes:
    head = (
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
        'name="photo"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    return head.encode() + photo + f"\r\n--{BOUNDARY}--\r\n".encode()


async def call(
    server: Server,
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    photo: bytes,
) -> int:
    """Send one photo; return the status."""
    reader, writer = connection
    data = body(photo)
    writer.write(server.head(len(data)) + data)
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin1").lower().split("\r\n")
    length = next(int(x.partition(":")[2]) for x in lines if x.startswith("content-length:"))
    await reader.readexactly(length)
    return int(head[9:12])


async def closed(
    server: Server, photos: list[bytes], numbers: Iterator[int], seconds: float
) -> Turn:
    """CALLERS callers, each of which asks again as soon as it is answered."""
    turn = Turn(seconds, -cpu_s(server.pid))
    end = time.perf_counter() + seconds

    async def caller() -> None:
        connection = await asyncio.open_connection("127.0.0.1", server.port)
        while (begun := time.perf_counter()) < end:
            number = next(numbers)
            photo = with_comment(photos[number % len(photos)], f"{number}".encode())
            status = await call(server, connection, photo)
            turn.statuses.append(status)
            turn.took_s.append(time.perf_counter() - begun)
            if status == 429:  # a caller that obeys would wait a second; this one is ruder
                await asyncio.sleep(0.1)
        connection[1].close()

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    turn.cpu_s += cpu_s(server.pid)
    turn.seconds = seconds + time.perf_counter() - end
    return turn


async def overload(
    server: Server, photos: list[bytes], numbers: Iterator[int], seconds: float, rate: float
) -> Turn:
    """Call at a fixed rate, whether or not the calls before are answered; wait for all answers."""
    turn = Turn(seconds, -cpu_s(server.pid))
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    running: set[asyncio.Task[None]] = set()

    async def one(due: float) -> None:
        connection = idle.pop() if idle else await asyncio.open_connection(
            "127.0.0.1", server.port
        )  # fmt: skip
        number = next(numbers)
        photo = with_comment(photos[number % len(photos)], f"{number}".encode())
        turn.statuses.append(await call(server, connection, photo))
        turn.took_s.append(time.perf_counter() - due)
        idle.append(connection)

    begun = time.perf_counter()
    for i in range(int(rate * seconds)):
        due = begun + i / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(one(due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    for _, writer in idle:
        writer.close()
    turn.cpu_s += cpu_s(server.pid)
    return turn


def cpu_s(pid: int) -> float:
    """User and system seconds of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(turns: dict[str, list[Turn]], over: dict[str, Turn], rate: float) -> str:
    """Return the tables, as Markdown."""
    speed = {name: median(t.n / t.seconds for t in found) for name, found in turns.items()}
    lines = [
        f"{machine()}; {CALLERS} callers, one photo of 1600 x 1200 a call",
        "",
        "| server | photos/s: median (min to max) | ours / it | CPU ms a photo | median ms | 429 |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in turns.items():
        rates = [t.n / t.seconds for t in found]
        cpu = median(1000 * t.cpu_s / max(t.n, 1) for t in found)
        took = median(1000 * median(t.took_s) for t in found)
        refused = sum(status == 429 for t in found for status in t.statuses)
        lines.append(
            f"| {name} | {speed[name]:.1f} ({min(rates):.1f} to {max(rates):.1f}) "
            f"| {speed[OURS] / speed[name]:.2f} | {cpu:.1f} | {took:.0f} | {refused} |"
        )
    lines += [
        "",
        f"Overload, {rate:.0f} calls/s:",
        "",
        "| server | photos/s | answered by 429 | p50 of answers, ms | p99 of answers, ms "
        "| p99 of all, ms | in 500 ms or 429 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, turn in over.items():
        pairs = list(zip(turn.took_s, turn.statuses, strict=True))
        answers = [took for took, status in pairs if status == 200]
        good = sum(took <= IN_TIME_S or status == 429 for took, status in pairs)
        refused = sum(status == 429 for status in turn.statuses)
        cells = (
            f"{1000 * quantile(answers, 0.5):.0f} | {1000 * quantile(answers, 0.99):.0f} "
            f"| {1000 * quantile(turn.took_s, 0.99):.0f} | {100 * good / len(pairs):.1f} %"
        )
        lines.append(f"| {name} | {turn.n / turn.seconds:.1f} | {refused} | {cells} |")
    other = {s for found in turns.values() for t in found for s in t.statuses} - {200, 429}
    assert not other, f"unexpected answers: {other}"
    (CACHE / "api.json").write_text(json.dumps(speed), encoding="utf-8")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
