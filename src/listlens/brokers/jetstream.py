"""NATS JetStream: a durable pull consumer in, confirmed publishing out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from contextlib import closing
from typing import Any, TypeVar

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoServersError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo
from nats.js.errors import NotFoundError

from listlens.brokers import trust
from listlens.brokers.address import Address, absent
from listlens.brokers.loop import wait_for
from listlens.core.errors import BrokerError, ConfigError
from listlens.core.messages import Message, Outgoing

log = logging.getLogger("listlens.brokers")

T = TypeVar("T")

CONNECT_S = 5.0
ANSWER_S = 10.0
"""How long NATS may take to connect, and to answer anything else."""

logging.getLogger("asyncio").addFilter(
    # The client begins in the clear and goes on by TLS, and asyncio says so at each end.
    lambda record: "eof_received() has no effect when using ssl" not in record.getMessage()
)

LOOK_EVERY_S = 0.1
"""How often who only looks asks whether a message came."""

IN_FLIGHT = 256
"""Messages published at once that are not confirmed yet."""


class _Connection:
    """What both ends share: a connection, the stream of the subject, and errors that say where."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._client: Client = self._run(self._connect(), 2 * CONNECT_S, connecting=True)
        self._js: JetStreamContext = self._client.jetstream(timeout=ANSWER_S)

    async def _connect(self) -> Client:
        address = self._address
        secure = trust.encrypts(address)
        options: dict[str, Any] = {"tls": trust.context(address)} if secure else {}
        if address.password:
            options |= {"user": address.user, "password": address.password}
        elif address.user:
            options["token"] = address.user
        if address.text("creds"):
            options["user_credentials"] = address.text("creds")
        met: list[Exception] = []

        async def note(error: Exception) -> None:
            met.append(error)

        try:
            return await nats.connect(
                [f"{'tls' if secure else 'nats'}://{one}" for one in address.place.split(",")],
                name="listlens",
                connect_timeout=int(CONNECT_S),
                allow_reconnect=False,  # whoever uses this connects anew, and says so meanwhile
                max_reconnect_attempts=1,
                reconnect_time_wait=0.1,
                error_cb=note,
                **options,
            )
        except NoServersError as error:
            raise (met[-1] if met else error) from error

    async def _stream(self) -> str:
        """The name of the stream that holds the subject; one is made where there is none."""
        name, subject = self._address.text("stream"), self._address.path
        try:
            if name:
                await self._js.stream_info(name)
                return name
            return await self._js.find_stream_name_by_subject(subject)
        except NotFoundError:
            name = name or "".join(c if c.isalnum() or c in "-_" else "-" for c in subject)
            said = "%s: no stream held this subject; the stream %s was made, empty"
            log.warning(said, self._address.shown, name)
            await self._js.add_stream(name=name, subjects=[subject])
            return name

    def _check(self, found: ConsumerInfo) -> None:
        """A consumer that is there is used as it is, where it loses nothing."""
        config, where = found.config, f"{self._address.shown}: the consumer {found.name}"
        subjects = [s for s in (config.filter_subject, *(config.filter_subjects or ())) if s]
        if subjects and self._address.path not in subjects:
            raise ConfigError(
                f"{where} reads {', '.join(subjects)} of the stream alone. Is the subject written "
                f"right? Else name another consumer: ?durable={found.name}-2"
            )
        if config.deliver_subject:
            raise ConfigError(f"{where} is a push consumer; a pull consumer is needed")
        if config.ack_policy not in (AckPolicy.EXPLICIT, "explicit"):
            raise ConfigError(
                f"{where} does not wait for acknowledgements (ack explicit): a worker that dies "
                "would lose what it has in hand"
            )
        if (config.max_deliver or -1) > 0:
            log.warning("%s gives messages up after %d deliveries", where, config.max_deliver)

    def _run(
        self, work: Coroutine[Any, Any, T], most_s: float = ANSWER_S, *, connecting: bool = False
    ) -> T:
        try:
            return wait_for(work, most_s)
        except (NatsError, OSError, TimeoutError, EOFError) as error:
            raise trust.refused(self._address, error, connecting=connecting) from error

    def close(self) -> None:
        """See the port."""
        try:
            self._run(self._client.close())
        except BrokerError as error:
            log.debug("closing: %s", error)


