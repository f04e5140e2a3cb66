"""Fetching photos from real hosts that behave, fail, stall, lie and never end."""

from __future__ import annotations

import gzip
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from listlens.core.config import FetchConfig
from listlens.core.errors import ConfigError, FetchError, PhotoError, Retryable, Terminal
from listlens.core.types import Reason
from listlens.sources.addresses import parse_patterns
from listlens.sources.fetching import Fetcher, FetchRules

PHOTO = b"\xff\xd8\xff" + bytes(range(256)) * 40
SHORT = {"connect_s": 1.0, "total_s": 0.4}


def local(**rules: Any) -> Fetcher:
    """A fetcher that may ask this machine."""
    return Fetcher(FetchRules(private=parse_patterns(["127.0.0.1", "localhost"]), **rules))


def failing(fetcher: Fetcher, url: str) -> PhotoError | FetchError:
    with fetcher, pytest.raises((PhotoError, FetchError)) as caught:
        fetcher.fetch(url)
    error = caught.value
    assert isinstance(error, PhotoError | FetchError)
    assert isinstance(error, Terminal) != isinstance(error, Retryable)
    return error


def test_photo_comes_whole_over_one_kept_connection(host: Any) -> None:
    url = host.says("/a.jpg", "200 OK", PHOTO, 'ETag: "v1"', "Last-Modified: yesterday")
    with local() as fetcher:
        first = fetcher.fetch(url)
        for _ in range(4):
            assert fetcher.fetch(url).data == PHOTO
    assert (first.data, first.etag, first.modified) == (PHOTO, '"v1"', "yesterday")
    assert (first.final_url, first.not_modified) == (url, False)
    assert host.n_connections == 1
    assert f"Host: 127.0.0.1:{host.port}\r\n" in host.heads[0]
    assert "Accept-Encoding: identity\r\n" in host.heads[0]


def test_conditional_request_brings_no_bytes_again(host: Any) -> None:
    def script(sock: Any, head: str) -> None:
        same = 'If-None-Match: "v1"' in head and "If-Modified-Since: Tue" in head
        sock.sendall(b'HTTP/1.1 304 N\r\nETag: "v1"\r\n\r\n' if same else b"HTTP/1.1 500 N\r\n\r\n")

    host.scripts["/a.jpg"] = script
    with local() as fetcher:
        got = fetcher.fetch(host.url(), etag='"v1"', modified="Tue")
    assert (got.not_modified, got.data, got.etag) == (True, b"", '"v1"')


def test_304_that_nobody_asked_for_is_refused(host: Any) -> None:
    error = failing(local(), host.sends("/a.jpg", b"HTTP/1.1 304 N\r\n\r\n"))
    assert (type(error), error.reason) == (PhotoError, Reason.REFUSED)


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        ("404 Not Found", PhotoError, Reason.MISSING),
        ("410 Gone", PhotoError, Reason.MISSING),
        ("403 Forbidden", PhotoError, Reason.FORBIDDEN),
        ("401 Unauthorized", PhotoError, Reason.FORBIDDEN),
        ("400 Bad Request", PhotoError, Reason.REFUSED),
        ("204 No Content", PhotoError, Reason.REFUSED),
        ("206 Partial Content", PhotoError, Reason.REFUSED),
        ("301 Moved", PhotoError, Reason.REFUSED),  # to nowhere
        ("429 Too Many Requests", FetchError, Reason.BUSY),
        ("500 Oops", FetchError, Reason.HOST_FAILED),
        ("503 Unavailable", FetchError, Reason.HOST_FAILED),
        ("408 Request Timeout", FetchError, Reason.HOST_FAILED),
    ],
)
def test_status_is_a_reason_that_passes_or_never_does(
    host: Any, status: str, kind: type, reason: Reason
) -> None:
    error = failing(local(), host.says("/a.jpg", status, b"" if "204" in status else b"text"))
    assert (type(error), error.reason) == (kind, reason)
    assert "127.0.0.1" in error.detail


def test_empty_body_is_empty(host: Any) -> None:
    assert failing(local(), host.says("/a.jpg", "200 OK")).reason is Reason.EMPTY


def test_asked_to_wait_the_host_is_left_alone_up_to_the_cap(host: Any) -> None:
    url = host.says("/a.jpg", "429 Slow Down", b"", "Retry-After: 86400")
    with local(max_wait_s=60.0) as fetcher:
        for _ in range(3):
            with pytest.raises(FetchError) as caught:
                fetcher.fetch(url)
            assert caught.value.reason is Reason.BUSY
            assert 59 < (caught.value.retry_after_s or 0) <= 60
    assert len(host.heads) == 1


