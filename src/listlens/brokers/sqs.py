"""Amazon SQS: long polls, deleting after the commit, batches of ten; standard and FIFO queues."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from listlens.brokers.address import Address
from listlens.brokers.aws import make_client, our_errors, pause_s, require
from listlens.brokers.envelopes import unwrapped
from listlens.brokers.rules import QUEUE, queue_region
from listlens.core.errors import BrokerError
from listlens.core.messages import Message, Outgoing

log = logging.getLogger("listlens.brokers")

MOST = 10
"""Messages of one call: Amazon's bound."""

MOST_WAIT_S = 20
"""Of a long poll: Amazon's bound."""

GATHER_S = 1.0
"""How long more are asked for, ten by ten, after a full ten came; and a fourth of `visibility` at
most: what is in hand must be deleted before it is seen again."""

MOST_BYTES = 2**18
"""Of one call: 256 KiB, which every queue takes. A larger message goes alone, as far as its queue
allows (up to 1 MiB)."""

TRIES = 6

FEW_DELIVERIES = 5
"""A queue that gives a message up after fewer deliveries loses it to a few killed workers."""

_NOT_TAKEN = {0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"}
"""Characters that SQS refuses, as JSON may write them."""

_GROUP = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")


class _Queue:
    """What both ends share: the queue's URL and attributes, and batches with failures in them."""

    def __init__(self, client: Any, address: Address) -> None:
        self._client, self._address = client, address
        with our_errors(address):
            self._url = client.get_queue_url(**_which(address))["QueueUrl"]
        self._fifo = address.path.endswith(".fifo")

    def _attributes(self, *names: str) -> dict[str, str]:
        with our_errors(self._address):
            found = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=[*names])
        return dict(found.get("Attributes", {}))

    def _each(self, call: Any, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Call with a batch; return the failures, each with its entry. The other ones are done."""
        named = [{**entry, "Id": str(n)} for n, entry in enumerate(entries)]
        with our_errors(self._address):
            found = call(QueueUrl=self._url, Entries=named)
        return [{**one, "entry": entries[int(one["Id"])]} for one in found.get("Failed", ())]

    def close(self) -> None:
        """End."""
        self._client.close()


class SqsInlet(_Queue):
    """The port `Inlet` for one queue."""

    def __init__(self, client: Any, address: Address) -> None:
        super().__init__(client, address)
        self._hidden_s = int(address.number("visibility"))
        self._held: dict[str, Message] = {}
        self._unwrap = address.text("unwrap")
        policy = self._attributes("RedrivePolicy").get("RedrivePolicy")
        self._gives_up = int(json.loads(policy).get("maxReceiveCount", 0)) if policy else 0
        if 0 < self._gives_up < FEW_DELIVERIES:
            log.warning(
                "%s: the queue gives a message up after %d deliveries, and every killed worker is "
                "one for what it had in hand. Set maxReceiveCount of its redrive policy to %d or "
                "more; what cannot be used ends among the dead letters of listlens at once.",
                *(address.shown, self._gives_up, FEW_DELIVERIES),
            )

    def receive(self, most: int, wait_s: float) -> list[Message]:
        """Return 0 to `most` messages; see the port."""
        got = self._some(most, min(MOST_WAIT_S, max(int(wait_s), int(wait_s > 0))))
        n, until_s = len(got), time.monotonic() + min(GATHER_S, self._hidden_s / 4)
        while n == MOST and len(got) < most and time.monotonic() < until_s:
            more = self._some(most - len(got), 0)
            n = len(more)
            got += more
        return got

    def _some(self, most: int, wait_s: int) -> list[Message]:
        """One call: up to ten, or none after the wait."""
        with our_errors(self._address):
            found = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(most, MOST),
                WaitTimeSeconds=wait_s,
                VisibilityTimeout=self._hidden_s,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "MessageGroupId"],
            )
        return [self._message(one) for one in found.get("Messages", ())]

    def _message(self, said: Any) -> Message:
        about = said.get("Attributes", {})
        receipt, key = said["ReceiptHandle"], about.get("MessageGroupId", "")
        body = unwrapped(said["Body"].encode(), self._unwrap)
        message = Message(body, receipt, key, int(about.get("ApproximateReceiveCount", 0)))
        self._held[receipt] = message
        return message

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Delete them; what could not be deleted comes again, and is known then."""
        receipts = [message.receipt for message in messages]
        for batch in _tens(receipts):
            entries = [{"ReceiptHandle": receipt} for receipt in batch]
            for n in range(1, TRIES + 1):
                failed = self._each(self._client.delete_message_batch, entries)
                entries = [one["entry"] for one in failed if not one.get("SenderFault")]
                late = len(failed) - len(entries)
                if late:  # the queue had given it to another meanwhile
                    log.warning("%s: %d messages come again: %s", self._address.shown, late, failed)
                if not entries:
                    break
                time.sleep(pause_s(n))
            for receipt in batch:
                self._held.pop(receipt, None)

    def lag(self) -> int | None:
        """Return about how many wait in the queue or are in hand."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return sum(int(n) for n in self._attributes(*names).values())

    def close(self) -> None:
        """Let what is in hand be seen again at once, and end."""
        try:
            for batch in _tens(self._held):
                seen = [{"ReceiptHandle": receipt, "VisibilityTimeout": 0} for receipt in batch]
                self._each(self._client.change_message_visibility_batch, seen)
        except (BrokerError, BotoCoreError, ClientError) as error:
            log.warning("what was in hand comes again after %d s: %s", self._hidden_s, error)
        super().close()


class SqsOutlet(_Queue):
    """The port `Outlet` for one queue. A FIFO queue keeps the order of a listing's messages."""

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Send all; see the port."""
        for batch in _batches(_rounds(messages) if self._fifo else [messages]):
            self._send([self._entry(one) for one in batch])

    def _send(self, entries: list[dict[str, Any]]) -> None:
        """Send one batch, again where the queue refuses a part of it for now."""
        for n in range(1, TRIES + 1):
            failed = self._each(self._client.send_message_batch, entries)
            if not failed:
                return
            if n == TRIES or failed[0].get("SenderFault"):
                break
            entries = [one["entry"] for one in failed]
            time.sleep(pause_s(n))
        why = f"{failed[0].get('Code')}: {str(failed[0].get('Message'))[:300]}"
        raise BrokerError(f"{self._address.shown}: {len(failed)} messages refused: {why}")

    def _entry(self, one: Outgoing) -> dict[str, Any]:
        entry = {"MessageBody": one.body.decode("utf-8", "replace").translate(_NOT_TAKEN)}
        if self._fifo:
            entry["MessageGroupId"] = _fitting(one.key or one.message_id)
            entry["MessageDeduplicationId"] = _fitting(one.message_id)
        return entry


def inlet(address: Address) -> SqsInlet:
    """Open a source; raises like `listlens.brokers.registry.open_inlet`."""
    return SqsInlet(_client(address), address)


def outlet(address: Address) -> SqsOutlet:
    """Open a topic; raises like `listlens.brokers.registry.open_outlet`."""
    return SqsOutlet(_client(address), address)


def look(address: Address, most: int, wait_s: float) -> list[Message]:
    """Look at a queue, which counts a delivery; see `listlens.brokers.registry.look`."""
    client = _client(address)

    def names() -> list[str]:
        found = client.list_queues(MaxResults=100).get("QueueUrls", ())
        return [url.rpartition("/")[2] for url in found]

    try:
        require(address, lambda: client.get_queue_url(**_which(address)), names)
        looking = SqsInlet(client, address)
        try:
            return looking.receive(most, wait_s)
        finally:
            looking.close()
    finally:
        client.close()


def _client(address: Address) -> Any:
    return make_client(address, "sqs", queue_region(address.place))


def _which(address: Address) -> dict[str, str]:
    """What asks for the URL of a queue."""
    found = QUEUE.fullmatch(address.path)
    assert found is not None  # its address was read
    owner = {"QueueOwnerAWSAccountId": found[1]} if found[1] else {}
    return {"QueueName": found[2], **owner}


def _tens(items: Iterable[str]) -> Iterator[list[str]]:
    every = list(items)
    for first in range(0, len(every), MOST):
        yield every[first : first + MOST]


def _rounds(messages: Iterable[Outgoing]) -> list[list[Outgoing]]:
    """Share messages out so that none of a round has the key of another, in the order of each key.

    Of a call any message may be refused and those behind it taken, so a call that holds a listing
    once cannot change the order of its messages.
    """
    rounds: list[list[Outgoing]] = []
    seen: dict[str, int] = {}
    for one in messages:
        n = seen.get(one.key, 0)
        seen[one.key] = n + 1
        if n == len(rounds):
            rounds.append([])
        rounds[n].append(one)
    return rounds


def _batches(rounds: Iterable[Iterable[Outgoing]]) -> Iterator[list[Outgoing]]:
    """Cut each round into calls."""
    for messages in rounds:
        batch: list[Outgoing] = []
        size = 0
        for one in messages:
            if batch and (len(batch) == MOST or size + len(one.body) > MOST_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(one)
            size += len(one.body)
        if batch:
            yield batch


def _fitting(text: str) -> str:
    """Return an id as SQS takes one, 1 to 128 printable ASCII characters; else its hash."""
    return text if _GROUP.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()
