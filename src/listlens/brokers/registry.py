"""Which brokers there are, what their addresses may say, and how to open one."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from listlens.brokers import rules
from listlens.brokers.address import Address, Option, parse_address
from listlens.brokers.trust import TLS
from listlens.core.errors import ConfigError, InputError, MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType

    from listlens.core.messages import Message
    from listlens.core.ports import Inlet, Outlet, Positions


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of broker.

    Args:
        name: as its makers write it.
        module: of `listlens.brokers`, with `inlet(address)`, `outlet(address)` and
            `look(address, most, wait_s)`; it may import its client at the top, since it is imported
            when one is opened.
        extra: of listlens, that installs the client.
        example: an address.
        rule: returns what is wrong with an address and a way, or an empty text.
        options: what may stand behind its `?`.
        positions: whether it keeps no account of its readers, so that its `inlet` and `look` take
            positions.
    """

    name: str
    module: str
    extra: str
    example: str
    rule: Callable[[Address, str], str]
    options: Mapping[str, Option]
    positions: bool = False


EVERY_INLET = {
    "priority": Option(
        "How urgent its events are that say nothing themselves: new or backfill.",
        "new",
        one_of=("new", "backfill"),
        way="in",
    )
}
"""Options of every source of events."""

EVERY_OUTLET = {
    "since": Option(
        "Where a topic that is new to this project begins: now, or beginning for all that is kept.",
        "now",
        one_of=("now", "beginning"),
        way="out",
    )
}
"""Options of every topic that is announced to."""

_REDIS = Kind(
    "Redis Streams",
    "redis_streams",
    "redis",
    "redis://127.0.0.1:6379/0/photos",
    rules.of_redis,
    {
        "group": Option("Consumer group, shared by all workers that name it.", "listlens",
                        way="in"),
        "claim_after": Option(
            "Seconds after which what another consumer has in hand is taken over.", 60.0, way="in",
            least=0.1,
        ),
        "field": Option(
            "Field of an entry that holds the event. Left out: the only one, or all as an object.",
            way="in",
        ),
        "maxlen": Option(
            "Entries that the stream keeps at least, older ones go; 0 keeps all.", 0.0, way="out"
        ),
        **TLS,
    },
)  # fmt: skip

_RABBITMQ = Kind(
    "RabbitMQ",
    "rabbitmq",
    "rabbitmq",
    "amqp://guest:${RABBITMQ_PASSWORD}@127.0.0.1:5672/photos",
    rules.of_rabbitmq,
    {
        "prefetch": Option(
            "Messages that a worker may have in hand.", 1000.0, way="in", least=1
        ),
        "exchange": Option(
            "Exchange to publish to, with the path as routing key; left out: straight to a queue.",
            way="out",
        ),
        **TLS,
    },
)  # fmt: skip
ENDPOINT = Option("Address of another server that speaks Amazon's API; Amazon's where left out.")

KINDS: dict[str, Kind] = {
    "nats": Kind(
        "NATS JetStream",
        "jetstream",
        "nats",
        "nats://127.0.0.1:4222/photos",
        rules.of_nats,
        {
            "stream": Option("Stream that holds the subject; found by itself where left out."),
            "durable": Option(
                "Durable consumer, shared by all workers that name it.", "listlens", way="in"
            ),
            "ack_wait": Option(
                "Seconds after which what was not acknowledged comes again.", 60.0, way="in",
                least=0.1,
            ),
            "max_ack_pending": Option(
                "Messages that all workers together may have in hand.", 10_000.0, way="in", least=1
            ),
            "creds": Option("Path of a file of credentials (user JWT and seed)."),
            "tls": Option(
                "Whether to encrypt: yes or no; yes where a file for it is named.", "no",
                one_of=("yes", "no"),
            ),
            **TLS,
        },
    ),
    "kafka": Kind(
        "Kafka protocol",
        "kafka",
        "kafka",
        "kafka://127.0.0.1:9092/photos",
        rules.of_kafka,
        {
            "group": Option("Consumer group, shared by all workers that name it; left out: one of "
                            "its own for each topic.", way="in"),
            "session_timeout": Option(
                "Seconds after which the partitions of a dead worker go to others.", 45.0, way="in",
                least=1,
            ),
            "security": Option(
                "How to connect.", "plaintext",
                one_of=("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"),
            ),
            "mechanism": Option(
                "How user and password are shown.", "PLAIN",
                one_of=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
            ),
            **TLS,
        },
    ),
    "amqp": _RABBITMQ,
    "amqps": replace(_RABBITMQ, name="RabbitMQ over TLS", example="amqps://h/shop/photos"),
    "redis": _REDIS,
    "rediss": replace(_REDIS, name="Redis Streams over TLS", example="rediss://h:6379/0/photos"),
    "kinesis": Kind(
        "Kinesis",
        "kinesis",
        "aws",
        "kinesis://eu-central-1/photos",
        rules.of_kinesis,
        {
            "endpoint": ENDPOINT,
            "group": Option(
                "Name of this reader: each has its own place in the stream.", "listlens", way="in"
            ),
            "start": Option(
                "Where a stream that was never read begins: at its oldest record, or now.",
                "oldest", one_of=("oldest", "newest"), way="in",
            ),
            "lease": Option(
                "Seconds after which another worker reads the shards of one that died.", 30.0,
                way="in", least=1,
            ),
        },
        positions=True,
    ),
    "sqs": Kind(
        "SQS",
        "sqs",
        "aws",
        "sqs://eu-central-1/photos",
        rules.of_sqs,
        {
            "endpoint": ENDPOINT,
            "visibility": Option(
                "Seconds after which what was not acknowledged comes again.", 120.0, way="in",
                least=1,
            ),
            "unwrap": Option(
                "What to take off a message: no, sns (notifications), or s3 (events of a bucket).",
                "no", one_of=("no", "sns", "s3"), way="in",
            ),
        },
    ),
}  # fmt: skip
"""Scheme of an address to the kind of broker."""


