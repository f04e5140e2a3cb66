"""The worker: takes events from the inbox through bring, look, answer and settle, for years.

One thread owns all that is written here and talks to the store; threads of the pool bring photos,
those of the inference queue look at them. Every stage is a list, and a work leaves its list only
once the next step has it, so whatever fails in between is tried again by the next round.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from listlens.core.errors import ListlensError, Retryable
from listlens.core.types import Reason
from listlens.pipeline.waiting import Priority
from listlens.stream.answering import backbones_of
from listlens.stream.bringing import trouble_of
from listlens.stream.hosts import HostLimits
from listlens.stream.looking import Looking
from listlens.stream.report import Tidies, WorkReport
from listlens.stream.retrying import Backoff
from listlens.stream.settling import Settling
from listlens.stream.traces import begun, ended
from listlens.stream.work import AGAIN_S, DIED, Trouble, Work, again_s, given_up

if TYPE_CHECKING:
    from listlens.core.stream_config import WorkerConfig
    from listlens.pipeline.inference import Inference, Looked
    from listlens.store.open import Store
    from listlens.stream.answering import Answerer
    from listlens.stream.bringing import Bringing
    from listlens.stream.capping import Capping
    from listlens.stream.drifting import Drifting

log = logging.getLogger("listlens.stream")

Until = Literal["stopped", "drained", "once"]

SETTLE_AT = 64
SETTLE_S = 0.5
"""Results are committed every 64 events or 0.5 s, and at once where nothing else is in hand: what a
kill costs, and what adds to the lag."""

GATHER_S = 0.03
"""How long a round waits for more photos to come, so that the store is asked for many at once."""

NEW_S = 0.1
"""How often new events are looked for beside a back-fill that is in hand."""

IDLE_S = 0.2
"""How often an idle worker looks for new events; one query."""

HELD_BYTES = 64 * 2**20
"""Photos brought and not looked at yet; above it nothing more is fetched."""

SLOW_S = 1.0
"""A host is slow when a photo waits so long for its turn there."""

STOP_S = 20.0
"""How long a worker that is to stop finishes what it has; the rest is given back."""


class Worker:
    """Works on the inbox of one project.

    Args:
        store: of the project.
        inference: the queue to the network; shared, and not closed here.
        bringing: brings photos.
        models: returns the models in force; asked every round, so it must be quick.
        config: `[worker]`.
        owner: name of this worker, unlike every other's that ever was.
        keep_thumbnails: whether to keep thumbnails.
        per_host: photos asked of one host at once.
        random: returns a number in [0, 1), for the jitter of retries.
        clock: seconds that only grow.
        tidy: called between rounds, for what has to be done now and then.
        capping: says which photos go on, and counts them; None: all do.
        drifting: keeps sums of what was answered; None: nobody does.
    """

    def __init__(
        self,
        store: Store,
        inference: Inference,
        bringing: Bringing,
        models: Callable[[], list[Answerer]],
        config: WorkerConfig,
        *,
        owner: str,
        keep_thumbnails: bool,
        per_host: int,
        random: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        tidy: Tidies | None = None,
        capping: Capping | None = None,
        drifting: Drifting | None = None,
    ) -> None:
        self._store, self._inference, self._bringing = store, inference, bringing
        self._models, self._config, self._owner = models, config, owner
        self._clock, self._tidy, self._capping = clock, tidy, capping
        self._happened: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._looking = Looking(
            store, inference, keep_thumbnails=keep_thumbnails, done=self._looked_later
        )
        backoff = Backoff(config.backoff_s, config.backoff_max_s, config.attempts, random)
        self._settling = Settling(store, owner, backoff, {}, config.top, capping, drifting)
        self._pause = Backoff(0.2, 10.0, 1, random)
        self._hosts = HostLimits(max(1, min(per_host, config.fetchers // 2)))
        self._pool = ThreadPoolExecutor(config.fetchers, thread_name_prefix="bring")
        self._active: dict[int, Work] = {}  # everything leased, by event_id
        self._new: list[Work] = []  # leased, nothing known
        self._to_bring: list[Work] = []
        self._brought: list[Work] = []
        self._to_look: list[Work] = []
        self._ready: list[Work] = []  # to be settled
        self._renewed_s = self._ready_s = self._taken_s = clock()
        self._failures, self.trouble = 0, ""  # why rounds fail now
        self._none_due, self._again_s = False, 0.0
        self.report = WorkReport(reasons=self._settling.reasons)
        self.wake = threading.Event()

    # -- the loop ---------------------------------------------------------------------------

    def run(self, stop: threading.Event, until: Until = "stopped") -> WorkReport:
        """Work until told to stop, or until there is nothing to do.

        Args:
            stop: set from elsewhere; what is in hand is finished first, for a while.
            until: ``drained`` ends when nothing is due, ``once`` after one batch.
        """
        began_s, deadline_s, taken = self._clock(), 0.0, 0
        try:
            while True:
                stopping = stop.is_set() or (until == "once" and taken > 0)
                self._none_due = stopping
                if stop.is_set():
                    deadline_s = deadline_s or self._clock() + STOP_S
                    if not self._active or self._clock() > deadline_s:
                        break
                taken += self._round(take=not stopping)
                if not self._active and self._none_due and until != "stopped":
                    break
                if not self._active:
                    self._wait_idle(stop)
        finally:
            self._close()
            self.report.seconds += self._clock() - began_s
        return self.report

    def _round(self, *, take: bool) -> int:
        """Move every work one step on; return how many events were taken."""
        taken = 0
        try:
            if take:
                taken = self._take()
            self._sort_new()
            self._start_bringing()
            self._gather()
            self._sort_brought()
            self._start_looking()
            self._settle()
            self._renew()
            if self._tidy is not None:
                self._tidy()
            self._failures, self.trouble = 0, ""
        except Exception as error:
            if not isinstance(error, Retryable):
                log.error("a round failed", exc_info=error)
            ours = isinstance(error, ListlensError)  # of others only the log may tell all
            self.trouble = str(error) if ours else f"a round failed: {type(error).__name__}"
            self._failures += 1
            wait_s = self._pause.seconds(self._failures)
            log.warning("%s Going on in %.1f s.", error, wait_s)
            time.sleep(wait_s)
        return taken

    def _wait_idle(self, stop: threading.Event) -> None:
        """Wait for something to do; `wake` cuts it short."""
        if not stop.is_set():
            self.wake.wait(IDLE_S)
            self.wake.clear()

    # -- taking -----------------------------------------------------------------------------

    def _take(self) -> int:
        """Lease events, where there is room for a good number of them.

        A back-fill leaves a quarter of the places free, and while it has the others, what is new is
        looked for often: it must not wait until a good number has ended.
        """
        most, works = self._config.in_flight, self._active.values()
        n_old = sum(work.event.priority == Priority.BACKFILL for work in works)
        room, now = most - len(self._active), self._clock()
        room_old = min(room, most - most // 4 - n_old)
        if room_old < max(1, most // 4):
            if not n_old or now - self._taken_s < NEW_S:
                return 0
            room_old = 0
        if room < 1 or any(work.suspect for work in works):
            return 0
        self._taken_s = now
        events = self._store.events.claim(self._owner, room, self._config.lease_s, room_old)
        self._none_due = not events and now > self._again_s
        for event in events:
            work = Work(event, trace=begun(event, self._store.clock()), since_s=now)
            self._active[event.event_id] = work
            self._new.append(work)
        return len(events)

    def _sort_new(self) -> None:
        """Settle at once what needs no bytes, and queue the rest to be brought."""
        suspects = [work for work in self._new if work.suspect]
        works = [work for work in self._new if work not in suspects]
        if suspects and not works and len(self._active) == 1:  # waits until it is alone
            works, suspects = suspects, []
        if not works:
            return
        gone = given_up(works)
        if gone:
            self._settling.set_aside(gone, DIED, for_good=True)
            self._drop(gone)
        works = [work for work in works if work not in gone]
        stale = self._store.order.stale([w.event for w in works], [w.deletes for w in works])
        keys = [(work.event.listing_id, work.event.photo_id) for work in works]
        sellers = [work.event.body.get("seller_id") for work in works]
        forgotten = self._store.photos.forgotten(keys, sellers)
        for work, old, key in zip(works, stale, keys, strict=True):
            work.stale, work.forgotten = old, key in forgotten
        self._cap([work for work in works if work.usable])
        for work in works:
            if not work.usable:
                self._end([work])
            else:
                self._bringing.place(work)
                self._to_bring.append(work)
        self._new = suspects

    def _cap(self, works: list[Work]) -> None:
        """Mark photos that a cap of their source holds, before anything is spent on them."""
        if self._capping is not None and works:
            new = {work.event.event_id for work in works}
            self._capping.admit(works, [w for pk, w in self._active.items() if pk not in new])

    # -- bringing and looking ---------------------------------------------------------------

    def _start_bringing(self) -> None:
        """Start as many as there are threads, hosts that bear them, and room for the bytes."""
        held = sum(work.n_bytes for work in self._to_look)
        left: list[Work] = []
        for work in sorted(self._to_bring, key=attrgetter("event.priority")):
            full = self._hosts.running >= self._config.fetchers or held > HELD_BYTES
            if full or not self._hosts.start(work.host):
                left.append(work)
                continue
            future = self._pool.submit(self._bringing.bring, work)
            future.add_done_callback(self._bring_done(work))
        self._to_bring = self._shed(left)

    def _bring_done(self, work: Work) -> Callable[[Future[None]], None]:
        def note() -> None:
            self._hosts.end(work.host)
            self.report.brought += 1
            self._brought.append(work)

        return lambda _: self._happened.put(note)

    def _shed(self, waiting: list[Work]) -> list[Work]:
        """Give back events of hosts that are too slow, so that they do not keep out the others."""
        since_s = self._clock() - SLOW_S
        full = [work for work in waiting if work.host and self._hosts.full(work.host)]
        hosts = {work.host for work in full if work.since_s <= since_s}
        slow = [work for work in full if work.host in hosts]
        for work in slow[self._config.in_flight // 2 :]:
            work.trouble = Trouble(
                Reason.BUSY, f"too many photos of {work.host} wait", AGAIN_S, counts=False
            )
            self._end([work])
        return [work for work in waiting if work.trouble is None]

    def _gather(self) -> None:
        """Note what the threads have done meanwhile; wait a little for it where all waits."""
        wait_s = 0.0 if not self._active or self._ready or self._to_look else IDLE_S
        try:
            self._happened.get(timeout=wait_s)() if wait_s else self._happened.get_nowait()()
        except queue.Empty:
            if self._to_look or (self._ready and not self._due()):
                time.sleep(GATHER_S)
            return
        if len(self._active) > SETTLE_AT // 4:
            time.sleep(GATHER_S)
        while not self._happened.empty():
            self._happened.get_nowait()()

    def _sort_brought(self) -> None:
        works = self._brought
        if works:
            here = [work for work in works if work.error is None and work.trouble is None]
            todo = self._looking.settle_known(here, self._backbones())
            new = set(todo)
            self.report.recognised += len(here) - len(todo)
            self._to_look += todo
            self._end([work for work in works if work not in new])
            self._brought = []

    def _start_looking(self) -> None:
        if not self._to_look:
            return
        backbones, left = self._backbones(), list[Work]()
        for work in sorted(self._to_look, key=attrgetter("event.priority")):
            if left or not self._looking.look(work, backbones):
                left.append(work)
        self._to_look = left

    def _backbones(self) -> list[Any]:
        found = backbones_of(self._models(), self._inference.backbone)
        self._settling.spaces = {b.space.id: b.space for b in found} | self._settling.spaces
        return found

    def _looked_later(self, sha256: str, future: Future[Looked]) -> None:
        self._happened.put(lambda: self._looked(sha256, future))

    def _looked(self, sha256: str, future: Future[Looked]) -> None:
        works = self._looking.collect(sha256, future)
        self.report.looked += 1
        self.report.recognised += len(works) - 1
        self._end(works)

    # -- settling ---------------------------------------------------------------------------

    def _end(self, works: list[Work]) -> None:
        """Let works be settled with the next commit."""
        if not self._ready:
            self._ready_s = self._clock()
        self._ready += works

    def _due(self) -> bool:
        """Whether there is enough to commit, or something has waited for long enough."""
        n = len(self._ready)
        return n >= SETTLE_AT or n == len(self._active) or self._clock() - self._ready_s > SETTLE_S

    def _settle(self) -> None:
        if not self._ready or not self._due():
            return
        works = self._ready[: 4 * SETTLE_AT]
        try:
            self.report.outcomes += self._settling.settle(works, self._models())
        except Exception as error:
            if isinstance(error, Retryable):
                raise
            log.error("a batch could not be settled; one by one now", exc_info=error)
            self._settle_singly(works)
        if wait_s := again_s(works):
            self._again_s, self._none_due = self._clock() + wait_s, False
        self._ready = self._ready[len(works) :]
        self._drop(works)

    def _settle_singly(self, works: list[Work]) -> None:
        """One event that cannot be written must not take the others with it."""
        for work in works:
            try:
                self.report.outcomes += self._settling.settle([work], self._models())
            except Exception as error:
                if isinstance(error, Retryable):
                    raise
                self._settling.set_aside([work], trouble_of(error), for_good=False)

    def _drop(self, works: list[Work]) -> None:
        for work in works:
            ended(self._active.pop(work.event.event_id, work))

    def _renew(self) -> None:
        now = self._clock()
        if self._active and now - self._renewed_s > self._config.lease_s / 3:
            self._store.events.renew(self._owner, list(self._active), self._config.lease_s)
            self._renewed_s = now

    def _close(self) -> None:
        """Give back what is left; without a store its lease runs out by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._tidy is not None:
            self._tidy.close()
        if self._active:
            try:
                n = self._store.events.release(self._owner)
                log.info("gave back %d events", n)
            except Exception as error:
                log.warning("could not give back %d events: %s", len(self._active), error)
        self._active.clear()
