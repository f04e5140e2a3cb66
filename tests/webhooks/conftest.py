"""A receiver of webhooks on this machine, a clock that is set by hand, and a store on it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from listlens.core.config import FetchConfig
from listlens.store.event_rows import Announcement
from listlens.store.open import Store, open_store
from listlens.stream.webhooks import Poster, webhook_rules


@dataclass
class Receiver:
    """A real HTTP server; `answer` says what it does, given the headers and the body."""

    answer: Callable[[dict[str, str], Any], int] = lambda headers, said: 204
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    extra: dict[str, str] = field(default_factory=dict)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def photos(self) -> list[str]:
        return [json.loads(body)["data"]["photo_id"] for _, body in self.got]

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


@pytest.fixture
def new_receiver() -> Iterator[Callable[[], Receiver]]:
    """Return a function that starts a receiver."""
    servers = []

    def start() -> Receiver:
        receiver = Receiver()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = receiver.answer(headers, json.loads(body))
                receiver.got.append((headers, body))
                self.send_response(status)
                for name, value in receiver.extra.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        receiver.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return receiver

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def receiver(new_receiver: Callable[[], Receiver]) -> Receiver:
    """One receiver."""
    return new_receiver()


@dataclass
class Clock:
    """A clock that goes on when told to."""

    now: datetime = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """An empty store on the clock."""
    with open_store("sqlite:///listlens.db", tmp_path, clock=clock) as opened:
        yield opened


@pytest.fixture
def post() -> Iterator[Poster]:
    """Sends to this machine too."""
    poster = Poster(webhook_rules(FetchConfig(private=("127.0.0.1",))))
    yield poster
    poster.close()


@pytest.fixture
def announce(store: Store) -> Callable[..., None]:
    """Announce photos by name."""

    def say(
        *names: str, kind: str = "photo.predicted", task: str = "room", listing: str = "L1"
    ) -> None:
        store.outbox.append(
            [
                Announcement(
                    f"{n}/{kind}", kind, listing or n, n, {"id": n, "photo_id": n}, (task,)
                )
                for n in names
            ]
        )

    return say
