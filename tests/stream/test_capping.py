"""Caps of sources: what goes on at a cap, what waits, and that the count is shared."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from listlens.store.usage import Used
from listlens.stream.settling import PUT_OFF

Draw = Callable[..., Path]
Said = Callable[..., dict[str, Any]]


@pytest.fixture
def capped(
    new_line: Callable[..., Any], draw_file: Draw, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Return `make(settings)`: a line whose store's clock a test can set, with eight photos."""

    def make(settings: str) -> Any:
        line = new_line(settings)
        noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
        line.now, began_s = noon.replace(day=10), time.monotonic()

        def clock() -> datetime:
            return line.now + timedelta(seconds=time.monotonic() - began_s)  # type: ignore[no-any-return]

        monkeypatch.setattr("listlens.stream.capping.IN_HAND_S", 0.02)
        monkeypatch.setattr(line.project.store._db, "clock", clock)
        monkeypatch.setattr(line.project.store, "clock", clock)
        for n in range(8):
            draw_file(f"{n}.jpg", seed=20 + n)
        return line

    yield make


def news(line: Any, kind: str) -> list[dict[str, Any]]:
    return [one for one in line.announced() if one["kind"] == kind]


def day(line: Any) -> str:
    return line.now.date().isoformat()


def test_at_a_cap_photos_wait_until_the_next_day_and_everything_else_goes_on(
    capped: Callable[..., Any], said: Said, caplog: pytest.LogCaptureFixture
) -> None:
    line = capped("[budget.sources.feed]\ndaily_photos = 3\n")
    store = line.project.store
    line.put(*[said(f"{n}.jpg", source="feed") for n in range(6)])
    with caplog.at_level(logging.WARNING, "listlens.stream"):
        assert line.drain().outcomes["predicted"] == 3
    assert "'feed' has reached daily_photos = 3" in caplog.text
    assert list(line.photos().values()).count("ok") == 3 + 36
    ledger = store.events.ledger()
    assert ledger.adds_up and ledger.states["waiting"] == 3
    assert dict(ledger.put_off) == {"over_budget": 3}
    midnight = line.now.replace(hour=0) + timedelta(days=1)
    waiting = [store.events.get(f"photo.added-{n}.jpg-None") for n in range(6)]
    later = [one.next_at - midnight for one in waiting if one.state == "waiting"]
    assert len(later) == 3 and timedelta() <= min(later) <= max(later) < timedelta(seconds=5)
    (told,) = news(line, "budget.reached")
    assert (told["source"], told["limit"], told["used"], told["cap"]) == (
        "feed", "daily_photos", 3, 3,
    )  # fmt: skip
    assert told["ends"] == midnight.isoformat() and told["at_cap"] == "queue"

    # Another source, a deletion and a listing do not wait; nor is the cap told twice.
    line.put(said("6.jpg", source="other"), said("0.jpg", "photo.deleted", source="feed"))
    line.put(said("L", "listing.changed", source="feed", attributes={"rooms": 2}))
    outcomes = line.drain().outcomes
    assert (outcomes["predicted"], outcomes["deleted"], outcomes["listing"]) == (1, 1, 1)
    assert len(news(line, "budget.reached")) == 1
    used = store.usage.of([day(line)])
    assert {name: one[day(line)].photos for name, one in used.items()} == {"feed": 3, "other": 1}

    line.now = midnight + timedelta(seconds=5)
    assert line.drain().outcomes["predicted"] == 3
    assert store.events.ledger().states["waiting"] == 0


def test_a_worker_that_starts_again_goes_on_with_the_count_and_events_are_taken_once(
    capped: Callable[..., Any], said: Said
) -> None:
    line = capped("[budget]\ndaily_photos = 4\n[worker]\nin_flight = 2\n")
    line.put(*[said(f"{n}.jpg") for n in range(7)])
    for _ in range(2):
        assert line.worker().run(threading.Event(), "once").outcomes["predicted"] >= 1
    line.drain()
    assert list(line.photos().values()).count("ok") == 36 + 4
    assert line.project.store.usage.of([day(line)])["events"][day(line)].photos == 4
    assert line.drain().outcomes == {
        "put_off_again": 2
    }  # looked at once as a worker starts, no more


