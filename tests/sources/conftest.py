"""Real servers on this machine: one that answers with exact bytes, so that it can also lie."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

Script = Callable[["socket.socket", str], None]
"""Given the connection and the head of a request; writes what it likes."""


@dataclass
class ImageHost:
    """A server whose answers are scripted byte by byte, one script a path."""

    listener: socket.socket
    tls: ssl.SSLContext | None = None
    scripts: dict[str, Script] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)
    n_connections: int = 0
    most_at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    @property
    def address(self) -> str:
        return str(self.listener.getsockname()[0])

    def url(self, path: str = "/a.jpg", host: str = "") -> str:
        return f"{'https' if self.tls else 'http'}://{host or self.address}:{self.port}{path}"

    def says(self, path: str, status: str, body: bytes = b"", *headers: str) -> str:
        """Answer a path like an honest server; return the path's URL."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        self.scripts[path] = lambda sock, head: sock.sendall("\r\n".join(lines).encode() + body)
        return self.url(path)

    def sends(self, path: str, *parts: bytes, pause_s: float = 0.0, close: bool = True) -> str:
        """Answer a path with exact bytes, with pauses between them; return the path's URL."""

        def script(sock: socket.socket, head: str) -> None:
            for part in parts:
                sock.sendall(part)
                time.sleep(pause_s)
            if close:
                sock.close()

        self.scripts[path] = script
        return self.url(path)

    def stop(self) -> None:
        with contextlib.suppress(OSError):  # stopped already
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def serve(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.n_connections += 1
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        try:
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
            while head := _head(sock):
                with self._lock:
                    self.heads.append(head)
                    self._now += 1
                    self.most_at_once = max(self.most_at_once, self._now)
                try:
                    self.scripts[head.split()[1]](sock, head)
                finally:
                    with self._lock:
                        self._now -= 1
        except OSError:
            pass  # the client went away, which is what many tests want of it
        finally:
            sock.close()


def _head(sock: socket.socket) -> str:
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(4096)
        if not part:
            return ""
        data += part
    return data.decode("latin-1")


@pytest.fixture
def image_host() -> Iterator[Callable[..., ImageHost]]:
    """Return `start(address, port, tls)`, which starts a server."""
    started: list[ImageHost] = []

    def start(
        address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> ImageHost:
        host = ImageHost(socket.create_server((address, port)), tls)
        threading.Thread(target=host.serve, daemon=True).start()
        started.append(host)
        return host

    yield start
    for host in started:
        host.stop()


@pytest.fixture
def host(image_host: Callable[..., ImageHost]) -> ImageHost:
    """A server on 127.0.0.1."""
    return image_host()
