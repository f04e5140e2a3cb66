"""A worker between brokers: events come in at one topic, what is announced goes out at another."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.stream.running import work

pytestmark = pytest.mark.slow

AT = datetime(2026, 1, 1, tzinfo=UTC)


def said(photo: str, at_s: float, kind: str = "photo.added", **more: Any) -> bytes:
    event = {"id": f"{kind}/{photo}/{at_s}", "kind": kind, "listing_id": Path(photo).parts[0]}
    event |= {"photo_id": photo, "at": (AT + timedelta(seconds=at_s)).isoformat(), **more}
    if kind != "photo.deleted":
        event.setdefault("path", photo)
    return json.dumps(event).encode()


@pytest.fixture
def fed(project: Path, shop: Any) -> Path:
    """A trained project whose events name the shop's photos by path."""
    settings = project / "listlens.toml"
    text = settings.read_text().replace('photos = ""', f'photos = "{shop.photos}"')
    settings.write_text(text)
    return project


def test_events_become_tags_and_announcements(rig, fed, shop):
    came, told = rig.topic(), rig.topic()
    photos = sorted(shop.classes)[:6]
    events = [said(photo, at_s) for at_s, photo in enumerate(photos)]
    rig.send(came, *events, events[0], b"{not JSON", said("home-00/9.jpg", 9))
    results = rig.open(rig.url(told))
    with listlens.open(fed) as project:
        before = project.store.outbox.last()
        sources, announce = [rig.url(came)], [rig.url(told)]
        work(project, threading.Event(), "drained", sources=sources, announce=announce)
        ledger = project.store.events.ledger()
        assert (ledger.states["done"], ledger.states["dead"], ledger.duplicates) == (6, 2, 1)
        assert dict(ledger.reasons) == {"bad_event": 1, "missing": 1}
        assert ledger.adds_up
        topics = {one.way: one for one in project.store.topics.list()}
        assert (topics["in"].n, topics["in"].duplicates, topics["in"].dead) == (9, 1, 1)
        announced = [one.body for one in project.store.outbox.read(before)[0]]
        assert topics["out"].n == len(announced) == 7
    got = [json.loads(message.body) for message in rig.take(results, 7)]
    assert sorted(got, key=lambda one: one["id"]) == sorted(announced, key=lambda one: one["id"])
    tags = {
        one["photo_id"]: one["results"]["label"]["prediction"] for one in got if "results" in one
    }
    assert tags == {photo: shop.classes[photo] for photo in photos}
    results.close()
    with listlens.open(fed) as project:
        left = rig.open(rig.url(came), project.store)
        assert left.receive(10, 0.3) == []
        left.close()


def test_a_running_worker_follows_a_topic_until_it_is_told_to_stop(rig, fed, shop):
    came, told = rig.topic(), rig.topic()
    results, stop = rig.open(rig.url(told)), threading.Event()
    photos = sorted(shop.classes)
    with listlens.open(fed) as project:
        urls = {"sources": [rig.url(came)], "announce": [rig.url(told)]}
        thread = threading.Thread(target=work, args=(project, stop), kwargs=urls)
        thread.start()
        for at_s, photo in enumerate(photos[:3]):
            rig.send(came, said(photo, at_s))
        got = [json.loads(m.body)["photo_id"] for m in rig.take(results, 3)]
        assert sorted(got) == photos[:3]
        rig.send(came, said(photos[0], 9, "photo.deleted"))
        gone = [json.loads(m.body)["kind"] for m in rig.take(results, 1)]
        assert gone == ["photo.deleted"]
        began = time.monotonic()
        stop.set()
        thread.join()
        assert time.monotonic() - began < 30
    results.close()
