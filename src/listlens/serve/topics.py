"""Topics at brokers, as the server shows them: what is wrong, and counts for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from listlens.store.topics import Topics

COUNTED = {
    "received": ("in", "n", "Messages of a topic that were committed."),
    "duplicates": ("in", "duplicates", "Events of a topic that had come before."),
    "dead": ("in", "dead", "Messages of a topic that cannot be used."),
    "sent": ("out", "n", "Announcements that a topic's broker has confirmed."),
    "lost": ("out", "lost", "Announcements that grew too old before a topic was told of them."),
}


class TopicWatch(Collector):
    """Reads what workers, of this process or another, wrote down of their topics.

    Args:
        topics: of the store.
    """

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self.trouble = ""
        """What is wrong with brokers now, in words; empty where nothing is."""

    def refresh(self) -> None:
        """Look what is wrong."""
        self.trouble = " ".join(self._topics.troubles())

    def describe(self) -> list[CounterMetricFamily]:
        """Say nothing before anybody asks, so that registering asks no database."""
        return []

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield the metrics, by topic."""
        found = self._topics.list()
        for name, (way, field, about) in COUNTED.items():
            counter = CounterMetricFamily(f"listlens_topic_{name}", about, labels=["topic"])
            for one in found:
                if one.way == way:
                    counter.add_metric([one.name], getattr(one, field))
            yield counter
        lag = GaugeMetricFamily(
            "listlens_topic_lag", "Messages still to come, or to be sent.", labels=["topic", "way"]
        )
        for one in found:
            if one.lag is not None:
                lag.add_metric([one.name, one.way], one.lag)
        yield lag
