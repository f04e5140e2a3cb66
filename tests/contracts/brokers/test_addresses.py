"""Addresses of brokers: what is allowed, and that no secret is shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from listlens.brokers.registry import KINDS, open_inlet, parse
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
    escaped = parse(f"{scheme}://me:s3{quote(mark, safe='')}cret@h:4222/photos", "in")
    assert escaped.password == f"s3{mark}cret" and "s3" not in escaped.shown


def test_an_exchange_is_a_part_of_where_announcements_go():
    shown = [parse(f"amqp://h/photos{more}", "out").shown for more in ("", "?exchange=a")]
    assert shown == ["amqp://h/photos", "amqp://h/photos?exchange=a"]
