"""Commands and settings for brokers: `work --source --announce`, `events check`, `topics`."""

from __future__ import annotations

import json

import pytest

from listlens.brokers.registry import open_inlet

MAPPING = """
[events.mapping]
kind = "=photo.added"
id = "no"
listing_id = "ad"
photo_id = "pic"
url = "href"
"""


NATS = pytest.mark.parametrize("rig", ["nats"], indirect=True)
"""Commands do not know which broker it is: one is enough."""


@pytest.fixture
def root(cli, tmp_path):
    cli("init", tmp_path / "shop")
    return tmp_path / "shop"


def shop_event(name: str) -> bytes:
    return json.dumps({"no": name, "ad": 7, "pic": name, "href": f"https://x/{name}"}).encode()


@NATS
def test_a_check_shows_what_messages_mean_and_gives_them_back(rig, cli, root):
    settings = root / "listlens.toml"
    text = settings.read_text().replace("mapping = {}\n", "")
    settings.write_text(text.replace("[tasks]", "") + MAPPING)
    topic = rig.topic()
    rig.send(topic, shop_event("a"), b"{no")
    for _ in range(2):
        ran = cli("events", "check", rig.url(topic), "-p", root, "--json")
        assert ran.code == 4
        shown = [json.loads(line) for line in ran.out.splitlines()]
        assert {one.get("listing_id") for one in shown} == {"7", None}
        assert sum("no JSON" in one.get("wrong", "") for one in shown) == 1
        assert "2 messages came; they are given back" in ran.err
    assert cli("ledger", "-p", root, "--json").json["received"] == 0
    empty = cli("events", "check", rig.url(rig.topic()), "--wait", "0.2", "-p", root)
    assert (empty.code, empty.out) == (0, "")
    assert "no message came" in empty.err


@pytest.mark.slow
@NATS
def test_topics_are_listed_with_counts_and_lag(rig, cli, root):
    assert "None yet." in cli("topics", "-p", root).out
    came, told = rig.topic(), rig.topic()
    rig.send(came, shop_event("a"))
    both = ("--source", rig.url(came), "--announce", rig.url(told))
    ran = cli("work", "--drain", *both, "-p", root)
    assert ran.code == 0
    shown = cli("topics", "-p", root, "--json").json["topics"]
    named = {one["way"]: one for one in shown}
    assert named["in"]["name"] == rig.url(came)
    assert (named["in"]["received"], named["in"]["dead"]) == (1, 1)
    assert named["out"]["sent"] == 0
    left = open_inlet(rig.url(came))
    assert left.receive(1, 0.2) == []
    left.close()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ('sources = ["nats://h/x?durabel=a"]', "Did you mean 'durable'?"),
        ('sources = ["nats://h/x"]\nannounce = ["nats://h/x"]', "read and announced to"),
        ('announce = ["nats://h/x", "nats://h/x"]', "named twice"),
        ('source = ["nats://h/x"]', "Did you mean 'sources'?"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_done(cli, root, settings, says):
    path = root / "listlens.toml"
    text = path.read_text().replace("sources = []\n", "").replace("announce = []\n", "")
    path.write_text(text.replace("[brokers]\n", f"[brokers]\n{settings}\n"))
    ran = cli("work", "--drain", "-p", root)
    assert ran.code == 2
    assert says in ran.err


@pytest.mark.slow
@NATS
def test_draining_a_broker_that_is_not_there_says_try_again(rig, cli, root):
    ran = cli("work", "--drain", "--source", f"{rig.nowhere}/photos", "-p", root)
    assert ran.code == 5
    assert rig.nowhere in ran.err
