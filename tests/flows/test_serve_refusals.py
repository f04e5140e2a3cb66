"""What the server refuses: in one shape, before it costs anything, and never with a 5xx."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

PROBLEM = "application/problem+json"


def is_problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """Check the one documented shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    document = response.json()
    assert document["type"] == f"urn:listlens:problem:{kind}"
    assert document["status"] == status and document["title"] and document["detail"]
    assert document["request_id"] == response.headers["x-request-id"]
    return dict(document)


def raw(address: tuple[str, int], head: str, then: Callable[[socket.socket], None]) -> bytes:
    """Send a head by hand, do something, and return what comes back within 5 s."""
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode())
        then(connection)
        answer = b""
        while b"\r\n\r\n" not in answer and (part := connection.recv(65536)):
            answer += part
        return answer


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b"", "bad-request", 400, "no JSON"),
        (b"{", "bad-request", 400, "no JSON"),
        (b"\xff\xfe{}", "bad-request", 400, "no JSON"),
        (b"[" * 10_000, "bad-request", 400, "no JSON"),
        (b"[]", "invalid", 422, "body:"),
        (b"{}", "invalid", 422, "records"),
        (b'{"records": []}', "invalid", 422, "records"),
        (b'{"records": [{"idd": 1}]}', "invalid", 422, "records.0.idd"),
        (b'{"records": [{"id": true}]}', "invalid", 422, "records.0.id"),
        (b'{"records": [{"id": 1e400}]}', "invalid", 422, "records.0.id"),
        (b'{"records": [{"base64": 5}]}', "invalid", 422, "records.0.base64"),
        (b'{"records": [{}], "tasks": "x"}', "invalid", 422, "tasks"),
        (b'{"records": [{}], "top": -1}', "invalid", 422, "top"),
        (b'{"records": [{}], "tasks": ["singel"]}', "unknown-task", 404, "Did you mean 'single'"),
        (json.dumps({"records": [{}] * 65}).encode(), "invalid", 422, "at most 64"),
    ],
    ids=lambda value: value[:24].decode("latin1") if isinstance(value, bytes) else "",
)
def test_a_bad_body_is_refused_in_words(
    home_server: Any, body: bytes, kind: str, status: int, said: str
) -> None:
    with home_server.client() as client:
        response = client.post(
            "/v1/predict", content=body, headers={"Content-Type": "application/json"}
        )
    assert said in is_problem(response, status, kind)["detail"]


@pytest.mark.parametrize(
    ("content_type", "body", "status", "kind"),
    [
        ("text/csv", b"a,b", 415, "unsupported-media-type"),
        ("multipart/form-data", b"x", 400, "bad-request"),
        ("multipart/form-data; boundary=x", b"no form", 400, "bad-request"),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 422, "invalid"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="fotos"; filename="a"\r\n\r\nA\r\n--x--',
            422,
            "invalid",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="top"\r\n\r\nmany\r\n--x--',
            422,
            "invalid",
        ),
    ],
    ids=["type", "no-boundary", "no-form", "empty", "unknown-part", "top"],
)
def test_a_bad_form_is_refused_in_words(
    home_server: Any, content_type: str, body: bytes, status: int, kind: str
) -> None:
    with home_server.client() as client:
        response = client.post("/v1/predict", content=body, headers={"Content-Type": content_type})
    is_problem(response, status, kind)


def test_a_photo_that_is_no_file_fails_alone(home_server: Any) -> None:
    with home_server.client() as client:
        answer = client.post("/v1/predict", data={"photo": "text"}, files={"photo": ("", b"x")})
    assert answer.status_code in (200, 422)
    assert answer.status_code == 422 or answer.json()["records"][0]["status"] == "failed"


def test_without_a_token_nobody_gets_in_and_the_body_is_not_waited_for(home_server: Any) -> None:
    head = (
        "POST /v1/predict HTTP/1.1\nHost: x\nContent-Type: application/json\n"
        "Content-Length: 99999999999\n\n"
    )
    begun = time.monotonic()
    answer = raw(home_server.address, head, lambda _: None)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b'www-authenticate: Bearer realm="listlens"' in answer
    assert time.monotonic() - begun < 12  # a body has 15


@pytest.mark.parametrize(
    "path", ["/", "/try", "/metrics", "/v1/status", "/v1/models", "/openapi.json", "/nothing"]
)
def test_everything_but_health_needs_a_token(home_server: Any, path: str) -> None:
    with home_server.client("") as client:
        is_problem(client.get(path), 401, "unauthorized")
        assert client.get("/health").status_code == 200
    with home_server.client("listlens_wrong") as client:
        response = client.get(path)
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


