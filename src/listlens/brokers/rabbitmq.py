"""RabbitMQ: a durable queue in, confirmed publishing out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from contextlib import closing
from typing import Any, TypeVar

import aio_pika
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractExchange,
    AbstractIncomingMessage,
    AbstractQueue,
    DeliveryMode,
)
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity

from listlens.brokers import trust
from listlens.brokers.address import Address, absent
from listlens.brokers.loop import wait_for
from listlens.core.errors import BrokerError
from listlens.core.messages import Message, Outgoing

log = logging.getLogger("listlens.brokers")

T = TypeVar("T")

CONNECT_S = 5.0
ANSWER_S = 10.0
"""How long RabbitMQ may take to connect, and to answer anything else."""

GATHER_S = 0.01
"""How long a batch waits for more messages to come after its first."""

LOOK_EVERY_S = 0.1
"""How often who only looks asks whether a message came."""

IN_FLIGHT = 500
"""Messages published at once that are not confirmed yet."""

logging.getLogger("aiormq.connection").addFilter(
    # It logs each try to connect, and a connection that is lost with a stack: what it raises says
    # the same, and is told once a minute.
    lambda record: record.levelno < logging.ERROR and not record.exc_info
)

QUORUM: dict[str, Any] = {"x-queue-type": "quorum"}
"""A queue that is made is kept on disk, and on several nodes where there are."""

UNLIMITED_SINCE = (4, 0)
"""From this version on RabbitMQ throws a message away that was delivered 20 times, unless its queue
says otherwise: every worker that is stopped gives back what it has, which counts."""


class _Closing(aio_pika.Connection):
    """Is closed where it could not connect; the library leaves that to the garbage collector."""

    async def connect(self, timeout: float | None = None) -> None:
        try:
            await super().connect(timeout)
        except BaseException:
            await self.close()
            raise


class _Connection:
    """What both ends share: a connection with a channel, and errors that say where."""

    _channel: AbstractChannel

    def __init__(self, address: Address) -> None:
        self._address = address
        vhost, _, self._name = address.path.rpartition("/")
        self._vhost = vhost or "/"
        self._connection: AbstractConnection = self._run(self._connect(), connecting=True)
        try:
            self._run(self._open_channel())
        except BaseException:
            self.close()
            raise

    async def _connect(self) -> AbstractConnection:
        address = self._address
        tls = address.scheme == "amqps"
        host, port = address.host(5671 if tls else 5672)
        return await aio_pika.connect(
            host=host,
            port=port,
            login=address.user or "guest",
            password=address.password or "guest",
            virtualhost=self._vhost,
            ssl=tls,
            ssl_context=trust.context(address) if tls else None,
            timeout=CONNECT_S,
            client_properties={"connection_name": "listlens"},
            connection_class=_Closing,
        )

    async def _open_channel(self) -> None:
        self._channel = await self._connection.channel(on_return_raises=True)

    async def _queue(self) -> AbstractQueue:
        """The queue; one is made where there is none. One that is there is used as it is."""
        try:
            return await self._channel.declare_queue(self._name, passive=True)
        except ChannelNotFoundEntity:
            await self._open_channel()  # the broker has closed the other
            arguments = QUORUM | ({"x-delivery-limit": -1} if self._limits() else {})
            log.warning("%s: there was no such queue; it was made, empty", self._address.shown)
            return await self._channel.declare_queue(self._name, durable=True, arguments=arguments)

    def _limits(self) -> bool:
        """Whether the broker gives messages up after some deliveries unless it is told not to."""
        transport: Any = self._connection.transport
        said = transport.connection.server_properties.get("version", "")
        text = said.decode() if isinstance(said, bytes) else str(said)
        version = tuple(int(part) for part in text.split(".")[:2] if part.isdecimal())
        return version >= UNLIMITED_SINCE

    def _run(
        self, work: Coroutine[Any, Any, T], most_s: float = ANSWER_S, *, connecting: bool = False
    ) -> T:
        try:
            return wait_for(work, most_s)
        except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
            raise trust.refused(self._address, error, connecting=connecting) from error

    def close(self) -> None:
        """See the port."""
        try:
            self._run(self._connection.close())
        except BrokerError as error:
            log.debug("closing: %s", error)


class RabbitInlet(_Connection):
    """See `Inlet` of `core/ports.py`. All consumers of a queue share its messages.

    Nothing is ever rejected or requeued by hand: what cannot be used is a dead letter of the
    project, and acknowledged here. What is not acknowledged returns to the queue as the channel
    closes, in its old place.
    """

    def __init__(self, address: Address) -> None:
        self._came: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._held = 0
        self._consumes = self._cancelled = False
        super().__init__(address)

    async def _open_channel(self) -> None:
        await super()._open_channel()
        await self._channel.set_qos(prefetch_count=int(self._address.number("prefetch")))

    async def _consume(self) -> None:
        queue = await self._queue()
        channel = await self._channel.get_underlay_channel()
        channel.on_consumer_cancel_callbacks.add(self._note_cancelled)
        await queue.consume(self._came.put)
        self._consumes = True

    def _note_cancelled(self, *_: object) -> None:
        """The broker gives this consumer nothing more, as when its queue is deleted."""
        self._cancelled = True

    def receive(self, most: int, wait_s: float) -> list[Message]:
        """See the port."""
        if not self._consumes:
            self._run(self._consume(), 2 * ANSWER_S)
        got = self._run(self._receive(most, wait_s), wait_s + ANSWER_S)
        self._held += len(got)
        return [Message(m.body, m, m.routing_key or "", _deliveries(m)) for m in got]

    async def _receive(self, most: int, wait_s: float) -> list[AbstractIncomingMessage]:
        found: list[AbstractIncomingMessage] = []
        try:
            found.append(await asyncio.wait_for(self._came.get(), wait_s))
        except TimeoutError:
            if self._channel.is_closed or self._cancelled:
                what = "the queue was deleted" if self._cancelled else "the connection was lost"
                raise ConnectionResetError(what) from None
        if found and self._came.qsize() < most - 1:
            await asyncio.sleep(GATHER_S)
        while len(found) < most and not self._came.empty():
            found.append(self._came.get_nowait())
        return found

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """See the port."""
        self._run(self._acknowledge([message.receipt for message in messages]))
        self._held -= len(messages)

    @staticmethod
    async def _acknowledge(held: Sequence[AbstractIncomingMessage]) -> None:
        for message in held:
            await message.ack()

    def lag(self) -> int | None:
        """See the port: what is in the queue, and what this connection has in hand."""
        ready = self._run(self._queue()).declaration_result.message_count or 0
        return ready + self._came.qsize() + self._held


class RabbitLook(_Connection):
    """Takes messages of a queue one by one, without a consumer, and gives them back as it closes:
    no more than are looked at leave the queue, and one that goes with its last consumer stays."""

    def messages(self, most: int, wait_s: float) -> list[Message]:
        """Return the next ones."""
        return self._run(self._messages(most, wait_s), wait_s + 3 * ANSWER_S)

    async def _messages(self, most: int, wait_s: float) -> list[Message]:
        try:
            queue = await self._channel.declare_queue(self._name, passive=True)
        except ChannelNotFoundEntity:
            hint = "A worker makes one. Which there are, rabbitmqctl list_queues says."
            raise absent(self._address, "no such queue", None, hint) from None
        found: list[Message] = []
        until_s = time.monotonic() + wait_s
        while len(found) < most:
            one = await queue.get(fail=False, timeout=ANSWER_S)
            if one is not None:
                found.append(Message(one.body, one, one.routing_key or "", _deliveries(one)))
            elif found or time.monotonic() >= until_s:
                break
            else:
                await asyncio.sleep(LOOK_EVERY_S)
        return found


class RabbitOutlet(_Connection):
    """See `Outlet` of `core/ports.py`."""

    _exchange: AbstractExchange

    async def _open_channel(self) -> None:
        await super()._open_channel()
        exchange = self._address.text("exchange")
        if exchange:
            self._exchange = await self._channel.get_exchange(exchange)
        else:
            self._exchange = self._channel.default_exchange

    def send(self, messages: Sequence[Outgoing]) -> None:
        """See the port. A message that reaches no queue is an error, not lost."""
        if not self._address.text("exchange"):
            self._run(self._queue())
        for first in range(0, len(messages), IN_FLIGHT):
            self._run(self._publish(messages[first : first + IN_FLIGHT]), 3 * ANSWER_S)

    async def _publish(self, messages: Sequence[Outgoing]) -> None:
        sent = [
            asyncio.ensure_future(
                self._exchange.publish(
                    aio_pika.Message(
                        one.body,
                        message_id=one.message_id[:255],
                        content_type="application/json",
                        delivery_mode=DeliveryMode.PERSISTENT,
                    ),
                    routing_key=self._name,
                    mandatory=True,
                )
            )
            for one in messages
        ]
        await asyncio.gather(*sent)


def _deliveries(message: AbstractIncomingMessage) -> int:
    """A quorum queue counts; of another it is known only whether this is the first."""
    before: Any = message.headers.get("x-delivery-count")
    if isinstance(before, int) and before:
        return before + 1
    return 0 if message.redelivered else 1


def inlet(address: Address) -> RabbitInlet:
    """Connect to a queue whose messages are read."""
    return RabbitInlet(address)


def outlet(address: Address) -> RabbitOutlet:
    """Connect to a queue or exchange that is published to."""
    return RabbitOutlet(address)


def look(address: Address, most: int, wait_s: float) -> list[Message]:
    """Look at a queue, which may count a delivery; see `listlens.brokers.registry.look`."""
    with closing(RabbitLook(address)) as looking:
        return looking.messages(most, wait_s)
