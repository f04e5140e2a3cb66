"""What the status page and Prometheus show of what was counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from listlens.pipeline.inference import Inference, Priority
from listlens.serve.counting import COUNTED, HOW, RECENT_S, Counting
from listlens.serve.live import LiveModels, Served


@pytest.fixture
def new(inference: Inference) -> Callable[..., Counting]:
    models = LiveModels(None, inference)  # type: ignore[arg-type]  # holds what is put in by hand
    return lambda *price: Counting(inference, models, *price)


def shown(counting: Counting) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(counting.text().decode())
    return {(s.name, tuple(s.labels.values())): s.value for f in families for s in f.samples}


calls = st.tuples(st.sampled_from(["/a", "/b"]), st.sampled_from([200, 404, 429, 500]))
counted = st.lists(st.one_of(calls, st.sampled_from(HOW)), max_size=30)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(counted)
def test_everything_is_counted_once(new: Callable[..., Counting], events: list[Any]) -> None:
    counting = new()
    for event in events:
        if isinstance(event, tuple):
            route, code = event
            counting.request(route, code, 0.02)
        else:
            counting.photo(str(event))
    values, status = shown(counting), counting.status()
    for call in {event for event in events if isinstance(event, tuple)}:
        key = ("listlens_requests_total", (call[0], str(call[1])))
        assert values[key] == events.count(call)
    assert status["answered"] == {how: events.count(how) for how in HOW}
    assert status["photos"] == status["photos_last_minute"] == sum(status["answered"].values())
    wrong = [e for e in events if isinstance(e, tuple) and e[1] in (429, 500)]
    assert status["refused_or_failed_calls_last_minute"] == len(wrong)
    n_saved = status["photos"] - status["answered"]["computed"]
    if status["photos"]:
        assert status["cache_hit_share"] == pytest.approx(n_saved / status["photos"], abs=1e-4)
    else:
        assert status["cache_hit_share"] is None


def test_a_minute_later_nothing_is_recent(
    new: Callable[..., Counting], monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, now = new(), 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for _ in range(3 * RECENT_S):
        counting.photo("cached")
        now += 1
    assert counting.status()["photos_last_minute"] == RECENT_S - 1  # the second that has begun
    now += RECENT_S
    assert counting.status()["photos_last_minute"] == 0
    assert counting.status()["photos"] == 3 * RECENT_S


def test_a_broken_photo_is_told_by_its_reason_and_costs_no_division_by_zero(
    new: Callable[..., Counting], inference: Inference
) -> None:
    counting = new(3600.0, "EUR")
    assert inference.submit(b"<html>", priority=Priority.NEW).exception(30) is not None
    counting.failure("not_an_image")
    status = counting.status()
    assert status["failed"] == {"not_an_image": 1}
    assert status["currency"] == "EUR" and status["cost"] >= 0
    assert status["cost_a_1000_photos"] is status["core_seconds_a_1000_photos"] is None


def test_without_a_price_no_cost_is_shown(new: Callable[..., Counting]) -> None:
    free, priced = shown(new()), shown(new(0.05, "EUR"))
    assert {name for name, _ in priced} - {name for name, _ in free} == {"listlens_cost_total"}
    assert new().status()["cost"] is new(0.0, "EUR").status()["currency"] is None


def test_the_queue_and_the_models_in_force_are_shown(inference: Inference, starter: Served) -> None:
    models = LiveModels(None, inference)  # type: ignore[arg-type]
    models.current = {starter.live.task: starter}
    values = shown(Counting(inference, models))
    assert values["listlens_model_live", (starter.live.task, str(starter.live.version))] == 1
    assert {f"listlens_{name}_total" for name in COUNTED} <= {name for name, _ in values}
    assert {key[1][0] for key in values if key[0] == "listlens_waiting"} == {
        level.name.lower() for level in Priority
    }
