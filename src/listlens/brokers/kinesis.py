"""Amazon Kinesis Data Streams: shards read in turn, with positions in the project's database.

Plain boto3 and not async-kinesis: that one notes its positions in Redis or DynamoDB, when it hands
a record out, and ours have to move after the commit, in the database that is there anyway.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from listlens.brokers.address import Address
from listlens.brokers.aws import BUSY, code_of, make_client, our_errors, pause_s, require
from listlens.brokers.kinesis_records import bodies
from listlens.brokers.kinesis_shards import (
    OLDEST,
    Listed,
    Looking,
    Reading,
    Record,
    after,
    listed,
    moment,
    readable,
    starting,
)
from listlens.core.errors import BrokerError
from listlens.core.messages import Message, Outgoing

if TYPE_CHECKING:
    from listlens.core.ports import Positions

log = logging.getLogger("listlens.brokers")

READ_EVERY_S = 0.25
"""Of one shard, where more is there: Amazon allows five reads a second, to all readers together."""

LOOK_EVERY_S = 0.5
"""Of one shard, where nothing more is there: room for other readers, and little lag."""

BEHIND_S = 5.0
"""How much longer to wait while Amazon says that there is more and gives nothing: it may answer so
several times where a shard has gaps, and who reads until nothing comes would end too early."""

LIST_EVERY_S = 30.0
"""How often the shards are listed, and at once when one has ended: then it has children."""

MOST_READ = 1000
"""Records of one read."""

MOST_PUT, MOST_PUT_BYTES = 500, 4 * 2**20
"""Of one PutRecords; Amazon allows 5 MiB with the keys."""

MOST_KEY_CHARS = 256
TRIES = 6


class KinesisInlet:
    """The port `Inlet` for one stream.

    Args:
        client: of boto3, for Kinesis.
        address: with the options of `registry.py`.
        positions: how far each shard was read, in the project's database.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        client: Any,
        address: Address,
        positions: Positions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._address, self._positions = client, address, positions
        self._clock = clock
        self._owner = secrets.token_hex(8)
        self._lease_s = address.number("lease")
        self._shards: dict[str, Listed] = {}
        self._readings: dict[str, Reading] = {}
        self._turn: deque[str] = deque()
        self._buffer: deque[Message] = deque()
        self._listed_s = self._leased_s = float("-inf")
        with our_errors(address):
            found = client.describe_stream_summary(StreamName=address.path)
        # A stream that is deleted and made again has the same shard ids and other records.
        made = found["StreamDescriptionSummary"]["StreamCreationTimestamp"].astimezone(UTC)
        self._stream = f"{address.shown}#{address.text('group')}@{made:%Y-%m-%dT%H:%M:%S}"
        self._first = OLDEST if address.text("start") == "oldest" else moment(_their_now(found))

    # -- the port ---------------------------------------------------------------------------

    def receive(self, most: int, wait_s: float) -> list[Message]:
        """Return 0 to `most` messages; see the port."""
        until_s = self._clock() + wait_s
        while True:
            self._share_out()
            self._read_due(most)
            if self._buffer:
                n = min(most, len(self._buffer))
                return [self._buffer.popleft() for _ in range(n)]
            now_s = self._clock()
            behind = any(one.behind for one in self._readings.values())
            if now_s >= until_s + (BEHIND_S if behind else 0.0):
                return []
            next_s = min((one.due_s for one in self._readings.values()), default=until_s)
            wake_s = min(next_s, max(until_s, now_s + READ_EVERY_S), now_s + LOOK_EVERY_S)
            time.sleep(max(0.01, wake_s - now_s))

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Move the positions of their shards behind them."""
        touched: dict[str, Reading] = {}
        for message in messages:
            reading, record = message.receipt
            record.n_left -= 1
            touched[reading.shard] = reading
        # A shard that was lost meanwhile is another's, who reads on from where it was.
        mine = [one for shard, one in touched.items() if self._readings.get(shard) is one]
        self._move(mine)

    def lag(self) -> int | None:
        """Kinesis does not say how many records are behind a position."""
        return None

    def close(self) -> None:
        """Give the shards back, so that another reader goes on at once."""
        try:
            self._positions.release(self._stream, self._owner)
        except Exception as error:
            log.warning("%s: the shards are free when their leases end: %s", self, error)
        self._client.close()

    def __str__(self) -> str:
        return self._address.shown

    # -- whose shards -----------------------------------------------------------------------

    def _share_out(self) -> None:
        """List the shards and take those that are ours, where it is time."""
        now_s = self._clock()
        if now_s - self._listed_s >= LIST_EVERY_S:
            self._list()
            self._listed_s, self._leased_s = now_s, float("-inf")
        if now_s - self._leased_s < self._lease_s / 3:
            return
        noted = self._positions.see(self._stream, list(self._shards), self._first, OLDEST)
        ended = [shard for shard, is_ended in noted.items() if is_ended]
        free = readable(self._shards, ended)
        has = self._positions.take(self._stream, self._owner, free, self._lease_s)
        self._leased_s = now_s
        for shard in self._readings.keys() - has.keys():
            log.info("%s: %s is read by another now", self, shard)
            self._leave(shard)
        for shard in sorted(has.keys() - self._readings.keys()):
            self._readings[shard] = Reading(shard, has[shard])
            self._turn.append(shard)
        gone = noted.keys() - self._shards.keys()
        for shard in sorted(gone - set(ended)):
            log.error("%s: %s went before it was read to its end; records are lost", self, shard)
        if gone:
            self._positions.drop(self._stream, gone)

    def _list(self) -> None:
        found: list[Any] = []
        asked: dict[str, Any] = {"StreamName": self._address.path}
        with our_errors(self._address):
            while True:
                page = self._client.list_shards(**asked)
                found += page["Shards"]
                if not page.get("NextToken"):
                    break
                asked = {"NextToken": page["NextToken"]}
        self._shards = listed(found)

    def _leave(self, shard: str) -> None:
        """Read a shard no more, and drop what was read of it and not handed out."""
        reading = self._readings.pop(shard)
        self._turn.remove(shard)
        self._buffer = deque(one for one in self._buffer if one.receipt[0] is not reading)

    # -- reading ----------------------------------------------------------------------------

    def _read_due(self, most: int) -> None:
        """Read the shards whose turn it is, until there is enough to hand out."""
        for _ in range(len(self._turn)):
            if len(self._buffer) >= most:
                return
            self._turn.rotate(-1)
            reading = self._readings[self._turn[-1]]
            if not reading.at_end and reading.due_s <= self._clock():
                self._read(reading, most)
        self._move([one for one in self._readings.values() if one.done])

    def _read(self, reading: Reading, most: int) -> None:
        """Read one shard once."""
        was_closed = self._shards[reading.shard].closed
        with our_errors(self._address):
            try:
                found = self._records(reading, most)
            except ClientError as error:
                if not self._later(reading, code_of(error)):
                    raise
                return
        records, behind_ms = found["Records"], found.get("MillisBehindLatest") or 0
        reading.iterator, reading.failures = found.get("NextShardIterator"), 0
        for one in records:
            self._take_in(reading, one)
        # Amazon ends a shard by giving no next iterator; some that speak its protocol never do.
        drained = was_closed and not records and not behind_ms
        reading.at_end = reading.iterator is None or drained
        reading.behind = behind_ms > 0 and not reading.at_end
        more = reading.behind or len(records) == min(most, MOST_READ)
        reading.due_s = self._clock() + (READ_EVERY_S if more else LOOK_EVERY_S)

    def _take_in(self, reading: Reading, said: Any) -> None:
        """Note a record, and make the messages in it ready to be handed out."""
        found = bodies(said["Data"])
        record = Record(said["SequenceNumber"], len(found))
        reading.records.append(record)
        reading.position = after(record.sequence)
        for body in found:
            self._buffer.append(Message(body, (reading, record), said["PartitionKey"]))

    def _records(self, reading: Reading, most: int) -> Any:
        """What Amazon has next."""
        if reading.iterator is None:
            begin = starting(reading.position)
            stream, shard = self._address.path, reading.shard
            got = self._client.get_shard_iterator(StreamName=stream, ShardId=shard, **begin)
            reading.iterator = got["ShardIterator"]
        limit = max(1, min(most, MOST_READ))
        return self._client.get_records(ShardIterator=reading.iterator, Limit=limit)

    def _later(self, reading: Reading, code: str) -> bool:
        """Note when to read again after an error that passes; return whether it does."""
        if code == "ExpiredIteratorException":  # they hold for five minutes
            reading.iterator = None
            return True
        if code not in BUSY:
            return False
        reading.failures += 1
        wait_s = pause_s(reading.failures, LOOK_EVERY_S)
        reading.due_s = self._clock() + wait_s
        log.info("%s: %s: %s; again in %.1f s", self, reading.shard, code, wait_s)
        return True

    def _move(self, readings: Sequence[Reading]) -> None:
        """Note in the database what is acknowledged, and which shards are done."""
        behind = {one.shard: position for one in readings if (position := one.settled())}
        ended = [one.shard for one in readings if one.done]
        if not behind and not ended:
            return
        lost = self._positions.move(self._stream, self._owner, behind, ended)
        for shard in {*lost, *ended} & self._readings.keys():
            self._leave(shard)
        if ended:
            self._listed_s = float("-inf")  # there are children to be read


class KinesisOutlet:
    """The port `Outlet` for one stream."""

    def __init__(self, client: Any, address: Address) -> None:
        self._client, self._address = client, address
        with our_errors(address):
            client.describe_stream_summary(StreamName=address.path)

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Put all; see the port.

        Amazon may refuse some records of a batch. Then those behind them with the same key are
        put again too: what was said last of a listing also arrives last.
        """
        batch: list[Outgoing] = []
        size = 0
        for one in messages:
            n_bytes = len(one.body) + 4 * MOST_KEY_CHARS
            if batch and (len(batch) == MOST_PUT or size + n_bytes > MOST_PUT_BYTES):
                self._put(batch)
                batch, size = [], 0
            batch.append(one)
            size += n_bytes
        self._put(batch)

    def _put(self, batch: Sequence[Outgoing]) -> None:
        for n in range(1, TRIES + 1):
            if not batch:
                return
            records = [{"Data": one.body, "PartitionKey": _partition(one)} for one in batch]
            with our_errors(self._address):
                found = self._client.put_records(StreamName=self._address.path, Records=records)
            codes = [one.get("ErrorCode") for one in found["Records"]]
            why = next(filter(None, codes), "")
            batch = _again(batch, [code is not None for code in codes])
            if batch and n < TRIES:
                time.sleep(pause_s(n))
        if batch:
            raise BrokerError(
                f"{self._address.shown}: {len(batch)} records refused {TRIES} times: {why}"
            )

    def close(self) -> None:
        """End."""
        self._client.close()


