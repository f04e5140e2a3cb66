"""A rig for each broker: the real server of this machine, and how to make topics on it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from listlens.brokers.registry import open_inlet, open_outlet
from listlens.core.errors import BrokerError
from listlens.core.messages import Message, Outgoing
from listlens.core.ports import Inlet


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
        longest_s: until a message that is there was received at the latest.
    """

    at: str
    nowhere: str
    quick: dict[str, Any] = field(default_factory=dict)
    ordered: bool = True
    clears: bool = False
    most: int = 500
    longest_s: float = 5.0
    topics: list[str] = field(default_factory=list)

    def topic(self) -> str:
        """Name a topic that is new."""
        self.topics.append(f"t{uuid.uuid4().hex[:12]}")
        return self.topics[-1]

    def url(self, topic: str, **options: Any) -> str:
        query = "&".join(f"{name}={value}" for name, value in options.items())
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
        open_inlet(rig.url(topic)).close()
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


RIGS: dict[str, Callable[[], AbstractContextManager[Rig]]] = {"nats": nats_rig}
"""Scheme to what makes its rig."""


@pytest.fixture(scope="session", params=sorted(RIGS))
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Every broker in turn."""
    with RIGS[request.param]() as made:
        yield made
