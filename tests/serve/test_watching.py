"""What Prometheus is told of brokers, budgets and drift; and a server whose store starts late."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

import listlens
from listlens.core.errors import InputError, StoreUnreachableError
from listlens.serve import app
from listlens.serve.topics import COUNTED, TopicWatch
from listlens.serve.watching import WatchCollector

IN, OUT = "nats://h:4222/photos", "nats://h:4222/results"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Any]:
    listlens.init(tmp_path / "shop").close()
    settings = tmp_path / "shop" / "listlens.toml"
    with settings.open("a") as file:
        file.write("\n[budget.sources.feed]\ndaily_photos = 10\n")
    with listlens.open(tmp_path / "shop") as opened:
        yield opened


def told(collector: Collector) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(collector)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, *sorted(s.labels.values())): s.value for f in families for s in f.samples}


def unreachable(*_: Any, **__: Any) -> Any:
    raise StoreUnreachableError("the store does not answer")


def test_topics_are_told_by_name_and_by_the_way_their_messages_go(project: Any) -> None:
    topics = project.store.topics
    topics.count(IN, "in", 5, duplicates=2, dead=1)
    topics.tell(IN, "in", lag=40)
    topics.lease(OUT, "me", 60)
    topics.move(OUT, "me", 3, 3)
    assert told(TopicWatch(topics)) == {
        ("listlens_topic_received_total", IN): 5.0,
        ("listlens_topic_duplicates_total", IN): 2.0,
        ("listlens_topic_dead_total", IN): 1.0,
        ("listlens_topic_sent_total", OUT): 3.0,
        ("listlens_topic_lost_total", OUT): 0.0,
        ("listlens_topic_lag", "in", IN): 40.0,
    }


def test_a_lag_that_nobody_knows_is_left_out_and_not_called_0(project: Any) -> None:
    project.store.topics.tell(IN, "in", lag=None, trouble="the broker is gone")
    values = told(TopicWatch(project.store.topics))
    assert not [key for key in values if key[0] == "listlens_topic_lag"]
    assert values["listlens_topic_received_total", IN] == 0.0


def test_trouble_is_told_until_it_is_over(project: Any) -> None:
    watch = TopicWatch(project.store.topics)
    watch.refresh()
    assert watch.trouble == ""
    project.store.topics.tell(OUT, "out", lag=None, trouble="connection refused")
    watch.refresh()
    assert watch.trouble == f"{OUT}: connection refused"
    project.store.topics.tell(OUT, "out", lag=0)
    watch.refresh()
    assert watch.trouble == ""


def test_registering_asks_no_database() -> None:
    class Asked:
        def list(self) -> Any:
            raise AssertionError("asked while it was registered")

    registry = CollectorRegistry()
    registry.register(TopicWatch(Asked()))  # type: ignore[arg-type]
    registry.register(WatchCollector(SimpleNamespace(budget=Asked().list)))  # type: ignore[arg-type]
    assert len(COUNTED) == 5


def test_a_cap_is_told_beside_what_was_used_of_it(project: Any) -> None:
    values = told(WatchCollector(project))
    assert values["listlens_budget_cap", "daily_photos", "feed"] == 10.0
    assert values["listlens_budget_used", "daily_photos", "feed"] == 0.0


def test_a_store_that_does_not_answer_leaves_the_other_metrics(
    project: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(type(project), "budget", unreachable)
    monkeypatch.setattr(type(project), "drift", unreachable)
    assert told(WatchCollector(project)) == {}
    assert "metrics of the budget" in caplog.text and "metrics of drift" in caplog.text


def test_drift_is_judged_once_for_many_who_ask(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    part = {"look": {"distance": 0.7, "threshold": 0.5}}

    def judged(_: Any) -> dict[str, Any]:
        asked.append(1)
        return {"found": [{"source": "feed", "task": "room", "parts": part}]}

    monkeypatch.setattr(type(project), "drift", judged)
    watch = WatchCollector(project)
    values = [told(watch) for _ in range(3)][-1]
    assert values["listlens_drift", "feed", "look", "room"] == 0.7
    assert values["listlens_drift_threshold", "feed", "look", "room"] == 0.5
    assert len(asked) == 1


class Looks:
    """A server's look at a store that answers from the n-th time on."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors, self.n, self.said = errors, 0, list[str]()
        self.log = SimpleNamespace(warning=lambda *_, detail: self.said.append(detail))

    def refresh(self) -> bool:
        self.n += 1
        if self.errors:
            raise self.errors.pop(0)
        return True


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_time(_: float) -> None: ...

    monkeypatch.setattr(app.asyncio, "sleep", no_time)


@pytest.mark.usefixtures("at_once")
def test_a_server_waits_for_a_database_that_is_just_starting(run: Callable[..., Any]) -> None:
    looks = Looks([StoreUnreachableError("starting up")] * 3)
    run(app._first_look(looks))  # type: ignore[arg-type]
    assert (looks.n, looks.said) == (4, ["starting up"] * 3)


@pytest.mark.usefixtures("at_once")
def test_a_server_does_not_wait_for_ever_nor_for_what_never_passes(
    run: Callable[..., Any],
) -> None:
    with pytest.raises(StoreUnreachableError):
        run(app._first_look(Looks([StoreUnreachableError("gone")] * 1000)))  # type: ignore[arg-type]
    wrong = Looks([InputError("a wrong setting")])
    with pytest.raises(InputError):
        run(app._first_look(wrong))  # type: ignore[arg-type]
    assert wrong.n == 1
