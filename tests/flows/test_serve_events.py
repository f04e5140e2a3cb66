"""Events over HTTP: in, worked on inside the server, and out by cursor; letters mended by call."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

import listlens
from listlens.client import Client
from listlens.core.errors import InputError
from listlens.pipeline.inference import Inference
from listlens.store.event_rows import Announcement
from listlens.stream.running import working


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, serve: Callable[..., Any], draw_photo: Any
) -> Iterator[Any]:
    """A project whose events may name files, served, with its worker beside the server."""
    root = tmp_path_factory.mktemp("events") / "shop"
    listlens.init(root).close()
    (root / "files").mkdir()
    for n in range(4):
        draw_photo("disc", n).save(root / "files" / f"{n}.jpg")
    (root / "listlens.toml").write_text('[events]\nphotos = "files"\n')
    with serve(root) as running, working(running.project, running.inference):
        yield running


@pytest.fixture
def api(server: Any) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def added(n: int, **more: Any) -> dict[str, Any]:
    said = {"id": f"e{n}", "kind": "photo.added", "listing_id": "L1", "photo_id": f"{n}"}
    return {**said, "path": f"{n}.jpg", **more}


def feed(api: httpx.Client, cursor: str, n: int, **query: Any) -> tuple[list[Any], str]:
    """Poll until n announcements came."""
    found: list[Any] = []
    end = time.monotonic() + 60
    while len(found) < n and time.monotonic() < end:
        answer = api.get("/v1/feed", params={"cursor": cursor, **query}).json()
        found += answer["events"]
        cursor = answer["cursor"]
        time.sleep(0.05)
    return found, cursor


def test_a_cursor_beyond_the_end_is_refused_and_one_at_the_end_never(
    server: Any, api: httpx.Client
) -> None:
    outbox = server.project.store.outbox
    outbox.append([Announcement(f"o{n}", "photo.failed", "L9", "p", {"id": f"o{n}"}) for n in "ab"])
    end = outbox.last()
    beyond = api.get("/v1/feed", params={"cursor": end + 100})
    told = beyond.json()
    assert (beyond.status_code, told["type"]) == (410, "urn:listlens:problem:beyond-end")
    assert told["end"] == str(end) and f"cursor={end}," in told["detail"]
    answer = api.get("/v1/feed", params={"cursor": told["end"]})
    assert answer.json() == {"events": [], "cursor": str(end), "more": False}
    refused = pytest.raises(InputError, match=f"The feed ends at {end}")
    with Client(str(api.base_url), server.token) as client, refused:
        list(client.feed(end + 100))
    outbox.prune(server.project.store.clock() + timedelta(days=1), end)
    assert outbox.last() == 0
    assert api.get("/v1/feed", params={"cursor": end}).json()["cursor"] == str(end)
    assert api.get("/v1/feed", params={"cursor": end + 1}).status_code == 410


def test_what_is_put_in_comes_out_by_cursor_once(api: httpx.Client, server: Any) -> None:
    cursor = api.get("/v1/feed").json()["cursor"]
    answer = api.post("/v1/events", json=[added(0), added(1), added(0)])
    assert answer.status_code == 202
    assert answer.json() == {"new": 2, "duplicates": 1, "dead": 0, "empty": 0, "wrong": []}
    found, cursor = feed(api, cursor, 2)
    assert sorted(one["photo_id"] for one in found) == ["0", "1"]
    assert {one["kind"] for one in found} == {"photo.predicted"}
    assert all(one["results"]["starter"]["prediction"] is not None for one in found)
    assert api.get("/v1/feed", params={"cursor": cursor}).json() == {
        "events": [], "cursor": cursor, "more": False,
    }  # fmt: skip
    end = api.get("/v1/feed", params={"cursor": "end"}).json()
    assert end == {"events": [], "cursor": cursor, "more": False}
    wrong = api.get("/v1/feed", params={"cursor": "last"})
    assert wrong.status_code == 422 and "'end'" in wrong.text
    page = api.get("/v1/feed", params={"limit": 1, "task": "starter"}).json()
    assert (len(page["events"]), page["more"]) == (1, True)
    room = api.get("/v1/feed", params={"task": "room"})
    assert room.status_code == 422 and "there is no task 'room'" in room.json()["detail"]
    # Where the files are on this machine is told to nobody.
    assert sorted(one["location"] for one in found) == ["0.jpg", "1.jpg"]
    listing = api.get("/v1/listings/L1").json()
    assert sorted(one["location"] for one in listing["photos"]) == ["0.jpg", "1.jpg"]
    ledger = api.get("/v1/ledger").json()
    assert ledger["adds_up"] and ledger["duplicates"] == 1


def test_wrong_and_dead_ones_are_listed_shown_and_replayed(api: httpx.Client, server: Any) -> None:
    lines = "\n".join([json.dumps(added(2, id="a/2")), "{", json.dumps(added(9, id="e9"))])
    headers = {"content-type": "application/x-ndjson"}
    cursor = api.get("/v1/feed", params={"limit": 1000}).json()["cursor"]
    taken = api.post("/v1/events", content=lines, headers=headers).json()
    assert (taken["new"], taken["dead"]) == (2, 1)
    assert taken["wrong"][0].startswith("no JSON")
    feed(api, cursor, 2)
    dead = api.get("/v1/dead").json()["dead"]
    assert {letter["reason"] for letter in dead} == {"bad_event", "missing"}
    assert api.get("/v1/dead", params={"reason": "missing"}).json()["dead"][0]["id"] == "e9"
    wrong = api.get("/v1/dead", params={"reason": "mising"})
    assert wrong.status_code == 422 and "Did you mean 'missing'?" in wrong.json()["detail"]
    first = api.get("/v1/dead", params={"limit": 1}).json()
    assert len(api.get("/v1/dead", params={"after": first["next"]}).json()["dead"]) == 1
    assert api.get("/v1/dead/a/2").json()["outcome"] == "predicted"
    (server.project.root / "files" / "9.jpg").write_bytes(
        (server.project.root / "files" / "3.jpg").read_bytes()
    )
    cursor = api.get("/v1/feed", params={"limit": 1000}).json()["cursor"]
    assert api.post("/v1/dead/replay", json={"ids": ["e9"]}).json() == {"again": 1, "left": 0}
    (one,), _ = feed(api, cursor, 1)
    assert (one["photo_id"], one["kind"]) == ("9", "photo.predicted")
    assert api.post("/v1/dead/replay", json={"all": True}).json() == {"again": 0, "left": 1}


def test_what_cannot_be_asked_is_refused_in_the_one_shape(api: httpx.Client, server: Any) -> None:
    api.post("/v1/events", json=[added(0)])  # whichever test is the first
    for method, path, how, status in [
        ("POST", "/v1/events", {"content": b"{"}, 400),
        ("POST", "/v1/events", {"content": b"[" * 100_000}, 400),
        ("GET", "/v1/feed?cursor=x", {}, 422),
        ("GET", "/v1/feed?limit=0", {}, 422),
        ("GET", "/v1/feed?colour=red", {}, 422),
        ("GET", "/v1/dead?limit=5000", {}, 422),
        ("GET", "/v1/dead/nobody", {}, 404),
        ("POST", "/v1/dead/replay", {"json": {}}, 422),
        ("POST", "/v1/dead/replay", {"json": {"ids": ["e0"]}}, 422),
        ("POST", "/v1/dead/replay", {"json": {"ids": ["nobody"]}}, 404),
    ]:
        answer = api.request(method, path, **how)
        assert answer.status_code == status, (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    odd = api.post("/v1/events", json=[1, "x", None, {}, {"id": "\x00"}])
    assert (odd.status_code, odd.json()["dead"]) == (202, 5)
    for depth in (950, 980, 984, 988):
        deep = b'{"attributes": %b%b}' % (b'{"a":' * depth + b"1", b"}" * depth)
        assert api.post("/v1/events", content=deep).status_code in (202, 400)
    assert api.get("/v1/dead").status_code == 200
    token, _ = server.project.store.tokens.create(["read"])
    with server.client(token) as reader:
        assert reader.get("/v1/feed").status_code == 200
        assert reader.post("/v1/events", json={}).status_code == 403
        assert reader.get("/v1/dead").status_code == 403


def test_a_worker_beside_the_server_ends_with_it(server: Any) -> None:
    with listlens.open(server.project.root) as project:
        inference = Inference(server.inference.backbone, project.limits, n_threads=1)
        with working(project, inference) as worker:
            worker.wake.set()
        assert worker.report.seconds > 0
        inference.close()
