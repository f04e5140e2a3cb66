"""Servers, databases and image hosts that fail while events come in: each is accounted for once.

    python benchmarks/outages.py                        # 3,000 events, 20 kills, SQLite
    python benchmarks/outages.py --postgres             # and 10 kills of a PostgreSQL of its own
    python benchmarks/outages.py --events 200 --kills 2 # a first look

`listlens serve` with its worker takes events over HTTP from senders that repeat what was not
answered, as a shop does. Its photos lie on hosts that are slow, dead or lying, each in its own way,
beside good ones. The server is killed with SIGKILL at random moments and started again; so is the
database, where it is PostgreSQL. A last life finishes what is left, while its memory is watched.
Then each event is held against what its host deserves, and against what was announced.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from faults import small_photo
from latency import Shop
from photos import CACHE, with_comment
from promote import RUN, address_of, command

import listlens

SETTINGS = """
[limits]
max_bytes = 1000000
[worker]
lease_s = 3.0
attempts = 3
backoff_s = 0.2
backoff_max_s = 1.0
[fetch]
connect_s = 1.0
total_s = 2.0
"""
GOOD = "predicted"
SENDERS = 4


def main() -> int:
    options = parse()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, ExitStack() as stack:
        found = run(Path(folder), options, stack)
    print(json.dumps(found, indent=1))
    name = "postgresql" if options.postgres else "sqlite"
    (CACHE / f"outages-{name}.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 1 if found["problems"] else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=20, help="of the server")
    parser.add_argument("--restarts", type=int, default=10, help="of the database")
    parser.add_argument("--postgres", action="store_true", help="a PostgreSQL made for this run")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def run(root: Path, options: argparse.Namespace, stack: ExitStack) -> dict[str, Any]:
    dice = random.Random(options.seed)
    hosts = Hosts()
    shop = root / "shop"
    shop.mkdir()
    private = json.dumps([one.address for one in hosts.all] + [hosts.dead])
    settings = SETTINGS + f"private = {private}\n"
    database = stack.enter_context(postgres()) if options.postgres else None
    if database is not None:
        settings += f'[store]\nurl = "{database.url}"\n'
    (shop / "listlens.toml").write_text(settings, encoding="utf-8")
    listlens.open(shop).close()
    token = command(shop, "token", "create", "--scope", "admin").splitlines()[-1]
    events = story(hosts, options.events, dice)
    life = stack.enter_context(living(Life(shop, token)))
    life.start()
    began = time.monotonic()
    first = len(events) * 2 // 3  # the rest is for the last life
    sender = Sender(life, [event for event, _ in events[:first]])
    kills = restarts = 0
    while sender.alive() or kills < options.kills:
        time.sleep(dice.uniform(0.5, 5.0))
        life.ensure()
        if database is not None and restarts < options.restarts and dice.random() < 0.5:
            database.kill()
            time.sleep(dice.uniform(0.0, 1.0))
            database.start()
            restarts += 1
        elif kills < options.kills:
            life.kill()
            kills += 1
            life.start()
            print(f"{kills} kills", file=sys.stderr, flush=True)
    life.ensure()
    Sender(life, [event for event, _ in events[first:]]).join()
    memory = finish(life)
    return {
        "database": "postgresql" if database else "sqlite",
        "server killed": kills,
        "database killed": restarts,
        "server ended by itself": life.ended,
        "seconds": round(time.monotonic() - began),
        "memory_mb": memory,
        **compare(life.api(), events),
    }


def finish(life: Life) -> list[float]:
    """Wait until nothing is left to do; return the server's memory (MB) over that time."""
    samples = [life.resident_mb()]
    end = time.monotonic() + 900
    while (ledger := life.api().ledger())["waiting"] + ledger["leased"]:
        if time.monotonic() > end:
            raise SystemExit(f"not done after 15 minutes: {ledger}")
        time.sleep(1.0)
        samples.append(life.resident_mb())
    return [round(samples[i * (len(samples) - 1) // 5], 1) for i in range(6)]


def compare(api: Shop, events: list[tuple[dict[str, Any], str]]) -> dict[str, Any]:
    """Say everything that is not as each host deserves."""
    ledger, problems = api.ledger(), []
    if not ledger["adds_up"] or ledger["received"] != len(events):
        problems.append(f"{len(events)} events were sent: {ledger}")
    told, cursor, more = Counter[str](), "0", True
    ended: dict[str, str] = {}
    while more:
        page = api.ask("GET", f"/v1/feed?limit=1000&cursor={cursor}")
        for one in page["events"]:
            told[one["event_id"]] += 1
            ended[one["event_id"]] = one.get("reason", GOOD)
        cursor, more = page["cursor"], page["more"]
    deserved = {event["id"]: end for event, end in events}
    for key, end in deserved.items():
        given_up = end == "timeout" and ended.get(key) == "worker_died"  # in hand at ten kills
        if told[key] != 1 or not (ended.get(key) == end or given_up):
            problems.append(f"{key}: announced {told[key]} times, {ended.get(key)} and not {end}")
    problems += [f"announced without an event: {key}" for key in told.keys() - deserved.keys()]
    return {
        "ledger": ledger,
        "by host": {
            kind: Counter(e for k, e in ended.items() if k.startswith(f"{kind}/"))
            for kind in sorted({key.partition("/")[0] for key in deserved})
        },
        "problems": problems[:20],
        "n_problems": len(problems),
    }


def story(hosts: Hosts, n: int, dice: random.Random) -> list[tuple[dict[str, Any], str]]:
    """Events and how each has to end: two thirds on good hosts, the rest on all others."""
    kinds = {one.kind: one for one in hosts.all}
    bad = [kind for kind in [*kinds, "dead"] if kind != "good"]
    told = []
    for i in range(n):
        kind = "good" if dice.random() < 0.67 else dice.choice(bad)
        url, end = hosts.dead_url, "unreachable"
        if kind != "dead":
            url, end = kinds[kind].url(i), kinds[kind].end
        event = {"id": f"{kind}/{i}", "kind": "photo.added", "listing_id": f"L{i // 6}",
                 "photo_id": str(i), "url": url}  # fmt: skip
        told.append((event, end))
    return told


# -- senders and the server --------------------------------------------------------------------


class Sender:
    """Sends events in small batches from a few threads, each until it is answered."""

    def __init__(self, life: Life, events: list[dict[str, Any]]) -> None:
        self._life, self._left = life, [events[i : i + 5] for i in range(0, len(events), 5)]
        self._threads = [threading.Thread(target=self._send) for _ in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while True:
            try:
                batch = self._left.pop()
            except IndexError:
                return
            while True:
                try:
                    self._life.api().put(iter(batch))
                    break
                except (OSError, RuntimeError, AttributeError, ValueError):
                    time.sleep(0.2)  # not answered: the same again
            time.sleep(0.1)

    def alive(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


class Life:
    """A server that is started again and again, as systemd does it."""

    def __init__(self, root: Path, token: str) -> None:
        self._root, self._token = root, token
        self._process: subprocess.Popen[str] | None = None
        self._api: Shop | None = None
        self.ended = 0  # by itself, such as without a database when it starts

    def start(self) -> None:
        """Start it, again where it ends by itself, until it answers."""
        while True:
            with (self._root / "log").open("a", encoding="utf-8") as log:
                run = [*RUN, "serve", "--port", "0", "-p", str(self._root)]
                self._process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=log, text=True)
            try:
                self._api = Shop(address_of(self._process), self._token)
                while self._process.poll() is None:
                    try:
                        self._api.ledger()
                        return
                    except (OSError, RuntimeError):
                        time.sleep(0.1)
            except RuntimeError:  # it ended before it said where it listens
                self._process.wait()
            self.ended += 1

    def ensure(self) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            self.ended += 1
            self.start()

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def api(self) -> Shop:
        assert self._api is not None
        return self._api

    def resident_mb(self) -> float:
        assert self._process is not None
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def living(life: Life) -> Iterator[Life]:
    try:
        yield life
    finally:
        life.kill()


# -- the database ------------------------------------------------------------------------------


class Postgres:
    """A cluster of its own, whose postmaster can be killed."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="listlens-pg-"))  # its user may not enter ours
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as:
            shutil.chown(self._folder, "postgres")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres"
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-N")

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _run(self, *command: str) -> None:
        subprocess.run(
            [*self._as, *command], stdout=subprocess.DEVNULL, check=True, cwd=self._folder
        )

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -k {self._folder}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "start", "-w", "-t", "120", "-D", self._data, "-l", log, "-o", options)

    def kill(self) -> None:
        """As if the machine lost its power: nothing is written any more."""
        pid = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.02)
        time.sleep(0.5)  # its children see that it is gone

    def close(self) -> None:
        self._run("pg_ctl", "stop", "-m", "immediate", "-D", self._data)
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def postgres() -> Iterator[Postgres]:
    made = Postgres()
    made.start()
    try:
        yield made
    finally:
        made.close()


# -- hosts -------------------------------------------------------------------------------------

Answer = Callable[[socket.socket, str, bytes], None]


def said(status: str, body: bytes, *lines: str, length: int | None = None) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*head, *lines, "", ""]).encode() + body


class Hosts:
    """Hosts of this machine, each at an address of its own, since a host has few turns."""

    def __init__(self) -> None:
        tls = self_signed()
        seen: set[str] = set()

        def flaky(sock: socket.socket, path: str, photo: bytes) -> None:
            first = path not in seen
            seen.add(path)
            sock.sendall(said("503 Busy", b"") if first else said("200 OK", photo))

        def endless(sock: socket.socket, path: str, photo: bytes) -> None:
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n")
            while True:
                sock.sendall(photo)

        def reset(sock: socket.socket, path: str, photo: bytes) -> None:
            sock.sendall(said("200 OK", photo)[:200])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        def slow(sock: socket.socket, path: str, photo: bytes) -> None:
            time.sleep(0.7)
            sock.sendall(said("200 OK", photo))

        def drips(sock: socket.socket, path: str, photo: bytes) -> None:
            for byte in said("200 OK", photo):
                sock.sendall(bytes([byte]))
                time.sleep(0.1)

        def sends(make: Callable[[bytes], bytes]) -> Answer:
            return lambda sock, path, photo: sock.sendall(make(photo))

        html = b"<!doctype html><title>Not here</title>"
        kinds: dict[str, tuple[Answer, str]] = {
            "good": (sends(lambda p: said("200 OK", p, "Content-Type: image/jpeg")), GOOD),
            "slow": (slow, GOOD),
            "flaky": (flaky, GOOD),
            "other type": (sends(lambda p: said("200 OK", p, "Content-Type: text/html")), GOOD),
            "html": (sends(lambda p: said("200 OK", html)), "not_an_image"),
            "half": (sends(lambda p: said("200 OK", p[: len(p) // 2])), "truncated"),
            "announces less": (sends(lambda p: said("200 OK", p, length=600)), "truncated"),
            "announces more": (sends(lambda p: said("200 OK", p, length=99_000)), "unreachable"),
            "announces too much": (
                sends(lambda p: said("200 OK", p, length=10**12)), "too_many_bytes"),
            "endless": (endless, "too_many_bytes"),
            "compressed": (sends(lambda p: said("200 OK", p, "Content-Encoding: gzip")), "encoded"),
            "empty": (sends(lambda p: said("200 OK", b"")), "empty"),
            "gone": (sends(lambda p: said("404 Not Found", html)), "missing"),
            "broken": (sends(lambda p: said("500 Oh", b"")), "host_failed"),
            "no http": (sends(lambda p: b"220 mail.example ESMTP\r\n"), "host_failed"),
            "resets": (reset, "unreachable"),
            "silent": (lambda sock, path, photo: time.sleep(8), "timeout"),
            "drips": (drips, "timeout"),
            "inward": (sends(lambda p: said("302 Found", b"", "Location: http://[::1]/")),
                       "unsafe_address"),
            "round": (sends(lambda p: said("302 Found", b"", "Location: /again")),
                      "too_many_redirects"),
        }  # fmt: skip
        self.all = [
            Host(kind, f"127.0.1.{i + 1}", answer, end)
            for i, (kind, (answer, end)) in enumerate(kinds.items())
        ]
        good = kinds["good"][0]
        self.all.append(Host("false certificate", "127.0.2.1", good, "bad_certificate", tls))
        self.dead = "127.0.2.2"
        with socket.create_server((self.dead, 0)) as closed:
            self.dead_url = f"http://{self.dead}:{closed.getsockname()[1]}/a.jpg"


class Host:
    """One host that answers every request in its way."""

    def __init__(
        self, kind: str, address: str, answer: Answer, end: str, tls: ssl.SSLContext | None = None
    ) -> None:
        self.kind, self.address, self.end = kind, address, end
        self._answer, self._tls = answer, tls
        self._photos = [small_photo(seed) for seed in range(20)]
        self._listener = socket.create_server((address, 0), backlog=256)
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, i: int) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{self.address}:{self._listener.getsockname()[1]}/{i}.jpg"

    def _serve(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head and (part := sock.recv(4096)):
                head += part
            if head:
                path = head.split()[1].decode()
                name = "".join(filter(str.isdigit, path)) or "0"
                photo = self._photos[int(name) % 20]
                self._answer(sock, path, with_comment(photo, f"{self.kind} {name}".encode()))
        except OSError:
            pass  # whoever asked went away, or was killed
        finally:
            sock.close()


def self_signed() -> ssl.SSLContext:
    import trustme

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.2.1").configure_cert(context)
    return context


if __name__ == "__main__":
    sys.exit(main())
