"""Promoting, rolling back and retiring over HTTP: at once, by admins alone, and in the history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from listlens.serve import registry_routes

TASK = "label"
AT = f"/v1/registry/{TASK}"


@pytest.fixture
def server(two_models: Path, serve: Any) -> Any:
    with serve(two_models) as running:
        yield running


def in_force(client: Any) -> str:
    return next(m["model"] for m in client.get("/v1/models").json()["models"] if m["task"] == TASK)


def test_a_model_is_promoted_and_rolled_back_by_calls_that_end_when_it_is_so(server: Any) -> None:
    with server.client() as client:
        assert in_force(client) == "label/1"
        dry = client.post(f"{AT}/promote", json={"dry_run": True}).json()
        assert (dry["to_answer"], dry["live"], in_force(client)) == (36, 2, "label/1")
        done = client.post(f"{AT}/promote", json={"why": "new labels"})
        assert done.status_code == 200, done.text
        assert (done.json()["answered"], in_force(client)) == (36, "label/2")
        back = client.post(f"{AT}/rollback").json()
        assert (back["before"], back["live"], in_force(client)) == (2, 1, "label/1")
        told = client.get(AT).json()
    assert [(m["version"], m["stage"]) for m in told["models"]] == [(2, "retired"), (1, "live")]
    promoted = next(c for c in told["changes"] if c["action"] == "promoted")
    assert promoted["why"] == "new labels"
    assert promoted["who"].startswith("token ")
    assert server.token not in str(told)


def test_a_shadow_a_canary_and_a_retirement_are_calls_too(server: Any) -> None:
    with server.client() as client:
        assert client.post(f"{AT}/promote", json={"shadow": True}).json()["stage"] == "shadow"
        assert client.post(f"{AT}/promote", json={"share": 0.25}).json()["action"] == "canary"
        (model,) = [m for m in client.get("/v1/models").json()["models"] if m["task"] == TASK]
        assert (model["canary"]["model"], model["canary"]["share"]) == ("label/2", 0.25)
        assert (model["policy"], model["taxonomy"]) == (1, model["canary"]["taxonomy"])
        assert client.post(f"{AT}/promote", json={"share": 0}).json()["action"] == "recalled"
        assert client.post(f"{AT}/retire", json={"version": 2}).json()["stage"] == "retired"
        assert client.post(f"{AT}/retire", json={"version": 1}).status_code == 422
        assert client.post(f"{AT}/promote").status_code == 422  # the newest one is retired
        assert in_force(client) == "label/1"


def test_what_takes_long_is_left_to_the_command(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_routes, "MOST_ANSWERED", 35)
    with server.client() as client:
        refused = client.post(f"{AT}/promote")
        assert refused.status_code == 422
        assert "listlens models promote label 2" in refused.json()["detail"]
        assert in_force(client) == "label/1"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/registry/rom", None, 404),
        ("POST", "/v1/registry/rom/promote", b"{}", 404),
        ("POST", f"{AT}/promote", b'{"version": 9}', 404),
        ("POST", f"{AT}/promote", b'{"version": 0}', 422),
        ("POST", f"{AT}/promote", b'{"version": "1"}', 422),
        ("POST", f"{AT}/promote", b'{"share": 1}', 422),
        ("POST", f"{AT}/promote", b'{"share": NaN}', 422),
        ("POST", f"{AT}/promote", b'{"other": 1}', 422),
        ("POST", f"{AT}/promote", b"[", 400),
        ("POST", f"{AT}/promote", b'{"why": "' + b"x" * 20_000 + b'"}', 413),
        ("POST", f"{AT}/rollback", b"{}", 404),
        ("POST", f"{AT}/retire", b"{}", 422),
        ("POST", f"{AT}/retire", b'{"version": 1}', 422),
        ("DELETE", AT, None, 405),
    ],
)
def test_bad_calls_are_refused_in_the_one_shape_and_change_nothing(
    label_server: Any, method: str, path: str, body: bytes | None, status: int
) -> None:
    with label_server.client() as client:
        answer = client.request(method, path, content=body)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert in_force(client) == "label/1"


@pytest.fixture(scope="module")
def label_server(trained_twice: Path, serve: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    import shutil

    root = tmp_path_factory.mktemp("registry") / "project"
    shutil.copytree(trained_twice, root)
    with serve(root) as running:
        yield running


def test_only_an_admin_may_and_open_inference_opens_none_of_it(label_server: Any) -> None:
    text, _ = label_server.project.store.tokens.create(["predict", "read", "write"])
    with label_server.client(text) as client:
        assert client.get(AT).status_code == 403
        assert client.post(f"{AT}/promote").status_code == 403
    with label_server.client("") as client:
        assert client.post(f"{AT}/rollback").status_code == 401
    assert label_server.project.store.models.live(1).version == 1


def test_the_document_names_every_address(label_server: Any) -> None:
    with label_server.client() as client:
        document = client.get("/openapi.json").json()
    paths = [path for path in document["paths"] if path.startswith("/v1/registry")]
    assert len(paths) == 4
    promote = document["paths"]["/v1/registry/{task}/promote"]["post"]
    assert promote["requestBody"]["content"]["application/json"]["schema"]["properties"]["share"]
    assert {"200", "401", "403", "404", "422"} <= promote["responses"].keys()
