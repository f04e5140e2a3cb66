"""Where each broker is known to lose, repeat or hold up messages, and that it does not here."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from listlens.brokers.loop import wait_for
from listlens.brokers.registry import look, open_inlet, open_outlet, parse
from listlens.core.errors import BrokerError, ConfigError

pytestmark = pytest.mark.slow

NATS, REDIS, RABBITMQ, KAFKA = (
    pytest.mark.parametrize("rig", [scheme], indirect=True)
    for scheme in ("nats", "redis", "amqp", "kafka")
)


def on_nats(rig: Any, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    import nats

    async def go() -> Any:
        client = await nats.connect(rig.at)
        try:
            return await work(client.jetstream())
        finally:
            await client.close()

    return asyncio.run(go())


@NATS
def test_nats_waits_longer_than_a_batch_takes_and_never_gives_a_message_up(rig):
    topic = rig.topic()
    open_inlet(rig.url(topic)).close()
    config = on_nats(rig, lambda js: js.consumer_info(topic, "listlens")).config
    assert config.ack_wait >= 60
    assert config.max_ack_pending >= 1000
    assert config.max_deliver == -1


@NATS
def test_nats_does_not_stop_where_more_is_in_hand_than_a_server_allows_by_default(rig):
    topic = rig.topic()
    rig.send(topic, *[b"%d" % i for i in range(1500)])
    inlet = open_inlet(rig.url(topic))
    assert len(rig.take(inlet, 1500)) == 1500
    inlet.close()


@NATS
def test_a_nats_consumer_that_would_lose_messages_is_refused(rig):
    from nats.js.api import AckPolicy, ConsumerConfig

    topic = rig.topic()

    async def prepare(js: Any) -> None:
        await js.add_stream(name=topic, subjects=[topic])
        config = ConsumerConfig(durable_name="careless", ack_policy=AckPolicy.NONE)
        await js.add_consumer(topic, config)

    on_nats(rig, prepare)
    with pytest.raises(ConfigError, match="acknowledge"):
        open_inlet(rig.url(topic, durable="careless"))


@NATS
def test_two_subjects_of_one_nats_stream_do_not_share_a_consumer(rig):
    """The second would be handed the first one's messages, and never its own."""
    stream = rig.topic()
    first, second = f"{stream}.photos", f"{stream}.other"

    async def prepare(js: Any) -> None:
        await js.add_stream(name=stream, subjects=[f"{stream}.>"])
        await js.publish(second, b"{}")

    on_nats(rig, prepare)
    open_inlet(rig.url(first)).close()
    with pytest.raises(ConfigError, match=r"reads .*\.photos .*\?durable=listlens-2"):
        open_inlet(rig.url(second))
    inlet = open_inlet(rig.url(second, durable="listlens-2"))
    assert [one.body for one in rig.take(inlet, 1)] == [b"{}"]
    inlet.close()


@REDIS
def test_redis_keeps_what_a_consumer_holds_when_old_consumers_are_swept(rig, monkeypatch):
    import redis

    from listlens.brokers import redis_streams

    monkeypatch.setattr(redis_streams, "IDLE_MS", -1)
    topic, url = rig.topic(), ""
    url = rig.url(topic)
    rig.send(topic, b"a")
    idle, busy = open_inlet(url), open_inlet(url)
    assert len(busy.receive(5, 1)) == 1
    assert idle.receive(5, 0.01) == []
    swept = open_inlet(url)
    client = redis.Redis.from_url(rig.at)
    names = [one["pending"] for one in client.xinfo_consumers(topic, "listlens")]
    assert names == [1]  # the idle one is gone, what the busy one holds is kept
    rig.send(topic, b"b")
    assert [m.body for m in idle.receive(5, 1)] == [b"b"]  # and lives on as it asks
    for inlet in (idle, busy, swept):
        inlet.close()
    client.close()


@REDIS
def test_an_entry_of_redis_is_its_one_field_the_named_one_or_all_as_an_object(rig):
    import redis

    topic, client = rig.topic(), redis.Redis.from_url(rig.at)
    client.xadd(topic, {"anything": b'{"n": 1}'})
    client.xadd(topic, {"kind": "photo.added", "id": "7"})
    inlet = open_inlet(rig.url(topic))
    assert [m.body for m in inlet.receive(5, 1)] == [
        b'{"n": 1}', b'{"kind": "photo.added", "id": "7"}',
    ]  # fmt: skip
    inlet.close()
    named = open_inlet(rig.url(topic, group="other", field="id"))
    assert [m.body for m in named.receive(5, 1)] == [b"", b"7"]
    named.close()
    client.close()


