"""Days, months and caps as numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.core.config import ConfigError, parse_config
from listlens.core.watch_config import BudgetConfig
from listlens.pipeline.budget import limits, periods, runs_into
from listlens.store.event_rows import EventRecord
from listlens.store.open import open_store
from listlens.store.usage import Used

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Tokyo"])


@given(MOMENTS, ZONES)
def test_a_day_ends_when_the_next_begins_and_a_month_with_one_of_its_days(
    now: datetime, zone: str
) -> None:
    here = periods(now, zone)
    assert now < here.day_ends <= here.month_ends
    assert here.day.startswith(here.month)
    assert periods(here.day_ends - timedelta(seconds=1), zone).day == here.day
    following = periods(here.day_ends, zone)
    assert following.day > here.day
    assert (following.month > here.month) == (here.day_ends == here.month_ends)


def test_every_cap_is_a_limit_and_what_is_left_is_counted_in_photos() -> None:
    config = BudgetConfig(core_hour=36.0, daily_photos=10, monthly_cost=2.0)
    now = periods(datetime(2026, 2, 3, tzinfo=UTC))
    used = {"2026-02-03": Used(4, 0.0), "2026-02": Used(50, 150.0)}
    day, month = limits(config, config.core_hour, used, now)
    assert (day.name, day.used, day.room(0.1)) == ("daily_photos", 4, 6)
    assert (month.name, month.used) == ("monthly_cost", 1.5)
    assert month.room(0.1) == pytest.approx(5) and not month.reached
    assert limits(BudgetConfig(), 0.0, used, now) == []


def test_a_source_takes_what_its_table_leaves_out_from_the_section() -> None:
    told = {"daily_photos": 9, "at_cap": "sample", "sources": {"a": {"daily_photos": 0}}}
    config = parse_config({"budget": told}).budget
    assert (config.caps_of("a").daily_photos, config.caps_of("a").at_cap) == (0, "sample")
    assert config.caps_of("b").daily_photos == 9


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"daily_cost": 2.0}, "needs core_hour"),
        ({"sources": {"a": {"monthly_cost": 2.0}}}, "needs core_hour"),
        ({"timezone": "Mars/Base"}, "no such time zone"),
        ({"sources": {"a": {"dayly_photos": 2}}}, "Did you mean 'daily_photos'"),
        ({"at_cap": "drop"}, "'queue', 'sample' or 'embed-only'"),
        ({"sample": 1.5}, "budget.sample"),
    ],
    ids=["unpriced", "unpriced-source", "zone", "unknown", "behaviour", "share"],
)
def test_wrong_settings_are_said(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config({"budget": values})


def test_a_back_fill_is_told_when_its_last_photo_goes_on(tmp_path: Path) -> None:
    now = datetime(2026, 1, 30, 12, tzinfo=UTC)
    with open_store("sqlite:///x.db", tmp_path, clock=lambda: now) as store:
        store.events.put(
            [
                EventRecord(f"{source}{n}", "photo.added", "L", str(n), now, {}, source, priority)
                for source, priority in (("feed", 2), ("feed", 1), ("small", 1))
                for n in range(priority * 100, priority * 100 + 25)
            ]
        )
        store.usage.add({"feed": Used(4, 0.0)}, ("2026-01-30", "2026-01"))
        daily = BudgetConfig(daily_photos=10, sources={})
        (feed, small) = runs_into(store, daily, 1.0)
        assert feed == {
            "source": "feed", "waiting": 50, "today": 6, "at_cap": "queue",
            "last_day": "2026-02-04",  # 6 + 10 * 4 + 4
        }  # fmt: skip
        assert small["last_day"] == "2026-02-01"
        both = daily.model_copy(update={"monthly_photos": 17})
        # January has 13 left: 6 and 7; February 17, March 17, April 3.
        assert runs_into(store, both, 1.0)[0]["last_day"] == "2026-04-01"
        new_only = daily.model_copy(update={"backfill_only": True})
        assert [(one["source"], one["waiting"]) for one in runs_into(store, new_only, 1.0)] == [
            ("feed", 25)
        ]
        cost = BudgetConfig(core_hour=3600.0, daily_cost=20.0)
        assert runs_into(store, cost, 1.0)[0]["last_day"] == "2026-02-01"
        assert runs_into(store, BudgetConfig(), 1.0) == []
        never = BudgetConfig(daily_photos=1, monthly_photos=0)
        sampled = never.model_copy(update={"at_cap": "sample"})
        assert runs_into(store, sampled, 1.0)[0]["last_day"] is None