class JetStreamInlet(_Connection):
    """See `Inlet` of `core/ports.py`. Workers that name one durable consumer share its messages."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._held: dict[str, Msg] = {}
        try:
            self._name, self._pull = self._run(self._bind(), 3 * ANSWER_S)
        except BaseException:
            super().close()
            raise

    async def _bind(self) -> tuple[str, JetStreamContext.PullSubscription]:
        address, name = self._address, await self._stream()
        durable = address.text("durable")
        try:
            self._check(await self._js.consumer_info(name, durable))
        except NotFoundError:
            config = ConsumerConfig(
                durable_name=durable,
                filter_subject=address.path,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=address.number("ack_wait"),
                max_ack_pending=int(address.number("max_ack_pending")),
                max_deliver=-1,
            )
            await self._js.add_consumer(name, config)
        return name, await self._js.pull_subscribe_bind(durable, name)

    def receive(self, most: int, wait_s: float) -> list[Message]:
        """See the port."""
        got = self._run(self._fetch(most, max(wait_s, 0.01)), wait_s + ANSWER_S)
        self._held |= {msg.reply: msg for msg in got}
        return [
            Message(msg.data, msg, key=msg.subject, deliveries=msg.metadata.num_delivered or 0)
            for msg in got
        ]

    async def _fetch(self, most: int, wait_s: float) -> list[Msg]:
        try:
            return await self._pull.fetch(most, wait_s)
        except TimeoutError:
            if not self._client.is_connected:
                raise ConnectionResetError("the connection was lost") from None
            return []

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """See the port."""
        self._run(self._say([m.receipt for m in messages], ack=True))
        for message in messages:
            self._held.pop(message.receipt.reply, None)

    async def _say(self, held: Sequence[Msg], *, ack: bool) -> None:
        for msg in held:
            await (msg.ack() if ack else msg.nak())
        await self._client.flush(int(ANSWER_S))

    def lag(self) -> int | None:
        """See the port."""
        info = self._run(self._js.consumer_info(self._name, self._address.text("durable")))
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    def close(self) -> None:
        """See the port."""
        held, self._held = list(self._held.values()), {}
        try:
            if held and self._client.is_connected:
                self._run(self._say(held, ack=False))
        except BrokerError as error:
            log.debug("giving back: %s", error)
        super().close()


class JetStreamLook(_Connection):
    """Reads a stream message by message, without a consumer: nothing is made, handed out or
    counted, and workers go on meanwhile."""

    def messages(self, most: int, wait_s: float) -> list[Message]:
        """Return what the durable consumer has not acknowledged, or the oldest there is."""
        return self._run(self._messages(most, wait_s), wait_s + 3 * ANSWER_S)

    async def _messages(self, most: int, wait_s: float) -> list[Message]:
        stream, found = await self._there(), list[Message]()
        at, until_s = await self._first(stream), time.monotonic() + wait_s
        while len(found) < most:
            try:
                one = await self._js.get_msg(stream, at, self._address.path, next=True)
            except NotFoundError:
                if found or time.monotonic() >= until_s:
                    break
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            found.append(Message(one.data or b"", None, key=one.subject or ""))
            at = (one.seq or at) + 1
        return found

    async def _there(self) -> str:
        """The name of the stream that holds the subject."""
        name, subject = self._address.text("stream"), self._address.path
        try:
            if not name:
                return await self._js.find_stream_name_by_subject(subject)
            held = (await self._js.stream_info(name)).config.subjects or []
        except NotFoundError:
            what = f"no stream {name!r}" if name else "no stream that holds this subject"
            names = await self._names(by_name=bool(name))
            raise absent(self._address, what, names, "A worker makes one.") from None
        try:
            if held:  # a mirror holds none of its own
                await self._js.find_stream_name_by_subject(subject)
        except NotFoundError:
            raise absent(self._address, f"no such subject in {name!r}", held) from None
        return name

    async def _names(self, *, by_name: bool) -> list[str] | None:
        """Names of streams, or their subjects; None where the user may not list them."""
        try:
            found = [one.config for one in await self._js.streams_info()]
        except (NatsError, TimeoutError):
            return None
        return [
            text for one in found for text in ([one.name or ""] if by_name else one.subjects or [])
        ]

    async def _first(self, stream: str) -> int:
        """Number of the first message that the consumer has not acknowledged."""
        try:
            found = await self._js.consumer_info(stream, self._address.text("durable"))
        except NotFoundError:
            return 1
        self._check(found)
        return (found.ack_floor.stream_seq if found.ack_floor else 0) + 1


class JetStreamOutlet(_Connection):
    """See `Outlet` of `core/ports.py`."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        try:
            self._run(self._stream(), 2 * ANSWER_S)
        except BaseException:
            self.close()
            raise

    def send(self, messages: Sequence[Outgoing]) -> None:
        """See the port. Order: each batch of `IN_FLIGHT` is published in order before the next."""
        for first in range(0, len(messages), IN_FLIGHT):
            self._run(self._publish(messages[first : first + IN_FLIGHT]), 3 * ANSWER_S)

    async def _publish(self, messages: Sequence[Outgoing]) -> None:
        await asyncio.gather(*[asyncio.ensure_future(self._publish_one(m)) for m in messages])

    async def _publish_one(self, one: Outgoing) -> None:
        headers = {"Nats-Msg-Id": header(one.message_id), "Listlens-Key": header(one.key)}
        await self._js.publish(self._address.path, one.body, timeout=ANSWER_S, headers=headers)


def header(text: str) -> str:
    """Return a text as a header may carry it: what is not printable ASCII is percent-encoded."""
    from urllib.parse import quote

    return quote(text, safe="/:#@!$&'()*+,;=?[] ") if text.strip() == text else quote(text)


def inlet(address: Address) -> JetStreamInlet:
    """Connect to a subject whose messages are read."""
    return JetStreamInlet(address)


def outlet(address: Address) -> JetStreamOutlet:
    """Connect to a subject that is published to."""
    return JetStreamOutlet(address)


def look(address: Address, most: int, wait_s: float) -> list[Message]:
    """Look at a subject; see `listlens.brokers.registry.look`."""
    with closing(JetStreamLook(address)) as looking:
        return looking.messages(most, wait_s)
