"""A rig for each broker: the real server of this machine, and how to make topics on it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from listlens.brokers.registry import KINDS, open_inlet, open_outlet
from listlens.core.errors import BrokerError
from listlens.core.messages import Message, Outgoing
from listlens.core.ports import Inlet
from listlens.store.open import Store, open_store


@dataclass
class Rig:
    """A broker and what a test may expect of it.

    Args:
        at: address without topic, such as ``nats://127.0.0.1:4222``.
        nowhere: address of a broker that is not there.
        quick: options with which what a dead process held comes again after about a second.
        ordered: whether messages of one key are promised in the order they were sent.
        clears: whether it recognises that a message was sent twice.
        most: what one `receive` may bring at most, where the broker has a bound.
        hands_over: whether a second reader takes over what the first has in hand.
        longest_s: until a message that is there was received at the latest.
        text_only: whether it takes texts only, and no empty ones.
        many: messages of the test that sends many.
        names: whether it says which topics there are.
        counts: whether looking at a message takes it from the topic for a moment.
        options: that every address has.
        make: makes a topic, where the broker does not by itself.
        project: folder of a store that keeps positions, where the broker keeps none.
    """

    at: str
    nowhere: str
    quick: dict[str, Any] = field(default_factory=dict)
    ordered: bool = True
    clears: bool = False
    most: int = 500
    hands_over: bool = False
    longest_s: float = 5.0
    text_only: bool = False
    many: int = 2000
    names: bool = True
    counts: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    make: Callable[[str], object] | None = None
    project: Path | None = None
    topics: list[str] = field(default_factory=list)

    def topic(self) -> str:
        """Name a topic that is new."""
        self.topics.append(f"t{uuid.uuid4().hex[:12]}")
        if self.make is not None:
            self.make(self.topics[-1])
        return self.topics[-1]

    @property
    def lost(self) -> str:
        """Address of a topic at the broker that is not there."""
        return f"{self.nowhere}/photos" + ("?endpoint=http://127.0.0.1:1" if self.options else "")

    def open(self, url: str, store: Store | None = None) -> Inlet:
        """Open a source, with the positions of a store, or of one for all tests."""
        store = store or self.store
        return open_inlet(url, store.positions if store else None)

    @cached_property
    def store(self) -> Store | None:
        return open_store("sqlite:///listlens.db", self.project) if self.project else None

    def opening(self, url: str) -> str:
        """Return Python code that does the same in another process, and names it `inlet`."""
        store = "None"
        if self.project:
            store = f"open_store('sqlite:///listlens.db', Path({str(self.project)!r})).positions"
        return (
            "from pathlib import Path\n"
            "from listlens.brokers.registry import open_inlet\n"
            "from listlens.store.open import open_store\n"
            f"inlet = open_inlet({url!r}, {store})"
        )

    def url(self, topic: str, **options: Any) -> str:
        query = "&".join(f"{name}={value}" for name, value in {**self.options, **options}.items())
        return f"{self.at}/{topic}{'?' if query else ''}{query}"

    def send(self, topic: str, *bodies: bytes, key: str = "L1") -> None:
        outlet = open_outlet(self.url(topic))
        outlet.send([Outgoing(body, key, uuid.uuid4().hex) for body in bodies])
        outlet.close()

    def take(self, inlet: Inlet, n: int) -> list[Message]:
        """Receive until n messages are there, or nothing comes for long enough."""
        found: list[Message] = []
        while len(found) < n:
            got = inlet.receive(min(self.most, n - len(found)), self.longest_s)
            if not got:
                break
            found += got
        return found


def absent(what: str, why: object) -> None:
    """Skip where a server is not there; fail in CI, where it must be."""
    message = f"no {what} here: {why}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def require(what: str, rig: Rig) -> None:
    """Skip where the broker of a rig does not answer."""
    topic = rig.topic()
    try:
        rig.open(rig.url(topic)).close()
    except BrokerError as error:
        absent(what, error)


@contextmanager
def nats_rig() -> Iterator[Rig]:
    at = os.environ.get("LISTLENS_TEST_NATS", "nats://127.0.0.1:4222")
    rig = Rig(at, "nats://127.0.0.1:1", {"ack_wait": 1}, clears=True)
    require("NATS with JetStream (LISTLENS_TEST_NATS)", rig)
    yield rig
    import asyncio

    import nats

    async def clear() -> None:
        client = await nats.connect(at)
        for info in await client.jetstream().streams_info():
            if info.config.name in rig.topics:
                await client.jetstream().delete_stream(info.config.name)
        await client.close()

    asyncio.run(clear())


@contextmanager
def redis_rig() -> Iterator[Rig]:
    at = os.environ.get("LISTLENS_TEST_REDIS", "redis://127.0.0.1:6379/0")
    rig = Rig(at, "redis://127.0.0.1:1", {"claim_after": 1}, longest_s=8)
    require("Redis (LISTLENS_TEST_REDIS)", rig)
    yield rig
    import redis

    redis.Redis.from_url(at).delete(*rig.topics)


@contextmanager
def rabbitmq_rig() -> Iterator[Rig]:
    at = os.environ.get("LISTLENS_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672")
    rig = Rig(at, "amqp://guest:guest@127.0.0.1:1", names=False, counts=True)
    require("RabbitMQ (LISTLENS_TEST_RABBITMQ)", rig)
    yield rig
    import asyncio

    import aio_pika

    async def clear() -> None:
        async with await aio_pika.connect(at) as connection:
            channel = await connection.channel()
            for topic in rig.topics:
                await channel.queue_delete(topic)

    asyncio.run(clear())


@contextmanager
def kafka_rig() -> Iterator[Rig]:
    """The cluster that librdkafka brings for tests: it speaks the protocol, and keeps no files."""
    from confluent_kafka import Producer

    cluster = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1})
    broker = next(iter(cluster.list_topics(timeout=10).brokers.values()))
    at = f"kafka://{broker.host}:{broker.port}"
    # It waits for those who left until their session ends, 45 s by default; a real one does not.
    kind = KINDS["kafka"]
    short = replace(kind.options["session_timeout"], default=5.0)
    KINDS["kafka"] = replace(kind, options={**kind.options, "session_timeout": short})
    yield Rig(at, "kafka://127.0.0.1:1", {"session_timeout": 5}, hands_over=True, longest_s=15)
    KINDS["kafka"] = kind
    cluster.flush(1)


class Amazon:
    """A server that speaks Amazon's API: moto, and a front before it that can go wrong.

    Args:
        url: of moto, or for Kinesis of what LISTLENS_TEST_KINESIS names.

    Attributes:
        front: address of the front, which passes calls on.
        rules: asked of each call in turn, with its action and body: an answer, a changed body to
            pass on, or None.
        calls: every action that came to the front, in order.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.kinesis_url = os.environ.get("LISTLENS_TEST_KINESIS", url)
        self.rules: list[Callable[[str, Any], Any]] = []
        self.calls: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.front = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """Return boto3's client, for what a test does itself."""
        import boto3

        if service not in self._clients:
            url = self.kinesis_url if service == "kinesis" else self.url
            self._clients[service] = boto3.client(
                service, endpoint_url=url, region_name="us-east-1"
            )
        return self._clients[service]

    def make_stream(self, name: str, shards: int = 1) -> None:
        """Make a stream, and wait until it is there."""
        self.client("kinesis").create_stream(StreamName=name, ShardCount=shards)
        self.wait(name)

    def wait(self, name: str, *, gone: bool = False) -> None:
        """Wait until a stream is active, or gone."""
        client = self.client("kinesis")
        waiter = client.get_waiter("stream_not_exists" if gone else "stream_exists")
        waiter.wait(StreamName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100})
        while not gone:
            found = client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
            if found["StreamStatus"] == "ACTIVE":
                return
            time.sleep(0.1)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for client in self._clients.values():
            client.close()

    def _handler(amazon) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                action = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
                amazon.calls.append(action)
                said = json.loads(body)
                for rule in amazon.rules:
                    if (answer := rule(action, said)) is not None:
                        self.reply(*answer)
                        return
                url = (
                    amazon.kinesis_url if "Kinesis" in self.headers["X-Amz-Target"] else amazon.url
                )
                headers = {k: v for k, v in self.headers.items() if k.lower() != "content-length"}
                request = urllib.request.Request(url, json.dumps(said).encode(), headers)
                try:
                    with urllib.request.urlopen(request) as found:
                        self.reply(found.status, json.loads(found.read() or b"{}"))
                except urllib.error.HTTPError as error:
                    self.reply(error.code, json.loads(error.read()))

            def reply(self, status: int, answer: Any) -> None:
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


