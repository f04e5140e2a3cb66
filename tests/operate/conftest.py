"""A project that is really served, as an operator starts it, beside a host of its photos."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from listlens.client import Client

RUN = "import sys; from listlens.cli import main; sys.exit(main())"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="session")
def photo_host(shop: Any) -> Iterator[str]:
    """The shop's photos behind URLs on this machine."""
    handler = functools.partial(_Quiet, directory=str(shop.photos))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@dataclass
class Served:
    """A running `listlens serve`."""

    root: Path
    url: str
    token: str
    process: subprocess.Popen[str]

    def client(self, token: str | None = None, **how: Any) -> Client:
        """A client with a token; by default the first one's, for everything."""
        return Client(self.url, self.token if token is None else token, **how)

    def settled(self) -> Any:
        """Wait until every event that came in has ended; return the ledger."""
        with self.client() as client:
            until = time.monotonic() + 120
            while time.monotonic() < until:
                ledger = client.ledger()
                if not ledger.waiting + ledger.leased:
                    return ledger
                time.sleep(0.05)
        raise AssertionError(ledger)


def allow_hosts(root: Path, *hosts: str) -> None:
    """Let a project fetch from, and post to, hosts of this machine."""
    settings = root / "listlens.toml"
    text = settings.read_text(encoding="utf-8")
    named = ", ".join(f'"{host.removeprefix("http://")}"' for host in hosts)
    assert "private = []" in text
    settings.write_text(text.replace("private = []", f"private = [{named}]"), encoding="utf-8")


@contextmanager
def running(root: Path, *options: str, port: int = 0) -> Iterator[Served]:
    """Serve a project in a process of its own until the end of the block."""
    command = [sys.executable, "-c", RUN, "serve", "-p", str(root), "--port", str(port), *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        threading.Thread(target=process.stderr.read, daemon=True).start()  # type: ignore[union-attr]
        lines: list[str] = []
        try:
            assert process.stdout is not None
            while "http://" not in (line := process.stdout.readline()):
                lines.append(line.strip())
                assert process.poll() is None, lines
            url = "http://" + line.partition("http://")[2].partition(";")[0]
            token = next((one for one in lines if one.startswith("listlens_")), "")
            yield Served(root, url, token, process)
        finally:
            process.terminate()
            process.wait(40)


@pytest.fixture(scope="session")
def serving() -> Callable[..., Any]:
    """Return `running(root, *options, port)`, a context."""
    return running


@pytest.fixture(scope="session")
def allowing() -> Callable[..., None]:
    """Return `allow_hosts(root, *hosts)`."""
    return allow_hosts


@pytest.fixture(scope="module")
def served(
    trained: Path, photo_host: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A copy of the trained project, served with its worker; a module may change it."""
    root = Path(shutil.copytree(trained, tmp_path_factory.mktemp("served") / "shop"))
    allow_hosts(root, photo_host)
    with running(root) as server:
        yield server
