"""HTTP over connections that go to the address that was checked, under one deadline.

Written on `http.client`'s reader instead of on httpcore with a network backend of its own, for
three reasons (measured in docs/fetching.md): less CPU a photo; one deadline holds from the name to
the last byte, where httpcore counts each read anew; and bytes sent past the announced end never
begin the next answer. httpx-secure 2.0 is for asyncio alone, and connects to an address before it
judges it, which lets strangers probe the ports of an internal network.
"""

from __future__ import annotations

import http.client
import io
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from listlens.core.errors import FetchError, PhotoError
from listlens.core.types import Reason
from listlens.sources.addresses import Resolver
from listlens.sources.room import SHORT_BYTES
from listlens.sources.urls import Target

MAX_HEADER_BYTES = 64 * 1024
"""Of an answer's head; nginx and Apache send at most 8 to 16 KiB by default."""

IDLE_S = 15.0
"""A connection not used for longer is closed; common servers close theirs after 5 to 75 s."""

MAX_IDLE = 32
DRAIN_BYTES = 16 * 1024
"""A body that nobody wants is read to its end up to here, so that the connection can go on."""

READ_BYTES = 256 * 1024
BUFFER_BYTES = 64 * 1024
STEP_S = 0.1
"""What a deadline may be late by."""


class Deadline:
    """Seconds left of a total; every wait of one exchange takes from it.

    Args:
        total_s: from now.
        host: named when it has passed.
    """

    def __init__(self, total_s: float, host: str) -> None:
        self._total_s, self.host = total_s, host
        self._end = time.monotonic() + total_s

    def left_s(self) -> float:
        """Return the seconds left; raises FetchError (TIMEOUT) when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passed(self) -> FetchError:
        """The error of a passed deadline."""
        return FetchError(Reason.TIMEOUT, f"{self.host}: not done in {self._total_s:.3g} s")


class _Incoming(io.RawIOBase):
    """What comes from a socket, under a deadline and, until `head_done`, a cap on bytes."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock, self._deadline = sock, deadline
        self._head_left: int | None = MAX_HEADER_BYTES + BUFFER_BYTES
        self._waits_s = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self._deadline.left_s()
        if not left_s <= self._waits_s < left_s + STEP_S:
            self._sock.settimeout(left_s)  # a system call: not before every read
            self._waits_s = left_s
        n = self._sock.recv_into(buffer)
        if self._head_left is not None:
            self._head_left -= n
            if self._head_left < 0:
                raise http.client.HTTPException("a head without an end")
        return n

    def head_done(self) -> None:
        self._head_left = None


class _Readable:
    """The part of a socket that `http.client.HTTPResponse` asks for."""

    def __init__(self, incoming: _Incoming) -> None:
        self._incoming = incoming

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._incoming, BUFFER_BYTES)


@dataclass(slots=True)
class Answer:
    """A status, headers (names in lower case) and a body that is read as far as wanted."""

    status: int
    headers: Mapping[str, str]
    _response: http.client.HTTPResponse = field(repr=False)
    _deadline: Deadline = field(repr=False)
    _done: Callable[[bool], None] = field(repr=False)

    def read(self, max_bytes: int, may_grow: Callable[[int], None] | None = None) -> bytes | None:
        """Return the body, or None where it is longer than `max_bytes`; nothing beyond is kept.

        Args:
            max_bytes: that are read.
            may_grow: called once, with the bytes that may come in all, before more than
                SHORT_BYTES of a body are read; it may wait or raise.

        Raises:
            FetchError: it breaks off or takes too long.
        """
        announced = self._response.length
        if announced is not None and announced > max_bytes:
            return None
        if announced is not None and announced <= SHORT_BYTES:
            may_grow = None
        parts, total = [], 0
        with fetch_errors(self._deadline):
            while part := self._response.read(min(READ_BYTES, max_bytes + 1 - total)):
                parts.append(part)
                total += len(part)
                if total > max_bytes:
                    return None
                if may_grow is not None and (announced is not None or total > SHORT_BYTES):
                    may_grow(max_bytes if announced is None else announced)
                    may_grow = None
            if announced is not None and total < announced:
                raise http.client.IncompleteRead(b"", announced - total)
        return b"".join(parts)

    def start(self, n_bytes: int) -> bytes:
        """Return up to `n_bytes` of the body."""
        with fetch_errors(self._deadline):
            return self._response.read(n_bytes)

    def left_s(self) -> float:
        """Return the seconds left for what follows; raises FetchError when there are none."""
        return self._deadline.left_s()

    def close(self) -> None:
        """Keep the connection for the next request where the answer came whole."""
        try:
            self.read(DRAIN_BYTES)
            whole = self._response.isclosed() and not self._response.will_close
        except FetchError:
            whole = False
        self._response.close()
        self._done(whole)


@dataclass(frozen=True, slots=True)
class Timing:
    """Bounds of one exchange, in seconds: to connect (TLS too), and for all of it."""

    connect_s: float
    total_s: float


