"""Commands and settings for brokers: `work --source --announce`, `events check`, `topics`."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

import listlens
from listlens.brokers.registry import open_inlet
from listlens.store.open import open_store

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
        assert "2 messages came; they stay there" in ran.err
    assert cli("ledger", "-p", root, "--json").json["received"] == 0
    inlet = open_inlet(rig.url(topic))
    inlet.acknowledge(rig.take(inlet, 2))
    inlet.close()
    empty = cli("events", "check", rig.url(topic), "--wait", "0.2", "-p", root)
    assert (empty.code, empty.out) == (0, "")
    assert "no message came" in empty.err
    mistyped = cli("events", "check", rig.url(f"{topic}x"), "-p", root)
    assert (mistyped.code, mistyped.out) == (3, "")
    assert f"Did you mean {topic!r}?" in mistyped.err


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
        ('announce = ["nats://127.0.0.1:1/shop.*"]', "an announcement goes to one"),
        ('sources = ["nats://127.0.0.1:1/a..b"]', "words with a '.' between them"),
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
def test_of_two_brokers_the_one_that_answers_is_read_and_nothing_is_asked_twice(
    rig, cli, root, monkeypatch
):
    settings = root / "listlens.toml"
    settings.write_text(settings.read_text().replace("max_waiting = 5000", "max_waiting = 1"))
    came, told = rig.topic(), rig.topic()
    events = [
        {"id": f"e{n}", "kind": "listing.changed", "listing_id": f"L{n}", "attributes": {"a": n}}
        for n in range(3)
    ]
    rig.send(came, *[json.dumps(event).encode() for event in events])
    asked: list[str] = []

    def opening(url: str, *more: Any) -> Any:
        asked.append(url)
        return open_inlet(url, *more)

    monkeypatch.setattr("listlens.stream.topics.open_inlet", opening)
    ends = ("--source", "redis://127.0.0.1:1/0/photos", "--source", rig.url(came))
    ends += ("--announce", rig.url(told))
    ran = cli("work", "--drain", *ends, "-p", root, "--json")
    assert ran.code == 5
    assert ran.json["outcomes"] == {"listing": 3}
    (trouble,) = ran.json["troubles"]
    assert trouble.startswith("redis://127.0.0.1:1/0/photos could not be read: ")
    assert asked.count("redis://127.0.0.1:1/0/photos") == 1
    well = cli("work", "--drain", *ends[2:], "-p", root, "--json")
    assert (well.code, well.json["troubles"]) == (0, [])


def test_draining_a_broker_that_is_not_there_works_on_what_is_here_and_says_try_again(
    cli, root, tmp_path
):
    event = {"id": "e1", "kind": "listing.changed", "listing_id": "L", "attributes": {"a": 1}}
    file = tmp_path / "events.jsonl"
    file.write_text(json.dumps(event))
    cli("events", "put", file, "-p", root)
    gone = [f"nats://127.0.0.1:1/{name}" for name in ("photos", "results")]
    both = ("--source", gone[0], "--announce", gone[1])
    ran = cli("work", "--drain", *both, "-p", root, "--json")
    assert ran.code == 5
    assert ran.json["outcomes"] == {"listing": 1}
    read, sent = ran.json["troubles"]
    assert read.startswith(f"{gone[0]} could not be read: ") and read.count(gone[0]) == 1
    assert sent.startswith(f"{gone[1]} could not be sent to: ")
    assert read in ran.err and sent in ran.err and "nothing is lost" in ran.err
    listed = cli("topics", "-p", root, "--json").json["topics"]
    assert [(one["name"], one["in_settings"]) for one in listed] == [(url, False) for url in gone]
    assert all(one["trouble"] for one in listed), "the list says what was wrong with each"


def test_a_topic_says_how_old_its_trouble_is_and_whether_the_settings_name_it(cli, root):
    old, named = "nats://h/old", "nats://h/named"
    settings = root / "listlens.toml"
    settings.write_text(
        settings.read_text().replace("sources = []", f'sources = ["{named}?durable=a"]')
    )
    with listlens.open(root) as project:
        then = project.store.clock() - timedelta(days=3, hours=1)
    with open_store("sqlite:///listlens.db", root, clock=lambda: then) as store:
        store.topics.tell(old, "in", lag=None, trouble="refused")
        store.topics.tell(named, "in", lag=2, trouble="refused")
    with listlens.open(root) as project:
        project.store.topics.well(named, "in")
    mine, gone = cli("topics", "-p", root).out.splitlines()[1:]
    assert named in mine and "just now" in mine and "yes" in mine and "refused" not in mine
    assert old in gone and "3 days ago" in gone and " no " in gone and "refused" in gone
    settings.write_text(settings.read_text().replace("?durable=a", "?creds=${NOT_SET_HERE}"))
    shown = cli("topics", "-p", root, "--json").json["topics"]
    assert {one["in_settings"] for one in shown} == {None}, "nobody knows"


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("redis", "amqp")]


@pytest.mark.parametrize("rig", ["nats", *SLOW], indirect=True)
def test_a_source_that_was_not_there_is_said_to_be_made(rig, cli, root, caplog):
    topic = rig.topic()
    ran = cli("work", "--drain", "--source", rig.url(topic), "-p", root)
    assert ran.code == 0
    (said,) = [one.getMessage() for one in caplog.records if "was made, empty" in one.getMessage()]
    assert topic in said
    caplog.clear()
    assert cli("work", "--drain", "--source", rig.url(topic), "-p", root).code == 0
    assert "was made" not in caplog.text
