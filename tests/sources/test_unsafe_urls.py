"""Nothing behind the operator's firewall is reached, however the URL, the name or a redirect asks.

Every attempt runs against a real server on this machine, which must stay unasked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.core.errors import FetchError, PhotoError, Terminal
from listlens.core.types import Reason
from listlens.sources.addresses import HostPattern, parse_patterns, refusal
from listlens.sources.fetching import Fetcher, FetchRules
from listlens.sources.urls import parse_url

UNSAFE, BAD, NOT_ALLOWED = Reason.UNSAFE_ADDRESS, Reason.BAD_URL, Reason.NOT_ALLOWED


def why(fetcher: Fetcher, url: str) -> Reason:
    with fetcher, pytest.raises(PhotoError) as caught:
        fetcher.fetch(url)
    assert isinstance(caught.value, Terminal)
    return caught.value.reason


ATTEMPTS = {
    "loopback": ("http://127.0.0.1:{port}/", UNSAFE),
    "any of loopback": ("http://127.8.9.1:{port}/", UNSAFE),
    "this host": ("http://0.0.0.0:{port}/", UNSAFE),
    "localhost": ("http://localhost:{port}/", UNSAFE),
    "localhost with dot": ("http://localhost.:{port}/", UNSAFE),
    "upper case": ("HTTP://LOCALHOST:{port}/", UNSAFE),
    "decimal": ("http://2130706433:{port}/", BAD),
    "octal": ("http://0177.0.0.1:{port}/", BAD),
    "hex": ("http://0x7f.0.0.1:{port}/", BAD),
    "hex whole": ("http://0x7f000001:{port}/", BAD),
    "short": ("http://127.1:{port}/", BAD),
    "short zero": ("http://0:{port}/", BAD),
    "overflow": ("http://383.0.0.1:{port}/", BAD),
    "full width": ("http://１２７.０.０.１:{port}/", UNSAFE),
    "ideographic dots": ("http://127。0。0。1:{port}/", UNSAFE),
    "circled": ("http://①②⑦.⓪.⓪.①:{port}/", UNSAFE),
    "percent host": ("http://127%2e0%2e0%2e1:{port}/", BAD),
    "v6 loopback": ("http://[::1]:{port}/", UNSAFE),
    "v6 long": ("http://[0:0:0:0:0:0:0:1]:{port}/", UNSAFE),
    "v6 unspecified": ("http://[::]:{port}/", UNSAFE),
    "v4-mapped": ("http://[::ffff:127.0.0.1]:{port}/", UNSAFE),
    "v4-mapped hex": ("http://[::ffff:7f00:1]:{port}/", UNSAFE),
    "v4-compatible": ("http://[::127.0.0.1]:{port}/", UNSAFE),
    "nat64": ("http://[64:ff9b::7f00:1]:{port}/", UNSAFE),
    "nat64 local": ("http://[64:ff9b:1::7f00:1]:{port}/", UNSAFE),
    "6to4": ("http://[2002:7f00:1::]:{port}/", UNSAFE),
    "teredo": ("http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]:{port}/", UNSAFE),
    "v6 link-local": ("http://[fe80::1]:{port}/", UNSAFE),
    "v6 site-local": ("http://[fec0::1]:{port}/", UNSAFE),
    "v6 unique local": ("http://[fd12:3456::1]:{port}/", UNSAFE),
    "v6 multicast": ("http://[ff02::1]:{port}/", UNSAFE),
    "v6 zone": ("http://[fe80::1%25lo]:{port}/", BAD),
    "ten": ("http://10.0.0.1/", UNSAFE),
    "172.16": ("http://172.31.255.255/", UNSAFE),
    "192.168": ("http://192.168.1.1/", UNSAFE),
    "carrier": ("http://100.64.0.1/", UNSAFE),
    "multicast": ("http://224.0.0.1/", UNSAFE),
    "reserved": ("http://240.0.0.1/", UNSAFE),
    "broadcast": ("http://255.255.255.255/", UNSAFE),
    "benchmark": ("http://198.18.0.1/", UNSAFE),
    "documentation": ("http://203.0.113.7/", UNSAFE),
    "metadata AWS, Google, Azure": ("http://169.254.169.254/latest/meta-data/", UNSAFE),
    "metadata ECS": ("http://169.254.170.2/v2/credentials", UNSAFE),
    "metadata Alibaba": ("http://100.100.100.200/", UNSAFE),
    "metadata Oracle": ("http://192.0.0.192/", UNSAFE),
    "metadata AWS v6": ("http://[fd00:ec2::254]/", UNSAFE),
    "Azure wire server": ("http://168.63.129.16/", UNSAFE),
    "user name": ("http://shop.example@127.0.0.1:{port}/", BAD),
    "password": ("http://user:secret@shop.example/", BAD),
    "empty user": ("http://@127.0.0.1:{port}/", BAD),
    "backslash user": ("http://shop.example\\@127.0.0.1:{port}/", BAD),
    "two signs": ("http://a@shop.example@127.0.0.1:{port}/", BAD),
    "fragment user": ("http://127.0.0.1:{port}#@shop.example/", UNSAFE),
    "question user": ("http://127.0.0.1:{port}?@shop.example/", UNSAFE),
    "tab in host": ("http://127.0\t.0.1:{port}/", BAD),
    "line break": ("http://shop.example/\r\nHost: 127.0.0.1", BAD),
    "nul": ("http://127.0.0.1\0.shop.example:{port}/", BAD),
    "space in host": ("http://127.0.0.1 .shop.example:{port}/", BAD),
    "ssh port": ("http://shop.example:22/", NOT_ALLOWED),
    "redis port": ("http://shop.example:6379/", NOT_ALLOWED),
    "port 0": ("http://127.0.0.1:0/", BAD),
    "port too high": ("http://127.0.0.1:99999/", BAD),
    "port no number": ("http://127.0.0.1:8o/", BAD),
    "no host": ("http:///a.jpg", BAD),
    "no slashes": ("http:127.0.0.1:{port}/", BAD),
    "file": ("file:///etc/passwd", BAD),
    "ftp": ("ftp://127.0.0.1/", BAD),
    "gopher": ("gopher://127.0.0.1:{port}/_INFO", BAD),
    "data": ("data:image/png;base64,AAAA", BAD),
    "jar": ("jar:http://127.0.0.1:{port}!/", BAD),
    "no scheme": ("//127.0.0.1:{port}/", BAD),
    "too long": ("http://shop.example/" + "a" * 9000, BAD),
    "long label": ("http://" + "a" * 64 + ".example/", BAD),
    "lone surrogate": ("http://shop.example/\ud800", BAD),
    "surrogate host": ("http://\ud800.example/", BAD),
    "open bracket": ("http://[::1/", BAD),
    "empty": ("", BAD),
}


@pytest.mark.parametrize(("url", "reason"), ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_url_leads_nowhere(host: Any, url: str, reason: Reason) -> None:
    ports = (80, 443, host.port)  # so that the port alone is not what saves us
    assert why(Fetcher(FetchRules(ports=ports)), url.format(port=host.port)) is reason
    assert (host.n_connections, host.heads) == (0, [])


RELATIVE = {"no slashes", "no scheme", "no host", "empty"}
"""As redirects they lead to the host's own pages."""
REDIRECTS = {name: attempt for name, attempt in ATTEMPTS.items() if name not in RELATIVE}