class Connections:
    """Sends requests over checked, pinned and reused connections. Safe to share among threads.

    Args:
        resolver: resolves and checks names, once a connection.
        private: whether a host and port is one that the operator named.
        tls: context for https; the system's certificate authorities by default.
    """

    def __init__(
        self,
        resolver: Resolver,
        private: Callable[[str, int], bool],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._resolver, self._private, self._tls = resolver, private, tls
        self._lock = threading.Lock()
        self._idle: list[tuple[tuple[str, str, int], float, socket.socket]] = []

    def send(
        self,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        timing: Timing,
        body: bytes = b"",
    ) -> Answer:
        """Send one request and read the head of its answer; redirects are the caller's.

        Raises:
            PhotoError: UNSAFE_ADDRESS or BAD_CERTIFICATE.
            FetchError: no connection, no answer in time, or none that is HTTP.
        """
        deadline = Deadline(timing.total_s, target.host)
        request = _request_bytes(method, target, headers, body)
        with fetch_errors(deadline):
            kept = self._take_idle(target.origin)
            if kept is not None:
                try:
                    return self._exchange(kept, method, target, request, deadline)
                except (http.client.RemoteDisconnected, ConnectionError):
                    pass  # closed by its host while it was idle: nothing was answered, so again
            fresh = self._connect(target, timing.connect_s, deadline)
            return self._exchange(fresh, method, target, request, deadline)

    def _exchange(
        self, sock: socket.socket, method: str, target: Target, request: bytes, deadline: Deadline
    ) -> Answer:
        try:
            sock.settimeout(deadline.left_s())
            sock.sendall(request)
            incoming = _Incoming(sock, deadline)
            readable: Any = _Readable(incoming)
            response = http.client.HTTPResponse(readable, method=method)
            response.begin()
            incoming.head_done()
        except BaseException:
            sock.close()
            raise

        def done(whole: bool) -> None:
            if whole:
                self._keep(target.origin, sock)
            else:
                sock.close()

        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response, deadline, done)

    def _connect(self, target: Target, connect_s: float, deadline: Deadline) -> socket.socket:
        """Resolve once, check every address, and connect to the first that answers."""
        by = Deadline(min(connect_s, deadline.left_s()), target.host)
        addresses = self._resolver.addresses(
            target.host,
            target.port,
            private=self._private(target.host, target.port),
            timeout_s=by.left_s(),
        )
        for n_left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                # Each address gets its share of the time, so that one that drops packets does
                # not take all of it.
                sock = _open(address, target.port, by.left_s() / n_left)
                break
            except OSError as error:
                last = error
        else:
            raise last
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if target.scheme == "https":
                sock.settimeout(by.left_s())
                return self._context().wrap_socket(sock, server_hostname=target.host)
        except BaseException:
            sock.close()
            raise
        return sock

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context()
            return self._tls

    def _take_idle(self, origin: tuple[str, str, int]) -> socket.socket | None:
        """A kept connection on which nothing has arrived meanwhile; old ones are closed."""
        oldest = time.monotonic() - IDLE_S
        found = None
        with self._lock:
            old = [sock for _, since, sock in self._idle if since < oldest]
            self._idle = [kept for kept in self._idle if kept[1] >= oldest]
            for at in range(len(self._idle) - 1, -1, -1):
                if self._idle[at][0] == origin:
                    found = self._idle.pop(at)[2]
                    break
        for sock in old:
            sock.close()
        if found is not None and _has_arrived(found):
            found.close()
            return None
        return found

    def _keep(self, origin: tuple[str, str, int], sock: socket.socket) -> None:
        with self._lock:
            self._idle.append((origin, time.monotonic(), sock))
            dropped = self._idle.pop(0)[2] if len(self._idle) > MAX_IDLE else None
        if dropped is not None:
            dropped.close()

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, _, sock in idle:
            sock.close()
        self._resolver.close()


@contextmanager
def fetch_errors(deadline: Deadline) -> Iterator[None]:
    """Turn what sockets, TLS and HTTP raise into errors that carry a Reason."""
    try:
        yield
    except (FetchError, PhotoError):
        raise
    except TimeoutError:
        raise deadline.passed() from None
    except ssl.SSLCertVerificationError as error:
        raise PhotoError(
            Reason.BAD_CERTIFICATE, f"{deadline.host}: {error.verify_message}"
        ) from None
    except http.client.IncompleteRead as error:
        raise FetchError(
            Reason.UNREACHABLE, f"{deadline.host} broke off, {error.expected or 'some'} bytes early"
        ) from None
    except OSError as error:
        raise FetchError(Reason.UNREACHABLE, f"{deadline.host}: {error}") from None
    except http.client.HTTPException as error:
        raise FetchError(
            Reason.HOST_FAILED, f"{deadline.host} sends no proper HTTP: {error!r:.200}"
        ) from None


def _request_bytes(method: str, target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    """One HTTP/1.1 request; a line break in a header is our own mistake, and refused."""
    fields = {"Host": target.authority, **headers}
    if body or method == "POST":
        fields["Content-Length"] = str(len(body))
    if bad := [name for name, value in fields.items() if not (name + value).isprintable()]:
        raise ValueError(f"control characters in headers {bad}")
    lines = [f"{method} {target.path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + body


def _open(address: str, port: int, timeout_s: float) -> socket.socket:
    """Connect to an address, never to a name: nothing is resolved here."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _has_arrived(sock: socket.socket) -> bool:
    """Whether an idle connection was closed, or sent bytes that nobody asked for."""
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    if hasattr(select, "poll"):  # select() knows no descriptor from 1024 up
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])
