"""Webhooks as rows: an endpoint as stored, and one delivery that was tried."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

DELIVERED, RETRIED, FAILED, DROPPED = "delivered", "retried", "failed", "dropped"


@dataclass(frozen=True, slots=True)
class Webhook:
    """An endpoint that is told what happens; `secrets` are not shown in its repr.

    Args:
        webhook_id: its number.
        url: where it is.
        name: in the words of whoever added it.
        kinds: of event that it is told; all where empty.
        tasks: whose answers it is told; all where empty.
        cursor: position in the outbox up to which it was told or has something parked.
        state: ``active`` or ``disabled``.
        failures: in a row, since the last one that was taken.
        detail: why it is disabled, or what failed last.
        secret: what its deliveries are signed with.
        former_secret: what they are signed with too, until `former_until`.
        former_until: when rotation is over.
        probe_at: when one more may be tried although many fail.
        delivered_at: when it last took something.
        created_at: when it was added.
        n_waiting: deliveries to be tried again.
        n_failed: deliveries that failed for good, and can be replayed.
        next_at: when the first of the waiting ones is due.
    """

    webhook_id: int
    url: str
    name: str
    kinds: tuple[str, ...]
    tasks: tuple[str, ...]
    cursor: int
    state: str
    failures: int
    detail: str
    secret: str
    former_secret: str | None
    former_until: datetime | None
    probe_at: datetime | None
    delivered_at: datetime | None
    created_at: datetime
    n_waiting: int = 0
    n_failed: int = 0
    next_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Webhook({self.webhook_id}, {self.url!r}, {self.state})"

    def signing(self, now: datetime) -> tuple[str, ...]:
        """Return the secrets that are valid now, the newest first."""
        if self.former_secret and self.former_until and now < self.former_until:
            return self.secret, self.former_secret
        return (self.secret,)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, without the secrets."""
        times = {
            name: None if (value := getattr(self, name)) is None else value.isoformat()
            for name in ("next_at", "delivered_at", "former_until", "created_at")
        }
        return {
            "id": self.webhook_id,
            "url": self.url,
            "name": self.name,
            "kinds": list(self.kinds),
            "tasks": list(self.tasks),
            "state": self.state,
            "failures": self.failures,
            "detail": self.detail,
            "waiting": self.n_waiting,
            "failed": self.n_failed,
            **times,
        }


@dataclass(frozen=True, slots=True)
class Attempt:
    """One delivery that was tried, or could not be.

    Args:
        position: of the event in the outbox.
        attempt: 1 for the first.
        outcome: ``delivered``, ``retried`` (will be), ``failed`` (for good) or ``dropped`` (the
            event is not there any more).
        status: HTTP status, or None where nothing answered.
        took_ms: from the request to the answer.
        detail: what was wrong.
        at: when.
        next_at: when it is tried again.
        first_at: when it was tried first; `at` where None.
        webhook_id: of the endpoint.
    """

    position: int
    attempt: int
    outcome: str
    status: int | None
    took_ms: int
    detail: str
    at: datetime
    next_at: datetime | None = None
    first_at: datetime | None = None
    webhook_id: int = 0

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "at": self.at.isoformat(),
            "webhook": self.webhook_id,
            "position": self.position,
            "attempt": self.attempt,
            "outcome": self.outcome,
            "status": self.status,
            "took_ms": self.took_ms,
            "detail": self.detail,
        }


def to_attempt(row: Any) -> Attempt:
    """Return a row of the delivery log."""
    return Attempt(
        row.position, row.attempt, row.outcome, row.status, row.took_ms, row.detail, row.at,
        webhook_id=row.webhook_id,
    )  # fmt: skip


def to_webhook(row: Any) -> Webhook:
    """Return a row of the endpoints."""
    return Webhook(
        webhook_id=row.id,
        url=row.url,
        name=row.name,
        kinds=tuple(row.kinds),
        tasks=tuple(row.tasks),
        cursor=row.cursor,
        state=row.state,
        failures=row.failures,
        detail=row.detail,
        secret=row.secret,
        former_secret=row.former_secret,
        former_until=row.former_until,
        probe_at=row.probe_at,
        delivered_at=row.delivered_at,
        created_at=row.created_at,
    )
