"""A project's webhooks, delivered in threads: one an endpoint, so that none holds up another."""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from listlens.core.errors import ListlensError
from listlens.core.owner import new_owner
from listlens.stream.webhooks import Delivery, Post, Poster, webhook_rules

if TYPE_CHECKING:
    from listlens.project import Project
    from listlens.store.open import Store

log = logging.getLogger("listlens.webhooks")

POLL_S = 0.2
"""How often the outbox is looked at: two queries."""

LEASE_S = 90.0
"""An endpoint of a process that died is taken over after this; more than a round can take."""

KEEP = timedelta(days=30)
"""The delivery log is kept this long."""

PRUNE_S = 600.0


class Relay:
    """Delivers until it is stopped. As a context it starts and stops.

    Several processes may run one each on the same store: an endpoint belongs to one at a time.

    Args:
        store: of the project; used by several threads.
        post: sends one request.
        poll_s: seconds between two looks at the outbox.
    """

    def __init__(self, store: Store, post: Post, poll_s: float = POLL_S) -> None:
        self._store, self._poll_s = store, poll_s
        self._delivery = Delivery(store, post, jitter=lambda: random.uniform(1.0, 1.1))
        self._owner = new_owner()
        self._stop, self._wake = threading.Event(), threading.Event()
        self._endpoints: dict[int, _Endpoint] = {}
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Say that something was announced, so that nobody waits for the next look."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the deliveries under way and give the endpoints back."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        pruned_s = time.monotonic()
        while not self._stop.is_set():
            try:
                self._look()
                if time.monotonic() - pruned_s > PRUNE_S:
                    pruned_s = time.monotonic()
                    self._store.webhooks.prune(self._store.clock() - KEEP)
            except Exception as error:  # it has to go on for years
                _tell("webhooks", error)
                self._stop.wait(1.0)
            self._wake.wait(self._poll_s)
            self._wake.clear()
        for endpoint in self._endpoints.values():
            endpoint.stop()
        try:
            self._store.webhooks.release(self._owner)
        except ListlensError as error:
            log.warning("webhooks: %s", error)

    def _look(self) -> None:
        """Wake the endpoints for which there is something to do; start and end their threads."""
        hooks = self._store.webhooks.list()
        last, now = self._store.outbox.last() if hooks else 0, self._store.clock()
        for hook in hooks:
            if hook.webhook_id not in self._endpoints:
                self._endpoints[hook.webhook_id] = _Endpoint(hook.webhook_id, self._step)
            behind = hook.cursor < last and not _holds_back(hook.probe_at, now)
            due = hook.next_at is not None and hook.next_at <= now
            if hook.state == "active" and (behind or due):
                self._endpoints[hook.webhook_id].wake.set()
        for webhook_id in self._endpoints.keys() - {hook.webhook_id for hook in hooks}:
            self._endpoints.pop(webhook_id).stop()

    def _step(self, webhook_id: int) -> bool:
        """One round for one endpoint; whether there may be more to do at once."""
        try:
            if not self._store.webhooks.lease(webhook_id, self._owner, LEASE_S):
                return False
            return self._delivery.round(self._store.webhooks.get(webhook_id)) > 0
        except Exception as error:
            _tell(f"webhook {webhook_id}", error)
            self._stop.wait(1.0)
            return False

    def __enter__(self) -> Relay:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


class _Endpoint:
    """The thread of one endpoint: rounds as long as they bring something, then sleep."""

    def __init__(self, webhook_id: int, step: Callable[[int], bool]) -> None:
        self.wake = threading.Event()
        self._webhook_id, self._step, self._stop = webhook_id, step, threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"webhook-{webhook_id}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self.wake.wait()
            self.wake.clear()
            while not self._stop.is_set() and self._step(self._webhook_id):
                pass
            if self._stop.is_set():
                return

    def stop(self) -> None:
        """End after the round under way."""
        self._stop.set()
        self.wake.set()
        self._thread.join()


def _tell(what: str, error: Exception) -> None:
    """Log what went wrong; a fault of ours with its trace."""
    log.warning("%s: %s", what, error, exc_info=not isinstance(error, ListlensError))


def _holds_back(probe_at: datetime | None, now: datetime) -> bool:
    return probe_at is not None and probe_at > now


@contextmanager
def delivering(project: Project, *, drain: bool = False) -> Iterator[Relay]:
    """Deliver a project's webhooks for as long as the context lasts.

    Args:
        project: opened.
        drain: deliver in the end what was announced and is due; else another process, or the next
            one, goes on with it.
    """
    poster = Poster(webhook_rules(project.config.fetch))
    try:
        with Relay(project.store, poster) as relay:
            yield relay
        if drain:
            deliver_due(project.store, poster)
    finally:
        poster.close()


def deliver_due(store: Store, post: Post) -> int:
    """Deliver in this thread all that is due now, endpoint by endpoint; return how much was tried.

    For schedulers (cron) and tests; a worker or server delivers by itself.
    """
    delivery, owner = Delivery(store, post), f"once:{secrets.token_hex(8)}"
    total = 0
    try:
        for hook in store.webhooks.list():
            while store.webhooks.lease(hook.webhook_id, owner, LEASE_S):
                before = store.webhooks.get(hook.webhook_id)
                tried = delivery.round(before)
                total += tried
                if not tried and store.webhooks.get(hook.webhook_id).cursor == before.cursor:
                    break
    finally:
        store.webhooks.release(owner)
    return total
