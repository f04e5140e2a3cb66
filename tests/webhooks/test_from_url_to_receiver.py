"""The whole line for real: a URL in an event, its photo from a host, its tags at a receiver."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.pipeline.event_door import let_in, understood


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def photo_host(shop: Any) -> Iterator[str]:
    """The shop's photos behind URLs on this machine."""
    handler = functools.partial(_Quiet, directory=str(shop.photos))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_photo_behind_a_url_is_tagged_and_told(
    cli: Callable[..., Any], project: Path, photo_host: str, receiver: Any
) -> None:
    settings = project / "listlens.toml"
    named = f'private = ["127.0.0.1:{receiver.port}", "{photo_host.removeprefix("http://")}"]'
    text = settings.read_text()
    assert "private = []" in text
    settings.write_text(text.replace("private = []", named))
    at = ("-p", project)
    cli("webhooks", "add", receiver.url, *at)
    events = [
        {"id": f"e{n}", "kind": "photo.added", "listing_id": "L1", "photo_id": str(n), "url": url}
        for n, url in enumerate(
            [f"{photo_host}/home-00/0.jpg", f"{photo_host}/no.jpg", "http://10.0.0.1/a.jpg"]
        )
    ]
    with listlens.open(project) as opened:
        now = datetime.now(UTC)
        found = [one for e in events for one in understood(e, opened.config.events, now)]
        assert let_in(opened.store, found).new == 3
    assert cli("work", "--drain", *at).code == 0
    said = [json.loads(body) for _, body in receiver.got]
    told = {one["data"]["photo_id"]: one for one in said}
    assert told["0"]["type"] == "photo.predicted"
    (result,) = told["0"]["data"]["results"].values()
    assert result["prediction"] == "disc"
    log = cli("webhooks", "log", "--json", *at).json["deliveries"]
    assert {one["outcome"] for one in log} == {"delivered"} and len(log) == len(said)
    with listlens.open(project) as opened:
        ledger = opened.store.events.ledger()
    assert ledger.adds_up and ledger.states["done"] + ledger.states["dead"] == 3
    reasons = {**ledger.reasons, **{one["data"].get("reason", ""): 1 for one in said}}
    assert {"missing", "unsafe_address"} <= reasons.keys()