def test_a_body_that_says_it_is_too_large_is_not_read(home_server: Any) -> None:
    head = (
        "POST /v1/predict HTTP/1.1\nHost: x\nContent-Type: application/json\n"
        f"Authorization: Bearer {home_server.token}\nContent-Length: 99999999999\n\n"
    )
    assert raw(home_server.address, head, lambda _: None).startswith(b"HTTP/1.1 413 ")


def test_an_endless_body_is_cut(home_server: Any) -> None:
    head = (
        "POST /v1/predict HTTP/1.1\nHost: x\nContent-Type: application/json\n"
        f"Authorization: Bearer {home_server.token}\nTransfer-Encoding: chunked\n\n"
    )
    chunk = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    sent = 0

    def endless(connection: socket.socket) -> None:
        nonlocal sent
        try:
            for _ in range(1000):
                connection.sendall(chunk)
                sent += 1
        except OSError:
            pass  # the server has had enough

    try:
        answer = raw(home_server.address, head, endless)
        assert answer.startswith(b"HTTP/1.1 413 ") or answer == b""
    except ConnectionError:
        pass
    limit = home_server.project.config.serve.max_body_bytes / 2**20
    assert sent < limit + 40, "the server reads on after the limit"


def test_overload_is_answered_by_429_and_no_growing_queue(
    home: Path, serve: Any, draw_photo: Callable[..., Image.Image], as_record: Any
) -> None:
    def photo(seed: int) -> bytes:
        stream = io.BytesIO()
        draw_photo("speckle", seed, (1600, 1200)).save(stream, "JPEG", quality=90)
        return stream.getvalue()

    photos = [photo(seed) for seed in range(60)]
    with serve(home, {"n_threads": 1, "capacity": 12}, 320) as server, server.client() as client:

        def ask(data: bytes) -> httpx.Response:
            body = {"records": [as_record(data)], "tasks": ["single"]}
            return client.post("/v1/predict", json=body)

        with ThreadPoolExecutor(30) as pool:
            responses = list(pool.map(ask, photos))
        refused = [r for r in responses if r.status_code != 200]
        assert server.counters().refused >= len(refused) > 0
        assert server.counters().decoded == 60 - len(refused)
    for response in refused:
        document = is_problem(response, 429, "busy")
        assert int(response.headers["retry-after"]) == document["retry_after_s"] >= 1
    assert len(refused) < 60


def test_a_token_does_what_its_scope_says_and_no_more(home_server: Any) -> None:
    tokens = home_server.project.store.tokens
    asks, _ = tokens.create(["predict"])
    reads, _ = tokens.create(["read"])
    with home_server.client(asks) as client:
        assert client.get("/v1/models").status_code == 200
        detail = is_problem(client.get("/metrics"), 403, "forbidden")["detail"]
        assert "--scope read" in detail
    with home_server.client(reads) as client:
        assert client.get("/metrics").status_code == 200
        is_problem(client.post("/v1/predict", json={}), 403, "forbidden")


def test_a_revoked_token_is_refused_within_seconds(home_server: Any) -> None:
    text, made = home_server.project.store.tokens.create(["predict"])
    with home_server.client(text) as client:
        assert client.get("/v1/models").status_code == 200
        home_server.project.store.tokens.revoke(made.token_id)
        time.sleep(1.1)
        is_problem(client.get("/v1/models"), 401, "unauthorized")


def test_a_token_has_its_calls_a_minute(home_server: Any) -> None:
    text, _ = home_server.project.store.tokens.create(["predict"], per_minute=3)
    with home_server.client(text) as client:
        responses = [client.get("/v1/models") for _ in range(5)]
    assert [r.status_code for r in responses] == [200, 200, 200, 429, 429]
    document = is_problem(responses[-1], 429, "rate-limited")
    assert 1 <= document["retry_after_s"] <= 60


