"""How the stream stands, read now and then for all who look: events, webhooks, sources, jobs."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from listlens.core.errors import ListlensError

if TYPE_CHECKING:
    from listlens.project import Project
    from listlens.store.webhook_rows import Webhook

EVERY_S = 5.0
"""How often the store is asked: some ten queries by index, of milliseconds."""

REST = 10
"""Rests for so many times as long as reading took: to count millions that wait takes seconds."""

POINTS = 120
"""Of each curve: ten minutes."""

MOST_SOURCES = 20
"""Sources that are shown: those of which most came today."""


CURVES = ("calls", "events", "lag_s")

NOTHING: Mapping[str, Any] = {
    "due": 0, "lag_s": 0.0, "announced": 0, "announced_a_minute": 0, "dead": {}, "webhooks": [],
    "sources": [], "held": {}, "drift": [], "topics": [], "jobs": {},
    "history": {"every_s": EVERY_S, **{name: [] for name in CURVES}},
}  # fmt: skip
"""Until the store has answered once."""


class Standing(Collector):
    """Reads how the stream stands, and remembers the last minutes.

    Args:
        project: whose store and settings.
        answered: how many photos of callers were answered so far.
        findings: how the photos of each source and task lie beside the training's.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        project: Project,
        answered: Callable[[], int],
        findings: Callable[[], list[dict[str, Any]]] = list,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._project, self._answered, self._clock = project, answered, clock
        self._findings = findings
        self._lock = threading.Lock()
        self._read_s, self._took_s = -EVERY_S, 0.0
        self._before: tuple[float, int, int] | None = None
        self._curves: dict[str, deque[float]] = {name: deque(maxlen=POINTS) for name in CURVES}
        self._now: Mapping[str, Any] = {}

    def refresh(self) -> None:
        """Read anew where it is time to."""
        with self._lock:
            now = self._clock()
            if now - self._read_s < max(EVERY_S, REST * self._took_s):
                return
            self._read_s = now
            try:
                self._now = self._read(now)
            except ListlensError as error:  # what was known before is shown, with why
                self._now = {**(self._now or NOTHING), "trouble": str(error)}
            self._took_s = self._clock() - now

    def as_dict(self) -> dict[str, Any]:
        """Return how it stands, JSON-able; rates are a minute, `history` has the oldest first."""
        if not self._now:
            self.refresh()
        return dict(self._now)

    def _read(self, now: float) -> dict[str, Any]:
        store = self._project.store
        due, oldest = store.events.waiting()
        lag_s = 0.0 if oldest is None else (store.clock() - oldest).total_seconds()
        announced = store.outbox.last()
        self._draw(now, announced, max(0.0, lag_s))
        return {
            "trouble": "",
            "due": due,
            "lag_s": round(max(0.0, lag_s), 1),
            "announced": announced,
            "announced_a_minute": round(self._curves["events"][-1]),
            "dead": store.dead.reasons(),
            "webhooks": [_webhook(hook, announced) for hook in store.webhooks.list()],
            "sources": self._sources(),
            "held": store.usage.held(),
            "drift": [one for one in self._findings() if one["drifted"]][:MOST_SOURCES],
            "topics": [one.as_dict() for one in store.topics.list()],
            "jobs": store.jobs.counts(),
            "history": {
                "every_s": EVERY_S,
                **{name: [round(v, 1) for v in curve] for name, curve in self._curves.items()},
            },
        }

    def _draw(self, now: float, announced: int, lag_s: float) -> None:
        """Add a point to each curve: answers to callers and events a minute, and the lag."""
        answered = self._answered()
        if self._before is None:
            rates = 0.0, 0.0
        else:
            then, n_calls, n_events = self._before
            minutes = max(now - then, 1e-3) / 60
            rates = (answered - n_calls) / minutes, max(0, announced - n_events) / minutes
        self._before = now, answered, announced
        for name, value in zip(CURVES, (*rates, lag_s), strict=True):
            self._curves[name].append(value)

    def _sources(self) -> list[dict[str, Any]]:
        found = self._project.budget()["sources"]
        return sorted(found, key=lambda row: -row["today"]["photos"])[:MOST_SOURCES]

    # -- for Prometheus ---------------------------------------------------------------------

    def describe(self) -> list[GaugeMetricFamily]:
        """Say nothing before anybody asks, so that registering asks no database."""
        return []

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield the metrics."""
        now = self.as_dict()
        yield GaugeMetricFamily("listlens_events_due", "Events that may be taken.", now["due"])
        about = "Age of the event that waits longest, in seconds."
        yield GaugeMetricFamily("listlens_lag_seconds", about, now["lag_s"])
        about = "Announcements so far."
        yield CounterMetricFamily("listlens_announced", about, now["announced"])
        yield _by("dead_letters", "Events that cannot be used.", "reason", now["dead"])
        yield _by("events_held", "Events that wait for a cap.", "source", now["held"])
        yield _by("jobs", "Jobs by state; ended ones are kept for a while.", "state", now["jobs"])
        for name, about in WEBHOOK.items():
            values = {str(hook["id"]): float(hook[name]) for hook in now["webhooks"]}
            yield _by(f"webhook_{name}", about, "webhook", values)


WEBHOOK = {
    "active": "1 where it is told, 0 where it is disabled.",
    "behind": "Announcements that it was not told yet.",
    "waiting": "Deliveries to be tried again.",
    "failed": "Deliveries that failed for good.",
    "failures": "Failures in a row.",
}
"""What is shown of each webhook to Prometheus."""


def _by(name: str, about: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(f"listlens_{name}", about, labels=[label])
    for value, n in values.items():
        gauge.add_metric([value], n)
    return gauge


def _webhook(hook: Webhook, last: int) -> dict[str, Any]:
    """What those see who may only read: of the address the host alone, since the rest may tell."""
    return {
        "id": hook.webhook_id,
        "name": hook.name,
        "host": urlsplit(hook.url).hostname or "",
        "active": hook.state == "active",
        "behind": max(0, last - hook.cursor) + hook.n_waiting,
        "waiting": hook.n_waiting,
        "failed": hook.n_failed,
        "failures": hook.failures,
        "detail": hook.detail,
        "delivered_at": None
        if hook.delivered_at is None
        else hook.delivered_at.isoformat(timespec="seconds"),
    }
