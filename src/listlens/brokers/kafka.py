"""The Kafka protocol: a consumer group in, an idempotent producer out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.admin import TopicMetadata

from listlens.brokers import trust
from listlens.brokers.address import Address, absent
from listlens.core.errors import BrokerError
from listlens.core.messages import Message, Outgoing

log = logging.getLogger("listlens.brokers")

T = TypeVar("T")

ANSWER_S = 10.0
"""How long a cluster may take to answer."""

LIST_S = 2.0
"""How long one question for topics waits, before it is looked whether anybody is there at all."""

BEAT_MS = 3000
"""How often a consumer says that it lives, and hears that others come and go: Kafka's default."""

JOIN_S = 10.0
"""How long a group may take to let a consumer in, beside the session of one that was killed: until
that ends the group waits for it, and lets nobody in."""

SEND_S = 25.0
"""How long a batch may take to be confirmed."""

GATHER_S = 0.01
"""How long a batch waits for more messages to come after its first."""

MADE_S = 5.0
"""How long a topic may take to come into being."""

FILES = {
    "ca": "ssl.ca.location",
    "cert": "ssl.certificate.location",
    "key": "ssl.key.location",
}
"""Options of TLS to the client's own."""

UNREADY = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE}

MOVED_ON = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError._ASSIGNMENT_LOST,
    KafkaError._STATE,
}
"""A partition was given to another consumer before it was committed here: its messages come again,
there, and are recognised by the ids of their events."""


class _Connection:
    """What both ends share: settings, the topic, and errors that say where."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._down = self._met = ""

    def _settings(self) -> dict[str, Any]:
        address = self._address
        security = address.text("security")
        found: dict[str, Any] = {
            "bootstrap.servers": address.place,
            "client.id": "listlens",
            "security.protocol": security,
            "socket.connection.setup.timeout.ms": 5000,
            "error_cb": self._note,
            "logger": self,
            "log_level": 4,
        }
        if security.startswith("sasl"):
            found |= {
                "sasl.mechanism": address.text("mechanism"),
                "sasl.username": address.user,
                "sasl.password": address.password,
            }
        if security.endswith("ssl"):
            trust.context(address)  # says what is wrong with the files
            named = trust.files(address)
            named.setdefault("key", named.get("cert", ""))
            found |= {FILES[name]: path for name, path in named.items() if path}
        return found

    def _reading(self) -> dict[str, Any]:
        """Settings of whoever reads; offsets are committed by hand, if at all."""
        return {
            **self._settings(),
            "group.id": self._address.text("group") or f"listlens.{self._address.path}",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
        }

    def _note(self, error: KafkaError) -> None:
        """The client connects anew by itself; that nobody answers has to be told all the same."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._down = self._met or error.str()
        else:
            self._met = error.str()
        if error.code() == KafkaError._AUTHENTICATION:
            self._down = error.str()
        log.debug("kafka: %s", error)

    def log(self, level: int, form: str, *said: str) -> None:
        """Log what the client says, save each try to connect: `_note` is told of those too."""
        log.log(logging.DEBUG if "FAIL" in said else level, form, *said)

    def _ask(self, call: Callable[..., T], *args: Any, **named: Any) -> T:
        try:
            return call(*args, **named)
        except KafkaException as error:
            raise self._broken(error.args[0]) from error

    def _is_one(self, one: KafkaMessage) -> bool:
        """Whether it is a message, and not news of the end of a partition."""
        error = one.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise self._broken(error)
        return error is None

    def _broken(self, why: Any, *, connecting: bool = False) -> BrokerError:
        text = why.str() if isinstance(why, KafkaError) else str(why)
        said = (text or self._down).partition(" (after ")[0]
        return trust.refused(self._address, said, connecting=connecting)

    def _topics(self, client: Any, *name: str) -> dict[str, TopicMetadata]:
        """Ask what topics there are, before anything is read; ends early where all hosts refuse."""
        until = time.monotonic() + ANSWER_S
        while True:
            try:
                return dict(client.list_topics(*name, timeout=LIST_S).topics)
            except KafkaException as error:
                client.poll(0)  # lets it tell what it met
                if self._down or time.monotonic() >= until:
                    raise self._broken(self._met or error.args[0], connecting=True) from error

    def _require_topic(self, client: Any) -> None:
        """Wait until the topic is there; a cluster that makes topics by itself takes a moment."""
        name, until = self._address.path, time.monotonic() + MADE_S
        while True:
            why = self._topics(client, name)[name].error
            if why is None:
                return
            if why.code() not in UNREADY or time.monotonic() > until:
                raise self._broken(f"{why.str()} The cluster makes no topics by itself: make it.")
            time.sleep(0.1)


