"""Addresses of brokers: what is allowed, and that no secret is shown."""

from __future__ import annotations

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.brokers.address import Address
from listlens.brokers.registry import KINDS, open_inlet, open_outlet, parse
from listlens.core.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("natz://h/x", "Did you mean 'nats'?"),
        ("/tmp/events", "no kind of broker ''"),
        ("nats://h", "names no topic"),
        ("nats://h/", "names no topic"),
        ("nats://h/a#b", "%23"),
        ("nats://h/x?durabel=a", "Did you mean 'durable'?"),
        ("nats://h/x?ack_wait=soon", "a number is needed"),
        ("nats://h/x?ack_wait=0", "at least 0.1"),
        ("nats://h/x?ack_wait=nan", "at least 0.1"),
        ("nats://h/x?tls=maybe", "allowed are yes, no"),
        ("nats://h/x?since=now", "no option 'since'"),
        ("nats://u:${NOT_SET_ANYWHERE}@h/x", "NOT_SET_ANYWHERE"),
        ("nats://me@h:42x/x", "the port of h is a number from 1 to 65535, not '42x'"),
        ("redis://h:70000/0/x", "1 to 65535, not '70000'"),
        ("amqp://h:/x", "the port of h"),
        ("kafka://h:0/x", "not '0'"),
        ("kafka://h,,i/x", "a host is needed behind the '//'"),
        ("redis:///0/x", "and there is none"),
        ("nats:h/x", "and there is none"),
        ("nats://::1/x", "such as broker or 127.0.0.1 or [::1]"),
        ("nats://[::1/x", "Brackets are for IPv6"),
        ("nats://[::g]/x", "IPv6"),
        ("nats://a%20b/x", "not 'a b'"),
        ("nats://me:pw@h!/x", "not 'h!'"),
        ("amqp://a,b/x", "one host is needed"),
        (" nats://h/x", "has ' ', and no spaces"),
        ("nats://h/pho\ntos", "has '\\n', and no spaces"),
        ("nats://h/a%20b", "without spaces"),
        ("nats://h/a%00b", "a character that no topic has"),
        ("nats://h/a..b", "words with a '.' between them"),
        ("nats://h/pho*", "one whole word"),
        ("nats://h/shop.>.photos", "at its end"),
        ("nats://h/x?durable=a.b", "durable: no spaces, '.'"),
        ("nats://h/x?durable=a%07", "no control characters"),
        ("kafka://h/a%20b", "'a b' is no topic"),
        ("redis://h/0/", "names no topic behind the last '/'"),
        ("amqp://h/shop/", "names no topic behind the last '/'"),
        (f"amqp://h/{'q' * 256}", "256 bytes"),
        ("kinesis://us-east-1/a%20b", "'a b' is no stream"),
        ("kinesis://us-east-1:80/s", "'us-east-1:80' is no region"),
        ("sqs://us-east-1/q?endpoint=http://[", "endpoint: an address such as"),
    ],
)
def test_a_wrong_address_says_what_is_allowed(url, says):
    with pytest.raises(ConfigError) as caught:
        open_inlet(url)
    assert says in str(caught.value)


def test_secrets_come_from_the_environment_and_are_never_shown(monkeypatch):
    monkeypatch.setenv("BROKER_PASSWORD", "s3cret/@:?#")
    address = parse("nats://me:${BROKER_PASSWORD}@h:4222/photos?durable=a", "in")
    assert address.password == "s3cret/@:?#"
    assert address.place == "h:4222"
    assert address.shown == "nats://h:4222/photos"
    assert "s3cret" not in repr(address)
    with pytest.raises(ConfigError) as caught:
        parse("nats://me:s3cret@h/photos?ack_wait=s3cret", "in")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("scheme", sorted(KINDS))
