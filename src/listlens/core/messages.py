"""What passes through a message broker, on its way in and on its way out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """A message as a broker delivered it.

    Args:
        body: what it says, as it came.
        receipt: what the broker's client needs to acknowledge it; for nobody else.
        key: partition key, routing key or subject, for a person who looks.
        deliveries: how often it was delivered, this time included; 0 where the broker does not say.
    """

    body: bytes
    receipt: Any = field(repr=False, compare=False)
    key: str = ""
    deliveries: int = 0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be sent.

    Args:
        body: what it says, JSON in UTF-8.
        key: messages with equal keys stay in order, where the broker promises an order.
        message_id: equal ids are one message, where the broker recognises them.
    """

    body: bytes
    key: str
    message_id: str
