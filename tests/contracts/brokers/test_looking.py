"""`events check` looks at a topic of every broker, and leaves everything as it was."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from listlens.brokers.address import absent
from listlens.brokers.registry import look, parse
from listlens.core.errors import BrokerError, ConfigError, NotFoundError


def shown(rig: Any, topic: str, most: int = 10, wait_s: float | None = None) -> list[bytes]:
    positions = rig.store.positions if rig.store else None
    wait_s = rig.longest_s if wait_s is None else wait_s
    return [one.body for one in look(rig.url(topic), most, wait_s, positions)]


def seen(rig: Any, topic: str, n: int) -> set[bytes]:
    """What several looks show together: one may bring a part, where a queue has several hosts."""
    found: set[bytes] = set()
    for _ in range(10):
        found |= set(shown(rig, topic))
        if len(found) >= n:
            break
    return found


def nats_footprints(rig: Any, topic: str) -> list[str]:
    import nats

    async def go() -> list[str]:
        client = await nats.connect(rig.at)
        found = await client.jetstream().consumers_info(topic)
        await client.close()
        return [one.name for one in found]

    return asyncio.run(go())


def redis_footprints(rig: Any, topic: str) -> list[str]:
    import redis

    with redis.Redis.from_url(rig.at) as client:
        return [one["name"] for one in client.xinfo_groups(topic)]


def rabbit_footprints(rig: Any, topic: str) -> list[str]:
    import aio_pika

    async def go() -> list[str]:
        async with await aio_pika.connect(rig.at) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(topic, passive=True)
            return ["a consumer"] * (queue.declaration_result.consumer_count or 0)

    return asyncio.run(go())


def kafka_footprints(rig: Any, topic: str) -> list[str]:
    from confluent_kafka import Consumer, TopicPartition

    group, server = f"listlens.{topic}", rig.at.removeprefix("kafka://")
    client = Consumer({"bootstrap.servers": server, "group.id": group})
    parts = [TopicPartition(topic, number) for number in range(4)]
    found = [f"{one.offset}" for one in client.committed(parts, timeout=10) if one.offset >= 0]
    client.close()
    return found


def kinesis_footprints(rig: Any, topic: str) -> list[str]:
    import sqlalchemy as sa

    from listlens.store.positions import stream_position

    with rig.store.positions._db.read() as connection:
        streams = connection.execute(sa.select(stream_position.c.stream)).scalars()
        return [one for one in streams if topic in one]


FOOTPRINTS = {
    "nats": nats_footprints,
    "redis": redis_footprints,
    "amqp": rabbit_footprints,
    "kafka": kafka_footprints,
    "kinesis": kinesis_footprints,
    "sqs": lambda rig, topic: [],  # a queue knows nothing of its readers
}


def test_a_topic_that_is_not_there_is_named_as_such_and_not_made(rig):
    there = rig.topic()
    rig.send(there, b"a")
    for _ in range(2):  # were it made by the first look, the second would find it
        with pytest.raises(NotFoundError) as caught:
            shown(rig, f"{there}x", wait_s=0.1)
        assert f"/{there}x: there is no" in str(caught.value)
        assert rig.names == (f"Did you mean {there!r}?" in str(caught.value))


def test_looking_shows_what_there_is_as_often_as_asked_and_leaves_nothing_behind(rig):
    topic = rig.topic()
    rig.send(topic, b"a", b"b", b"c")
    assert 0 < len(shown(rig, topic, 2)) <= 2
    for _ in range(2):
        assert seen(rig, topic, 3) == {b"a", b"b", b"c"}
    scheme = rig.at.partition(":")[0]
    assert FOOTPRINTS[scheme](rig, topic) == []
    inlet = rig.open(rig.url(topic))
    got = rig.take(inlet, 3)
    assert sorted(message.body for message in got) == [b"a", b"b", b"c"]
    if not rig.counts:
        assert {message.deliveries for message in got} <= {0, 1}
    inlet.acknowledge(got)
    assert scheme == "sqs" or FOOTPRINTS[scheme](rig, topic) != []  # a worker leaves some
    inlet.close()


def test_looking_begins_where_the_workers_are(rig):
    topic = rig.topic()
    rig.send(topic, b"a", b"b", b"c")
    inlet = rig.open(rig.url(topic))
    first = rig.take(inlet, 1)
    inlet.acknowledge(first)
    inlet.close()
    left = {b"a", b"b", b"c"} - {message.body for message in first}
    assert seen(rig, topic, 2) == left
    again = rig.open(rig.url(topic))
    rest = rig.take(again, 2)
    assert {message.body for message in rest} == left
    again.acknowledge(rest)
    assert shown(rig, topic, wait_s=0.3) == []
    again.close()


def test_looking_takes_nothing_out_of_the_hands_of_a_worker(rig):
    topic = rig.topic()
    rig.send(topic, b"a", b"b")
    inlet = rig.open(rig.url(topic))
    held = rig.take(inlet, 2)
    if rig.counts:
        assert shown(rig, topic, wait_s=0.5) == []
    else:
        assert seen(rig, topic, 2) == {b"a", b"b"}
    inlet.acknowledge(held)
    assert inlet.receive(10, 0.3) == []
    inlet.close()


def test_looking_at_a_broker_that_is_not_there_says_try_again(rig):
    with pytest.raises(BrokerError):
        look(rig.lost, 1, 0.1, rig.store.positions if rig.store else None)


NATS, REDIS, RABBITMQ, KAFKA = (
    pytest.mark.parametrize("rig", [one], indirect=True)
    for one in ("nats", "redis", "amqp", "kafka")
)


@NATS
def test_a_stream_that_lacks_the_subject_says_which_it_has(rig):
    topic = rig.topic()
    rig.send(topic, b"a")
    assert shown(rig, f"{topic}?stream={topic}") == [b"a"]
    with pytest.raises(NotFoundError, match=f"no such subject in {topic!r}.*There are: {topic!r}"):
        shown(rig, f"{topic}x?stream={topic}")
    with pytest.raises(NotFoundError, match=f"no stream '{topic}x'"):
        shown(rig, f"{topic}?stream={topic}x")


@NATS
def test_a_queue_of_work_that_allows_one_consumer_is_looked_at_too(rig):
    import nats
    from nats.js.api import RetentionPolicy

    topic = rig.topic()

    async def make() -> None:
        client = await nats.connect(rig.at)
        policy = RetentionPolicy.WORK_QUEUE
        await client.jetstream().add_stream(name=topic, subjects=[topic], retention=policy)
        await client.close()

    asyncio.run(make())
    inlet = rig.open(rig.url(topic))
    rig.send(topic, b"a")
    assert shown(rig, topic) == [b"a"]
    inlet.acknowledge(rig.take(inlet, 1))
    inlet.close()


@pytest.mark.slow
@RABBITMQ
def test_a_queue_that_goes_with_its_last_consumer_stays(rig):
    import aio_pika

    topic = rig.topic()

    async def make() -> None:
        async with await aio_pika.connect(rig.at) as connection:
            channel = await connection.channel()
            await channel.declare_queue(topic, auto_delete=True)

    asyncio.run(make())
    rig.send(topic, b"a")
    for _ in range(2):
        assert shown(rig, topic) == [b"a"]


@NATS
def test_many_subjects_are_looked_at_together_and_gaps_are_passed_over(rig):
    import nats

    topic = rig.topic()

    async def make() -> None:
        client = await nats.connect(rig.at)
        stream = client.jetstream()
        await stream.add_stream(name=topic, subjects=[f"{topic}.>"])
        for name in ("a", "b", "c"):
            await stream.publish(f"{topic}.{name}", name.encode())
        await stream.delete_msg(topic, 2)
        await client.close()

    asyncio.run(make())
    assert shown(rig, f"{topic}.*") == [b"a", b"c"]
    assert shown(rig, f"{topic}.c") == [b"c"]
    assert shown(rig, f"{topic}.d", wait_s=0.1) == []


@NATS
def test_a_consumer_that_workers_could_not_use_is_said_by_a_look_too(rig):
    import nats
    from nats.js.api import AckPolicy, ConsumerConfig

    topic = rig.topic()

    async def make() -> None:
        client = await nats.connect(rig.at)
        await client.jetstream().add_stream(name=topic, subjects=[topic])
        config = ConsumerConfig(durable_name="listlens", ack_policy=AckPolicy.NONE)
        await client.jetstream().add_consumer(topic, config)
        await client.close()

    asyncio.run(make())
    with pytest.raises(ConfigError, match="does not wait for acknowledgements"):
        shown(rig, topic)


@pytest.mark.slow
@REDIS
def test_redis_is_looked_at_by_group_and_names_streams_only(rig):
    import redis

    topic = rig.topic()
    rig.send(topic, b"a", b"b")
    inlet = rig.open(rig.url(topic))
    inlet.acknowledge(rig.take(inlet, 2))
    inlet.close()
    assert shown(rig, topic, wait_s=0.1) == []
    assert shown(rig, f"{topic}?group=others") == [b"a", b"b"]
    with redis.Redis.from_url(rig.at) as client:
        client.set(f"{topic}-text", "x")
        with pytest.raises(NotFoundError) as caught:
            shown(rig, f"{topic}-texd", wait_s=0.1)
        assert f"'{topic}-text'" not in str(caught.value)
        with pytest.raises(BrokerError, match="WRONGTYPE"):
            shown(rig, f"{topic}-text", wait_s=0.1)
        client.delete(f"{topic}-text")


@pytest.mark.slow
@KAFKA
def test_a_look_at_kafka_makes_nobody_leave_and_takes_every_partition(rig):
    from confluent_kafka import Producer

    topic = rig.topic()
    rig.send(topic, b"0")
    producer = Producer({"bootstrap.servers": rig.at.removeprefix("kafka://")})
    for partition in range(1, 4):
        producer.produce(topic, value=b"%d" % partition, partition=partition)
    producer.flush(10)
    inlet = rig.open(rig.url(topic))
    held = rig.take(inlet, 4)
    assert seen(rig, topic, 4) == {b"0", b"1", b"2", b"3"}
    inlet.acknowledge(held)  # a group that had changed would not take it
    inlet.close()
    assert shown(rig, topic, wait_s=0.5) == []


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (None, "there is no such queue; a check makes none. Make it."),
        ([], "There are: none. Make it."),
        (["b", "a"], "There are: 'a', 'b'. Make it."),
        (["photso"], "Did you mean 'photso'? There are: 'photso'. Make it."),
        ([f"q{n:02}" for n in range(30)], "'q19', ... Make it."),
    ],
)
def test_what_is_not_there_is_said_with_what_is(names, says):
    address = parse("sqs://eu-west-1/123456789012/photos", "in")
    told = str(absent(address, "no such queue", names, "Make it."))
    assert told.startswith("sqs://eu-west-1/123456789012/photos: there is no such queue; a check")
    assert told.endswith(says)
