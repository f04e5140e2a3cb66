"""Photos on an object store: read from the places that were named; a local server speaks S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.core.config import FetchConfig
from listlens.core.errors import ConfigError, FetchError, PhotoError
from listlens.core.types import Reason
from listlens.sources.fetching import Fetcher, FetchRules
from listlens.sources.objects import parse_places

pytest.importorskip("obstore")
PHOTO = b"\xff\xd8\xff" + bytes(range(256)) * 8000


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A server that speaks S3, with two buckets."""
    server_module = pytest.importorskip("moto.server")
    import boto3

    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
        for bucket in ("photos", "secrets"):
            client.create_bucket(Bucket=bucket)
        client.put_object(Bucket="photos", Key="in/a b ü.jpg", Body=PHOTO)
        client.put_object(Bucket="photos", Key="in/empty.jpg", Body=b"")
        client.put_object(Bucket="photos", Key="other.jpg", Body=PHOTO)
        client.put_object(Bucket="secrets", Key="in/a.jpg", Body=b"secret")
        yield client
        client.close()
    server.stop()


def reading(*places: str, **rules: Any) -> Fetcher:
    return Fetcher(FetchRules(buckets=places or ("s3://photos/in",), **rules))


def test_an_object_is_read_once_and_then_only_if_it_changed(s3: Any) -> None:
    with reading() as fetcher:
        first = fetcher.fetch("s3://photos/in/a b ü.jpg")
        assert first.data == PHOTO and first.etag
        again = fetcher.fetch("s3://photos/in/a b ü.jpg", etag=first.etag)
        assert (again.not_modified, again.data, again.etag) == (True, b"", first.etag)
        s3.put_object(Bucket="photos", Key="in/a b ü.jpg", Body=PHOTO + b"x")
        assert fetcher.fetch("S3://photos/in/a b ü.jpg", etag=first.etag).data == PHOTO + b"x"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://secrets/in/a.jpg", Reason.NOT_ALLOWED),
        ("s3://photos/other.jpg", Reason.NOT_ALLOWED),
        ("s3://photos/inside.jpg", Reason.NOT_ALLOWED),
        ("gs://photos/in/a.jpg", Reason.NOT_ALLOWED),
        ("s3://photos/in", Reason.NOT_ALLOWED),
        ("s3://photos/in/../other.jpg", Reason.BAD_URL),
        ("s3://photos/in/./a.jpg", Reason.BAD_URL),
        ("s3://photos//in/a.jpg", Reason.BAD_URL),
        ("s3://photos/in/a\n.jpg", Reason.BAD_URL),
        ("s3://photos/in/", Reason.BAD_URL),
        ("s3://photos/in/no.jpg", Reason.MISSING),
        ("s3://photos/in/%2e%2e/other.jpg", Reason.MISSING),
        ("s3://photos/in/empty.jpg", Reason.EMPTY),
    ],
)
def test_only_what_was_named_is_read(s3: Any, url: str, reason: Reason) -> None:
    with reading() as fetcher, pytest.raises(PhotoError) as caught:
        fetcher.fetch(url)
    assert caught.value.reason is reason


def test_a_large_object_is_not_read(s3: Any) -> None:
    with reading("s3://photos", max_bytes=1000) as fetcher, pytest.raises(PhotoError) as caught:
        fetcher.fetch("s3://photos/other.jpg")
    assert caught.value.reason is Reason.TOO_MANY_BYTES


def test_without_a_place_nothing_is_read_and_web_redirects_lead_to_none() -> None:
    with Fetcher(FetchRules()) as fetcher, pytest.raises(PhotoError) as caught:
        fetcher.fetch("s3://photos/in/a.jpg")
    assert caught.value.reason is Reason.NOT_ALLOWED


def test_a_store_that_is_not_there_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"ENDPOINT_URL": "http://127.0.0.1:9", "ALLOW_HTTP": "true"}
    for name, value in (settings | {"ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s"}).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with reading(total_s=2.0) as fetcher, pytest.raises(FetchError) as caught:
        fetcher.fetch("s3://photos/in/a.jpg")
    assert caught.value.reason is Reason.UNREACHABLE


@pytest.mark.parametrize("entry", ["", "photos", "s3://", "http://a/b", "s3://a/../b", "s3://a//b"])
def test_a_place_that_is_none_is_a_wrong_setting(entry: str) -> None:
    with pytest.raises(ConfigError, match="names no object store"):
        FetchRules.of(FetchConfig(buckets=(entry,)), max_bytes=1)
    assert parse_places(["s3://a/"]) == ("s3://a",)


def test_a_table_that_names_objects_is_ingested(
    s3: Any, tmp_path: Path, draw_photo: Callable[..., Any]
) -> None:
    for n in range(3):
        file = tmp_path / f"{n}.jpg"
        draw_photo("disc", n).save(file)
        s3.put_object(Bucket="photos", Key=f"in/{n}.jpg", Body=file.read_bytes())
    rows = tmp_path / "feed.csv"
    urls = [*(f"s3://photos/in/{n}.jpg" for n in range(3)), "s3://secrets/in/a.jpg"]
    rows.write_text("\n".join(["url", *urls]) + "\n")
    listlens.init(tmp_path / "shop").close()
    settings = tmp_path / "shop" / "listlens.toml"
    settings.write_text(settings.read_text().replace("buckets = []", 'buckets = ["s3://photos"]'))
    with listlens.open(tmp_path / "shop") as project:
        first = project.ingest(rows, fetch=True)
        assert (first.new, first.embedded, first.reasons) == (4, 3, {"not_allowed": 1})
        second = project.ingest(rows, fetch=True)
        assert (second.unchanged, second.embedded) == (3, 0)
