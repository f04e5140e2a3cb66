"""An event's way through the worker as a trace: a span for it, and one for each step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from listlens.core import tracing

if TYPE_CHECKING:
    from listlens.store.event_rows import EventView
    from listlens.stream.work import Work


def begun(event: EventView, now: datetime) -> Any:
    """Return the span of an event that was just leased; None where nobody traces."""
    if not tracing.on():
        return None
    return tracing.begin(
        f"event {event.kind or 'unknown'}",
        **{
            "listlens.event_id": event.event_key,
            "listlens.source": event.source,
            "listlens.attempt": event.attempts,
            "listlens.waited_s": (now - (event.received_at or now)).total_seconds(),
        },
    )


def ended(work: Work) -> None:
    """End the span of an event, whatever became of it."""
    if work.trace is None:
        return
    why = work.error or work.trouble
    if why is not None:
        tracing.failed(work.trace, why.reason.value)
    work.trace.end()


@dataclass
class Laps:
    """The steps that a batch takes together, noted for each of its events.

    Args:
        works: of the batch.
    """

    works: Sequence[Work]
    _at_s: float = field(default_factory=time.monotonic)

    def lap(self, name: str) -> None:
        """A step ends here, and the next one begins."""
        now_s = time.monotonic()
        if tracing.on():
            for work in self.works:
                tracing.note(name, self._at_s, now_s, work.trace, events=len(self.works))
        self._at_s = now_s