def inlet(address: Address, positions: Positions) -> KinesisInlet:
    """Open a source; raises like `listlens.brokers.registry.open_inlet`."""
    return KinesisInlet(make_client(address, "kinesis", address.place), address, positions)


def outlet(address: Address) -> KinesisOutlet:
    """Open a topic; raises like `listlens.brokers.registry.open_outlet`."""
    return KinesisOutlet(make_client(address, "kinesis", address.place), address)


def look(address: Address, most: int, wait_s: float, positions: Positions) -> list[Message]:
    """Look at a stream; see `listlens.brokers.registry.look`."""
    client = make_client(address, "kinesis", address.place)

    def names() -> list[str]:
        return list(client.list_streams(Limit=100)["StreamNames"])

    try:
        require(address, lambda: client.describe_stream_summary(StreamName=address.path), names)
        return KinesisInlet(client, address, Looking(positions)).receive(most, wait_s)
    finally:
        client.close()


def _again(batch: Sequence[Outgoing], failed: Sequence[bool]) -> list[Outgoing]:
    """Return what to put again: what was refused, and what stands behind it with its key."""
    keys: set[str] = set()
    again = []
    for one, wrong in zip(batch, failed, strict=True):
        if wrong:
            keys.add(one.key)
        if one.key in keys:
            again.append(one)
    return again


def _partition(one: Outgoing) -> str:
    """Return its key as Kinesis takes one: 1 to 256 characters."""
    return (one.key or one.message_id)[-MOST_KEY_CHARS:] or "-"


def _their_now(answer: Any) -> datetime:
    """Return the moment of an answer by the clock of whoever answered, which counts records too."""
    said = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
    return parsedate_to_datetime(said) if said else datetime.now(UTC)
