"""Photos behind URLs, from real hosts on this machine: fetched once, asked again, never lost."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.core.types import Reason, Status
from listlens.sources.room import Room


@dataclass
class PhotoHost:
    """Serves files with ETags; `status` answers a path otherwise."""

    folder: Path
    status: dict[str, int] = field(default_factory=dict)
    sent: Counter[int] = field(default_factory=Counter)
    port: int = 0

    def url(self, image: str) -> str:
        return f"http://127.0.0.1:{self.port}/{image}"


@pytest.fixture
def host(shop: Any) -> Iterator[PhotoHost]:
    found = PhotoHost(shop.photos)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            file = found.folder / self.path.lstrip("/")
            status = found.status.get(self.path, 200 if file.is_file() else 404)
            data = file.read_bytes() if status == 200 else b""
            etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
            if status == 200 and self.headers.get("If-None-Match") == etag:
                status, data = 304, b""
            found.sent[status] += 1
            self.send_response(status)
            if status in {200, 304}:
                self.send_header("ETag", etag)
            if status != 304:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project that may ask this machine."""
    listlens.init(tmp_path / "shop").close()
    settings = tmp_path / "shop" / "listlens.toml"
    settings.write_text(settings.read_text().replace("private = []", 'private = ["127.0.0.1"]'))
    return tmp_path / "shop"


def table(path: Path, host: PhotoHost, images: list[str], **more: str) -> Path:
    columns = ["url", "listing_id", *more]
    rows = [[host.url(i), i.split("/")[0], *more.values()] for i in images]
    path.write_text("\n".join(",".join(row) for row in [columns, *rows]) + "\n")
    return path


IMAGES = [f"home-{n:02}/{p}.jpg" for n in range(6) for p in range(3)]


