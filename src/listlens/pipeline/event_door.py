"""The door: lines or objects in, events of the inbox and dead letters out. Nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from listlens.pipeline.event_mapping import MappingFailure, explained, mapped
from listlens.pipeline.events import PRIORITIES, Came, Nothing, Wrong, nothing, read_event, wrong
from listlens.store.event_rows import EventRecord, Put

if TYPE_CHECKING:
    from listlens.core.stream_config import EventsConfig
    from listlens.store.open import Store

BATCH = 500
MAX_LINE_BYTES = 2**20
"""Of one event. Of a longer one the beginning is kept, among the dead letters."""

_KEPT_CHARS = 2000

EMPTY = "empty"
"""How an event ends that names no photo."""

MOST_DEPTH = 100
"""Of one event: objects and lists within each other. Python reads some thousand, and fails to write
as many where a call stands deeper than the one that read them."""


@dataclass(frozen=True, slots=True)
class Let:
    """What was let in: every line is in exactly one of the counts.

    Args:
        new: events that wait now.
        duplicates: that had come in before.
        dead: that cannot be used; see the dead letters.
        empty: that name no photo, so that there is nothing to do.
    """

    new: int = 0
    duplicates: int = 0
    dead: int = 0
    empty: int = 0

    def __add__(self, other: Let) -> Let:
        return Let(
            self.new + other.new,
            self.duplicates + other.duplicates,
            self.dead + other.dead,
            self.empty + other.empty,
        )


def understood(
    said: Any, config: EventsConfig, now: datetime, *, priority: str | None = None
) -> Iterator[Came]:
    """Yield the events that a JSON value of a shop is, each checked.

    Args:
        said: any JSON value.
        config: `[events]`.
        now: when it came in.
        priority: of events that name none.
    """
    if not isinstance(said, dict):
        kept = [] if isinstance(said, list) and _is_deep(said) else said
        yield wrong(kept, "an event is a JSON object", now)
        return
    if _is_deep(said):
        kept = {name: one for name, one in said.items() if not isinstance(one, dict | list)}
        yield wrong(kept, f"more than {MOST_DEPTH} objects and lists within each other", now)
        return
    refused, item = False, -1
    try:
        for item, one in enumerate(mapped(said, config)):
            if priority is not None:
                one.setdefault("priority", priority)
            found = read_event(one, now, partial(explained, config, item))
            if not isinstance(found, Wrong):
                yield found
            elif not refused:  # one a message: what came is kept, for a corrected mapping to read
                refused = True
                yield wrong(said, found.detail, now)
        if item < 0:  # else it would leave no trace
            yield nothing(said, f"each: the list at {config.each!r} is empty", now)
    except MappingFailure as failure:
        yield wrong(said, str(failure), now)


def _is_deep(said: Any) -> bool:
    """Whether a JSON value has more levels than are kept."""
    level = [said]
    for _ in range(MOST_DEPTH + 1):
        holders = [one.values() if isinstance(one, dict) else one for one in level]
        level = [one for some in holders for one in some if isinstance(one, dict | list)]
        if not level:
            return False
    return True


def read_lines(
    lines: IO[bytes], config: EventsConfig, now: datetime, *, priority: str | None = None
) -> Iterator[Came]:
    """Yield the events of JSON lines, a line at a time; empty lines are passed over."""
    return (one for _, one in numbered(lines, config, now, priority=priority))


def numbered(
    lines: IO[bytes], config: EventsConfig, now: datetime, *, priority: str | None = None
) -> Iterator[tuple[int, Came]]:
    """Yield the events of JSON lines as `read_lines` does, each with its line, counted from 1."""
    number = 0
    while line := lines.readline(MAX_LINE_BYTES + 1):
        number, n_bytes = number + 1, len(line)
        while not line.endswith(b"\n") and n_bytes > MAX_LINE_BYTES:
            rest = lines.readline(MAX_LINE_BYTES + 1)
            n_bytes += len(rest)
            if not rest or rest.endswith(b"\n"):
                break
        text = line.decode("utf-8", "replace").strip()
        if n_bytes > MAX_LINE_BYTES:
            detail = f"a line of {n_bytes:,} bytes; at most {MAX_LINE_BYTES:,} are read"
            yield number, wrong(text[:_KEPT_CHARS], detail, now)
        elif text:
            for one in _read_line(text, config, now, priority):
                yield number, one


def read_body(
    body: bytes, config: EventsConfig, now: datetime, *, priority: str | None = None
) -> Iterator[Came]:
    """Yield the events of one message of a broker, a JSON object; see `understood`."""
    if len(body) > MAX_LINE_BYTES:
        detail = f"a message of {len(body):,} bytes; at most {MAX_LINE_BYTES:,} are read"
        yield wrong(body[: 4 * _KEPT_CHARS].decode("utf-8", "replace")[:_KEPT_CHARS], detail, now)
    else:
        yield from _read_line(body.decode("utf-8", "replace").strip(), config, now, priority)


def _read_line(
    text: str, config: EventsConfig, now: datetime, priority: str | None
) -> Iterator[Came]:
    try:
        said = json.loads(text)
    except json.JSONDecodeError as error:  # it counts lines within an event, which has one
        yield wrong(text, f"no JSON: {error.msg} at character {error.pos + 1}", now)
        return
    except (ValueError, RecursionError) as error:
        yield wrong(text, f"no JSON: {error}", now)
        return
    yield from understood(said, config, now, priority=priority)


def let_in(store: Store, found: Iterable[Came]) -> Let:
    """Put events into the inbox, in batches; wrong ones go to the dead letters."""
    total, batch = Let(), list[Came]()
    for one in found:
        batch.append(one)
        if len(batch) == BATCH:
            total += _put(store, batch)
            batch = []
    return total + _put(store, batch)


def _put(store: Store, batch: list[Came]) -> Let:
    good = [one for one in batch if isinstance(one, EventRecord)]
    bad = [one for one in batch if isinstance(one, Wrong)]
    put: Put = store.events.put(good)
    dead = store.events.put([], [(one.record, one.reason, one.detail) for one in bad])
    idle = [(one.record, EMPTY, one.detail) for one in batch if isinstance(one, Nothing)]
    done: Put = store.events.put([], done=idle) if idle else Put()
    return Let(
        put.new,
        put.duplicates + dead.duplicates + done.duplicates,
        put.clashes + dead.new + dead.clashes + done.clashes,
        done.new,
    )


def as_said(record: EventRecord) -> dict[str, Any]:
    """Return an event in our form, as `--dry-run` shows it."""
    names = {number: name for name, number in PRIORITIES.items()}
    shown = {
        "id": record.event_key,
        "kind": record.kind,
        "listing_id": record.listing_id,
        "photo_id": record.photo_id or None,
        **record.body,
        "at": record.at.isoformat(),
        "sequence": record.sequence or None,
        "source": record.source,
        "priority": names.get(record.priority, "new"),
    }
    return {name: value for name, value in shown.items() if value is not None}
