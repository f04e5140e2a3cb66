"""Topics at brokers, each in a thread: events come in, and what is announced goes out.

The project's inbox and outbox stay what is durable. A message is acknowledged after the commit of
its event, and a topic's cursor moves after the broker has confirmed: so both are at least once, and
the ids of events and announcements make the effect once.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Any

from listlens.brokers.registry import open_inlet, open_outlet, require
from listlens.core.errors import ListlensError, Retryable
from listlens.core.messages import Message, Outgoing
from listlens.pipeline.event_door import Let, let_in, read_body
from listlens.pipeline.events import wrong
from listlens.store.database import to_json
from listlens.store.topics import Way
from listlens.stream.retrying import Backoff

if TYPE_CHECKING:
    from listlens.core.ports import Inlet, Outlet
    from listlens.core.stream_config import EventsConfig
    from listlens.store.open import Store

log = logging.getLogger("listlens.brokers")

BATCH = 500
"""Messages in one commit."""

RECEIVE_S = 1.0
"""How long a reader waits for messages before it looks whether it is to stop."""

FULL_S = 0.5
"""How often a reader looks whether the inbox has room again."""

LET_GO_S = 60.0
"""A reader whose inbox is full for so long leaves its broker: Kafka hands the partitions of whoever
does not ask for five minutes to others, and RabbitMQ closes what holds messages for thirty."""

POLL_S = 0.2
"""How often an announcer looks whether something was announced: one query."""

TELL_S = 10.0
"""How often it is written down how a topic is."""

LEASE_S = 30.0
"""A topic that a dead process announced to is taken over after this; longer than a batch takes."""

MOST_COUNTED = 20_000
"""Announcements that are counted one by one; of more the distance in the outbox is taken."""

LOG_S = 60.0
"""What is wrong is logged so often."""


class TopicLoop:
    """One topic: steps for ever, and after trouble a new connection and steps again.

    Args:
        store: of the project; used by several threads.
        url: address of the topic.
        way: "in" or "out".
        clock: seconds that only grow.
    """

    def __init__(self, store: Store, url: str, way: Way, clock: Callable[[], float]) -> None:
        self.address = require(url, way)
        self.name = self.address.shown
        self._store, self._url, self.way, self._clock = store, url, way, clock
        self._backoff = Backoff(0.5, 30.0, 1, random.random)
        self._end: Any = None
        self._trouble = ""
        self._told_s = self._logged_s = float("-inf")

    idle_s = 0.0
    """How long to wait after a step that found nothing."""

    def step(self) -> bool:
        """Handle a batch; return whether there may be more at once."""
        raise NotImplementedError

    def finish(self) -> None:
        """Do what can be done quickly before the end."""

    def lag(self) -> int | None:
        """How many messages wait."""
        raise NotImplementedError

    def run(self, stop: threading.Event) -> None:
        """Step until told to stop; whatever goes wrong is told, and tried again."""
        failures = 0
        while not stop.is_set():
            try:
                more = self.step()
                self._tell("")
                failures = 0
            except Exception as error:
                failures += 1
                self._note(error)
                self.close()
                stop.wait(self._backoff.seconds(failures))
                continue
            if not more and self.idle_s:
                stop.wait(self.idle_s)
        self.finish()
        self.close()

    @property
    def connected(self) -> bool:
        """Whether the broker was reached, and nothing was wrong since."""
        return self._end is not None

    def close(self) -> None:
        """Close the connection; the next step makes another."""
        end, self._end = self._end, None
        if end is not None:
            end.close()

    def _note(self, error: Exception) -> None:
        """Log what is wrong, once a minute, and write it down for pages and probes."""
        self._trouble = str(error)
        if self._clock() - self._logged_s >= LOG_S:
            self._logged_s = self._clock()
            unexpected = None if isinstance(error, ListlensError | Retryable) else error
            said = str(error) if self.name in str(error) else f"{self.name}: {error}"
            log.warning("%s. Trying again.", said.rstrip("."), exc_info=unexpected)
        try:
            self._tell(self._trouble)
        except Exception as other:
            log.debug("%s: could not be written down: %s", self.name, other)

    def _tell(self, trouble: str) -> None:
        """Write down how the topic is, now and then, and at once when trouble is over."""
        over = bool(self._trouble) and not trouble
        if over:
            log.warning("%s: goes on.", self.name)
            self._trouble, self._logged_s = "", float("-inf")
        if over or trouble or (self._clock() - self._told_s >= TELL_S and self._end is not None):
            lag = None if trouble or self._end is None else self.lag()
            self._store.topics.tell(self.name, self.way, lag=lag, trouble=trouble)
            self._told_s = self._clock()


class Reader(TopicLoop):
    """Lets the messages of a topic into the inbox.

    Args:
        store: of the project.
        url: address of the topic.
        config: `[events]`.
        max_waiting: while more events wait, nothing is read.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        store: Store,
        url: str,
        config: EventsConfig,
        max_waiting: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(store, url, "in", clock)
        self._config, self._max_waiting = config, max_waiting
        self.came: Callable[[], None] = lambda: None
        self._full_s = 0.0
        self._priority = self.address.text("priority")

    def step(self) -> bool:
        """Let a batch in and acknowledge it; nothing while the inbox is full."""
        if self.full():
            self._full_s += FULL_S
            if self._full_s >= LET_GO_S:
                self.close()
            time.sleep(FULL_S)
            return True
        self._full_s = 0.0
        inlet = self._open()
        messages = inlet.receive(BATCH, RECEIVE_S)
        if messages:
            self._let_in(messages)
            inlet.acknowledge(messages)
            self.came()
        return bool(messages)

    def full(self) -> bool:
        """Whether so many events wait that none is read."""
        return self._store.events.backed_up(self._max_waiting)

    def _open(self) -> Inlet:
        if self._end is None:
            self._end = open_inlet(self._url, self._store.positions)
        inlet: Inlet = self._end
        return inlet

    def _let_in(self, messages: list[Message]) -> None:
        """Commit what they say, all at once; where that fails for good, one by one."""
        try:
            self._commit(messages)
        except Exception as error:
            if isinstance(error, Retryable):
                raise
            log.error("%s: a batch could not be let in; one by one now", self.name, exc_info=error)
            for message in messages:
                self._commit_alone(message)

    def _commit(self, messages: list[Message]) -> None:
        now = self._store.clock()
        found = chain.from_iterable(
            read_body(message.body, self._config, now, priority=self._priority)
            for message in messages
        )
        with self._store.together():
            self._count(len(messages), let_in(self._store, found))

    def _commit_alone(self, message: Message) -> None:
        try:
            self._commit([message])
        except Exception as error:
            if isinstance(error, Retryable):
                raise
            said = message.body[:2000].decode("utf-8", "replace")
            dead = wrong(said, f"could not be kept: {error}", self._store.clock())
            with self._store.together():
                self._count(1, let_in(self._store, [dead]))

    def _count(self, n: int, let: Let) -> None:
        counts = {"duplicates": let.duplicates, "dead": let.dead}
        self._store.topics.count(self.name, "in", n, **counts)

    def lag(self) -> int | None:
        """How many messages of the topic are not acknowledged."""
        return self._open().lag()