def test_photos_that_find_no_memory_beside_others_are_fetched_again_one_by_one(
    root: Path, host: PhotoHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listlens.pipeline.contents.SHORT_BYTES", 100)
    monkeypatch.setattr("listlens.pipeline.ingest.Room", lambda: Room(1))
    with listlens.open(root) as project:
        urls = table(tmp_path / "urls.csv", host, [*IMAGES, "none.jpg"])
        found = project.ingest(urls, fetch=True)
        assert (found.new, found.failed, found.embedded) == (len(IMAGES) + 1, 1, len(IMAGES))
        assert project.store.photos.counts()["ok"] == len(IMAGES)
    assert host.sent[200] > len(IMAGES)


def test_a_second_ingest_downloads_only_what_changed(
    root: Path, host: PhotoHost, tmp_path: Path, new_shop: Callable[..., Any]
) -> None:
    shop = new_shop(tmp_path / "own", n_listings=6, seed=3)
    host.folder = shop.photos
    rows = table(tmp_path / "feed.csv", host, IMAGES)
    with listlens.open(root) as project:
        first = project.ingest(rows, fetch=True)
        assert (first.new, first.embedded, first.failed) == (18, 18, 0)
        assert host.sent == {200: 18}
        second = project.ingest(rows, fetch=True)
        assert (second.unchanged, second.changed, second.embedded) == (18, 0, 0)
        assert host.sent == {200: 18, 304: 18}
        (shop.photos / "home-00/0.jpg").write_bytes((shop.photos / "home-01/1.jpg").read_bytes())
        third = project.ingest(rows, fetch=True)
        assert (third.unchanged, third.changed, third.gone) == (17, 1, 0)
        assert host.sent == {200: 19, 304: 35}
        views = {view.location: view for view in project.store.photos.scan()}
    assert views[host.url("home-00/0.jpg")].sha256 == views[host.url("home-01/1.jpg")].sha256


def test_what_the_table_says_anew_is_kept_without_another_download(
    root: Path, host: PhotoHost, tmp_path: Path
) -> None:
    rows = table(tmp_path / "feed.csv", host, IMAGES[:2], price="10")
    with listlens.open(root) as project:
        project.ingest(rows, fetch=True)
        table(rows, host, IMAGES[:2], price="12")
        again = project.ingest(rows, fetch=True)
        assert (again.changed, again.unchanged) == (2, 0)
        found = project.store.photos.listing("home-00")
        assert found is not None and found["attributes"]["price"] == 12
        assert {v.status for v in project.store.photos.scan()} == {Status.OK}
        assert project.ingest(rows, fetch=True).unchanged == 2
    assert host.sent == {200: 2, 304: 4}


def test_every_url_that_gives_no_photo_has_its_reason(
    root: Path, host: PhotoHost, tmp_path: Path
) -> None:
    host.status = {"/home-00/1.jpg": 403, "/home-00/2.jpg": 500}
    urls = [host.url(i) for i in (*IMAGES[:3], "no.jpg")]
    urls += ["http://10.0.0.1/a.jpg", "ftp://shop.example/a.jpg", "http://u:p@shop.example/a.jpg"]
    (tmp_path / "feed.csv").write_text("\n".join(["url", *urls]) + "\n")
    with listlens.open(root) as project:
        report = project.ingest(tmp_path / "feed.csv", fetch=True)
        assert (report.new, report.failed, report.rejected) == (5, 4, 2)
        views = {v.location: v for v in project.store.photos.scan()}
        assert views[urls[0]].status is Status.OK
        reasons = [views[u].reason for u in urls[1:5]]
        assert reasons == [
            Reason.FORBIDDEN, Reason.HOST_FAILED, Reason.MISSING, Reason.UNSAFE_ADDRESS,
        ]  # fmt: skip
        host.status = {}
        assert project.ingest(tmp_path / "feed.csv", fetch=True).changed == 4
        views = {v.location: v for v in project.store.photos.scan()}
        assert [views[u].status for u in urls[:3]] == [Status.OK] * 3
    assert report.reasons["bad_url"] == 2


def test_a_host_that_fails_for_a_while_takes_nothing_away(
    root: Path, host: PhotoHost, tmp_path: Path
) -> None:
    rows = table(tmp_path / "feed.csv", host, IMAGES[:3])
    with listlens.open(root) as project:
        project.ingest(rows, fetch=True)
        host.status = {f"/{image}": 503 for image in IMAGES[:2]}
        report = project.ingest(rows, fetch=True)
        assert (report.unchanged, report.stale, report.gone) == (3, 2, 0)
        assert [v.status for v in project.store.photos.scan()] == [Status.OK] * 3
        host.status = {f"/{IMAGES[0]}": 410}
        gone = project.ingest(rows, fetch=True)
        assert (gone.changed, gone.reasons) == (1, {"missing": 1})


def test_without_asking_nothing_is_fetched(
    root: Path, host: PhotoHost, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    rows = table(tmp_path / "feed.csv", host, IMAGES[:3])
    ran = cli("ingest", rows, "--json", "-p", root)
    assert ran.json["reasons"] == {"remote": 3} and not host.sent
    with listlens.open(root) as project:
        assert "--fetch" in next(iter(project.store.photos.rejected())).detail
    assert cli("ingest", rows, "--fetch", "--json", "-p", root).json["new"] == 3


@pytest.mark.slow
def test_tags_labels_and_reports_work_on_photos_behind_urls(
    root: Path, host: PhotoHost, tmp_path: Path, shop: Any, cli: Callable[..., Any]
) -> None:
    settings = root / "listlens.toml"
    settings.write_text(settings.read_text().replace("enabled = false", "enabled = true"))
    images = list(shop.classes)
    rows = [f"{host.url(i)},{i.split('/')[0]},{shop.classes[i]}" for i in images]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["image,listing_id,label", *rows]) + "\n")
    at = ("-p", root)
    assert cli("ingest", labels, *at).code == 0
    cli("task", "add", "shape", "--kind", "single", *at)
    assert cli("labels", "import", "shape", labels, "--json", *at).json["annotations"] == 36
    assert cli("train", "shape", *at).code == 0
    assert cli("evaluate", "shape", *at).code == 0
    before = host.sent[200]
    explained = cli("explain", "shape", host.url(images[0]), *at)
    assert explained.code == 0, explained.err
    assert host.sent[200] > before, "its bytes are not kept, so it was fetched again"
    # Without the setting it says what it cannot do.
    settings.write_text(settings.read_text().replace("enabled = true", "enabled = false"))
    refused = cli("explain", "shape", host.url(images[0]), *at)
    assert "[fetch] enabled" in refused.err + refused.out
