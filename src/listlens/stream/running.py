"""A project's worker put together, for a process of its own or a thread of the server."""

from __future__ import annotations

import logging
import random
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from listlens.core.errors import ListlensError
from listlens.core.owner import new_owner
from listlens.pipeline.live import LiveModels
from listlens.stream.answering import Answerer, answerers
from listlens.stream.bringing import Bringing, Fetches
from listlens.stream.brokers import Brokers
from listlens.stream.capping import Capping
from listlens.stream.drifting import Drifting
from listlens.stream.relay import delivering
from listlens.stream.report import WorkReport
from listlens.stream.worker import Until, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from listlens.pipeline.inference import Inference
    from listlens.project import Project
    from listlens.store.open import Store

log = logging.getLogger("listlens.stream")

MODELS_S = 2.0
"""How often the registry is asked whether other models are in force."""

TIDY_S = 60.0

KEEP_DAYS = timedelta(days=400)
"""Sums of a day are half a kilobyte a source and model; what a source used of its caps is less."""

MOST_HELD_BACK = timedelta(days=90)
"""Old announcements wait so long for a webhook or a topic that is slow or fails; an endpoint that
takes nothing is disabled after three days, and then holds back nothing."""

MANY_SHARDS = 512
"""Every commit writes a file of embeddings. So many are merged at once, some 20,000 photos: looking
for them reads the whole table of embeddings, seconds for millions."""


class InForce:
    """The models in force, loaded again when the registry says that others are.

    A broken one leaves those before it in force, and is named in the log.

    Args:
        project: whose models.
        clock: seconds that only grow.
    """

    def __init__(self, project: Project, clock: Callable[[], float] = time.monotonic) -> None:
        self._project = project
        self._live = LiveModels(project.store, project.root, check_s=MODELS_S, clock=clock)
        self._now = self._live.current()
        self._problem = ""
        self._models = self._with_backbones()

    def __call__(self) -> list[Answerer]:
        """Return them; quick."""
        now, problem = self._live.current(), self._live.problem
        if now is not self._now:
            self._now = now
            try:
                self._models = self._with_backbones()
            except ListlensError as error:
                problem = str(error)
        if problem and problem != self._problem:
            log.error("the models in force stay as they are: %s", problem)
        self._problem = problem
        return self._models

    def _with_backbones(self) -> list[Answerer]:
        project = self._project
        return answerers(project.store, self._now, project.backbone, project.backbone_for)


class Tidying:
    """What has to be done now and then, in a thread of its own: old rows and noted files go, and
    small files of embeddings become large ones.

    Args:
        store: of the project.
        keep: how long done events, announcements and marks of deleted photos are kept.
        clock: seconds that only grow.
        tell: announces what has to be; called each time.
        keep_dead: how long dead letters are kept; zero: until they are replayed or removed.
    """

    def __init__(
        self,
        store: Store,
        keep: timedelta,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[], object] = lambda: None,
        keep_dead: timedelta = timedelta(0),
    ) -> None:
        self._store, self._keep, self._clock, self._tell = store, keep, clock, tell
        self._keep_dead = keep_dead
        self._done_s = clock()
        self._thread: threading.Thread | None = None

    def __call__(self) -> None:
        """Begin to tidy, if it is time and the last time has ended."""
        running = self._thread is not None and self._thread.is_alive()
        if not running and self._clock() - self._done_s >= TIDY_S:
            self._done_s = self._clock()
            self._thread = threading.Thread(target=self.tidy, name="tidy", daemon=True)
            self._thread.start()

    def tidy(self) -> None:
        """Do it now; what goes wrong is logged, and tried again the next time, after the rest."""
        before = self._store.clock() - self._keep
        for step in (
            self._tell,
            lambda: self._store.events.prune(before),
            self._prune_dead,
            lambda: self._prune_outbox(before),
            lambda: self._store.order.prune(before),
            self._prune_sums,
            self._store.forgetting.resume,
            self._compact,
        ):
            try:
                step()
            except Exception as error:
                log.warning("tidying: %s", error)

    def _prune_dead(self) -> None:
        if self._keep_dead:
            gone = self._store.dead.remove(before=self._store.clock() - self._keep_dead)
            if gone:
                said = ", ".join(f"{n} {reason}" for reason, n in gone.items())
                days = self._keep_dead / timedelta(days=1)
                log.warning("dead letters older than dead_days = %g were removed: %s", days, said)

    def _prune_sums(self) -> None:
        before = (self._store.clock() - KEEP_DAYS).date().isoformat()
        self._store.drift.prune(before)
        self._store.usage.prune(before)

    def _compact(self) -> None:
        if self._store.vectors.n_small() >= MANY_SHARDS:
            self._store.compact()

    def _prune_outbox(self, before: datetime) -> None:
        """Remove old announcements that topics and active webhooks were told, and those for which
        one of them has been waited for longer than `MOST_HELD_BACK`, whoever it is.
        """
        store = self._store
        last = store.outbox.last()
        told = (last, store.topics.told(before), store.webhooks.told())
        store.outbox.prune(before, min(at for at in told if at is not None))
        lost = {one.name: one.lost for one in store.topics.list()}
        store.outbox.prune(min(before, store.clock() - MOST_HELD_BACK), last)
        for one in store.topics.list():
            if one.lost > lost.get(one.name, one.lost):
                log.error(
                    "%s was not told of %d announcements, which are older than %d days and were "
                    "removed now; %s",
                    one.name, one.lost - lost[one.name], MOST_HELD_BACK.days,
                    one.trouble or "it is behind",
                )  # fmt: skip

    def close(self) -> None:
        """Wait for the thread, so that the store may be closed, and tell what is new.

        A worker that ends when nothing is due may never have been at it for long enough to tidy.
        """
        if self._thread is not None:
            self._thread.join()
        try:
            self._tell()
        except ListlensError as error:
            log.warning("at the end: %s", error)