class KafkaInlet(_Connection):
    """See `Inlet` of `core/ports.py`. Consumers of one group share the partitions of a topic.

    An offset is committed only after the commit of what came before it. Nothing is ever sought
    back, so that a message that cannot be used comes once, and not in a loop.
    """

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        session_ms = int(address.number("session_timeout") * 1000)
        self._consumer = Consumer(
            {
                **self._reading(),
                "allow.auto.create.topics": True,
                "session.timeout.ms": session_ms,
                "heartbeat.interval.ms": max(100, min(BEAT_MS, session_ms // 10)),
                "max.poll.interval.ms": max(300_000, session_ms),
            }
        )
        self._held: dict[int, set[int]] = {}
        self._early: list[KafkaMessage] = []
        self._joined = False
        try:
            self._require_topic(self._consumer)
            self._join()
        except BaseException:
            self.close()
            raise

    def receive(self, most: int, wait_s: float) -> list[Message]:
        """See the port."""
        self._down = ""
        first = self._early.pop() if self._early else self._ask(self._consumer.poll, wait_s)
        if first is None:
            if self._down:
                raise self._broken(self._down)
            return []
        rest = self._ask(self._consumer.consume, most - 1, GATHER_S) if most > 1 else []
        found = [self._message(one) for one in [first, *rest]]
        return [one for one in found if one is not None]

    def _join(self) -> None:
        """Enter the group, whose coordinator says which partitions are ours.

        At once, so that a `receive` that brings nothing means that there is nothing.
        """
        self._ask(
            self._consumer.subscribe,
            [self._address.path],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._revoked,
        )
        most_s = self._address.number("session_timeout") + JOIN_S
        until = time.monotonic() + most_s
        while not self._joined:
            if time.monotonic() > until or self._down:
                why = self._down or f"the group let nobody in for {most_s:g} s"
                raise self._broken(why)
            early = self._ask(self._consumer.poll, 0.1)
            if early is not None:  # at most one: it came with the assignment
                self._early.append(early)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._joined = True

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for one in partitions:
            self._held.pop(one.partition, None)

    def _message(self, one: KafkaMessage) -> Message | None:
        if not self._is_one(one):
            return None
        partition, offset = one.partition(), one.offset()
        assert partition is not None
        assert offset is not None
        self._held.setdefault(partition, set()).add(offset)
        return _said(one)

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """See the port. Of each partition everything before the oldest one in hand is committed."""
        done: dict[int, int] = {}
        for message in messages:
            partition, offset = message.receipt
            self._held.get(partition, set()).discard(offset)
            done[partition] = max(done.get(partition, 0), offset + 1)
        offsets = [
            TopicPartition(self._address.path, partition, min(self._held.get(partition) or {upto}))
            for partition, upto in done.items()
        ]
        try:
            if offsets:
                self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() not in MOVED_ON:
                raise self._broken(error.args[0]) from error
            log.info("%s: %s; the same comes again", self._address.shown, error.args[0].str())

    def lag(self) -> int | None:
        """See the port."""
        name = self._address.path
        about = self._ask(self._consumer.list_topics, name, timeout=ANSWER_S).topics[name]
        parts = [TopicPartition(name, partition) for partition in about.partitions]
        behind = 0
        for one in self._ask(self._consumer.committed, parts, timeout=ANSWER_S):
            ends = self._ask(self._consumer.get_watermark_offsets, one, timeout=ANSWER_S)
            low, high = ends
            at = low if one.offset == OFFSET_INVALID or one.offset < low else one.offset
            behind += max(0, high - at)
        return behind

    def close(self) -> None:
        """See the port."""
        try:
            self._consumer.close()
        except (KafkaException, RuntimeError) as error:
            log.debug("closing: %s", error)


class KafkaLook(_Connection):
    """Reads a topic beside its group: never enters it, and commits nothing."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._consumer = Consumer({**self._reading(), "allow.auto.create.topics": False})

    def messages(self, most: int, wait_s: float) -> list[Message]:
        """Return what the group has not committed, or the oldest there is."""
        name = self._address.path
        # All of them are listed: asked for one, some clusters make it.
        there = self._topics(self._consumer)
        if name not in there:
            others = [one for one in there if not one.startswith("__")]
            raise absent(self._address, "no such topic", others)
        parts = [TopicPartition(name, partition) for partition in there[name].partitions]
        for one in (noted := self._ask(self._consumer.committed, parts, timeout=ANSWER_S)):
            one.offset = OFFSET_BEGINNING if one.offset == OFFSET_INVALID else one.offset
        self._ask(self._consumer.assign, noted)
        first = self._ask(self._consumer.consume, 1, wait_s)
        if not first and self._down:
            raise self._broken(self._down)
        rest = self._ask(self._consumer.consume, most - 1, GATHER_S) if first and most > 1 else []
        return [_said(one) for one in [*first, *rest] if self._is_one(one)]

    def close(self) -> None:
        """End."""
        self._consumer.close()


class KafkaOutlet(_Connection):
    """See `Outlet` of `core/ports.py`. Every replica in sync has confirmed what was sent."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._producer = Producer(
            {
                **self._settings(),
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 5,
                "delivery.timeout.ms": int((SEND_S - 5) * 1000),
            }
        )
        try:
            self._require_topic(self._producer)
        except BaseException:
            self.close()
            raise

    def send(self, messages: Sequence[Outgoing]) -> None:
        """See the port."""
        wrong: list[KafkaError] = []

        def confirmed(error: KafkaError | None, _: KafkaMessage) -> None:
            if error is not None:
                wrong.append(error)

        for one in messages:
            while True:
                try:
                    self._producer.produce(
                        self._address.path,
                        value=one.body,
                        key=one.key.encode(),
                        headers={"id": one.message_id.encode()},
                        on_delivery=confirmed,
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
                except KafkaException as error:
                    raise self._broken(error.args[0]) from error
        left = self._producer.flush(SEND_S)
        if wrong or left:
            self._producer.purge()
            raise self._broken(wrong[0] if wrong else f"{left} messages were not confirmed")

    def close(self) -> None:
        """See the port."""
        # It ends, with its threads, once nobody holds it. It holds `_note`, and so this: both would
        # stay, and try to connect, until the garbage collector comes.
        producer = self.__dict__.pop("_producer", None)
        if producer is not None:
            producer.purge()
            producer.flush(1.0)


def inlet(address: Address) -> KafkaInlet:
    """Connect to a topic whose messages are read."""
    return KafkaInlet(address)


def outlet(address: Address) -> KafkaOutlet:
    """Connect to a topic that is written to."""
    return KafkaOutlet(address)


def look(address: Address, most: int, wait_s: float) -> list[Message]:
    """Look at a topic; see `listlens.brokers.registry.look`."""
    with closing(KafkaLook(address)) as looking:
        return looking.messages(most, wait_s)


def _said(one: KafkaMessage) -> Message:
    key, value = one.key(), one.value()
    shown = key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key or "")
    body = value if isinstance(value, bytes) else b""  # a tombstone of a compacted topic
    return Message(body, (one.partition(), one.offset()), key=shown)