def reshard_as_amazon_does(patch: pytest.MonkeyPatch) -> None:
    """Let moto leave records where they are, and put new ones into open shards only."""
    from moto.kinesis.models import Stream

    def open_shard(self: Any, partition_key: str, explicit_hash_key: str) -> Any:
        at = int(hashlib.md5(partition_key.encode()).hexdigest(), 16)
        return next(
            shard
            for shard in self.shards.values()
            if shard.is_open and shard.starting_hash <= at <= shard.ending_hash
        )

    def keeping(change: Callable[..., None]) -> Callable[..., None]:
        def changed(self: Any, *shards: str) -> None:
            kept = {name: shard.records for name, shard in self.shards.items()}
            for name in kept:
                self.shards[name].records = OrderedDict()
            change(self, *shards)
            for name, records in kept.items():
                self.shards[name].records = records

        return changed

    patch.setattr(Stream, "get_shard_for_key", open_shard)
    patch.setattr(Stream, "split_shard", keeping(Stream.split_shard))
    patch.setattr(Stream, "merge_shards", keeping(Stream.merge_shards))


@contextmanager
def amazon_server() -> Iterator[Amazon]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "x")
        reshard_as_amazon_does(patch)
        api = Amazon("http://{}:{}".format(*server.get_host_and_port()))
        yield api
        api.close()
    server.stop()