@RABBITMQ
def test_rabbitmq_makes_a_quorum_queue_and_gives_no_message_up(rig):
    topic = rig.topic()
    rig.send(topic, b"often")
    for delivery in range(1, 26):
        inlet = open_inlet(rig.url(topic))
        (message,) = inlet.receive(1, 5)
        assert message.deliveries == delivery  # only a quorum queue counts
        inlet.close()


@RABBITMQ
def test_rabbitmq_hands_out_no_more_than_the_prefetch(rig):
    topic = rig.topic()
    rig.send(topic, *[b"x"] * 20)
    first = open_inlet(rig.url(topic, prefetch=5))
    assert len(rig.take(first, 20)) == 5
    second = open_inlet(rig.url(topic))
    assert len(rig.take(second, 20)) == 15
    first.close()
    second.close()


@KAFKA
def test_kafka_commits_only_before_the_oldest_message_in_hand(rig):
    topic = rig.topic()
    rig.send(topic, b"a", b"b", b"c")
    inlet = open_inlet(rig.url(topic))
    first, rest = inlet.receive(1, rig.longest_s), []
    while len(rest) < 2:
        rest += inlet.receive(2, rig.longest_s)
    inlet.acknowledge(rest)  # the first is still in hand
    inlet.close()
    again = open_inlet(rig.url(topic))
    got = rig.take(again, 3)
    assert [m.body for m in got] == [b"a", b"b", b"c"]
    assert first[0].body == b"a"
    again.close()


@KAFKA
def test_kafka_says_soon_and_once_that_nobody_is_there(rig, caplog, capfd):
    for way in (open_inlet, open_outlet, lambda url: look(url, 1, 1)):
        began = time.monotonic()
        with pytest.raises(BrokerError, match=r"^kafka://127.0.0.1:1/photos: .*Connection refused"):
            way(f"{rig.nowhere}/photos")
        assert time.monotonic() - began < 9, "it is not asked for as long as one that is there"
    assert "FAIL" not in caplog.text + "".join(capfd.readouterr())


@KAFKA
def test_a_kafka_client_that_is_closed_or_could_not_connect_leaves_no_thread(rig):
    """Each holds itself by its callbacks: the collector would find it some time, if at all."""

    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    def tried(url: str) -> None:
        with suppress(BrokerError):
            open_outlet(url).close()

    there = rig.url(rig.topic())
    tried(there)
    gc.collect()
    gc.disable()
    try:
        before = threads()
        for _ in range(3):
            tried(there)
            tried(f"{rig.nowhere}/photos")
        deadline = time.monotonic() + 20
        while threads() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert threads() <= before
    finally:
        gc.enable()


def test_kafka_names_a_group_for_each_topic_and_asks_for_a_way_to_show_a_password():
    assert parse("kafka://h/a", "in").text("group") == ""
    with pytest.raises(ConfigError, match="security=sasl_ssl"):
        open_inlet("kafka://me:secret@127.0.0.1:1/a")


@NATS
def test_a_reader_that_may_not_read_for_long_leaves_its_broker(rig, tmp_path, monkeypatch):
    from listlens.core.stream_config import EventsConfig
    from listlens.store.open import open_store
    from listlens.stream import topics

    monkeypatch.setattr(topics, "FULL_S", 0.01)
    monkeypatch.setattr(topics, "LET_GO_S", 0.03)
    with open_store("sqlite:///listlens.db", tmp_path) as store:
        reader = topics.Reader(store, rig.url(rig.topic()), EventsConfig(), 10)
        reader.step()
        assert reader._end is not None
        monkeypatch.setattr(reader, "full", lambda: True)
        began = time.monotonic()
        while reader._end is not None:
            reader.step()
            assert time.monotonic() - began < 30


@RABBITMQ
def test_rabbitmq_says_that_the_queue_was_deleted_and_reads_the_new_one(rig):
    topic = rig.topic()
    rig.send(topic, b"before")
    inlet = open_inlet(rig.url(topic))
    inlet.acknowledge(rig.take(inlet, 1))
    wait_for(inlet._channel.queue_delete(topic), 10)  # as an operator does
    with pytest.raises(BrokerError, match="deleted"):
        for _ in range(20):
            inlet.receive(1, 0.2)
    inlet.close()
    rig.send(topic, b"after")
    again = open_inlet(rig.url(topic))
    assert [message.body for message in rig.take(again, 1)] == [b"after"]
    again.close()
