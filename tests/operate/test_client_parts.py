"""The client's parts: errors from answers, photos to records, calls to requests."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from listlens.client import calls
from listlens.client.failures import failure, retry_after
from listlens.client.photos import MOST_BYTES, batches, merged, ready
from listlens.client.retrying import is_worth_again
from listlens.core.errors import (
    AccessError,
    BusyError,
    InputError,
    ListlensError,
    NotFoundError,
    Retryable,
    ServerError,
    Terminal,
)
from listlens.serve.problems import KINDS, Problem
from listlens.serve.shapes import RecordOut

URL = "http://shop.example/v1/x"


def response(status: int, body: bytes = b"", **headers: str) -> httpx.Response:
    request = httpx.Request("GET", URL)
    return httpx.Response(status, headers=headers, content=body, request=request)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_problem_of_the_server_is_an_error_that_says_the_same(kind: str) -> None:
    made = Problem(kind, "It went wrong.", headers={"Retry-After": "7"}).response("r-1")
    error = failure(response(made.status_code, bytes(made.body), **{"retry-after": "7"}))
    assert "It went wrong" in str(error) and "request r-1" in str(error)
    status = KINDS[kind][0]
    assert isinstance(error, Retryable) is (status in (429, 500, 503))
    assert isinstance(error, Terminal) is (status not in (429, 500, 503))
    if isinstance(error, BusyError):
        assert error.retry_after_s == 7


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (502, b"<html>Bad Gateway</html>", ServerError),
        (500, b"[]", ServerError),
        (404, b"", NotFoundError),
        (403, b"\xff\xfe", AccessError),
        (429, b"slow down", BusyError),
        (307, b"", InputError),
        (418, b'{"detail": null}', InputError),
    ],
)
def test_what_something_else_answers_is_an_error_too(
    status: int, body: bytes, kind: type[ListlensError]
) -> None:
    error = failure(response(status, body))
    assert type(error) is kind and f"answered {status}" in str(error)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3.0), ("0", 0.0), ("", None), ("-1", None), ("soon", None), ("1" * 9, None),
     ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("1.5", None)],
)  # fmt: skip
def test_retry_after_is_read_where_it_is_seconds(text: str, seconds: float | None) -> None:
    assert retry_after(response(429, **{"retry-after": text})) == seconds


@pytest.mark.parametrize(
    ("status", "safe", "again"),
    [(429, False, True), (503, False, True), (500, False, False), (500, True, True),
     (504, True, True), (404, True, False), (422, True, False), (200, True, False)],
)  # fmt: skip
def test_what_is_worth_another_try(status: int, safe: bool, again: bool) -> None:
    assert is_worth_again(status, safe=safe) is again


def test_photos_become_records(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"photo")
    encoded = base64.b64encode(b"photo").decode()
    assert ready(file, 3).record == {"id": str(file), "base64": encoded}
    assert ready(b"photo", 3).record == {"id": 3, "base64": encoded}
    assert ready(("x", b"photo"), 3).record == {"id": "x", "base64": encoded}
    assert ready("HTTPS://shop.example/a.jpg", 3).record == {
        "id": "HTTPS://shop.example/a.jpg",
        "url": "HTTPS://shop.example/a.jpg",
    }
    assert ready((5, "http://shop.example/a.jpg"), 3).record == {
        "id": 5,
        "url": "http://shop.example/a.jpg",
    }
    long = "http://shop.example/" + "a" * 900
    assert ready(long, 0).record == {"id": long[:500], "url": long}


@pytest.mark.parametrize(
    ("photo", "reason"),
    [("none.jpg", "missing"), (".", "unreadable"), ("empty", "empty"), ("a\0b", "unreadable"),
     (b"0" * (MOST_BYTES + 1), "too_many_bytes")],
    ids=["absent", "folder", "empty", "nul", "large"],
)  # fmt: skip
def test_a_photo_that_cannot_be_read_is_answered_here(
    photo: Any, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    one = ready(photo, 0)
    assert one.record is None and one.failed is not None
    assert (one.failed.status, one.failed.reason, one.failed.retry) == ("failed", reason, False)


def test_photos_are_cut_into_calls_by_number_and_bytes() -> None:
    small, large = b"x" * 30, b"y" * 900
    sizes = [len(batch) for batch in batches([small] * 7, 3)]
    assert sizes == [3, 3, 1]
    cut = list(batches([small, large, large, small, small], 10, n_bytes=1000))
    assert [[one.record_id for one in batch] for batch in cut] == [[0], [1], [2], [3, 4]]
    assert list(batches([])) == []


def test_what_failed_here_stands_in_its_place() -> None:
    (batch,) = batches([b"a", "none.jpg", b"b"])
    said = [RecordOut(id=n, status="ok", results={}, reason=None, detail=None, retry=None)
            for n in (0, 2)]  # fmt: skip
    assert [(one.id, one.status) for one in merged(batch, said)] == [
        (0, "ok"),
        ("none.jpg", "failed"),
        (2, "ok"),
    ]


@pytest.mark.parametrize(
    ("call", "method", "url"),
    [
        (calls.models(), "GET", "/v1/models"),
        (calls.feed(0, 10, ["a", "b"], []), "GET", "/v1/feed?cursor=0&limit=10&kind=a&kind=b"),
        (calls.dead(None, 0, 5), "GET", "/v1/dead?after=0&limit=5"),
        (calls.listing("a/b ü?#", None), "GET", "/v1/listings/a%2Fb%20%C3%BC%3F%23"),
        (calls.event("x/y"), "GET", "/v1/dead/x%2Fy"),
        (calls.search("label:a b", None, 3), "GET", "/v1/search?tag=label%3Aa+b&limit=3"),
        (calls.enable_webhook(4), "POST", "/v1/webhooks/4/enable"),
    ],
)
def test_a_call_is_the_request_it_should_be(call: Any, method: str, url: str) -> None:
    with httpx.Client(base_url="http://shop.example") as client:
        request = client.build_request(**call.request)
    assert request.method == method
    assert str(request.url) in (
        f"http://shop.example{url}",
        f"http://shop.example{url}".replace("+", "%20"),
    )


def test_bodies_leave_out_what_was_not_said() -> None:
    body = calls.put_listing("L", {"photos": [], "complete": False, "at": None}).body
    assert body == {"photos": [], "complete": False}
    assert calls.replay_dead(None, "missing", False).body == {"all": False, "reason": "missing"}
    assert calls.replay_dead(["a"], None, False).body == {"all": False, "ids": ["a"]}
    assert calls.predict([], [], None).body["tasks"] is None


def test_an_answer_of_something_else_is_a_server_error() -> None:
    call = calls.models()
    assert call.read(json.dumps({"models": []}).encode()).models == []
    for other in (b"<html>", b"{}", b"[]", b'{"models": [{}]}'):
        with pytest.raises(ServerError, match="something else"):
            call.read(other)