def test_known_photos_cost_nothing_and_do_not_count(capped: Callable[..., Any], said: Said) -> None:
    line = capped("[budget]\ndaily_photos = 2\n")
    files = line.project.root / "files"
    for name in ("copy.jpg", "copy2.jpg"):
        (files / name).write_bytes((files / "0.jpg").read_bytes())
    line.put(said("0.jpg"))
    line.drain()
    line.put(said("copy.jpg"), said("copy2.jpg"), said("1.jpg"))
    while line.project.store.events.ledger().states["waiting"]:
        line.drain()
    assert line.project.store.usage.of([day(line)])["events"][day(line)].photos == 2


def test_a_sample_goes_on_always_the_same_and_the_rest_can_be_replayed(
    capped: Callable[..., Any], said: Said
) -> None:
    settings = "[budget]\ndaily_photos = 1\nat_cap = 'sample'\nsample = 0.4\n"
    line = capped(settings)
    store = line.project.store
    line.put(said("0.jpg"))
    line.drain()
    line.put(*[said(f"{n}.jpg") for n in range(1, 8)])
    outcomes = line.drain().outcomes
    assert outcomes["predicted"] >= 1 and outcomes["failed"] >= 1
    assert outcomes["predicted"] + outcomes["failed"] == 7
    dead = {one.photo_id: one.reason for one in store.dead.list()}
    assert set(dead.values()) == {"over_budget"} and len(dead) == outcomes["failed"]
    assert {one["photo_id"] for one in news(line, "photo.failed")} == set(dead)
    line.project.replay(reason="over_budget")
    assert line.drain().outcomes == {"failed": len(dead)}  # as before: by the photo, not by chance
    assert {one.photo_id for one in store.dead.list()} == set(dead)
    line.now += timedelta(days=1)
    line.project.replay(reason="over_budget")
    assert line.drain().outcomes["predicted"] >= 1


def test_embed_only_leaves_the_answers_to_tag(capped: Callable[..., Any], said: Said) -> None:
    line = capped("[budget]\ndaily_photos = 2\nat_cap = 'embed-only'\n")
    line.put(said("0.jpg"), said("1.jpg"))
    line.drain()
    line.put(said("2.jpg"), said("3.jpg"))
    assert line.drain().outcomes == {"embedded": 2}
    told = news(line, "photo.embedded")
    assert {one["photo_id"] for one in told} == {"2.jpg", "3.jpg"}
    assert {one["reason"] for one in told} == {"over_budget"} and "results" not in told[0]
    decoded = line.inference.counters().decoded
    tagged = line.project.tag(["label"])["label"]
    assert tagged.predicted == 2 and tagged.without_embedding == 0
    assert line.inference.counters().decoded == decoded
    assert line.project.store.events.ledger().outcomes["embedded"] == 2


def test_new_uploads_go_on_where_only_back_fills_are_held(
    capped: Callable[..., Any], said: Said
) -> None:
    line = capped("[budget]\nmonthly_photos = 2\nbackfill_only = true\n")
    line.put(said("0.jpg"), said("1.jpg"))
    line.drain()
    line.put(*[said(f"{n}.jpg", priority="backfill") for n in (2, 3)], said("4.jpg"))
    assert line.drain().outcomes["predicted"] == 1
    assert line.photos()["4.jpg"] == "ok"
    (told,) = news(line, "budget.reached")
    assert (told["limit"], told["period"]) == ("monthly_photos", day(line)[:7])
    (row,) = line.project.budget()["sources"]
    assert row["goes_on"] == told["ends"] and row["today"]["photos"] == 3
    line.now = datetime.fromisoformat(told["ends"])
    assert line.drain().outcomes["predicted"] == 2


