"""A broker of one's own for `faults.py`: it keeps what it confirmed, and is killed too."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from listlens.brokers.registry import open_inlet, open_outlet
from listlens.core.errors import BrokerError
from listlens.core.messages import Outgoing

KINDS = ("nats", "redis")


class Broker(Protocol):
    """Where events come from: `source`, and where announcements go: `results`."""

    source: str
    results: tuple[str, ...]
    ours: bool
    killed: int

    def send(self, said: list[dict[str, Any]], first: int) -> None: ...

    def left(self) -> int: ...

    def told(self) -> list[str]: ...

    def kill_and_start(self, dice: random.Random) -> None: ...

    def stop(self) -> None: ...


class GivenSource:
    """A topic of a broker that others run: nothing is announced to it, and nobody kills it."""

    results: tuple[str, ...] = ()
    ours, killed = False, 0

    def __init__(self, source: str) -> None:
        self.source = source
        place, _, query = source.partition("?")
        options = "&".join(o for o in query.split("&") if o.startswith("endpoint="))
        self._topic = f"{place}?{options}".rstrip("?")

    def send(self, said: list[dict[str, Any]], first: int) -> None:
        outlet = open_outlet(self._topic)
        outlet.send([Outgoing(json.dumps(s).encode(), s["listing_id"], uuid4().hex) for s in said])
        outlet.close()

    def left(self) -> int:
        return 0

    def told(self) -> list[str]:
        return []

    def kill_and_start(self, dice: random.Random) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        pass


class OwnBroker:
    """A server on a free port with its files below a folder.

    Args:
        kind: of KINDS.
        folder: for its files.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self._kind, self._folder = kind, folder
        folder.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        at = f"{kind}://127.0.0.1:{self._port}{'/0' if kind == 'redis' else ''}"
        again = "claim_after=5" if kind == "redis" else "ack_wait=5"
        self.source, self.results = f"{at}/photos?{again}", (f"{at}/results",)
        self._topic = f"{at}/photos"
        self.ours, self.killed = True, 0
        self.start()

    def start(self) -> None:
        """Start it, and wait until it takes calls."""
        host, port, folder = "127.0.0.1", str(self._port), str(self._folder)
        if self._kind == "nats":
            command = ["nats-server", "-a", host, "-p", port, "-js", "-sd", folder]
        else:
            command = ["redis-server", "--bind", host, "--port", port, "--dir", folder]
            command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        self._patiently(lambda: open_outlet(self._topic).close())

    def kill(self) -> None:
        """Kill it; what it wrote is with the operating system, whether or not it is on the disk."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.killed += 1

    def stop(self) -> None:
        """End it for good."""
        self._process.terminate()
        self._process.wait()

    def kill_and_start(self, dice: random.Random) -> None:
        """Kill it, leave it away for a moment, start it again."""
        self.kill()
        time.sleep(dice.uniform(0.1, 1.5))
        self.start()

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

    def left(self) -> int:
        """How many messages are not acknowledged."""
        inlet = open_inlet(self.source)
        try:
            return inlet.lag() or 0
        finally:
            inlet.close()

    def told(self) -> list[str]:
        """The ids of all that was announced to the topic of results, in order."""
        inlet = open_inlet(self.results[0])
        found: list[str] = []
        try:
            while messages := inlet.receive(500, 2.0):
                found += [json.loads(one.body)["id"] for one in messages]
                inlet.acknowledge(messages)
        finally:
            inlet.close()
        return found

    @staticmethod
    def _patiently(call: Any) -> None:
        until = time.monotonic() + 30
        while True:
            try:
                call()
                return
            except BrokerError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
