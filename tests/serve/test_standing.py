"""How the stream stands, for the status page and Prometheus alike: the same numbers in both."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import listlens
from listlens.core.errors import StoreUnreachableError
from listlens.serve.pages import points
from listlens.serve.standing import EVERY_S, POINTS, REST, Standing
from listlens.store.event_rows import Announcement


class Seconds:
    """A clock that is put forward by hand, and what callers were answered so far."""

    def __init__(self) -> None:
        self.now, self.answered = 100.0, 0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Any]:
    listlens.init(tmp_path / "shop").close()
    with listlens.open(tmp_path / "shop") as opened:
        yield opened


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def standing(project: Any, seconds: Seconds) -> Standing:
    return Standing(project, lambda: seconds.answered, clock=seconds)


def announce(project: Any, *keys: str) -> None:
    body = {"kind": "photo.predicted"}
    rows = [Announcement(key, "photo.predicted", "L", key, body, ()) for key in keys]
    project.store.outbox.append(rows)


def later(standing: Standing, seconds: Seconds, by_s: float = EVERY_S) -> dict[str, Any]:
    seconds.now += by_s
    standing.refresh()
    return standing.as_dict()


def metrics(standing: Standing) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(standing)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}


def test_what_takes_long_to_count_is_counted_less_often(
    project: Any, standing: Standing, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, reads = project.store.events.waiting, list[float]()

    def slow() -> Any:
        reads.append(seconds.now)
        seconds.now += 2.0
        return waiting()

    monkeypatch.setattr(project.store.events, "waiting", slow)
    for _ in range(30):
        later(standing, seconds, 1.0)
    assert [b - a for a, b in pairwise(reads)] == [2.0 * REST]


def test_an_idle_project_stands_at_nothing(standing: Standing) -> None:
    told = standing.as_dict()
    assert (told["due"], told["lag_s"], told["announced"], told["dead"]) == (0, 0.0, 0, {})
    assert told["webhooks"] == told["sources"] == told["topics"] == []
    assert set(told["jobs"].values()) == {0}
    assert told["history"] == {"every_s": EVERY_S, "calls": [0.0], "events": [0.0], "lag_s": [0.0]}
    assert told["trouble"] == ""


def test_rates_are_a_minute_and_the_curves_stay_bounded(
    project: Any, standing: Standing, seconds: Seconds
) -> None:
    standing.refresh()
    seconds.answered = 10
    announce(project, "a", "b", "c")
    told = later(standing, seconds)
    assert told["history"]["calls"] == [0.0, 10 * 60 / EVERY_S]
    assert told["history"]["events"] == [0.0, 3 * 60 / EVERY_S]
    assert told["announced_a_minute"] == 36
    for _ in range(POINTS + 5):
        told = later(standing, seconds)
    assert {len(told["history"][name]) for name in ("calls", "events", "lag_s")} == {POINTS}
    assert set(told["history"]["calls"]) == {0.0}


def test_the_store_is_asked_now_and_then_however_many_look(
    project: Any, standing: Standing, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    reasons = project.store.dead.reasons

    def counted() -> dict[str, int]:
        nonlocal asked
        asked += 1
        return dict(reasons())

    monkeypatch.setattr(project.store.dead, "reasons", counted)
    for _ in range(20):
        standing.refresh()
        standing.as_dict()
        metrics(standing)
        seconds.now += EVERY_S / 10
    assert asked == 2


def test_what_waits_has_an_age_and_what_failed_a_reason(
    project: Any, standing: Standing, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = {"kind": "photo.added", "listing_id": "L", "photo_id": "p", "url": "https://x/a.jpg"}
    project.put_events([event | {"id": "a"}, {"id": "b", "kind": "photo.new"}, {"id": "c"}])
    ahead = datetime.now(UTC) + timedelta(seconds=90)
    monkeypatch.setattr(project.store, "clock", lambda: ahead)
    told = later(standing, seconds)
    assert told["due"] == 1 and 89 <= told["lag_s"] <= 95
    assert told["dead"] == dict(project.store.events.ledger().reasons) == {"bad_event": 2}
    assert told["history"]["lag_s"] == [told["lag_s"]]
    shown = metrics(standing)
    assert shown["listlens_events_due",] == 1
    assert shown["listlens_lag_seconds",] == told["lag_s"]
    assert shown["listlens_dead_letters", "bad_event"] == 2


def test_a_webhook_shows_what_it_lacks_and_not_its_whole_address(
    project: Any, standing: Standing, seconds: Seconds
) -> None:
    hooks = project.store.webhooks
    made = hooks.add("https://user:pass@shop.example/secret?key=1", name="web")
    announce(project, "a", "b")
    project.store.webhooks.disable(made.webhook_id, "it answered 410")
    (hook,) = later(standing, seconds)["webhooks"]
    assert (hook["id"], hook["name"], hook["host"]) == (made.webhook_id, "web", "shop.example")
    assert (hook["active"], hook["behind"], hook["detail"]) == (False, 2, "it answered 410")
    assert "secret" not in str(hook) and "pass" not in str(hook)
    shown, number = metrics(standing), str(made.webhook_id)
    assert shown["listlens_webhook_active", number] == 0
    assert shown["listlens_webhook_behind", number] == 2
    assert shown["listlens_announced_total",] == 2


def test_jobs_are_counted_by_state(project: Any, standing: Standing, seconds: Seconds) -> None:
    project.store.jobs.add("tag")
    project.store.jobs.cancel(project.store.jobs.add("tag", "room").job_id)
    told = later(standing, seconds)["jobs"]
    assert (told["waiting"], told["cancelled"], told["running"]) == (1, 1, 0)
    shown = metrics(standing)
    assert shown["listlens_jobs", "waiting"] == shown["listlens_jobs", "cancelled"] == 1


def test_while_the_store_does_not_answer_what_was_known_is_shown_with_why(
    project: Any, standing: Standing, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(project, "a")
    assert standing.as_dict()["announced"] == 1

    def gone() -> int:
        raise StoreUnreachableError("no answer from the server")

    monkeypatch.setattr(project.store.outbox, "last", gone)
    told = later(standing, seconds)
    assert (told["announced"], told["trouble"]) == (1, "no answer from the server")
    assert metrics(standing)["listlens_announced_total",] == 1
    never = Standing(project, lambda: 0, clock=seconds)
    assert never.as_dict()["trouble"] == "no answer from the server"
    assert metrics(never)["listlens_events_due",] == 0
    monkeypatch.undo()
    assert later(standing, seconds)["trouble"] == ""


@pytest.mark.parametrize(
    ("values", "line", "top"),
    [
        ([], "", 0),
        ([0.0], "0.0,60.0", 0.0),
        ([3.0], "0.0,2.0", 3.0),
        ([1.0, 2.0, 0.0], "0.0,31.0 120.0,2.0 240.0,60.0", 2.0),
    ],
    ids=["nothing", "flat", "one", "some"],
)
def test_a_curve_lies_in_its_box(values: list[float], line: str, top: float) -> None:
    found = points(values)
    assert (found["line"], found["top"]) == (line, top)
    assert found["last"] == (values[-1] if values else 0)