def test_closed_port_and_unknown_name_may_pass(host: Any) -> None:
    url = host.url()
    host.stop()
    assert failing(local(), url).reason is Reason.UNREACHABLE

    def resolve(name: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    error = failing(Fetcher(FetchRules(), resolve), "http://nowhere.example/a.jpg")
    assert (type(error), error.reason) == (FetchError, Reason.UNKNOWN_HOST)


def test_name_that_is_never_resolved_costs_its_time_and_no_more() -> None:
    asleep = threading.Event()
    fetcher = Fetcher(FetchRules(connect_s=0.2), lambda *_: (asleep.wait(30) and []) or [])
    started = time.monotonic()
    assert failing(fetcher, "http://slow.example/a.jpg").reason is Reason.TIMEOUT
    assert time.monotonic() - started < 20
    asleep.set()


# -- slow, endless, oversized, lying ---------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [
        [b"HTTP/1.1 200 OK\r\nX: "] + [b"y"] * 50,  # a head letter by letter
        [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"] + [b"x"] * 50,
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"] + [b"1\r\nx\r\n"] * 50,
        [b"HTTP/1.1 100 Continue\r\n\r\n"] * 50,
        [b""] * 50,
    ],
    ids=["head", "body", "chunks", "interim", "silence"],
)
def test_dripping_host_is_cut_at_the_total_time(host: Any, parts: list[bytes]) -> None:
    url = host.sends("/a.jpg", *parts, pause_s=0.05)
    started = time.monotonic()
    assert failing(local(**SHORT), url).reason is Reason.TIMEOUT
    assert time.monotonic() - started < 2.3  # else 2.5


def test_redirects_share_one_deadline(host: Any) -> None:
    for n in range(5):
        head = f"HTTP/1.1 302 F\r\nLocation: /{n + 1}\r\nContent-Length: 0\r\n\r\n"
        host.sends(f"/{n}", b"HTTP/1.1 ", head[9:].encode(), pause_s=0.15, close=False)
    started = time.monotonic()
    assert failing(local(**SHORT), host.url("/0")).reason is Reason.TIMEOUT
    assert time.monotonic() - started < 10


def endless(sock: Any, head: str) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        sock.sendall(bytes(65536))


def endless_chunks(sock: Any, head: str) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        sock.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")


def endless_head(sock: Any, head: str) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        sock.sendall(b"X-A: " + b"y" * 20000 + b"\r\n")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (endless, Reason.TOO_MANY_BYTES),
        (endless_chunks, Reason.TOO_MANY_BYTES),
        (endless_head, Reason.HOST_FAILED),
    ],
)
def test_what_never_ends_is_cut_without_filling_memory(
    host: Any, script: Any, reason: Reason
) -> None:
    host.scripts["/a.jpg"] = script
    fetcher = local(max_bytes=1_000_000)
    tracemalloc.start()
    try:
        assert failing(fetcher, host.url()).reason is reason
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()


def test_announced_size_above_the_cap_is_not_read(host: Any) -> None:
    url = host.sends("/a.jpg", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    assert failing(local(), url).reason is Reason.TOO_MANY_BYTES


def test_photo_of_exactly_the_cap_is_taken(host: Any) -> None:
    url = host.says("/a.jpg", "200 OK", PHOTO)
    with local(max_bytes=len(PHOTO)) as fetcher:
        assert fetcher.fetch(url).data == PHOTO
    assert failing(local(max_bytes=len(PHOTO) - 1), url).reason is Reason.TOO_MANY_BYTES


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nshort",
        b"",
    ],
    ids=["length", "chunk", "nothing"],
)
def test_photo_that_breaks_off_may_pass(host: Any, answer: bytes) -> None:
    error = failing(local(), host.sends("/a.jpg", answer))
    assert (type(error), error.reason) == (FetchError, Reason.UNREACHABLE)


def test_bytes_after_the_announced_end_never_begin_the_next_answer(host: Any) -> None:
    late = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
    host.sends("/a.jpg", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood" + late, close=False)
    host.says("/b.jpg", "200 OK", b"mine")
    with local() as fetcher:
        for _ in range(5):
            assert fetcher.fetch(host.url("/a.jpg")).data == b"good"
            assert fetcher.fetch(host.url("/b.jpg")).data == b"mine"


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"<html>", b"\x00" * 100, b"HTTP/1.1 abc OK\r\n\r\n"]
)
def test_what_is_no_http_is_no_photo(host: Any, answer: bytes) -> None:
    assert failing(local(), host.sends("/a.jpg", answer)).reason is Reason.HOST_FAILED


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity", "GZIP", "aes128gcm"])
def test_compressed_body_is_refused_unread(host: Any, encoding: str) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    url = host.says("/a.jpg", "200 OK", bomb, f"Content-Encoding: {encoding}")
    error = failing(local(), url)
    assert (type(error), error.reason) == (PhotoError, Reason.ENCODED)


