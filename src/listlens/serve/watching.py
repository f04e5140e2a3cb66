"""Metrics of what is watched: use against caps, read from the store when they are asked for."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from listlens.core.errors import ListlensError

if TYPE_CHECKING:
    from listlens.project import Project

log = logging.getLogger("listlens.serve")

DRIFT_S = 30.0
"""How old a judgement of drift may be that is shown."""


class WatchCollector(Collector):
    """Gauges by source.

    Args:
        project: whose store is read.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._found: list[dict[str, Any]] = []
        self._judged_s = float("-inf")

    def describe(self) -> list[GaugeMetricFamily]:
        """Return nothing, so that nothing is read before it is asked for."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metrics."""
        labels = ["source", "limit"]
        used = GaugeMetricFamily(
            "listlens_budget_used", "Used of a cap in its day or month: photos, or money.",
            labels=labels,
        )  # fmt: skip
        cap = GaugeMetricFamily("listlens_budget_cap", "The cap: photos, or money.", labels=labels)
        photos = GaugeMetricFamily(
            "listlens_source_photos_today", "Photos of a source looked at today.", labels=["source"]
        )
        for one in self._sources():
            photos.add_metric([one["source"]], one["today"]["photos"])
            for limit in one["limits"]:
                used.add_metric([one["source"], limit["limit"]], limit["used"])
                cap.add_metric([one["source"], limit["limit"]], limit["cap"])
        yield from (used, cap, photos)
        yield from self._drift()

    def _drift(self) -> Iterator[GaugeMetricFamily]:
        labels = ["source", "task", "part"]
        distance = GaugeMetricFamily(
            "listlens_drift", "How far a source's photos lie from those of the training.",
            labels=labels,
        )  # fmt: skip
        threshold = GaugeMetricFamily(
            "listlens_drift_threshold", "The distance above which an alert is given.", labels=labels
        )
        for one in self.findings():
            for part, found in one["parts"].items():
                distance.add_metric([one["source"], one["task"], part], found["distance"])
                threshold.add_metric([one["source"], one["task"], part], found["threshold"])
        yield from (distance, threshold)

    def _sources(self) -> list[dict[str, Any]]:
        """What each source used; nothing while the store cannot be read, which `/health` tells."""
        try:
            return list(self._project.budget()["sources"])
        except ListlensError as error:
            log.warning("metrics of the budget: %s", error)
            return []

    def findings(self) -> list[dict[str, Any]]:
        """Return how each source and task stands; judged at most once in `DRIFT_S`."""
        now = time.monotonic()
        if now - self._judged_s >= DRIFT_S:
            try:
                self._found = list(self._project.drift()["found"])
            except ListlensError as error:
                log.warning("metrics of drift: %s", error)
                self._found = []
            self._judged_s = now
        return self._found
