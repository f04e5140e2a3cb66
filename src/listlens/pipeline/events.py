"""What an event is, and the check at the door: a usable one, or the reason why not."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from listlens.core.errors import suggest
from listlens.core.stream_config import EVENT_FIELDS, EVENT_KINDS
from listlens.core.types import Reason
from listlens.sources.paths import printable
from listlens.store.database import to_json
from listlens.store.event_rows import EventRecord

PHOTO_ADDED, PHOTO_CHANGED = "photo.added", "photo.changed"
PHOTO_DELETED, LISTING_CHANGED = "photo.deleted", "listing.changed"

PRIORITIES = {"new": 1, "backfill": 2}

MAX_ID_BYTES = 1000
"""Of each id: together they stay below what PostgreSQL can index (2,704 bytes)."""

MAX_URL_CHARS = 8192
MAX_ATTRIBUTES_CHARS = 64_000

AHEAD = timedelta(days=1)
"""An event may say that it happens so much later than it comes in: clocks differ. One further
ahead would outrank whatever is said of its photo until then."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """An event that cannot be used, and why; what came is kept with it."""

    record: EventRecord
    detail: str
    reason: str = Reason.BAD_EVENT.value


@dataclass(frozen=True, slots=True)
class Nothing:
    """An event that is understood and names no photo: there is nothing to do."""

    record: EventRecord
    detail: str


Came = EventRecord | Wrong | Nothing
"""What one event turns out to be at the door."""


class Refused(ValueError):
    """Why an event cannot be used: what came, and what is allowed.

    Args:
        fields: the one that is wrong, or those of which one is needed.
        why: the sentence behind their names.
        missing: whether nothing was there.
        kind: what came, where it is no kind of event.
    """

    def __init__(
        self, fields: tuple[str, ...], why: str, *, missing: bool = False, kind: str = ""
    ) -> None:
        super().__init__(f"{', '.join(fields)}: {why}")
        self.fields, self.missing, self.kind = fields, missing, kind


def read_event(
    said: Mapping[str, Any], now: datetime, tell: Callable[[Refused], str] = str
) -> EventRecord | Wrong:
    """Check an event in our form.

    Args:
        said: the JSON object: `kind`, `listing_id` and (for photos) `photo_id`; `url` or `path`
            where a photo was added or changed; `id`, `at` (ISO 8601), `position`, `attributes`,
            `seller_id`, `sequence`, `source`, `priority` (new, backfill) where there are any.
        now: when it came in; the moment of an event that says none.
        tell: says why it is none, to whoever sent it.

    Returns:
        The event, or why it is none.

    Example:
        >>> moment = datetime(2026, 1, 1, tzinfo=UTC)
        >>> said = {"kind": "photo.added", "listing_id": "L1", "photo_id": "a", "url": "https://x/a"}
        >>> read_event(said, moment).body
        {'url': 'https://x/a'}
        >>> read_event({**said, "kind": "photo.new"}, moment).detail[:40]
        "kind: there is no 'photo.new'. Did you m"
    """
    try:
        return _checked(said, now)
    except Refused as why:
        return wrong(said, tell(why), now)


def wrong(said: Any, detail: str, now: datetime) -> Wrong:
    """Return what came as a dead letter, named by its content: its own id stays free.

    Whoever sends the event again, corrected, uses that id.
    """
    return Wrong(_unread(said, now), detail)


def nothing(said: Any, detail: str, now: datetime) -> Nothing:
    """Return what came as an event that is done, named by its content."""
    return Nothing(_unread(said, now), detail)


def _unread(said: Any, now: datetime) -> EventRecord:
    return EventRecord(content_key(said), "", "", "", now, {"raw": said})


def content_key(said: Any) -> str:
    """Return an id for an event that has none: equal words, equal id."""
    text = json.dumps(said, sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _checked(said: Mapping[str, Any], now: datetime) -> EventRecord:
    unknown = sorted(set(said) - EVENT_FIELDS)
    if unknown:
        raise Refused((unknown[0],), f"no such field. {suggest(unknown[0], EVENT_FIELDS)}")
    kind = _text(said, "kind")
    if kind not in EVENT_KINDS:
        why = f"there is no {kind!r}. {suggest(kind, EVENT_KINDS)}"
        raise Refused(("kind",), why, kind=kind)
    about_photo = kind != LISTING_CHANGED
    priority = said.get("priority") or "new"
    if not isinstance(priority, str) or priority not in PRIORITIES:
        raise Refused(("priority",), f"got {priority!r}. {suggest(str(priority), PRIORITIES)}")
    return EventRecord(
        event_key=_id(said, "id") if said.get("id") is not None else content_key(dict(said)),
        kind=kind,
        listing_id=_id(said, "listing_id"),
        photo_id=_id(said, "photo_id") if about_photo else "",
        at=_moment(said, now),
        body=_body(said, kind),
        source=_id(said, "source") if said.get("source") else "events",
        priority=PRIORITIES[priority],
        sequence=_whole(said, "sequence", -(2**63), 2**63 - 1) or 0,
    )


def _body(said: Mapping[str, Any], kind: str) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if kind in (PHOTO_ADDED, PHOTO_CHANGED):
        body |= _place(said)
        body["position"] = _whole(said, "position", 0, 2**31 - 1)
    if kind != PHOTO_DELETED:
        body["attributes"] = _attributes(said)
        body["seller_id"] = _id(said, "seller_id") if said.get("seller_id") is not None else None
    return {name: value for name, value in body.items() if value not in (None, {})}


def _place(said: Mapping[str, Any]) -> dict[str, str]:
    """Where the photo is: exactly one of `url` and `path`."""
    given = [name for name in ("url", "path") if said.get(name) is not None]
    if len(given) != 1:
        came = " and ".join(given) or "none"
        why = f"a photo that was added or changed has one of them, not {came}"
        raise Refused(("url", "path"), why, missing=not given)
    text = _text(said, given[0])
    if not text or len(text) > MAX_URL_CHARS:
        raise Refused((given[0],), f"1 to {MAX_URL_CHARS:,} characters, got {len(text):,}")
    return {given[0]: text}


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str):
        raise Refused((name,), f"a text is needed, got {_shown(value)}", missing=value is None)
    return value


def _id(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not _fits(value):
        why = f"a text of 1 to {MAX_ID_BYTES:,} bytes or a whole number is needed"
        raise Refused((name,), f"{why}, got {_shown(value)}", missing=value is None)
    return printable(value)


def _fits(value: str) -> bool:
    return 0 < len(printable(value).encode()) <= MAX_ID_BYTES


def _whole(said: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = said.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Refused((name,), f"a whole number from {low} to {high}, got {_shown(value)}")
    return value


def _attributes(said: Mapping[str, Any]) -> dict[str, Any]:
    value = said.get("attributes")
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Refused(("attributes",), f"a JSON object is needed, got {_shown(value)}")
    if (n := len(to_json(dict(value)))) > MAX_ATTRIBUTES_CHARS:
        why = f"{n:,} characters; at most {MAX_ATTRIBUTES_CHARS:,} are kept"
        raise Refused(("attributes",), why)
    return dict(value)


def _moment(said: Mapping[str, Any], now: datetime) -> datetime:
    """When it happened; a moment without a zone is UTC, a number is seconds or ms since 1970."""
    value = said.get("at")
    if value is None:
        return now
    try:
        moment = _number_moment(value) if isinstance(value, int | float) else _iso(str(value))
    except (ValueError, OverflowError, OSError):
        why = "ISO 8601 such as 2026-11-26T03:40:00Z, or seconds since 1970"
        raise Refused(("at",), f"{why}, got {_shown(value)}") from None
    if moment > now + AHEAD:
        why = f"{moment.isoformat()} is more than a day ahead of {now.isoformat()}"
        raise Refused(("at",), why)
    return moment


def _iso(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _number_moment(value: float) -> datetime:
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError
    return datetime.fromtimestamp(value / 1000 if abs(value) > 1e11 else value, UTC)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
