"""Caps of sources: which photos go on, what becomes of the others, and what is counted.

A cap is looked up before a photo is brought, so what is held costs nothing; what was looked at is
counted in the transaction of its results, so workers and restarts share one count.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from listlens.core.errors import PhotoError
from listlens.core.types import Reason
from listlens.pipeline.budget import Limit, Periods, limits, periods
from listlens.pipeline.events import PRIORITIES
from listlens.pipeline.live import in_share
from listlens.store.event_rows import Announcement
from listlens.store.order import BRING
from listlens.store.usage import Used
from listlens.stream.announcing import budget_reached
from listlens.stream.work import Trouble, Work

if TYPE_CHECKING:
    from listlens.core.watch_config import BudgetConfig, CapsConfig
    from listlens.store.open import Store

log = logging.getLogger("listlens.stream")

IN_HAND_S = 2.0
"""When photos in hand may use up what is left, others wait so long to see whether they do."""

FIRST = 8
"""Photos of a source in hand at once while nobody knows what one costs, where money is capped."""


class Capping:
    """The budget of a worker's sources.

    Args:
        store: where use is counted, shared with other workers.
        config: `[budget]`.
        photo_s: returns the thread seconds that a photo takes, measured so far.
    """

    def __init__(self, store: Store, config: BudgetConfig, photo_s: Callable[[], float]) -> None:
        self._store, self._config, self._photo_s = store, config, photo_s
        self._capped = config.capped or any(one.capped for one in config.sources.values())

    # -- before ---------------------------------------------------------------------------

    def admit(self, works: Sequence[Work], in_hand: Iterable[Work]) -> None:
        """Mark those of the works that a cap holds: as a trouble, an error, or to be embedded only.

        Events of the same source that are due behind them are put off too, so that they keep out
        nobody else's.

        Args:
            works: new ones that bring a photo.
            in_hand: others that this worker has; they may use up what is left.
        """
        if not self._capped:
            return
        now = periods(self._store.clock(), self._config.timezone)
        sources = {work.event.source for work in works}
        used = self._store.usage.of((now.day, now.month), sources)
        busy = Counter(work.event.source for work in in_hand if work.shows_photo)
        for source in sorted(sources):
            caps = self._config.caps_of(source)
            found = limits(caps, self._config.core_hour, used.get(source, {}), now)
            mine = [work for work in works if work.event.source == source and _counts(work, caps)]
            reached = [limit for limit in found if limit.reached]
            if reached:
                self._at_cap(source, caps, mine, max(reached, key=lambda limit: limit.ends))
            elif found:
                room = self._room(found, used.get(source, {}).get(now.month)) - busy[source]
                over = mine[max(0, int(room)) :] if room < len(mine) else []
                if len(over) == len(mine) and not busy[source]:
                    over = over[1:]  # less than a photo's cost is left: one reaches the cap
                for work in over:
                    said = "photos in hand may use up what is left of the budget"
                    work.trouble = Trouble(Reason.OVER_BUDGET, said, IN_HAND_S, counts=False)

    def _room(self, found: Sequence[Limit], month: Used | None) -> float:
        """Photos that the caps leave, by what one costs here, or else what it cost before."""
        before_s = month.core_s / month.photos if month and month.photos else 0.0
        cost = (self._photo_s() or before_s) / 3600 * self._config.core_hour
        room = min(limit.room(cost) for limit in found)
        unknown = not cost and any(limit.name.endswith("_cost") for limit in found)
        return min(room, FIRST) if unknown else room

    def _at_cap(self, source: str, caps: CapsConfig, works: Sequence[Work], limit: Limit) -> None:
        self._tell_if_new(source, limit)
        said = f"{limit.name} of source {source!r} is reached: {limit.cap:g} in {limit.period}"
        wait_s = (limit.ends - self._store.clock()).total_seconds()
        for work in works:
            if caps.at_cap == "embed-only":
                work.embed_only = said
            elif caps.at_cap == "queue":
                work.trouble = Trouble(Reason.OVER_BUDGET, said, max(wait_s, 0.0), counts=False)
            elif not in_sample(work, caps.sample):
                work.error = PhotoError(
                    Reason.OVER_BUDGET, f"{said}, and only {caps.sample:.0%} go on"
                )
        if works and caps.at_cap == "queue":
            held = [PRIORITIES["backfill"]] if caps.backfill_only else PRIORITIES.values()
            n = self._store.usage.hold(
                source, BRING, set(held), limit.ends, Reason.OVER_BUDGET.value, said
            )
            log.info("%s: %d more events wait until %s", said, n, limit.ends.isoformat())

    def _tell_if_new(self, source: str, limit: Limit) -> None:
        """Announce a cap that was lowered below what is used; else it was when it was reached."""
        with self._store.together():
            news = self._news(source, [limit], self._store.clock())
            if news:
                self._store.outbox.append(news)

    # -- after ----------------------------------------------------------------------------

    def looked_at(self, works: Sequence[Work]) -> dict[str, str]:
        """Return sha256 to source of what counts, to be asked before its results are written.

        Bytes that another event brought while they were in hand were looked at twice, and are in
        the store by now: they count once.
        """
        looked = [work for work in works if work.record is not None]
        new = {work.sha256 for work in looked if not work.again}
        there = self._store.contents.lookup(sorted(new)).keys() if new else set()
        return {
            work.sha256: work.event.source
            for work in looked
            if work.again or work.sha256 not in there
        }

    def spend(self, counted: Mapping[str, str]) -> list[Announcement]:
        """Count what was looked at, late in the transaction of its results.

        Workers take turns from here on: the row of a source is one for all of them.

        Args:
            counted: from `looked_at`.

        Returns:
            What to announce with them: caps that are reached now.
        """
        if not counted:
            return []
        now_at = self._store.clock()
        now, photo_s = periods(now_at, self._config.timezone), self._photo_s()
        counts = Counter(counted.values())
        spent = {source: Used(n, n * photo_s) for source, n in counts.items()}
        self._store.usage.add(spent, (now.day, now.month))
        if not self._capped:
            return []
        return [
            one for source, found in self._reached(sorted(counts), now) for one in
            self._news(source, found, now_at)
        ]  # fmt: skip

    def _reached(self, sources: Sequence[str], now: Periods) -> list[tuple[str, list[Limit]]]:
        used = self._store.usage.of((now.day, now.month), sources)
        found = []
        for source in sources:
            caps = self._config.caps_of(source)
            mine = limits(caps, self._config.core_hour, used.get(source, {}), now)
            found.append((source, [limit for limit in mine if limit.reached]))
        return found

    def _news(self, source: str, reached: Sequence[Limit], now: datetime) -> list[Announcement]:
        """What was not told yet, once a period."""
        news = []
        for limit in reached:
            if self._store.usage.note_reached(source, limit.period):
                caps = self._config.caps_of(source)
                log.warning(
                    "source %r has reached %s = %g in %s; at_cap = %r until %s",
                    source, limit.name, limit.cap, limit.period, caps.at_cap,
                    limit.ends.isoformat(),
                )  # fmt: skip
                news.append(budget_reached(source, limit.as_dict(), caps.at_cap, now))
        return news


def _counts(work: Work, caps: CapsConfig) -> bool:
    """Whether a cap may hold it."""
    return not caps.backfill_only or work.event.priority == PRIORITIES["backfill"]


def in_sample(work: Work, share: float) -> bool:
    """Whether a photo is among the share that goes on; the same photo always decides alike."""
    return in_share("budget", "\0".join(work.event.subject), share)
