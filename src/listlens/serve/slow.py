"""Requests whose headers come slowly: cut in time, before anybody is asked for a token.

uvicorn itself waits without end for the first byte of a connection and for the rest of headers, so
that a few callers could hold thousands of connections at a byte a minute each. nginx waits 60 s for
headers, Apache 20 s; bodies are bounded by who reads them (`listlens.serve.bodies`).
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from listlens.serve.problems import Problem

HEADERS_S = 20.0
"""From the first byte of a request, or the beginning of the connection, to the end of headers."""


class TimedHeaders(asyncio.Protocol):
    """Part of a protocol of uvicorn, which stands behind it: closes what sends headers slowly."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    cycle: Any
    _late: asyncio.TimerHandle | None = None
    _came = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; where it does not end headers, they have so long from their beginning."""
        self._came, before = True, self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._stop()
        elif self._late is None and self._idle and not self.transport.is_closing():
            self._wait()

    @property
    def _idle(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def _wait(self) -> None:
        self._late = self.loop.call_later(HEADERS_S, self._end)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _end(self) -> None:
        """Close the connection, with an answer where anything was asked."""
        self._late = None
        if self.transport.is_closing() or not self._idle:
            return
        if self._came:
            detail = f"The headers of a request have to be here within {HEADERS_S:g} s."
            self.transport.write(last_answer(Problem("too-slow", detail)))
        self.transport.close()


class TimedH11(TimedHeaders, H11Protocol):
    """HTTP/1.1 where httptools is not installed; h11 bounds the size of headers by itself."""


def last_answer(problem: Problem) -> bytes:
    """Return a problem as a whole response, after which the connection is closed."""
    answer = problem.response()
    head = b"".join(b"%b: %b\r\n" % header for header in answer.raw_headers)
    start = b"HTTP/1.1 %d Refused\r\nConnection: close\r\n" % problem.status
    return start + head + b"\r\n" + bytes(answer.body)
