"""What is told to others: one outgoing event for each that changed something."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from listlens.core.types import Reason
from listlens.pipeline.events import LISTING_CHANGED, PHOTO_DELETED
from listlens.sources.paths import printable
from listlens.store.event_rows import Announcement
from listlens.stream.work import Work

PHOTO_PREDICTED, PHOTO_FAILED = "photo.predicted", "photo.failed"
PHOTO_EMBEDDED = "photo.embedded"
BUDGET_REACHED, DRIFT_DETECTED = "budget.reached", "drift.detected"

ANNOUNCED = (
    *(PHOTO_PREDICTED, PHOTO_FAILED, PHOTO_EMBEDDED, PHOTO_DELETED, LISTING_CHANGED),
    *(BUDGET_REACHED, DRIFT_DETECTED),
)
"""Every kind that is announced."""


def announcement(work: Work, results: dict[str, Any], now: datetime) -> Announcement:
    """Return what to announce of an event that was applied.

    Args:
        work: the event, with what came of it.
        results: task to answer, for a photo that is usable.
        now: when.

    Returns:
        An outgoing event whose key is the event's with its kind, so that the same is never
        announced twice.
    """
    event = work.event
    kind = event.kind
    body: dict[str, Any] = {"source": event.source, "event_id": event.event_key}
    if work.shows_photo:
        why = work.error or work.trouble
        kind = PHOTO_FAILED if why else PHOTO_PREDICTED
        if why:
            body |= {"reason": why.reason.value, "detail": why.detail}
        elif work.embed_only:
            kind = PHOTO_EMBEDDED
            told = {"reason": Reason.OVER_BUDGET.value, "detail": work.embed_only}
            body |= {"sha256": work.sha256, **told}
        else:
            body |= {"sha256": work.sha256, "results": results}
        # Of a file the event's own words: where the folder is on this machine is nobody's business.
        body["location"] = printable(event.body.get("path") or work.location)
        if "position" in event.body:
            body["position"] = event.body["position"]
    elif kind == LISTING_CHANGED:
        body |= event.body
    key = f"{event.event_key}/{kind}"
    head = {"id": key, "kind": kind, "at": now.isoformat(), "listing_id": event.listing_id}
    if event.photo_id:
        head["photo_id"] = event.photo_id
    tasks = tuple(results) if kind == PHOTO_PREDICTED else ()
    return Announcement(key, kind, event.listing_id, event.photo_id, head | body, tasks)


def budget_reached(source: str, limit: dict[str, Any], at_cap: str, now: datetime) -> Announcement:
    """Return what to announce once a period, when a source has used up what it may.

    Args:
        source: whose cap it is.
        limit: which cap, JSON-able; see `listlens.pipeline.budget.Limit.as_dict`.
        at_cap: what happens to its photos now.
        now: when.
    """
    key = f"{BUDGET_REACHED}/{source}/{limit['period']}"
    return _notice(key, BUDGET_REACHED, {"source": source, **limit, "at_cap": at_cap}, now)


def drift_detected(finding: dict[str, Any], day: str, now: datetime) -> Announcement:
    """Return what to announce once a day, when a source's photos are not what was trained on.

    Args:
        finding: JSON-able; see `listlens.pipeline.drift.Finding.as_dict`.
        day: on which it was found.
        now: when.
    """
    key = f"{DRIFT_DETECTED}/{finding['source']}/{finding['task']}/{day}"
    return _notice(key, DRIFT_DETECTED, finding, now, (finding["task"],))


def _notice(
    key: str, kind: str, body: dict[str, Any], now: datetime, tasks: tuple[str, ...] = ()
) -> Announcement:
    """An outgoing event that is about no listing."""
    head = {"id": key, "kind": kind, "at": now.isoformat()}
    return Announcement(key, kind, "", "", head | body, tasks)
