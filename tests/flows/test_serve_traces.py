"""A request as a trace: under its caller's, from the body to the network and the answer."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


@pytest.fixture
def photo(draw_photo: Callable[..., Image.Image]) -> Callable[[int], bytes]:
    def make(seed: int) -> bytes:
        stream = io.BytesIO()
        draw_photo("disc", 7000 + seed, (300, 200)).save(stream, "JPEG")
        return stream.getvalue()

    return make


def ended(spans: Any, n: int = 1) -> Any:
    """The spans, once so many requests have ended: that is after their answers have come."""
    for _ in range(3000):
        found = spans.get_finished_spans()
        if sum(one.kind.name == "SERVER" for one in found) >= n:
            return found
        time.sleep(0.02)
    raise AssertionError([one.name for one in found])


def under(spans: Any, name: str) -> set[str]:
    """Names of the spans that stand under the one with a name."""
    found = ended(spans)
    (parent,) = [one for one in found if one.name == name]
    mine = [one for one in found if one.parent and one.parent.span_id == parent.context.span_id]
    return {one.name for one in mine}


def test_a_request_is_traced_to_the_network_under_its_caller(
    home_server: Any, as_record: Any, photo: Any, spans: Any
) -> None:
    body = {"records": [as_record(photo(n)) for n in (1, 2)], "tasks": ["single"]}
    with home_server.client() as client:
        answer = client.post("/v1/predict", json=body, headers=CALLER)
    found = ended(spans)
    assert {f"{one.context.trace_id:032x}" for one in found} == {TRACE}
    assert under(spans, "POST /v1/predict") == {"read", "answer"}
    assert under(spans, "answer") == {"queue", "decode", "gather", "network"}
    assert [one.name for one in found].count("network") == 2, "of each photo"
    (request,) = [one for one in found if one.name == "POST /v1/predict"]
    assert f"{request.parent.span_id:016x}" == SPAN
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["listlens.request_id"] == answer.headers["x-request-id"]
    (told,) = [one for one in found if one.name == "answer"]
    assert told.attributes["photos"] == 2 and list(told.attributes["tasks"]) == ["single"]
    assert [one for one in home_server.log if one.get("trace_id") == TRACE]


def test_what_is_known_is_answered_without_a_look(
    home_server: Any, as_record: Any, photo: Any, spans: Any
) -> None:
    record = as_record(photo(3))
    home_server.predict([record], tasks=["single"])
    ended(spans)
    spans.clear()
    home_server.predict([record], tasks=["single"])
    assert under(spans, "answer") == set()


def test_a_refusal_and_a_page_are_traced_and_what_machines_ask_is_not(
    home_server: Any, spans: Any
) -> None:
    with home_server.client("") as nobody:
        assert nobody.get("/health").status_code == 200
        assert nobody.get("/static/listlens.css").status_code == 200
        assert nobody.post("/v1/predict").status_code == 401
    with home_server.client() as client:
        client.get("/metrics")
        client.get("/v1/nothing-of-that-name")
    names = [one.name for one in ended(spans, 2)]
    assert names == ["POST unknown", "GET unknown"], "no path of a caller's becomes a name"
    first = ended(spans)[0]
    assert first.attributes["http.response.status_code"] == 401 and first.status.description is None
    with home_server.client() as client:
        client.get("/v1/status")
    assert ended(spans, 3)[-1].name == "GET /v1/status"


def test_without_traces_the_log_names_none(home_server: Any) -> None:
    with home_server.client() as client:
        asked = client.get("/v1/status", headers=CALLER).headers["x-request-id"]
    for _ in range(3000):
        rows = [row for row in home_server.log if row.get("request_id") == asked]
        if rows:
            break
        time.sleep(0.02)
    assert rows and "trace_id" not in rows[0]