@pytest.mark.parametrize(("url", "reason"), REDIRECTS.values(), ids=REDIRECTS.keys())
def test_redirect_leads_nowhere(
    host: Any, image_host: Callable[..., Any], url: str, reason: Reason
) -> None:
    secret = image_host()
    location = url.format(port=secret.port).encode("utf-8", "surrogatepass")
    lines = b"HTTP/1.1 302 F\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"
    rules = FetchRules(
        private=parse_patterns([f"127.0.0.1:{host.port}"]), ports=(80, 443, secret.port)
    )
    with Fetcher(rules) as fetcher, pytest.raises((PhotoError, FetchError)) as caught:
        fetcher.fetch(host.sends("/a.jpg", lines))
    error = caught.value
    assert isinstance(error, PhotoError | FetchError)
    if not {"\r", "\0"} & set(url) and url.isascii():  # else the header itself is broken
        assert error.reason is reason
    assert (secret.n_connections, secret.heads, len(host.heads)) == (0, [], 1)


def test_name_that_resolves_differently_the_second_time_is_resolved_once(
    image_host: Callable[..., Any],
) -> None:
    honest = image_host("127.0.0.2")
    secret = image_host("127.0.0.1", port=honest.port)
    honest.says("/a.jpg", "200 OK", b"photo")
    secret.says("/a.jpg", "200 OK", b"secret")
    answers = iter([["127.0.0.2"], ["127.0.0.1"], ["127.0.0.1"]])
    rules = FetchRules(private=parse_patterns(["rebind.example"]))
    with Fetcher(rules, lambda *_: next(answers)) as fetcher:
        assert fetcher.fetch(honest.url(host="rebind.example")).data == b"photo"
    assert next(answers) == ["127.0.0.1"], "resolved more than once"
    assert secret.n_connections == 0


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["169.254.169.254"],
        ["93.184.216.34", "127.0.0.1"],  # one bad address spoils the name
        ["2606:2800:220:1::1", "fe80::1%eth0"],
        ["no address"],
    ],
    ids=str,
)
def test_name_that_leads_inside_is_refused_before_any_connection(
    host: Any, answer: list[str]
) -> None:
    fetcher = Fetcher(FetchRules(ports=(host.port,)), lambda *_: answer)
    assert why(fetcher, host.url(host="evil.example")) is UNSAFE
    assert host.n_connections == 0


