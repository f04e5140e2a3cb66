"""A broker of one's own for `faults.py`: it keeps what it confirmed, and is killed too."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from broker_servers import SERVERS

from listlens.brokers.registry import open_inlet, open_outlet
from listlens.core.errors import BrokerError
from listlens.core.messages import Outgoing

T = TypeVar("T")

KINDS = tuple(SERVERS)

QUIET_S = 5.0
"""A topic that brought nothing for so long has nothing left."""


class Broker(Protocol):
    """Where events come from: `source`, and where announcements go: `results`."""

    source: str
    results: tuple[str, ...]
    ours: bool
    killed: int
    life_s: float

    def send(self, said: list[dict[str, Any]], first: int) -> None: ...

    def worker_died(self) -> None: ...

    def left(self) -> int: ...

    def told(self) -> list[str]: ...

    def kill_and_start(self, dice: random.Random) -> None: ...

    def stop(self) -> None: ...


class GivenSource:
    """A topic of a broker that others run: nothing is announced to it, and nobody kills it."""

    results: tuple[str, ...] = ()
    ours, killed, life_s = False, 0, 3.0

    def __init__(self, source: str) -> None:
        self.source = source
        place, _, query = source.partition("?")
        options = "&".join(o for o in query.split("&") if o.startswith("endpoint="))
        self._topic = f"{place}?{options}".rstrip("?")

    def send(self, said: list[dict[str, Any]], first: int) -> None:
        outlet = open_outlet(self._topic)
        outlet.send([Outgoing(json.dumps(s).encode(), s["listing_id"], uuid4().hex) for s in said])
        outlet.close()

    def worker_died(self) -> None:
        pass

    def left(self) -> int:
        return 0

    def told(self) -> list[str]:
        return []

    def kill_and_start(self, dice: random.Random) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        pass


@dataclass(frozen=True)
class Manner:
    """How a kind of broker is addressed.

    Args:
        at: address of a topic, with places for port and topic.
        again: option with which what a dead worker held comes again after a few seconds.
        life_s: how long a life lasts at most: long enough to be let in and read something.
    """

    at: str
    again: str = ""
    life_s: float = 3.0


MANNERS = {
    "nats": Manner("nats://127.0.0.1:{port}/{topic}", "ack_wait=5"),
    "redis": Manner("redis://127.0.0.1:{port}/0/{topic}", "claim_after=5"),
    "rabbitmq": Manner("amqp://127.0.0.1:{port}/{topic}"),
    # A group waits for its dead until their session ends.
    "kafka": Manner("kafka://127.0.0.1:{port}/{topic}", "session_timeout=6", 12.0),
}


class OwnBroker:
    """A server on a free port with its files below a folder.

    Args:
        kind: of KINDS.
        folder: for its files.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self._server = SERVERS[kind](folder)
        manner = MANNERS[kind]
        self._topic, results = (
            manner.at.format(port=self._server.port, topic=topic) for topic in ("photos", "results")
        )
        self.results = (results,)
        self._read = f"{results}?{manner.again}".rstrip("?")
        self.source = f"{self._topic}?{manner.again}".rstrip("?")
        self.ours, self.killed, self.life_s = True, 0, manner.life_s
        self._wait()

    def _wait(self) -> None:
        """Wait until it takes calls."""
        self._patiently(lambda: open_outlet(self._topic).close())

    def stop(self) -> None:
        """End it for good."""
        self._server.stop()

    def kill_and_start(self, dice: random.Random) -> None:
        """Kill it, leave it away for a moment, start it again."""
        self._server.kill()
        self.killed += 1
        time.sleep(dice.uniform(0.1, 1.5))
        self._server.start()
        self._wait()

    def send(self, said: list[dict[str, Any]], first: int) -> None:
        """Send events, each until it is confirmed; `first` is the number of the first one."""
        messages = [
            Outgoing(json.dumps(one).encode(), str(one["listing_id"]), str(first + i))
            for i, one in enumerate(said)
        ]

        def go() -> None:
            outlet = open_outlet(self._topic)
            try:
                outlet.send(messages)
            finally:
                outlet.close()

        self._patiently(go)

    def worker_died(self) -> None:
        """Tell it that a worker was killed; see `Server.forget_dead`."""
        self._server.forget_dead()

    def left(self) -> int:
        """How many messages are not acknowledged."""

        def ask() -> int:
            inlet = open_inlet(self.source)
            try:
                return inlet.lag() or 0
            finally:
                inlet.close()

        return self._patiently(ask)

    def told(self) -> list[str]:
        """The ids of all that was announced to the topic of results, in order."""
        inlet = self._patiently(lambda: open_inlet(self._read))
        found: list[str] = []
        try:
            while messages := inlet.receive(500, QUIET_S):
                found += [json.loads(one.body)["id"] for one in messages]
                inlet.acknowledge(messages)
        finally:
            inlet.close()
        return found

    @staticmethod
    def _patiently(call: Callable[[], T]) -> T:
        until = time.monotonic() + 90
        while True:
            try:
                return call()
            except BrokerError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