def test_connection_that_its_host_closed_while_idle_is_made_anew(host: Any) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(PHOTO)}\r\n\r\n".encode()
    url = host.sends("/a.jpg", head + PHOTO)
    with local() as fetcher:
        for _ in range(3):
            assert fetcher.fetch(url).data == PHOTO
    assert host.n_connections == 3


# -- politeness, threads ---------------------------------------------------------------------------


def test_one_host_gets_no_more_requests_at_once_than_allowed(host: Any) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(PHOTO)}\r\n\r\n".encode()
    for n in range(12):
        host.sends(f"/{n}", head, PHOTO, pause_s=0.02, close=False)
    with local(per_host=3) as fetcher, ThreadPoolExecutor(12) as pool:
        got = list(pool.map(lambda n: fetcher.fetch(host.url(f"/{n}")).data, range(12)))
    assert got == [PHOTO] * 12
    assert 1 < host.most_at_once <= 3


def test_full_host_says_so_after_the_wait_and_does_not_block_another(host: Any) -> None:
    host.sends("/slow", b"", pause_s=1.5)
    url = host.says("/a.jpg", "200 OK", PHOTO)
    with local(per_host=1, max_wait_s=0.1) as fetcher, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(fetcher.fetch, host.url("/slow"))
        while not host.heads:
            time.sleep(0.01)
        with pytest.raises(FetchError, match="busy"):
            fetcher.fetch(url)
        other = host.url("/a.jpg", host="localhost")
        assert fetcher.fetch(other).data == PHOTO
        with pytest.raises(FetchError):
            slow.result()


# -- TLS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> Any:
    return pytest.importorskip("trustme").CA()


def tls_host(image_host: Callable[..., Any], authority: Any, name: str) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return image_host(tls=context)


def test_tls_name_is_the_urls_although_the_address_is_pinned(
    image_host: Callable[..., Any], authority: Any, tmp_path: Any
) -> None:
    host = tls_host(image_host, authority, "shop.example")
    host.says("/a.jpg", "200 OK", PHOTO)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    rules = FetchRules(private=parse_patterns(["*.example"]), ca_file=str(ca_file))
    asked: list[str] = []

    def resolve(name: str, port: int) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"]

    with Fetcher(rules, resolve) as fetcher:
        rules_url = host.url(host="shop.example")
        assert fetcher.fetch(rules_url).data == PHOTO
        assert fetcher.fetch(rules_url).data == PHOTO
        with pytest.raises(PhotoError) as caught:
            fetcher.fetch(host.url(host="other.example"))
    assert caught.value.reason is Reason.BAD_CERTIFICATE
    assert asked == ["shop.example", "other.example"]
    assert f"Host: shop.example:{host.port}\r\n" in host.heads[0]


def test_unknown_authority_is_refused(image_host: Callable[..., Any], authority: Any) -> None:
    host = tls_host(image_host, authority, "127.0.0.1")
    error = failing(local(), host.url())
    assert (type(error), error.reason) == (PhotoError, Reason.BAD_CERTIFICATE)
    assert not host.heads


def test_tls_handshake_that_never_ends_is_cut(host: Any) -> None:
    started = time.monotonic()
    error = failing(local(connect_s=0.3), host.url().replace("http:", "https:"))
    assert error.reason is Reason.TIMEOUT
    assert time.monotonic() - started < 10


# -- settings --------------------------------------------------------------------------------------


def test_rules_come_from_the_settings() -> None:
    config = FetchConfig(allow=("*.shop.example",), private=("[::1]:8080",), total_s=3.0)
    rules = FetchRules.of(config, max_bytes=7)
    assert (rules.max_bytes, rules.total_s, rules.max_redirects) == (7, 3.0, 5)
    assert rules.is_private("::1", 8080)
    assert not rules.is_private("::1", 80)
    assert rules.agent.startswith("listlens/")


@pytest.mark.parametrize("entry", ["", "*", "http://a.example", "a b", "*.", "a.*.b", "user@host"])
def test_entry_that_names_no_host_is_a_wrong_setting(entry: str) -> None:
    with pytest.raises(ConfigError, match="names no host"):
        FetchRules.of(FetchConfig(allow=(entry,)), max_bytes=1)


def test_file_without_certificates_is_a_wrong_setting(tmp_path: Any) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(ConfigError, match="PEM"):
            Fetcher(FetchRules(ca_file=str(tmp_path / name)))
