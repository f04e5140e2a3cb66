"""The gate, alone: whatever happens behind it is answered once, counted, and told to the log."""

from __future__ import annotations

import io
import json
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response

from listlens.core.errors import BusyError, InputError
from listlens.pipeline.inference import Inference
from listlens.serve.access import Access
from listlens.serve.counting import Counting
from listlens.serve.gate import SECURITY_HEADERS, Gate
from listlens.serve.live import LiveModels
from listlens.serve.log import make_log
from listlens.serve.problems import Problem
from listlens.store.open import Store

LINE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
GET = {"type": "http", "method": "GET", "query_string": b"", "client": ("127.0.0.1", 1)}


@dataclass
class Behind:
    """What stands behind the gate: fails as told, before or after it began to answer."""

    error: Exception | None = None
    begins: bool = False
    scopes: list[str] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope["type"])
        if self.begins:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        if self.error is not None:
            raise self.error
        if scope["type"] == "http" and not self.begins:
            await PlainTextResponse("behind")(scope, receive, send)


@dataclass
class Door:
    """A gate, with what it wrote and counted."""

    gate: Gate
    behind: Behind
    stream: io.StringIO
    run: Callable[[Any], Any]

    def ask(self, path: str = "/health", **how: Any) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        headers = [(k.lower().encode(), v) for k, v in how.pop("headers", {}).items()]

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            raise AssertionError("the body was read")

        scope = {**GET, "path": path, "headers": headers, **how}
        self.run(self.gate(scope, receive, send))  # type: ignore[arg-type]
        return sent

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


def head(sent: list[dict[str, Any]]) -> tuple[int, dict[str, str]]:
    (start,) = [one for one in sent if one["type"] == "http.response.start"]
    return start["status"], {k.decode(): v.decode() for k, v in start["headers"]}


@pytest.fixture
def door(served_store: Store, inference: Inference, run: Callable[[Any], Any]) -> Door:
    def login(_: HTTPConnection, problem: Problem) -> Response:
        return Response("<form>", problem.status, media_type="text/html")

    def shown(problem: Problem, request_id: str) -> Response:
        return Response(f"<p>{request_id}", problem.status, media_type="text/html")

    async def direct(_: Request) -> Response:
        return PlainTextResponse("direct")

    behind, stream = Behind(), io.StringIO()
    counting = Counting(inference, LiveModels(None, inference))  # type: ignore[arg-type]
    access, routes = Access(served_store.tokens), {("GET", "/static/direct"): direct}
    return Door(
        Gate(behind, access, counting, make_log(stream), login, shown, routes), behind, stream, run
    )


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (Problem("too-slow", "nothing came"), 408, "nothing came"),
        (BusyError("full", 3), 429, "full"),
        (InputError("no such class"), 422, "no such class"),
        (RuntimeError("secret"), 500, "request id"),
    ],
    ids=["problem", "busy", "input", "unforeseen"],
)
def test_an_error_behind_is_one_answer_one_count_one_line(
    door: Door, error: Exception, status: int, said: str
) -> None:
    door.behind.error = error
    sent = door.ask()
    answered, headers = head(sent)
    shown = json.loads(sent[-1]["body"])
    assert answered == shown["status"] == status
    assert said in shown["detail"] and "secret" not in shown["detail"]
    assert headers["x-request-id"] == shown["request_id"]
    assert {k.lower(): v for k, v in SECURITY_HEADERS.items()}.items() <= headers.items()
    told = door.log[-1]
    assert (told["status"], told["request_id"]) == (status, shown["request_id"])
    assert any("secret" in row.get("exception", "") for row in door.log) == (status == 500)
    line = f'listlens_requests_total{{route="unknown",status="{status}"}} 1.0'
    assert line in door.gate.counting.text().decode()


def test_an_answer_that_has_begun_is_not_begun_again(door: Door) -> None:
    door.behind.error, door.behind.begins = RuntimeError("late"), True
    assert [one["type"] for one in door.ask()] == ["http.response.start"]
    assert [row["event"] for row in door.log] == ["failed", "request"]


def test_a_caller_that_went_away_is_noted_and_not_answered(door: Door) -> None:
    door.behind.error = ClientDisconnect()
    assert door.ask() == []
    assert door.log[-1]["status"] == 499 and door.log[-1]["event"] == "request"


@pytest.mark.parametrize(
    ("method", "accept", "is_page"),
    [
        ("GET", b"text/html,*/*", True),
        ("GET", b"*/*", False),
        ("POST", b"text/html", False),
    ],
)
def test_only_a_browser_that_looks_is_shown_the_log_in(
    door: Door, method: str, accept: bytes, is_page: bool
) -> None:
    sent = door.ask("/v1/status", method=method, headers={"Accept": accept})
    assert head(sent)[0] == 401 and door.behind.scopes == []
    assert (sent[-1]["body"] == b"<form>") is is_page


def test_what_is_too_long_for_a_token_is_refused_and_not_remembered(door: Door) -> None:
    tracemalloc.start()
    for n in range(20):
        headers = {"Authorization": b"Bearer %d" % n + b"x" * 10**6}
        assert door.ask("/v1/status", headers=headers)[0]["status"] == 401
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 5 * 10**6


def test_a_token_without_the_scope_gets_a_refusal_and_no_log_in(
    door: Door, served_store: Store
) -> None:
    text, token = served_store.tokens.create(["predict"])
    headers = {"Authorization": f"Bearer {text}".encode(), "Accept": b"text/html"}
    sent = door.ask("/v1/status", headers=headers)
    assert head(sent)[0] == 403 and sent[-1]["body"] != b"<form>"
    assert head(door.ask("/v1/models", headers=headers))[0] == 200
    assert door.log[-1]["token"] == token.token_id and text not in door.stream.getvalue()


def test_what_is_answered_directly_does_not_reach_the_routes(door: Door) -> None:
    assert door.ask("/static/direct")[-1]["body"] == b"direct"
    assert door.log[-1]["route"] == "/static/direct" and door.behind.scopes == []
    assert door.ask("/static/direct", method="POST")[-1]["body"] == b"behind"


def test_what_is_no_call_goes_through_untouched(door: Door) -> None:
    assert door.ask(type="lifespan") == []
    assert door.behind.scopes == ["lifespan"] and door.log == []


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.one_of(st.binary(max_size=80), st.from_regex(LINE).map(str.encode)))
def test_no_request_id_brings_anything_into_header_or_log(door: Door, sent: bytes) -> None:
    _, headers = head(door.ask(headers={"X-Request-ID": sent}))
    found = headers["x-request-id"]
    assert LINE.fullmatch(found) and door.log[-1]["request_id"] == found
    assert (found == sent.decode("latin-1")) == bool(LINE.fullmatch(sent.decode("latin-1")))