class Announcer(TopicLoop):
    """Sends what is announced to a topic, in order, from where it was confirmed last.

    Args:
        store: of the project.
        url: address of the topic.
        owner: name of this process; one at a time announces to a topic.
        clock: seconds that only grow.
    """

    idle_s = POLL_S

    def __init__(
        self,
        store: Store,
        url: str,
        owner: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(store, url, "out", clock)
        self._owner = owner
        self._cursor: int | None = None
        self._leased_s = float("-inf")

    def step(self) -> bool:
        """Send a batch, and move the cursor once the broker has confirmed it."""
        if not self.mine():
            return False
        assert self._cursor is not None
        outlet = self._open()
        found, after = self._store.outbox.read(self._cursor, limit=BATCH)
        if not found:
            return False
        outlet.send(
            [
                Outgoing(to_json(dict(one.body)).encode(), one.listing_id, one.event_key)
                for one in found
            ]
        )
        if not self._store.topics.move(self.name, self._owner, after, len(found)):
            self._cursor = None  # the lease ran out: whoever has it now sends these again
            return False
        self._cursor = after
        return len(found) == BATCH

    def finish(self) -> None:
        """Send what the worker announced last; where that fails, the next process does."""
        try:
            while self._end is not None and self.step():
                pass
        except Exception as error:
            log.warning("%s: the rest is sent by the next process: %s", self.name, error)

    def mine(self) -> bool:
        """Whether this process has the topic; asks for it now and then."""
        if self._clock() - self._leased_s >= LEASE_S / 4:
            since = self.address.text("since")
            self._cursor = self._store.topics.lease(self.name, self._owner, LEASE_S, since=since)
            self._leased_s = self._clock() - (0 if self._cursor is not None else LEASE_S / 8)
        return self._cursor is not None

    def _open(self) -> Outlet:
        if self._end is None:
            self._end = open_outlet(self._url)
        outlet: Outlet = self._end
        return outlet

    def lag(self) -> int | None:
        """How many announcements the topic was not told of; of very many about so many."""
        if self._cursor is None:
            return None
        behind = self._store.outbox.last() - self._cursor
        return behind if behind > MOST_COUNTED else self._store.outbox.count(self._cursor)

    def close(self) -> None:
        """Close the connection and give the topic back: another process may reach the broker."""
        super().close()
        self._leased_s = float("-inf")
        try:
            self._store.topics.release(self._owner, self.name)
        except Exception as error:
            log.debug("%s: stays leased for a while: %s", self.name, error)
