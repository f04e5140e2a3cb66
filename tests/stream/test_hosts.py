"""Slow, dead and lying hosts, asked for real on loopback: each photo has its reason, none waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from listlens.stream.running import work

Said = Callable[..., dict[str, Any]]


class Host(BaseHTTPRequestHandler):
    """Answers by the path; the photo is what the server object holds."""

    protocol_version = "HTTP/1.1"
    tries: ClassVar[dict[str, int]] = {}

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        what, photo = self.path.split("/")[1], self.server.photo  # type: ignore[attr-defined]
        self.tries[self.path] = self.tries.get(self.path, 0) + 1
        if what == "slow":
            time.sleep(3)
        elif what == "flaky" and self.tries[self.path] < 3:
            self.answer(503, b"later")
        elif what == "lying":
            self.answer(200, photo[: len(photo) // 2], length=len(photo))
            self.close_connection = True
        elif what == "page":
            self.answer(200, b"<html>sold</html>")
        elif what == "gone":
            self.answer(410, b"")
        else:
            self.answer(200, photo)

    def answer(self, status: int, data: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def host(draw_photo: Any, tmp_path: Path) -> Iterator[str]:
    draw_photo("disc", 1).save(tmp_path / "photo.jpg")
    server = ThreadingHTTPServer(("", 0), Host)
    server.photo = (tmp_path / "photo.jpg").read_bytes()  # type: ignore[attr-defined]
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield str(server.server_address[1])  # at every address of this machine
    server.shutdown()
    server.server_close()


def test_each_kind_of_host_gets_its_reason_and_a_good_one_does_not_wait_for_them(
    new_line: Callable[..., Any], host: str, said: Said
) -> None:
    good, slow = f"127.0.0.1:{host}", f"127.0.0.2:{host}"
    line = new_line(
        f'[fetch]\nprivate = ["{good}", "{slow}", "127.0.0.1:9"]\nconnect_s = 1.0\ntotal_s = 1.0\n'
        "[worker]\nattempts = 3\nbackoff_s = 0.05\nin_flight = 32\n"
    )
    bad = {
        "slow": "timeout", "lying": "unreachable", "page": "not_an_image", "gone": "missing",
        "dead": "unreachable", "inside": "unsafe_address", "file": "bad_url",
    }  # fmt: skip
    urls = {what: f"http://{good}/{what}/1.jpg" for what in bad}
    urls |= {"dead": "http://127.0.0.1:9/a.jpg", "inside": "http://10.0.0.1/a.jpg"}
    urls |= {"file": "file:///etc/passwd"}
    line.put(*[said(what, url=url) for what, url in urls.items()])
    line.put(*[said(f"slow-{n}", url=f"http://{slow}/slow/{n}") for n in range(10)])
    line.put(*[said(f"good-{n}", url=f"http://{good}/good/{n}") for n in range(10)])
    line.put(said("flaky", url=f"http://{good}/flaky/1"))
    store = line.project.store
    while store.events.next_due() is not None:
        work(line.project, threading.Event(), "drained")
    reasons = line.photos()
    assert {what: reasons[what] for what in bad} == bad
    assert reasons["flaky"] == "ok"
    assert {reasons[f"good-{n}"] for n in range(10)} == {"ok"}
    assert {reasons[f"slow-{n}"] for n in range(10)} == {"timeout"}
    order = [one["photo_id"] for one in line.announced()]
    last_good, last_slow = (
        max(order.index(f"{what}-{n}") for n in range(10)) for what in ("good", "slow")
    )
    assert last_good < last_slow
    ledger = store.events.ledger()
    assert ledger.adds_up and ledger.states["dead"] == 17