def make_worker(
    project: Project, inference: Inference, fetcher: Fetches, owner: str = ""
) -> Worker:
    """Return a worker for a project.

    Args:
        project: opened.
        inference: the queue to the network, shared with whoever else asks.
        fetcher: what asks URLs.
        owner: its name; by default of host, process and chance.

    Raises:
        ModelError: a model in force cannot be used.
    """
    config = project.config
    folder = project.root / config.events.photos if config.events.photos else None
    drifting = Drifting(project.store, project.root, config.drift)
    project.store.usage.let_go()
    return Worker(
        project.store,
        inference,
        Bringing(fetcher, folder, project.limits),
        InForce(project),
        config.worker,
        owner=owner or new_owner(),
        keep_thumbnails=config.store.keep == "thumbnails",
        per_host=config.fetch.per_host,
        random=random.random,
        capping=Capping(project.store, config.budget, lambda: inference.counters().photo_s),
        drifting=drifting,
        tidy=Tidying(
            project.store,
            timedelta(days=config.worker.keep_days),
            tell=drifting.tell,
            keep_dead=timedelta(days=config.worker.dead_days),
        ),
    )


def work(
    project: Project,
    stop: threading.Event,
    until: Until = "stopped",
    *,
    sources: Sequence[str] | None = None,
    announce: Sequence[str] | None = None,
) -> WorkReport:
    """Run a worker in this thread, with a queue to the network of its own.

    Args:
        project: opened.
        stop: set from elsewhere, such as a signal's handler.
        until: see `Worker.run`; what brokers hold now counts as due.
        sources: topics at brokers to read from; by default those of the settings.
        announce: topics to announce to; likewise.

    Returns:
        What it did. A broker that does not answer is waited for by a worker that runs until it is
        told to stop; another works on what is here, and names the topic in `troubles`.

    Raises:
        ConfigError: an address is wrong.
    """
    from listlens.pipeline.inference import Inference
    from listlens.sources.fetching import Fetcher, FetchRules

    with ExitStack() as stack:
        stack.enter_context(delivering(project, drain=until != "stopped"))
        rules = FetchRules.of(project.config.fetch, project.limits.max_bytes)
        fetcher = stack.enter_context(Fetcher(rules))
        brokers = Brokers(project, sources, announce)
        inference = Inference(project.backbone, project.limits)
        stack.callback(inference.close, drain=False)
        if until == "stopped":
            worker = make_worker(project, inference, fetcher)
            with brokers.running(stop, worker.wake.set):
                return worker.run(stop, until)
        brokers.place()
        report, more = WorkReport(), True
        while more and not stop.is_set():
            more = brokers.take_in(stop, once=until == "once")
            report.add(make_worker(project, inference, fetcher).run(stop, until))
            brokers.send_out()
        report.troubles += brokers.troubles
        return report


@contextmanager
def working(project: Project, inference: Inference) -> Iterator[Worker]:
    """Run a worker in a thread for as long as the context lasts, such as the server's.

    Args:
        project: opened; its store is used by other threads meanwhile.
        inference: shared with whoever else asks.

    Yields:
        The worker: `wake` is set to tell it of new events, `report` says what it did.
    """
    from listlens.sources.fetching import Fetcher, FetchRules

    stop = threading.Event()
    with Fetcher(FetchRules.of(project.config.fetch, project.limits.max_bytes)) as fetcher:
        worker = make_worker(project, inference, fetcher)
        with Brokers(project).running(stop, worker.wake.set):
            thread = threading.Thread(target=worker.run, args=(stop,), name="worker")
            thread.start()
            try:
                yield worker
            finally:
                stop.set()
                worker.wake.set()
                thread.join()