def test_a_cap_in_money_is_reached_by_what_looking_cost(
    capped: Callable[..., Any], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = capped("[budget]\ncore_hour = 3600.0\ndaily_cost = 5.0\n")
    monkeypatch.setattr(type(line.inference.counters()), "photo_s", 2.0)  # 2 EUR a photo
    line.put(*[said(f"{n}.jpg") for n in range(6)])
    while line.project.store.events.waiting()[0]:
        line.drain()
    (row,) = line.project.budget()["sources"]
    assert (row["today"]["photos"], row["today"]["cost"], row["reached"]) == (3, 6.0, True)
    (told,) = news(line, "budget.reached")
    assert (told["limit"], told["used"]) == ("daily_cost", 6.0)


def test_before_it_is_known_what_a_photo_costs_a_cap_in_money_lets_few_go_on(
    capped: Callable[..., Any], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listlens.stream.capping.FIRST", 3)
    line = capped("[budget]\ncore_hour = 3600.0\ndaily_cost = 0.0001\n")  # less than a photo's
    line.put(*[said(f"{n}.jpg") for n in range(8)])
    while line.project.store.events.waiting()[0]:
        line.drain()
    (row,) = line.project.budget()["sources"]
    assert row["reached"] and 1 <= row["today"]["photos"] <= 3


def test_after_a_restart_a_photo_costs_what_it_cost_this_month(
    capped: Callable[..., Any], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = capped("[budget]\ncore_hour = 3600.0\ndaily_cost = 5.0\n")
    line.project.store.usage.add({"events": Used(4, 8.0)}, (day(line)[:7],))  # 2 EUR a photo
    monkeypatch.setattr(type(line.inference.counters()), "photo_s", 0.0)
    line.put(*[said(f"{n}.jpg") for n in range(3)])
    assert line.drain().outcomes[PUT_OFF] >= 1


def test_a_cap_that_is_lowered_below_what_was_used_is_told_too(
    capped: Callable[..., Any], said: Said
) -> None:
    line = capped("[budget]\ndaily_photos = 100\n")
    line.put(*[said(f"{n}.jpg") for n in range(3)])
    line.drain()
    lower = line.project.config.budget.model_copy(update={"daily_photos": 2})
    line.project.config = line.project.config.model_copy(update={"budget": lower})
    line.put(said("3.jpg"))
    assert line.drain().outcomes == {"put_off": 1}
    assert len(news(line, "budget.reached")) == 1


def test_held_events_make_way_for_other_sources_at_once(
    capped: Callable[..., Any], said: Said
) -> None:
    line = capped("[budget.sources.feed]\ndaily_photos = 1\n[worker]\nin_flight = 4\n")
    line.put(said("0.jpg", source="feed"))
    line.drain()
    line.put(*[said(f"absent-{n}", source="feed") for n in range(300)])
    line.put(said("1.jpg", source="other"))
    report = line.worker().run(threading.Event(), "drained")
    assert report.outcomes == {"put_off": 4, "predicted": 1}  # the other 296 in one go
    assert line.project.store.events.ledger().put_off == {"over_budget": 300}


def test_use_is_shown_against_caps(
    capped: Callable[..., Any], said: Said, cli: Callable[..., Any]
) -> None:
    line = capped("[budget]\ncore_hour = 0.04\n[budget.sources.feed]\ndaily_photos = 2\n")
    root = line.project.root
    assert "no cap" in cli("budget", "-p", root).out or "feed" in cli("budget", "-p", root).out
    line.now = datetime.now(UTC)
    line.put(*[said(f"{n}.jpg", source="feed") for n in range(3)], said("5.jpg"))
    line.drain()
    said_json = cli("budget", "--json", "-p", root).json
    by_name = {one["source"]: one for one in said_json["sources"]}
    assert by_name["feed"]["limits"][0]["used"] == 2 and by_name["feed"]["reached"]
    assert by_name["events"]["limits"] == [] and by_name["events"]["month"]["photos"] == 1
    text = cli("budget", "-p", root).out
    assert "2 of 2 daily_photos" in text and "feed is at its cap (queue) until" in text
    said_json = json.loads(cli("ledger", "--json", "-p", root).out)
    assert said_json["put_off"] == {"over_budget": 1}
    assert "put off: 1 over_budget" in cli("ledger", "-p", root).out