@pytest.fixture(scope="session")
def amazon_everywhere() -> Iterator[Amazon]:
    with amazon_server() as api:
        yield api


@pytest.fixture
def amazon(amazon_everywhere: Amazon) -> Iterator[Amazon]:
    """The server, with a front that does what a test tells it."""
    yield amazon_everywhere
    amazon_everywhere.rules.clear()
    amazon_everywhere.calls.clear()


@contextmanager
def kinesis_rig() -> Iterator[Rig]:
    with amazon_server() as api, tempfile.TemporaryDirectory() as folder:
        rig = Rig(
            *("kinesis://us-east-1", "kinesis://us-east-1", {"lease": 1}),
            options={"endpoint": api.kinesis_url},
            make=api.make_stream,
            project=Path(folder),
        )
        yield rig
        if rig.store:
            rig.store.close()


@contextmanager
def sqs_rig() -> Iterator[Rig]:
    with amazon_server() as api:
        yield Rig(
            *("sqs://us-east-1", "sqs://us-east-1", {"visibility": 1}),
            ordered=False,
            text_only=True,
            many=60,
            counts=True,
            options={"endpoint": api.url},
            make=lambda topic: api.client("sqs").create_queue(QueueName=topic),
        )


RIGS: dict[str, Callable[[], AbstractContextManager[Rig]]] = {
    "nats": nats_rig,
    "redis": redis_rig,
    "amqp": rabbitmq_rig,
    "kinesis": kinesis_rig,
    "sqs": sqs_rig,
    "kafka": kafka_rig,
}
"""Scheme to what makes its rig."""

SLOW = set(RIGS) - {"nats"}
"""Rigs of the slow run; the first one is enough for every run."""

PARAMS = [
    pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in sorted(RIGS)
]


@pytest.fixture(scope="session", params=PARAMS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Every broker in turn."""
    with RIGS[request.param]() as made:
        yield made