def parse(url: str, way: str) -> Address:
    """Read the address of a source ("in") or of a topic to announce to ("out"); no connection.

    Raises:
        ConfigError: it is wrong; says what is allowed.

    Example:
        >>> parse("nats://127.0.0.1:4222/photos?durable=shop", "in").text("durable")
        'shop'
    """
    every = EVERY_INLET if way == "in" else EVERY_OUTLET
    found = parse_address(url, {k: {**v.options, **every} for k, v in KINDS.items()}, way)
    if wrong := KINDS[found.scheme].rule(found, way):
        raise ConfigError(f"{found.shown}: {wrong}")
    return found


def require(url: str, way: str) -> Address:
    """Read an address, and make sure that the client it needs is installed.

    Raises:
        ConfigError: the address is wrong.
        MissingExtraError: the client is not installed.
    """
    address = parse(url, way)
    _module(address)
    return address


def open_inlet(url: str, positions: Positions | None = None) -> Inlet:
    """Connect to a source of messages.

    Args:
        url: its address.
        positions: where the project notes how far it read, for kinds that keep no account.

    Raises:
        ConfigError: the address is wrong.
        MissingExtraError: the client is not installed.
        BrokerError: the broker does not answer within some ten seconds, or refuses.
    """
    address = parse(url, "in")
    inlet: Inlet = _module(address).inlet(address, *_account(address, positions))
    return inlet


def look(url: str, most: int, wait_s: float, positions: Positions | None = None) -> list[Message]:
    """Return the next messages of a topic, and change as little there as its broker allows.

    Nothing is made: no stream, queue, group or consumer, and nothing is noted. NATS, Redis, Kafka
    and Kinesis are read beside the workers, from the first message that these have not
    acknowledged. RabbitMQ and SQS hand messages out and get them back at once; they count it.

    Args:
        url: its address.
        most: how many messages at most.
        wait_s: how long to wait for the first.
        positions: as in `open_inlet`; nothing is written there.

    Raises:
        NotFoundError: there is no such topic; names those there are, where the broker says.
        Others: as `open_inlet`.
    """
    address = parse(url, "in")
    found: list[Message] = _module(address).look(
        address, most, wait_s, *_account(address, positions)
    )
    return found


def open_outlet(url: str) -> Outlet:
    """Connect to a topic that messages are sent to; raises like `open_inlet`."""
    address = parse(url, "out")
    outlet: Outlet = _module(address).outlet(address)
    return outlet


def _account(address: Address, positions: Positions | None) -> tuple[Positions, ...]:
    """What the module of a kind takes beside the address."""
    if not KINDS[address.scheme].positions:
        return ()
    if positions is None:
        raise InputError(f"{address.shown} is read with the positions of a project, and has none")
    return (positions,)


def _module(address: Address) -> ModuleType:
    kind = KINDS[address.scheme]
    try:
        return importlib.import_module(f"listlens.brokers.{kind.module}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("listlens."):
            raise
        raise MissingExtraError(kind.name, kind.extra) from error
