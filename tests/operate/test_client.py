"""The typed client against the real server, on a socket."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

import listlens
from listlens.client import AsyncClient, Client, Retries
from listlens.core.errors import (
    AccessError,
    BusyError,
    InputError,
    NotFoundError,
    Retryable,
    ServerError,
)

ONCE = Retries(attempts=1)
SOON = Retries(attempts=4, base_s=0.01, most_s=0.5)


@pytest.fixture
def client(served: Any) -> Iterator[Client]:
    with served.client() as made:
        yield made


def test_photos_come_as_files_bytes_and_addresses(
    client: Client, served: Any, shop: Any, photo_host: str, tmp_path: Path
) -> None:
    name, shape = sorted(shop.classes.items())[0]
    file = shop.photos / name
    (tmp_path / "no.jpg").write_bytes(b"no photo")
    photos = [
        file,
        str(file),
        file.read_bytes(),
        f"{photo_host}/{name}",
        ("mine", file.read_bytes()),
        (7, file),
        tmp_path / "no.jpg",
        tmp_path / "none.jpg",
        b"",
        f"{photo_host}/none.jpg",
    ]
    found = client.predict(photos, ["label"])
    ids = [one.id for one in found]
    assert ids[2:6] == [2, f"{photo_host}/{name}", "mine", 7]
    assert [one.status for one in found] == ["ok"] * 6 + ["failed"] * 4
    assert [one.reason for one in found[6:]] == ["not_an_image", "missing", "empty", "missing"]
    results = [one.results["label"] for one in found[:6] if one.results]
    assert {one.prediction for one in results} == {shape}
    with listlens.open(served.root) as project:
        ((_, said),) = project.predict([file], ["label"])
    assert results[0].probability == pytest.approx(said.probability, abs=1e-6)
    assert results[0].model == "label/1"


def test_many_photos_go_some_at_a_time_and_come_back_in_order(client: Client, shop: Any) -> None:
    files = [shop.photos / name for name in sorted(shop.classes)] * 2
    pulled = 0

    def photos() -> Iterator[Any]:
        nonlocal pulled
        for index, file in enumerate(files):
            pulled += 1
            yield index, file

    answers = client.predict_each(photos(), ["label"], top=1, batch=10)
    first = next(answers)
    assert first.id == 0 and pulled <= 11, "read no further ahead than one call"
    rest = list(answers)
    assert [one.id for one in rest] == list(range(1, len(files)))
    said = [(one.results or {})["label"].prediction for one in [first, *rest]]
    assert said == [shop.classes[name] for name in sorted(shop.classes)] * 2
    assert all(len((one.results or {})["label"].probabilities) == 1 for one in rest)


def last_cursor(client: Client) -> str:
    return ([page.cursor for page in client.feed(limit=1000)] or ["0"])[-1]


def test_events_are_worked_on_and_come_out_of_the_feed(
    client: Client, served: Any, shop: Any, photo_host: str
) -> None:
    start = last_cursor(client)
    names = sorted(shop.classes)[:3]
    events = [
        {"id": f"f{n}", "kind": "photo.added", "listing_id": "F", "photo_id": str(n),
         "url": f"{photo_host}/{name}", "priority": "backfill"}
        for n, name in enumerate([*names, "none.jpg"])
    ]  # fmt: skip
    assert client.put(events).new == 4
    again = client.put([*events, {"kind": "photo.new"}])
    assert (again.new, again.duplicates, again.dead) == (0, 4, 1)
    assert "there is no 'photo.new'" in again.wrong[0]
    ledger = served.settled()
    assert ledger.adds_up and ledger.announced >= 4
    pages = list(client.feed(start, limit=2))
    assert [len(page.events) for page in pages] == [2, 2]
    told = {event["photo_id"]: event for page in pages for event in page.events}
    assert {told[str(n)]["kind"] for n in range(3)} == {"photo.predicted"}
    assert (told["3"]["kind"], told["3"]["reason"]) == ("photo.failed", "missing")
    said = [told[str(n)]["results"]["label"]["prediction"] for n in range(3)]
    assert said == [shop.classes[name] for name in names]
    (only,) = client.feed(start, kinds=["photo.failed"])
    assert [event["photo_id"] for event in only.events] == ["3"]
    assert not list(client.feed(start, kinds=["photo.deleted"]))
    assert not list(client.feed(pages[-1].cursor))

    letters = {one.reason: one for one in client.dead()}
    assert set(letters) == {"missing", "bad_event"}
    assert client.event("f3").state == "dead" and client.event("f0").outcome == "predicted"
    assert [one.id for one in client.dead(reason="missing")] == ["f3"]
    assert client.replay_dead(["f3"]).again == 1
    assert client.replay_dead(reason="bad_event").left == 1
    served.settled()
    assert client.event("f3").state == "dead", "it is still not there"


def test_following_the_feed_goes_on_with_what_is_still_to_come(client: Client) -> None:
    assert not list(client.feed("end"))
    following = client.feed(last_cursor(client), follow=True, poll_s=0.05)
    event = {"kind": "listing.changed", "listing_id": "W", "attributes": {"a": 1}}
    timer = threading.Timer(0.3, lambda: client.put([event]))
    timer.start()
    page = next(following)
    assert [one["listing_id"] for one in page.events] == ["W"]
    timer.join()


def test_webhooks_are_managed(client: Client) -> None:
    hook = client.add_webhook("https://shop.example/hooks", kinds=["photo.failed"])
    assert hook.secret.startswith("whsec_") and hook.kinds == ["photo.failed"]
    assert [one.id for one in client.webhooks()] == [hook.id]
    assert client.rotate_webhook(hook.id).secret != hook.secret
    assert client.enable_webhook(hook.id).state == "active"
    assert client.test_webhook(hook.id).delivered is False
    assert client.replay_webhook(hook.id, after=0).webhook == hook.id
    assert all(one.webhook == hook.id for one in client.deliveries(hook.id))
    assert client.remove_webhook(hook.id).id == hook.id and client.webhooks() == []


def test_models_and_health_are_told(client: Client, served: Any) -> None:
    assert [one.model for one in client.models() if one.task == "label"] == ["label/1"]
    with Client(served.url, "") as nobody:
        assert nobody.health().status == "ready"


def test_what_is_refused_is_an_error_of_our_tree(client: Client, served: Any) -> None:
    with pytest.raises(NotFoundError, match=r"Did you mean 'label'.*request [0-9a-f]{32}"):
        client.predict([b"x"], ["lable"])
    with pytest.raises(NotFoundError, match="no webhook 99"):
        client.deliveries(99)
    with pytest.raises(NotFoundError):
        client.event("never came")
    with pytest.raises(InputError, match="only one of them"):
        client.search("disc", words="sale")
    with Client(served.url, "listlens_wrong") as other, pytest.raises(AccessError, match="unknown"):
        other.models()
    with listlens.open(served.root) as project:
        text, _ = project.store.tokens.create(["predict"], per_minute=1)
    with served.client(text, retries=ONCE) as few:
        with pytest.raises(AccessError, match="--scope read"):
            few.ledger()
        few.models()
        with pytest.raises(BusyError, match="1 times a minute") as busy:
            few.models()
    assert 1 <= busy.value.retry_after_s <= 60
    with pytest.raises(InputError, match="no address of a server"):
        Client("shop.example")
    with pytest.raises(InputError, match="copied whole"):
        Client(served.url, "two words")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.slow
def test_a_server_that_is_not_there_is_asked_again_then_named(
    project: Path, serving: Callable[..., Any]
) -> None:
    port = free_port()
    with pytest.raises(ServerError, match="Is it running") as error:
        Client(f"http://127.0.0.1:{port}", "x", retries=SOON).health()
    assert isinstance(error.value, Retryable)
    patient = Retries(attempts=1000, base_s=0.2, most_s=0.5)
    answers: list[Any] = []
    with Client(f"http://127.0.0.1:{port}", "x", retries=patient) as client:
        asking = threading.Thread(target=lambda: answers.append(client.health()))
        asking.start()
        with serving(project, "--no-worker", port=port):
            asking.join(30)
    assert answers and answers[0].models


class Scripted(BaseHTTPRequestHandler):
    """Answers with the next status of a script, then 200."""

    script: ClassVar[list[tuple[int, dict[str, str]]]] = []
    asked: ClassVar[list[str]] = []
    pages: ClassVar[list[bytes]] = []

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers = self.script.pop(0) if self.script else (200, {})
        body = b'{"status": "ready", "detail": "", "models": []}' if status == 200 else b"<html>"
        body = self.pages.pop(0) if self.pages else body
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def scripted() -> Iterator[tuple[str, type[Scripted]]]:
    handler = type("Handler", (Scripted,), {"script": [], "asked": [], "pages": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_the_feed_goes_on_where_a_page_is_empty_and_there_is_more(
    scripted: tuple[str, type[Scripted]], kind: str
) -> None:
    url, handler = scripted
    event = b'{"id": "e", "kind": "photo.failed"}'
    parts = ((b"", b"5", b"true"), (event, b"7", b"true"), (b"", b"9", b"false"))
    handler.pages[:] = [b'{"events": [%b], "cursor": "%b", "more": %b}' % part for part in parts]

    async def read() -> list[Any]:
        async with AsyncClient(url, "x", retries=SOON) as client:
            return [page async for page in client.feed(kinds=["photo.failed"])]

    if kind == "async":
        pages = asyncio.run(read())
    else:
        with Client(url, "x", retries=SOON) as client:
            pages = list(client.feed(kinds=["photo.failed"]))
    assert [(len(page.events), page.cursor) for page in pages] == [(1, "7")]
    assert [line.partition("cursor=")[2][0] for line in handler.asked] == ["0", "5", "7"]


@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_what_may_pass_is_tried_again_and_what_will_not_is_not(
    scripted: tuple[str, type[Scripted]], kind: str
) -> None:
    url, handler = scripted

    def health(retries: Retries = SOON) -> Any:
        if kind == "blocking":
            with Client(url, "x", retries=retries) as client:
                return client.health()

        async def ask() -> Any:
            async with AsyncClient(url, "x", retries=retries) as client:
                return await client.health()

        return asyncio.run(ask())

    handler.script[:] = [(503, {}), (500, {}), (429, {"Retry-After": "0"})]
    assert health().status == "ready" and len(handler.asked) == 4
    handler.script[:] = [(502, {})] * 9
    with pytest.raises(ServerError, match="answered 502"):
        health()
    assert len(handler.asked) == 8, "4 attempts and no more"
    handler.script[:] = [(429, {"Retry-After": "1"})]
    begun = time.monotonic()
    health(Retries(base_s=0.01, most_s=2))
    assert 1 <= time.monotonic() - begun < 30
    handler.script[:] = [(429, {"Retry-After": "3600"})]
    with pytest.raises(BusyError):
        health()
    handler.script[:] = [(404, {})]
    with pytest.raises(NotFoundError):
        health()
    assert len(handler.asked) == 12


def test_what_would_happen_twice_is_not_repeated(scripted: tuple[str, type[Scripted]]) -> None:
    url, handler = scripted
    with Client(url, "x", retries=SOON) as client:
        handler.script[:] = [(500, {})]
        with pytest.raises(ServerError):
            client.add_webhook("https://shop.example/")
        assert len(handler.asked) == 1
        handler.script[:] = [(503, {})]
        with pytest.raises(ServerError, match="something else"):
            client.add_webhook("https://shop.example/")
    assert len(handler.asked) == 3, "503 says that nothing was done"


def test_pauses_grow_and_are_bounded() -> None:
    low, high = (Retries(base_s=1.0, most_s=8.0, random=lambda r=r: r) for r in (0.0, 1.0))
    assert [low.pause(n) for n in range(1, 6)] == [0.5, 1, 2, 4, None]
    assert [high.pause(n) for n in range(1, 5)] == [1, 2, 4, 8]
    assert low.pause(1, 8.0) == 8 and high.pause(1, 8.0) == 10 and low.pause(1, 8.1) is None


@pytest.mark.slow
def test_the_async_client_does_all_that_the_blocking_one_does(
    served: Any, shop: Any, photo_host: str
) -> None:
    def signature(one: Any) -> list[Any]:
        return [(p.name, p.default) for p in inspect.signature(one).parameters.values()]

    names = {name for name in vars(Client) if not name.startswith("_")}
    assert names == {name for name in vars(AsyncClient) if not name.startswith("_")}
    for name in names:
        assert signature(getattr(Client, name)) == signature(getattr(AsyncClient, name)), name
    file = shop.photos / sorted(shop.classes)[0]

    async def use() -> Any:
        async with AsyncClient(served.url, served.token) as client:
            found = await asyncio.gather(*(client.predict([file, b""], ["label"]) for _ in "abc"))
            event = {"id": "async", "kind": "listing.changed", "listing_id": "A",
                     "attributes": {"rooms": 2}}  # fmt: skip
            put = await client.put([event])
            async for page in client.feed(follow=True, poll_s=0.05):
                if any(one["listing_id"] == "A" for one in page.events):
                    break
            listing = await client.listing("A")
            letters = [one async for one in client.dead()]
            with pytest.raises(NotFoundError):
                await client.event("never came")
            models = await client.models()
            return found, put, listing, letters, models

    found, put, listing, letters, models = asyncio.run(use())
    assert [[one.status for one in records] for records in found] == [["ok", "failed"]] * 3
    assert put.new == 1 and listing.attributes == {"rooms": 2} and models
    assert all(one.state == "dead" for one in letters)
