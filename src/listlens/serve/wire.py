"""The protocol of the server's connections: what leads to nothing is cut, before anybody is asked.

httptools itself keeps headers however long they are, from callers without a token too.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from listlens.serve.problems import Problem
from listlens.serve.slow import TimedHeaders, last_answer

MOST_BYTES = 64 * 1024
"""Of headers, of trailers, and between two parts of a body; what arrived at once is read whole."""


class BoundedProtocol(TimedHeaders, HttpToolsProtocol):
    """HTTP/1.1 with a bound on all that is no body, in size and in time; bodies are bounded by who
    reads them.
    """

    _n_unread = 0

    def data_received(self, data: bytes) -> None:
        """Take what came, unless as much has come before and led to nothing."""
        if self._n_unread > MOST_BYTES:
            self._cut()
            return
        self._n_unread += len(data)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """The headers of a request are whole."""
        self._n_unread = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._n_unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._n_unread = 0
        super().on_message_complete()

    def _cut(self) -> None:
        """End the connection, with an answer where none is under way."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            problem = Problem("too-large", f"At most {MOST_BYTES:,} bytes of headers are read.")
            self.transport.write(last_answer(problem))
        self.transport.close()
