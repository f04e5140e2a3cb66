"""What is counted: for Prometheus, and for the status page."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from listlens.pipeline.inference import Inference
    from listlens.serve.live import LiveModels

HOW = ("computed", "cached", "stored", "shared")
"""How an answer came about: the photo was looked at; its answer or embedding was in memory, or in
the store; or somebody else asked the same at the same moment."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)

RECENT_S = 60
"""What the status page calls recent."""


class Counting:
    """Counters of one server.

    Args:
        inference: its counters are shown too.
        models: the live ones are shown too.
        core_hour: price of an hour of one core; 0 where none is known.
        currency: of the price.
        more: what else is shown.
    """

    def __init__(
        self,
        inference: Inference,
        models: LiveModels,
        core_hour: float = 0.0,
        currency: str = "",
        more: Collector | None = None,
    ) -> None:
        self.begun = time.time()
        self._core_hour, self._currency = core_hour, currency
        self._inference = inference
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "listlens_requests", "Requests by route and status.", ["route", "status"],
            registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "listlens_request_seconds", "Time to the whole answer.", ["route"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.photos = Counter(
            "listlens_photos", "Photos answered, by how the answer came about.", ["how"],
            registry=registry,
        )  # fmt: skip
        self.failures = Counter(
            "listlens_photo_failures", "Photos without an answer, by reason.", ["reason"],
            registry=registry,
        )  # fmt: skip
        for how in HOW:
            self.photos.labels(how)
        registry.register(_InferenceCollector(inference, models, core_hour))
        if more is not None:
            registry.register(more)
        self._recent: deque[tuple[int, int, int]] = deque(maxlen=RECENT_S + 1)
        self._by_status: dict[tuple[str, int], Counter] = {}
        self._by_route: dict[str, Histogram] = {}

    def show(self, collector: Collector) -> None:
        """Show to Prometheus what another counts too."""
        self._registry.register(collector)

    def request(self, route: str, status: int, took_s: float) -> None:
        """Count a request."""
        counter = self._by_status.get((route, status))
        if counter is None:
            counter = self._by_status[route, status] = self.requests.labels(route, str(status))
        counter.inc()
        seconds = self._by_route.get(route)
        if seconds is None:
            seconds = self._by_route[route] = self.seconds.labels(route)
        seconds.observe(took_s)
        self._tick(errors=int(status >= 500 or status == 429))

    def photo(self, how: str) -> None:
        """Count an answered photo; `how` is of HOW."""
        self.photos.labels(how).inc()
        self._tick(photos=1)

    def failure(self, reason: str) -> None:
        """Count a photo that could not be answered."""
        self.failures.labels(reason).inc()

    def _tick(self, photos: int = 0, errors: int = 0) -> None:
        second = int(time.monotonic())
        if self._recent and self._recent[-1][0] == second:
            _, before, wrong = self._recent.pop()
            photos, errors = photos + before, errors + wrong
        self._recent.append((second, photos, errors))

    def answered(self) -> int:
        """Return how many photos of callers were answered so far."""
        return sum(int(self._value(self.photos.labels(how))) for how in HOW)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def status(self) -> dict[str, Any]:
        """Return what the status page shows, JSON-able; rates are photos a minute."""
        oldest = int(time.monotonic()) - RECENT_S
        recent = [row for row in self._recent if row[0] > oldest]
        counters = self._inference.counters()
        answered = {how: int(self._value(self.photos.labels(how))) for how in HOW}
        total = sum(answered.values())
        saved = total - answered["computed"]
        cost_s = counters.decode_s + counters.embed_s
        cost = cost_s / 3600 * self._core_hour if self._core_hour else None
        return {
            "uptime_s": round(time.time() - self.begun),
            "photos": total,
            "photos_last_minute": sum(row[1] for row in recent),
            "answered": answered,
            "failed": self._failed(),
            "refused_or_failed_calls_last_minute": sum(row[2] for row in recent),
            "cache_hit_share": round(saved / total, 4) if total else None,
            "waiting": dict(counters.waiting),
            "refused": counters.refused,
            "decoded": counters.decoded,
            "embedded": counters.embedded,
            "photos_a_batch": round(counters.embedded / counters.batches, 2)
            if counters.batches
            else None,
            "core_seconds_a_1000_photos": round(1000 * cost_s / counters.decoded, 1)
            if counters.decoded
            else None,
            "cost": None if cost is None else round(cost, 9),
            "cost_a_1000_photos": None
            if cost is None or not counters.decoded
            else round(1000 * cost / counters.decoded, 9),
            "currency": self._currency if cost is not None else None,
        }

    def _failed(self) -> dict[str, int]:
        samples = [s for metric in self.failures.collect() for s in metric.samples]
        return {s.labels["reason"]: int(s.value) for s in samples if s.name.endswith("_total")}

    @staticmethod
    def _value(counter: Counter) -> float:
        return next(
            s.value for m in counter.collect() for s in m.samples if s.name.endswith("_total")
        )


class _InferenceCollector(Collector):
    """The queue's own counters, and the live models, read when they are asked for."""

    def __init__(self, inference: Inference, models: LiveModels, core_hour: float) -> None:
        self._inference, self._models, self._core_hour = inference, models, core_hour

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield the metrics."""
        now = self._inference.counters()
        waiting = GaugeMetricFamily(
            "listlens_waiting", "Photos that wait to be looked at.", labels=["priority"]
        )
        for priority, n in now.waiting.items():
            waiting.add_metric([priority], n)
        yield waiting
        for name, about in COUNTED.items():
            yield CounterMetricFamily(f"listlens_{name}", about, value=getattr(now, name))
        if self._core_hour:
            about = "What looking at photos has cost, by the price of a core."
            spent = (now.decode_s + now.embed_s) / 3600 * self._core_hour
            yield CounterMetricFamily("listlens_cost", about, value=spent)
        live = GaugeMetricFamily(
            "listlens_model_live", "1 for each model in force.", labels=["task", "version"]
        )
        share = GaugeMetricFamily(
            "listlens_model_share",
            "Share of the contents that a canary answers.",
            labels=["task", "version"],
        )
        for served in self._models.current.values():
            live.add_metric([served.live.task, str(served.live.version)], 1)
            if served.canary is not None:
                canary = served.canary.live
                share.add_metric([canary.task, str(canary.version)], canary.share)
        yield live
        yield share


COUNTED = {
    "accepted": "Photos taken into the queue.",
    "refused": "Photos not taken because the queue was full.",
    "decoded": "Photos decoded.",
    "failed": "Photos that could not be decoded.",
    "embedded": "Embeddings computed.",
    "batches": "Runs of a network.",
    "decode_s": "Thread seconds spent on decoding.",
    "embed_s": "Thread seconds spent on networks.",
}
"""Counters of `Inference` shown to Prometheus."""
