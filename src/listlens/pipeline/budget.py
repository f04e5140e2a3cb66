"""What a source may use in a day or month, what is left of it, and what a back-fill runs into."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from listlens.pipeline.events import PRIORITIES
from listlens.store.order import BRING
from listlens.store.usage import Used

if TYPE_CHECKING:
    from listlens.core.watch_config import BudgetConfig, CapsConfig
    from listlens.store.open import Store

LONGEST_DAYS = 3660
"""What takes longer than ten years is called never."""


@dataclass(frozen=True, slots=True)
class Periods:
    """The day and the month of a moment.

    Args:
        day: such as ``2026-11-26``.
        month: such as ``2026-11``.
        day_ends: the moment.
        month_ends: the moment.
    """

    day: str
    month: str
    day_ends: datetime
    month_ends: datetime


def periods(now: datetime, timezone: str = "UTC") -> Periods:
    """Return the day and month that a moment lies in.

    Args:
        now: aware.
        timezone: in which days begin at midnight.

    Example:
        >>> found = periods(datetime(2026, 12, 31, 23, 30, tzinfo=UTC), "Europe/Berlin")
        >>> found.day, found.month, found.day_ends.isoformat()
        ('2027-01-01', '2027-01', '2027-01-01T23:00:00+00:00')
    """
    zone: tzinfo = UTC if timezone == "UTC" else ZoneInfo(timezone)
    today = now.astimezone(zone).date()
    next_month = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    ends = [
        datetime.combine(day, time(), zone).astimezone(UTC)
        for day in (today + timedelta(days=1), next_month)
    ]
    return Periods(today.isoformat(), f"{today:%Y-%m}", *ends)


@dataclass(frozen=True, slots=True)
class Limit:
    """One cap of a source, and where it stands.

    Args:
        name: of the setting: ``daily_photos``, ``monthly_cost``, ...
        cap: photos, or money.
        used: of it.
        period: the day or month.
        ends: when the period does.
    """

    name: str
    cap: float
    used: float
    period: str
    ends: datetime

    @property
    def reached(self) -> bool:
        """Whether nothing is left."""
        return self.used >= self.cap

    def room(self, cost_a_photo: float) -> float:
        """Photos that are left; of a cap on money, by what a photo costs."""
        left = max(0.0, self.cap - self.used)
        if self.name.endswith("_photos"):
            return left
        return left / cost_a_photo if cost_a_photo > 0 else math.inf if left else 0.0

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "limit": self.name,
            "cap": self.cap,
            "used": round(self.used, 9),
            "period": self.period,
            "ends": self.ends.isoformat(),
            "reached": self.reached,
        }


def limits(
    caps: CapsConfig, core_hour: float, used: Mapping[str, Used], now: Periods
) -> list[Limit]:
    """Return every cap of a source.

    Args:
        caps: of the source.
        core_hour: price of an hour of a core.
        used: by period.
        now: the day and month.
    """
    found = []
    for prefix, period, ends in (
        ("daily", now.day, now.day_ends),
        ("monthly", now.month, now.month_ends),
    ):
        spent = used.get(period, Used())
        photos, cost = getattr(caps, f"{prefix}_photos"), getattr(caps, f"{prefix}_cost")
        if photos:
            found.append(Limit(f"{prefix}_photos", photos, spent.photos, period, ends))
        if cost:
            price = spent.core_s / 3600 * core_hour
            found.append(Limit(f"{prefix}_cost", cost, price, period, ends))
    return found


def budget_report(store: Store, config: BudgetConfig, *, ahead: bool = False) -> dict[str, Any]:
    """Return what each source used in this day and month, against its caps; JSON-able.

    Args:
        store: whose use is read.
        config: `[budget]`.
        ahead: say too which sources' waiting photos run into a cap, by what a photo took this
            month; all waiting events are counted for it, which takes seconds for millions.
    """
    now = periods(store.clock(), config.timezone)
    used = store.usage.of((now.day, now.month))
    rows = []
    unseen = set(config.sources) - used.keys()
    unseen -= store.usage.seen(unseen)
    for source in sorted({*used, *config.sources}):
        mine, caps = used.get(source, {}), config.caps_of(source)
        found = limits(caps, config.core_hour, mine, now)
        day, month = (mine.get(period, Used()) for period in (now.day, now.month))
        held = [limit for limit in found if limit.reached]
        rows.append(
            {
                "source": source,
                "seen": source not in unseen,
                "today": _spent(day, config),
                "month": _spent(month, config),
                "limits": [limit.as_dict() for limit in found],
                "at_cap": caps.at_cap if found else None,
                "backfill_only": caps.backfill_only,
                "reached": bool(held),
                "goes_on": max(limit.ends for limit in held).isoformat() if held else None,
            }
        )
    return {
        "day": now.day,
        "month": now.month,
        "timezone": config.timezone,
        "currency": config.currency if config.core_hour else None,
        "all": {
            name: _spent(_total(used, period), config)
            for name, period in (("today", now.day), ("month", now.month))
        },
        "sources": rows,
        "ahead": runs_into(store, config, _total(used, now.month).a_photo_s) if ahead else None,
    }


def _total(used: Mapping[str, Mapping[str, Used]], period: str) -> Used:
    """What all sources used together."""
    each = [one[period] for one in used.values() if period in one]
    return Used(sum(one.photos for one in each), sum(one.core_s for one in each))


def _spent(used: Used, config: BudgetConfig) -> dict[str, Any]:
    price, known = config.core_hour / 3600, used.photos > 0
    return {
        "photos": used.photos,
        "core_s": round(used.core_s, 3),
        "cost": round(used.core_s * price, 9) if price else None,
        "core_s_a_1000_photos": round(1000 * used.a_photo_s, 3) if known else None,
        "cost_a_1000_photos": round(1000 * used.a_photo_s * price, 9) if price and known else None,
    }


def runs_into(store: Store, config: BudgetConfig, core_s_a_photo: float) -> list[dict[str, Any]]:
    """Say of each source whose waiting photos exceed its caps how long they will wait.

    Args:
        store: whose waiting events are counted.
        config: `[budget]`.
        core_s_a_photo: processor seconds that a photo takes.

    Returns:
        For each such source what waits, what goes on today, what the cap does with the rest, and
        the last day of those that queue (None: not within ten years).
    """
    now = periods(store.clock(), config.timezone)
    used, waiting = store.usage.of((now.day, now.month)), store.usage.waiting(BRING)
    found = []
    for source in sorted({source for source, _ in waiting}):
        caps = config.caps_of(source)
        counted = {p: n for (name, p), n in waiting.items() if name == source}
        n = counted.get(PRIORITIES["backfill"], 0) if caps.backfill_only else sum(counted.values())
        open_limits = limits(caps, config.core_hour, used.get(source, {}), now)
        cost = core_s_a_photo / 3600 * config.core_hour
        today = min((limit.room(cost) for limit in open_limits), default=math.inf)
        if not n or today >= n:
            continue
        last = _last_day(caps, cost, open_limits, now, n) if caps.at_cap == "queue" else None
        found.append(
            {
                "source": source,
                "waiting": n,
                "today": math.floor(today),
                "at_cap": caps.at_cap,
                "last_day": last,
            }
        )
    return found


def _last_day(
    caps: CapsConfig, cost: float, now_left: list[Limit], now: Periods, n: int
) -> str | None:
    """The day on which the last of n photos is looked at, nothing else coming in."""
    left = {
        prefix: min(
            (one.room(cost) for one in now_left if one.name.startswith(prefix)), default=math.inf
        )
        for prefix in ("daily", "monthly")
    }
    full = {
        prefix: min(
            getattr(caps, f"{prefix}_photos") or math.inf,
            getattr(caps, f"{prefix}_cost") / cost
            if cost and getattr(caps, f"{prefix}_cost")
            else math.inf,
        )
        for prefix in ("daily", "monthly")
    }
    day = datetime.fromisoformat(now.day).date()
    for _ in range(LONGEST_DAYS):
        done = min(n, left["daily"], left["monthly"])
        n = math.ceil(n - done)
        if n <= 0:
            return day.isoformat()
        day += timedelta(days=1)
        left["daily"] = full["daily"]
        left["monthly"] = full["monthly"] if day.day == 1 else left["monthly"] - done
    return None
