"""The gate in front of every route: request ids, tokens before the body, headers, log, metrics.

It is plain ASGI and sees the headers only, so the body of whoever may not come in is never read.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, HTTPConnection, Request

from listlens.core import tracing
from listlens.core.errors import ListlensError
from listlens.serve.problems import Problem, problem_of

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from listlens.serve.access import Access
    from listlens.serve.counting import Counting

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; manifest-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with none, browsers hide the origin of our own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
}
"""On every response. Pages hold no inline script or style."""

UNTRACED = ("/health", "/v2/health", "/metrics", "/static/")
"""Asked every few seconds by machines; as traces they would hide the others."""

Handler = Callable[[Request], Awaitable["Response"]]

_RAW_HEADERS = [(k.lower().encode(), v.encode()) for k, v in SECURITY_HEADERS.items()]


class Gate:
    """Let a request in, or answer it here.

    Args:
        app: what is behind.
        access: says who may come in.
        counting: what is counted.
        log: called with an event and its fields.
        login: makes the page for a browser without a token.
        shown: makes the page of a problem, with the request's id.
        direct: (method, path) to what answers it without the routing behind, which takes as long as
            all else that is done here; the routes there describe it.
        hide: what an error says, to what the caller is told of it.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        counting: Counting,
        log: Any,
        login: Callable[[HTTPConnection, Problem], Response],
        shown: Callable[[Problem, str], Response],
        direct: Mapping[tuple[str, str], Handler],
        hide: Callable[[str], str] = str,
    ) -> None:
        self.app, self.access, self.counting, self.log = app, access, counting, log
        self.login, self.shown, self.direct, self.hide = login, shown, direct, hide

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await _Passage(self, scope, receive, send).run()


class _Passage:
    """One request on its way through the gate."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        self.gate, self.scope, self.receive, self._send = gate, scope, receive, send
        self.status, self.route = 0, ""
        self.span: Any = None
        self.connection = HTTPConnection(scope)
        given = self.connection.headers.get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def run(self) -> None:
        if self.scope["path"].startswith(UNTRACED):
            await self._run()
            return
        with tracing.request_span(self.scope["method"], self.connection.headers) as self.span:
            await self._run()

    async def _run(self) -> None:
        begun = time.perf_counter()
        try:
            await self._through()
        except Problem as refused:
            await self._refuse(refused)
        except ListlensError as error:
            problem = problem_of(error)
            problem.detail = self.gate.hide(problem.detail)
            await self._refuse(problem)
        except ClientDisconnect:
            self.status = 499  # nobody is there to be answered; logged and counted as nginx does
        except Exception:
            self.gate.log.exception("failed", request_id=self.request_id)
            problem = Problem("internal", "It was logged under the request id. Try again later.")
            await self._refuse(problem)
        finally:
            self._note(time.perf_counter() - begun)

    async def _through(self) -> None:
        try:
            token = await self.gate.access.admit(self.connection)
        except Problem as problem:
            await self._refuse(problem, may_log_in=True)
            return
        self.scope["state"]["token"] = token
        handler = self.gate.direct.get((self.scope["method"], self.scope["path"]))
        if handler is None:
            await self.gate.app(self.scope, self.receive, self.send)
            return
        self.route = self.scope["path"]
        response = await handler(Request(self.scope, self.receive))
        await response(self.scope, self.receive, self.send)

    async def _refuse(self, problem: Problem, *, may_log_in: bool = False) -> None:
        if self.status:  # the answer has begun, and the connection is cut
            return
        if may_log_in and problem.status == 401 and self.scope["method"] == "GET" and self._shows:
            response = self.gate.login(self.connection, problem)
        elif self._shows:
            response = self.gate.shown(problem, self.request_id)
        else:
            response = problem.response(self.request_id)
        await response(self.scope, self.receive, self.send)

    @property
    def _shows(self) -> bool:
        """Whether a browser asks, which shows pages."""
        return "text/html" in self.connection.headers.get("accept", "")

    async def send(self, message: Message) -> None:
        """Add what every response carries."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = (b"x-request-id", self.request_id.encode())
            message["headers"] = [*message.get("headers", []), *_RAW_HEADERS, own]
        await self._send(message)

    def _note(self, took_s: float) -> None:
        route = self.route or getattr(self.scope.get("route"), "path", "") or "unknown"
        token = self.scope["state"].get("token")
        status = self.status or 500
        self.gate.counting.request(route, status, took_s)
        tracing.answered(self.span, self.scope["method"], route, status, self.request_id)
        trace_id = tracing.trace_id(self.span)
        self.gate.log.info(
            "request",
            request_id=self.request_id,
            method=self.scope["method"],
            route=route,
            status=status,
            ms=round(1000 * took_s, 1),
            token=None if token is None else token.token_id,
            **({} if trace_id is None else {"trace_id": trace_id}),
        )
