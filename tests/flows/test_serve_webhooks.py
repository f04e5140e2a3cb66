"""Webhooks over HTTP, and delivered by the real server to a real receiver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

import listlens
from listlens.store.event_rows import Announcement

URL = "https://shop.example/hooks"
RUN = "import sys; from listlens.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, serve: Callable[..., Any]) -> Iterator[Any]:
    """An empty project, served."""
    root = tmp_path_factory.mktemp("hooks") / "shop"
    with listlens.init(root) as project:
        project.store.labels.add_task("label", "single", ["disc", "stripes"])
    with serve(root) as running:
        yield running


@pytest.fixture
def api(server: Any) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def test_an_endpoint_lives_its_life_over_the_api(api: httpx.Client, server: Any) -> None:
    made = api.post("/v1/webhooks", json={"url": URL, "kinds": ["photo.failed"], "tasks": []})
    assert made.status_code == 201 and made.headers["cache-control"] == "no-store"
    hook = made.json()
    at = f"/v1/webhooks/{hook['id']}"
    assert hook["secret"].startswith("whsec_")
    listed = api.get("/v1/webhooks")
    assert hook["secret"] not in listed.text and listed.json()["webhooks"][-1]["url"] == URL
    assert api.get(at).json()["kinds"] == ["photo.failed"]
    rotated = api.post(f"{at}/rotate", json={"keep_hours": 1}).json()
    assert rotated["secret"] != hook["secret"] and rotated["former_until"]
    server.project.store.webhooks.disable(hook["id"], "it answered 410 Gone")
    assert api.get(at).json()["detail"] == "it answered 410 Gone"
    enabled = [api.post(f"{at}/enable").json() for _ in range(2)]
    assert [(one["state"], one["changed"]) for one in enabled] == [
        ("active", True), ("active", False),
    ]  # fmt: skip
    assert api.post(f"{at}/replay", json={"after": 0}).json() == {"webhook": hook["id"], "again": 0}
    assert api.get(f"{at}/log").json() == {"deliveries": []}
    assert api.delete(at).status_code == 200
    assert api.get(at).status_code == api.delete(at).status_code == 404


def test_a_test_says_what_was_wrong(api: httpx.Client) -> None:
    hook = api.post("/v1/webhooks", json={"url": "https://127.0.0.1/"}).json()
    tested = api.post(f"/v1/webhooks/{hook['id']}/test").json()
    assert (tested["delivered"], tested["status"]) == (False, None)
    assert tested["detail"].startswith("unsafe_address")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", b"{", 400),
        ("POST", "", b"{}", 422),
        ("POST", "", b'{"url": "ftp://shop.example/"}', 422),
        ("POST", "", b'{"url": "http://u:p@shop.example/"}', 422),
        ("POST", "", b'{"url": "https://shop.example/", "kind": "x"}', 422),
        ("POST", "", b'{"url": "https://shop.example/", "name": "' + b"a" * 70_000 + b'"}', 413),
        ("GET", "/x", None, 404),
        ("GET", "/99", None, 404),
        ("GET", "/-1", None, 404),
        ("GET", "/99999999999999999999999999", None, 404),
        ("GET", "/99/log", None, 404),
        ("POST", "/99/test", None, 404),
        ("POST", "/99/rotate", b"{}", 404),
        ("POST", "/99/rotate", b'{"keep_hours": 1e400}', 422),
        ("POST", "/99/rotate", b'{"keep_hours": -1}', 422),
        ("POST", "/99/replay", b'{"after": -1}', 422),
        ("POST", "/99/replay", b'{"after": 99999999999999999999}', 422),
        ("POST", "/99/replay", b"{}", 404),
        ("POST", "/99/enable", None, 404),
        ("PUT", "/99", b"{}", 405),
    ],
)
def test_bad_calls_are_refused_in_the_one_shape(
    api: httpx.Client, method: str, path: str, body: bytes | None, status: int
) -> None:
    answer = api.request(method, f"/v1/webhooks{path}", content=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_filter_by_what_there_is_not_is_refused_with_the_names_there_are(
    api: httpx.Client, server: Any
) -> None:
    n_before = len(server.project.store.webhooks.list())
    for asked, words in (
        ({"tasks": ["lable"]}, "Did you mean 'label'"),
        ({"kinds": ["photo.predict"]}, "Did you mean 'photo.predicted'"),
    ):
        answer = api.post("/v1/webhooks", json={"url": URL, **asked})
        assert answer.status_code == 422 and words in answer.json()["detail"]
    for query in ({"task": "lable"}, {"kind": ["photo.failed", "photo.fail"]}):
        answer = api.get("/v1/feed", params=query)
        assert answer.status_code == 422 and "Did you mean" in answer.json()["detail"]
    assert len(server.project.store.webhooks.list()) == n_before
    assert api.get("/v1/feed", params={"task": "label", "kind": "photo.failed"}).status_code == 200


def test_only_an_admin_may(server: Any) -> None:
    text, _ = server.project.store.tokens.create(["predict", "read", "write"])
    with server.client(text) as client:
        assert client.get("/v1/webhooks").status_code == 403
        assert client.post("/v1/webhooks", json={"url": URL}).status_code == 403
    with server.client("") as client:
        assert client.get("/v1/webhooks").status_code == 401


def test_the_document_names_every_address_with_its_shapes(api: httpx.Client) -> None:
    document = api.get("/openapi.json").json()
    paths = [path for path in document["paths"] if path.startswith("/v1/webhooks")]
    assert len(paths) == 7
    add = document["paths"]["/v1/webhooks"]["post"]
    assert add["requestBody"]["content"]["application/json"]["schema"]["properties"]["url"]
    assert {"201", "401", "403", "422"} <= add["responses"].keys()


def test_the_server_delivers_what_is_announced(tmp_path: Path) -> None:
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    receiver = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=receiver.serve_forever, args=(0.05,), daemon=True).start()
    root = tmp_path / "shop"
    listlens.init(root).close()
    settings = root / "listlens.toml"
    named = f'private = ["127.0.0.1:{receiver.server_port}"]'
    settings.write_text(settings.read_text().replace("private = []", named))
    command = [sys.executable, "-c", RUN, "serve", "-p", str(root), "--port", "0"]
    with (
        listlens.open(root) as project,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process,
    ):
        try:
            assert process.stdout is not None
            while "http://" not in process.stdout.readline():
                assert process.poll() is None
            hook = project.store.webhooks.add(f"http://127.0.0.1:{receiver.server_port}/")
            body = {"listing_id": "L1", "photo_id": "a", "results": {}}
            project.store.outbox.append([Announcement("k", "photo.predicted", "L1", "a", body)])
            ends = time.monotonic() + 120
            while not got:
                assert time.monotonic() < ends, project.store.webhooks.log()
                time.sleep(0.05)
        finally:
            process.terminate()
            process.wait(30)
        assert got[0]["data"] == body
        log = project.store.webhooks.log(hook.webhook_id)
        assert [one.outcome for one in log] == ["delivered"], "kept when the server stopped gently"
    receiver.shutdown()
    receiver.server_close()