def test_named_host_may_be_private_but_never_a_metadata_service() -> None:
    rules = FetchRules(private=parse_patterns(["images.internal"]))
    for address in ("169.254.169.254", "0.0.0.0", "fe80::1", "fd00:ec2::254", "224.0.0.1"):
        fetcher = Fetcher(rules, lambda *_, a=address: [a])
        assert why(fetcher, "http://images.internal/a.jpg") is UNSAFE


def test_private_host_is_named_with_its_port(host: Any, image_host: Callable[..., Any]) -> None:
    other = image_host()
    url = host.says("/a.jpg", "200 OK", b"photo")
    rules = FetchRules(
        private=parse_patterns([f"127.0.0.1:{host.port}"]), ports=(host.port, other.port)
    )
    with Fetcher(rules) as fetcher:
        assert fetcher.fetch(url).data == b"photo"
    assert why(Fetcher(rules), other.url()) is UNSAFE
    assert why(Fetcher(rules), host.url(host="localhost")) is UNSAFE


def test_redirects_are_followed_up_to_the_cap(host: Any) -> None:
    for n in range(7):
        host.says(f"/{n}", "302 Found", b"x", f"Location: /{n + 1}")
    host.says("/7", "200 OK", b"photo")
    rules = FetchRules(private=parse_patterns(["127.0.0.1"]))
    with Fetcher(rules) as fetcher:
        got = fetcher.fetch(host.url("/2"))
    assert (got.data, got.final_url) == (b"photo", host.url("/7"))
    assert why(Fetcher(rules), host.url("/1")) is Reason.TOO_MANY_REDIRECTS


def test_redirect_from_https_to_http_is_refused() -> None:
    from listlens.sources.urls import redirected

    with pytest.raises(PhotoError) as caught:
        redirected(parse_url("https://shop.example/a.jpg"), "http://shop.example/a.jpg")
    assert caught.value.reason is Reason.UNSAFE_REDIRECT


ALLOWED = ("shop.example", "*.cdn.example", "ports.example:8080")


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://shop.example/", True),
        ("https://SHOP.example./", True),
        ("http://a.b.cdn.example/", True),
        ("http://cdn.example/", False),
        ("http://evilcdn.example/", False),
        ("http://cdn.example.evil/", False),
        ("http://www.shop.example/", False),
        ("http://ports.example:8080/", True),
        ("http://ports.example/", False),
        ("http://shop.example:8080/", False),
    ],
)
def test_allow_list_names_all_that_is_asked(url: str, allowed: bool) -> None:
    rules = FetchRules(allow=parse_patterns(ALLOWED))
    if allowed:
        rules.check(parse_url(url))
    else:
        assert why(Fetcher(rules, lambda *_: pytest.fail("resolved")), url) is NOT_ALLOWED


def test_allow_list_does_not_open_private_addresses() -> None:
    rules = FetchRules(allow=parse_patterns(["127.0.0.1", "inside.example"]))
    assert why(Fetcher(rules), "http://127.0.0.1/") is UNSAFE
    assert why(Fetcher(rules, lambda *_: ["10.1.2.3"]), "http://inside.example/") is UNSAFE


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://shop.example", "https://shop.example/"),
        (" http://Shop.Example:80/Ä b.jpg?q=ü#x ", "http://shop.example/%C3%84%20b.jpg?q=%C3%BC"),
        ("http://straße.example/%41", "http://xn--strae-oqa.example/%41"),
        ("http://[2606:2800:220:1::0]:8080/a", "http://[2606:2800:220:1::]:8080/a"),
        ("http://a_b.example/a|b[1].jpg", "http://a_b.example/a|b[1].jpg"),
    ],
)
def test_honest_urls_are_taken(url: str, clean: str) -> None:
    assert parse_url(url).url == clean
    assert parse_url(clean).url == clean


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_has_a_reason(text: str) -> None:
    for url in (text, f"http://{text}", f"http://shop.example/{text}"):
        try:
            target = parse_url(url)
        except PhotoError as error:
            assert error.reason is BAD
        else:
            assert target.host.isascii()
            assert not set(target.path + target.host) & set("\r\n\t\0 \\")
            assert parse_url(target.url) == target


@given(st.ip_addresses())
def test_no_address_that_python_calls_local_is_let_through(address: Any) -> None:
    local = address.is_private or address.is_loopback or address.is_link_local
    local = local or address.is_multicast or address.is_reserved or address.is_unspecified
    nat64 = ipaddress.ip_network("64:ff9b::/96")
    if local and not (address.version == 6 and (address.ipv4_mapped or address in nat64)):
        assert refusal(address) is not None


@pytest.mark.parametrize(
    "text",
    ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_addresses_of_the_open_internet_are_let_through(text: str) -> None:
    assert refusal(ipaddress.ip_address(text)) is None


def test_patterns_are_read_with_and_without_port() -> None:
    assert HostPattern.parse("Images.Internal.:8080") == HostPattern("images.internal", 8080)
    assert HostPattern.parse("[::1]:80") == HostPattern("::1", 80)
    assert HostPattern.parse("::1") == HostPattern("::1")
