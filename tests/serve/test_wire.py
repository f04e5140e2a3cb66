"""What comes before a token was asked for is bounded: over real connections to a real server."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvicorn

from listlens.serve import slow
from listlens.serve.wire import MOST_BYTES, BoundedProtocol

MB = 2**20


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the number of bytes of the body."""
    n, more = 0, True
    while more:
        message = await receive()
        n, more = n + len(message.get("body", b"")), message.get("more_body", False)
    body = str(n).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def listening_by(protocol: type[asyncio.Protocol]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(echo, http=protocol, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with listening_by(BoundedProtocol) as found:
        yield found


def came_to(link: socket.socket, end: bytes) -> bool:
    """Receive until it ends so; the head of an answer and its body may come one by one."""
    came = b""
    while not came.endswith(end) and (more := link.recv(65536)):
        came += more
    return came.endswith(end)


def flood(port: int, begin: bytes, part: bytes) -> tuple[int, bytes]:
    """Send without end; return how many bytes were taken, and what came back."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
        n, came = 0, b""
        try:
            link.sendall(begin)
            while n < 64 * MB:
                link.sendall(part)
                n += len(part)
        except OSError:
            pass
        try:
            while more := link.recv(65536):
                came += more
        except OSError:
            pass
    return n, came


POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"x" * 65536),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n" * 4096),
        (b"GET /", b"x" * 65536),
        (POST + b"1\r\na\r\n0\r\nX: ", b"x" * 65536),
        (POST + b"1;", b"x" * 65536),
    ],
    ids=["header", "headers", "path", "trailer", "extension"],
)
def test_what_has_no_end_is_cut(port: int, begin: bytes, part: bytes) -> None:
    taken, _ = flood(port, begin, part)
    assert taken < 16 * MB  # the sockets' own buffers hold some of it


def test_who_sends_too_long_headers_is_told(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
        link.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        for _ in range(5):
            link.sendall(b"X: " + b"x" * (MOST_BYTES // 4) + b"\r\n")
            time.sleep(0.02)
        head, _, body = link.recv(65536).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413") and b"application/problem+json" in head
    assert "65,536 bytes of headers" in json.loads(body)["detail"]


def test_large_bodies_and_many_requests_of_a_connection_go_through(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
        for n in (0, 3 * MB, 5, 300_000):
            link.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % n)
            link.sendall(b"X: " + b"x" * 30_000 + b"\r\n\r\n" + b"b" * n)
            assert came_to(link, b"\r\n\r\n%d" % n)


@pytest.fixture(scope="module", params=[BoundedProtocol, slow.TimedH11], ids=["httptools", "h11"])
def hurried(request: Any) -> Iterator[int]:
    """A server whose callers have 1 s for their headers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slow, "HEADERS_S", 1.0)
        with listening_by(request.param) as found:
            yield found


def trickled(link: socket.socket, parts: list[bytes]) -> bytes:
    """Send a part every tenth of a second until the other side closes; return what came back."""
    link.settimeout(0.1)
    came, waiting = b"", iter(parts)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with suppress(OSError):  # it is closed: what it said before is still to be read
            link.sendall(next(waiting, b""))
        try:
            more = link.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            return came
        if not more:
            return came
        came += more
    raise AssertionError("it was never closed")


WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("before", [b"", WHOLE * 3], ids=["first", "fourth"])
def test_headers_that_come_a_byte_at_a_time_are_cut_with_a_word(
    hurried: int, before: bytes
) -> None:
    slowly = [b"GET / HTTP/1.1\r\nHost: x\r\nX: ", *[b"a"] * 1000]
    address = ("127.0.0.1", hurried)
    with socket.create_connection(address) as silent, socket.create_connection(address) as link:
        came = trickled(link, [before, *slowly] if before else slowly)
        assert trickled(silent, []) == b"", "it asked nothing, and is closed without an answer"
    assert came.count(b"HTTP/1.1 200 OK") == before.count(b"GET")
    head, _, body = came[came.rindex(b"HTTP/1.1") :].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408") and b"application/problem+json" in head
    assert json.loads(body)["type"].endswith("too-slow") and "within 1 s" in body.decode()


def test_a_body_may_take_longer_than_headers(hurried: int) -> None:
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    with socket.create_connection(("127.0.0.1", hurried), timeout=30) as link:
        link.sendall(post)
        for _ in range(9):
            time.sleep(0.15)
            link.sendall(b"b")
        assert came_to(link, b"\r\n\r\n9")
        link.sendall(WHOLE)
        assert came_to(link, b"\r\n\r\n0")
