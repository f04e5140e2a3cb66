"""A project's worker put together, for a process of its own or a thread of the server."""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

from listlens.core.errors import ListlensError
from listlens.stream.answering import Answerer, answerers
from listlens.stream.bringing import Bringing, Fetches
from listlens.stream.relay import delivering
from listlens.stream.worker import Until, Worker, WorkReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from listlens.pipeline.inference import Inference
    from listlens.project import Project
    from listlens.store.open import Store

log = logging.getLogger("listlens.stream")

MODELS_S = 2.0
"""How often the registry is asked whether other models are in force."""

TIDY_S = 60.0


class InForce:
    """The models in force, loaded again when the registry says that others are.

    A broken one leaves those before it in force, and is named in the log.

    Args:
        project: whose models.
        clock: seconds that only grow.
    """

    def __init__(self, project: Project, clock: Callable[[], float] = time.monotonic) -> None:
        self._project, self._clock = project, clock
        self._state = self._project.store.models.state()
        self._asked_s = clock()
        self._models = self._load()

    def __call__(self) -> list[Answerer]:
        """Return them; quick."""
        if self._clock() - self._asked_s > MODELS_S:
            self._asked_s = self._clock()
            state = self._project.store.models.state()
            if state != self._state:
                self._state = state
                try:
                    self._models = self._load()
                except ListlensError as error:
                    log.error("the models in force stay as they are: %s", error)
        return self._models

    def _load(self) -> list[Answerer]:
        project = self._project
        return answerers(project.store, project.root, project.backbone, project.backbone_for)


class Tidying:
    """What has to be done now and then, a little at a time: old rows and noted files go.

    Args:
        store: of the project.
        keep: how long done events and announcements are kept.
        clock: seconds that only grow.
    """

    def __init__(
        self, store: Store, keep: timedelta, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._keep, self._clock = store, keep, clock
        self._done_s = clock()

    def __call__(self) -> None:
        """Tidy, if it is time."""
        if self._clock() - self._done_s < TIDY_S:
            return
        self._done_s = self._clock()
        before = self._store.clock() - self._keep
        self._store.events.prune(before)
        self._store.outbox.prune(before, self._store.outbox.last())
        self._store.order.prune(before)
        self._store.forgetting.resume()


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
    return Worker(
        project.store,
        inference,
        Bringing(fetcher, folder, project.limits),
        InForce(project),
        config.worker,
        owner=owner or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",
        keep_thumbnails=config.store.keep == "thumbnails",
        per_host=config.fetch.per_host,
        random=random.random,
        tidy=Tidying(project.store, timedelta(days=config.worker.keep_days)),
    )


def work(project: Project, stop: threading.Event, until: Until = "stopped") -> WorkReport:
    """Run a worker in this thread, with a queue to the network of its own.

    Args:
        project: opened.
        stop: set from elsewhere, such as a signal's handler.
        until: see `Worker.run`.
    """
    from listlens.pipeline.inference import Inference
    from listlens.sources.fetching import Fetcher, FetchRules

    with ExitStack() as stack:
        stack.enter_context(delivering(project, drain=until != "stopped"))
        rules = FetchRules.of(project.config.fetch, project.limits.max_bytes)
        fetcher = stack.enter_context(Fetcher(rules))
        inference = Inference(project.backbone, project.limits)
        stack.callback(inference.close, drain=False)
        return make_worker(project, inference, fetcher).run(stop, until)


class WorkerThread:
    """A worker in a thread of another process, such as the server's.

    Args:
        project: opened; its store may be used by other threads meanwhile.
        inference: shared.
        fetcher: shared.

    Attributes:
        report: what it did so far.
    """

    def __init__(self, project: Project, inference: Inference, fetcher: Fetches) -> None:
        self._worker = make_worker(project, inference, fetcher)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._worker.run, args=(self._stop,), name="worker")
        self.report = self._worker.report

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there are new events, so that it need not wait for its next look."""
        self._worker.wake.set()

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def stop(self) -> WorkReport:
        """Finish what is in hand, give the rest back, and return what was done."""
        self._stop.set()
        self._worker.wake.set()
        self._thread.join()
        return self.report
