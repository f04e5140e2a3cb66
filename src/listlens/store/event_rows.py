"""Events as rows: what goes into the inbox, what comes out, and where one stands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from listlens.store.database import checked_id, clean_text


class EventState(StrEnum):
    """Where an event stands. Every one is in exactly one of these."""

    WAITING = "waiting"  # to be worked on, at once or after a pause
    LEASED = "leased"  # a worker has it
    DONE = "done"  # see its outcome
    DEAD = "dead"  # will never succeed, or was tried too often: see the reason


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event as it is put into the inbox.

    Args:
        event_key: its identity: the same key again is the same event.
        kind: such as ``photo.added``; empty for one that was not understood.
        listing_id: external id; empty where there is none.
        photo_id: of the photo within its listing; empty for an event of a listing.
        at: when it happened, by the clock of whoever says so.
        body: the rest, JSON-able.
        source: whose photos these are; a photo is known by (source, listing, photo).
        priority: 1 for what is new, 2 for a back-fill; lower goes first.
        sequence: decides between events of one photo at the same moment.
    """

    event_key: str
    kind: str
    listing_id: str
    photo_id: str
    at: datetime
    body: Mapping[str, Any]
    source: str = "events"
    priority: int = 1
    sequence: int = 0

    @property
    def subject(self) -> tuple[str, str, str]:
        """What it is about: (listing_id, photo_id, source)."""
        return self.listing_id, self.photo_id, self.source

    @property
    def order(self) -> tuple[datetime, int]:
        """Of two events of one subject the one with the greater order counts."""
        return self.at, self.sequence


@dataclass(frozen=True, slots=True)
class EventView(EventRecord):
    """An event as stored.

    Args:
        event_id: of its row.
        state: where it stands.
        attempts: how often it was tried.
        lost: how often its worker died with it.
        next_at: when it may be taken, its lease runs out, or it was finished.
        outcome: of a done one, such as ``predicted``.
        reason: why it is dead, or was put off last.
        detail: one sentence for a person.
        received_at: when it came in.
        finished_at: when it was done or dead.
    """

    event_id: int = 0
    state: EventState = EventState.WAITING
    attempts: int = 0
    lost: int = 0
    next_at: datetime | None = None
    outcome: str | None = None
    reason: str | None = None
    detail: str = ""
    received_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """What `Events.put` did: every event is in exactly one of the counts."""

    new: int = 0
    duplicates: int = 0  # the same event once more
    clashes: int = 0  # another event under a key that is taken: among the dead letters


@dataclass(frozen=True, slots=True)
class Finished:
    """How an event ended.

    Args:
        event_id: of its row.
        outcome: such as ``predicted``; empty for a dead one.
        reason: why it is dead; empty for a done one.
        detail: one sentence for a person.
        erase: whether its row goes, since it names what was forgotten; it is counted on.
    """

    event_id: int
    outcome: str = ""
    reason: str = ""
    detail: str = ""
    erase: bool = False


@dataclass(frozen=True, slots=True)
class PutOff:
    """An event to be tried again.

    Args:
        event_id: of its row.
        next_at: not before this moment.
        reason: why.
        detail: one sentence for a person.
        uncounted: whether what was done does not count as a try.
    """

    event_id: int
    next_at: datetime
    reason: str
    detail: str = ""
    uncounted: bool = False


@dataclass(frozen=True, slots=True)
class Announcement:
    """An outgoing event.

    Args:
        event_key: its identity for whoever receives it.
        kind: such as ``photo.predicted``.
        listing_id: external id.
        photo_id: of the photo within its listing, or empty.
        body: what it says, JSON-able.
        tasks: that it answers.
        position: its place in the outbox, and the cursor of whoever read it; 0 before.
        created_at: when it was announced.
    """

    event_key: str
    kind: str
    listing_id: str
    photo_id: str
    body: Mapping[str, Any]
    tasks: tuple[str, ...] = field(default=())
    position: int = 0
    created_at: datetime | None = None


def digest(record: EventRecord) -> str:
    """Return 32 hex digits of what an event says, its key apart."""
    said = [record.kind, *record.subject, record.sequence, record.body]
    text = json.dumps(said, sort_keys=True)  # whoever sends it again may order its keys anew
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def to_values(record: EventRecord, now: datetime) -> dict[str, Any]:
    """Return the columns of a new event that waits."""
    return {
        "event_key": checked_id(record.event_key, "event"),
        "digest": digest(record),
        "kind": record.kind,
        "priority": record.priority,
        "source": checked_id(record.source, "source"),
        "listing_id": checked_id(record.listing_id, "listing"),
        "photo_id": checked_id(record.photo_id, "photo"),
        "at": record.at,
        "sequence": record.sequence,
        "body": dict(record.body),
        "state": EventState.WAITING.value,
        "next_at": now,
        "attempts": 0,
        "lost": 0,
        "owner": None,
        "outcome": None,
        "reason": None,
        "detail": "",
        "received_at": now,
        "finished_at": None,
    }


def dead_values(record: EventRecord, reason: str, detail: str, now: datetime) -> dict[str, Any]:
    """Return the columns of an event that is dead when it comes in."""
    dead = {"state": EventState.DEAD.value, "reason": reason, "finished_at": now}
    return {**to_values(record, now), **dead, "detail": clean_text(detail)}


def done_values(record: EventRecord, outcome: str, detail: str, now: datetime) -> dict[str, Any]:
    """Return the columns of an event that is done when it comes in."""
    done = {"state": EventState.DONE.value, "outcome": outcome, "finished_at": now}
    return {**to_values(record, now), **done, "detail": clean_text(detail)}


def to_view(row: Any) -> EventView:
    """Return a row of the inbox."""
    return EventView(
        event_key=row.event_key,
        kind=row.kind,
        listing_id=row.listing_id,
        photo_id=row.photo_id,
        at=row.at,
        body=row.body,
        source=row.source,
        priority=row.priority,
        sequence=row.sequence,
        event_id=row.id,
        state=EventState(row.state),
        attempts=row.attempts,
        lost=row.lost,
        next_at=row.next_at,
        outcome=row.outcome,
        reason=row.reason,
        detail=row.detail,
        received_at=row.received_at,
        finished_at=row.finished_at,
    )