def test_the_example_of_each_kind_is_an_address(scheme, monkeypatch):
    monkeypatch.setenv("RABBITMQ_PASSWORD", "guest")
    kind = KINDS[scheme]
    assert parse(kind.example, "in").scheme == parse(kind.example, "out").scheme
    assert all(option.about.endswith(".") for option in kind.options.values())


@pytest.mark.parametrize("mark", ["/", "?", "#"])
@pytest.mark.parametrize("scheme", ["nats", "amqp", "redis", "kafka"])
def test_a_password_that_is_not_escaped_is_refused_and_not_taken_for_a_path(scheme, mark):
    with pytest.raises(ConfigError, match="%2F") as caught:
        parse(f"{scheme}://me:s3{mark}cret@h:4222/photos", "in")
    assert "s3" not in str(caught.value) and "cret" not in str(caught.value)
    more = "?security=sasl_ssl" if scheme == "kafka" else ""
    escaped = parse(f"{scheme}://me:s3{quote(mark, safe='')}cret@h:4222/photos{more}", "in")
    assert escaped.password == f"s3{mark}cret" and "s3" not in escaped.shown


def test_an_exchange_is_a_part_of_where_announcements_go():
    shown = [parse(f"amqp://h/photos{more}", "out").shown for more in ("", "?exchange=a")]
    assert shown == ["amqp://h/photos", "amqp://h/photos?exchange=a"]


@pytest.mark.parametrize("subject", ["*", "shop.*", "shop.>", "pho*"])
def test_announcements_go_to_one_subject(subject):
    with pytest.raises(ConfigError, match="an announcement goes to one"):
        open_outlet(f"nats://127.0.0.1:1/{subject}")  # nobody is there: it is not even asked


def test_a_source_may_be_many_subjects_and_names_may_hold_what_their_broker_allows():
    assert parse("nats://h/shop.*.photos", "in").path == "shop.*.photos"
    assert parse("nats://h/shop.>", "in").path == "shop.>"
    assert parse("redis://h/0/my%20photos", "in").path == "0/my photos"
    assert parse("amqp://h/my%20shop/photos", "in").path == "my shop/photos"
    assert parse("nats://a:1,b,[::1]:2/x", "out").place == "a:1,b,[::1]:2"


@pytest.mark.parametrize(
    ("place", "host"),
    [("h", ("h", 7)), ("h:42", ("h", 42)), ("[::1]", ("::1", 7)), ("[::1]:42", ("::1", 42))],
)
def test_a_host_is_read_with_its_port_or_the_usual_one(place, host):
    assert parse(f"redis://{place}/0/x", "in").host(7) == host


PRINTABLE = st.text(st.characters(exclude_categories=["C"]), max_size=12)
ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
WAYS = st.sampled_from(["in", "out"])


@given(
    st.lists(st.one_of(PRINTABLE, ASCII), min_size=6, max_size=6),
    st.sampled_from(sorted(KINDS)),
    WAYS,
)
def test_any_text_is_an_address_or_an_error_of_ours(parts, scheme, way):
    user, host, port, path, option, value = parts
    for url in (
        host,
        f"{scheme}://{host}",
        f"{scheme}://{user}@{host}:{port}/{path}",
        f"{scheme}://h/{path}?{option}={value}",
    ):
        with contextlib.suppress(ConfigError):
            assert isinstance(parse(url, way), Address)


@given(st.tuples(ASCII, ASCII, ASCII), st.sampled_from(sorted(KINDS)), WAYS)
def test_no_error_shows_a_password_whatever_stands_around_it(parts, scheme, way):
    before, host, path = parts
    password = "zqxPASSzqx"
    for url in (
        f"{scheme}://me:{before}{password}@{host}/{path}",
        f"{scheme}://me:{password}{before}@h:{host}/x",
        f"{scheme}://me:{password}/{path}",  # the host was forgotten
    ):
        try:
            address = parse(url, way)
            told = f"{address!r} {address.shown}"
        except ConfigError as error:
            told = str(error)
        assert password not in told, url