def test_open_inference_is_for_predict_calls_of_this_machine(home: Path, serve: Any) -> None:
    with serve(home, open_inference=True) as server, server.client("") as client:
        assert client.get("/v1/models").status_code == 200
        assert client.post("/v1/predict", json={}).status_code == 422
        is_problem(client.get("/metrics"), 401, "unauthorized")
        for headers in (
            {"Host": "evil.example"},
            {"Origin": "http://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            is_problem(client.get("/v1/models", headers=headers), 401, "unauthorized")


def test_unknown_addresses_and_methods_have_the_same_shape(home_server: Any) -> None:
    with home_server.client() as client:
        is_problem(client.get("/v1/nothing"), 404, "not-found")
        response = client.get("/v1/predict")
    is_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "POST"
    for method, path, allowed in (
        ("PATCH", "/v1/webhooks", "GET, POST"),
        ("POST", "/v1/listings/a/b", "GET, PUT"),
        ("PUT", "/v1/webhooks/7", "DELETE, GET"),
        ("DELETE", "/try", "GET, POST"),
        ("POST", "/static/listlens.css", "GET, HEAD"),
    ):
        with home_server.client() as client:
            answer = client.request(method, path)
        said = is_problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == allowed, path
        assert said["detail"] == f"{method} is not taken here; allowed: {allowed}."


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2:x", True), ("a b", False), ("x" * 65, False)], ids=str
)
def test_a_request_id_is_kept_where_it_is_harmless(
    home_server: Any, given: str, kept: bool
) -> None:
    with home_server.client() as client:
        found = client.get("/health", headers={"X-Request-ID": given}).headers["x-request-id"]
    assert (found == given) is kept and len(found) <= 64
    assert any(row.get("request_id") == found for row in home_server.log)


def test_the_log_tells_of_a_call_without_its_token(home_server: Any) -> None:
    with home_server.client() as client:
        request_id = client.get("/v1/models").headers["x-request-id"]
    (row,) = [row for row in home_server.log if row.get("request_id") == request_id]
    assert (row["event"], row["route"], row["status"]) == ("request", "/v1/models", 200)
    assert row["token"] is not None and row["ms"] >= 0
    assert home_server.token not in json.dumps(home_server.log)


def test_metrics_count_calls_photos_and_models(
    home_server: Any, draw_photo: Callable[..., Image.Image], as_record: Any
) -> None:
    stream = io.BytesIO()
    draw_photo("disc", 4711).save(stream, "PNG")
    home_server.predict([as_record(stream.getvalue()), as_record(b"nothing")])
    with home_server.client() as client:
        lines = client.get("/metrics").text.splitlines()
        status = client.get("/v1/status").json()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values['listlens_requests_total{route="/v1/predict",status="200"}']) >= 1
    assert float(values['listlens_photos_total{how="computed"}']) >= 1
    assert float(values['listlens_photo_failures_total{reason="not_an_image"}']) >= 1
    assert values['listlens_model_live{task="tree",version="2"}'] == "1.0"
    assert 'listlens_waiting{priority="backfill"}' in values
    assert status["answered"]["computed"] >= 1 and status["core_seconds_a_1000_photos"] > 0
    assert status["photos_last_minute"] >= 1


def test_stopping_answers_what_was_accepted(
    home: Path, serve: Any, draw_photo: Callable[..., Image.Image], as_record: Any
) -> None:
    def photo(seed: int) -> dict[str, Any]:
        stream = io.BytesIO()
        draw_photo("speckle", 500 + seed, (1200, 900)).save(stream, "JPEG")
        return dict(as_record(stream.getvalue()))

    body = {"records": [photo(seed) for seed in range(30)], "tasks": ["single"]}
    with serve(home, {"n_threads": 1}) as server, server.client() as client:
        with ThreadPoolExecutor(1) as pool:
            response = pool.submit(client.post, "/v1/predict", json=body)
            while not server.counters().accepted:
                time.sleep(0.005)
            server.stop()
            answer = response.result(30)
        assert answer.status_code == 200
        assert answer.json()["statistics"]["ok"] == 30
        with pytest.raises(httpx.ConnectError):
            client.get("/health")


def test_a_broken_model_is_told_and_the_others_answer(
    project: Path, serve: Any, shop: Any, as_record: Any
) -> None:
    photo = as_record((shop.photos / sorted(shop.classes)[0]).read_bytes())
    card = project / "models" / "label" / "1" / "model.json"
    whole = card.read_text()
    card.write_text("{}")
    with serve(project) as server, server.client() as client:
        health = client.get("/health").json()
        assert health["status"] == "degraded" and "label" in health["detail"]
        assert "models/label/1" in health["detail"] and str(project.parent) not in health["detail"]
        why = client.post("/v1/registry/label/promote", json={"version": 1, "shadow": True})
        assert "models/label/1" in why.json()["detail"] and str(project.parent) not in why.text
        page = client.get("/", headers={"Accept": "text/html"}).text
        assert "models/label/1" in page and str(project.parent) not in page
        assert list(server.predict([photo])["records"][0]["results"]) == ["starter"]
        card.write_text(whole)
        deadline = time.monotonic() + 30
        while client.get("/health").json()["status"] != "ready":
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert list(server.predict([photo])["records"][0]["results"]) == ["label"]
        card.write_text("{}")
        assert list(server.predict([photo])["records"][0]["results"]) == ["label"]
