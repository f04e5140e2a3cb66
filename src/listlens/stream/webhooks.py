"""Telling endpoints what was announced, by the Standard Webhooks specification.

An endpoint has a position in the outbox. What it does not take is parked and tried again on a
schedule while the position moves on; where much is parked, one more is tried now and then until
one is taken, and then all of it is due. So a dead endpoint costs little, holds up nobody, and is
up to date within a minute of its return.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from listlens.core.errors import FetchError, InputError, PhotoError, suggest
from listlens.core.types import STARTER
from listlens.sources.addresses import refusal
from listlens.sources.fetching import Fetcher, FetchRules
from listlens.store.database import to_json
from listlens.store.event_rows import Announcement
from listlens.store.webhook_rows import DELIVERED, DROPPED, FAILED, RETRIED, Attempt, Webhook
from listlens.stream.announcing import ANNOUNCED

if TYPE_CHECKING:
    from listlens.core.config import FetchConfig
    from listlens.sources.addresses import Resolve
    from listlens.store.open import Store

SCHEDULE_S = (5, 5 * 60, 30 * 60, *(hours * 3600 for hours in (2, 5, 10, 14, 20, 24)))
"""Waits after the first try and each further one: that of the specification, three days in all.
Source: standard-webhooks.md, "Deliverability and reliability" (1.0.0)."""

TOTAL_S = 15.0
"""For one answer; the specification advises 15 to 30 s."""

MAX_WAIT_S = 3600.0
"""Longest wait that an endpoint may ask for (Retry-After)."""

PAGE = 64
AT_ONCE = 4
ROUND_S = 20.0
"""A round takes up to 64 deliveries, 4 at once, and begins none after 20 s."""

MOST_WRONG = 3
"""Failures in a round, after which it begins no more."""

MOST_PARKED = 32
PROBE_S = 60.0
"""With 32 deliveries waiting for an endpoint, it gets one new one a minute, until one is taken."""

Post = Callable[[str, bytes, Mapping[str, str]], "Sent"]


@dataclass(frozen=True, slots=True)
class Sent:
    """What one request to an endpoint gave.

    Args:
        status: of HTTP, or None where nothing answered.
        detail: what was wrong; empty where it was taken.
        took_ms: from the request to the answer.
        retry_after_s: how long it asks to wait.
    """

    status: int | None
    detail: str = ""
    took_ms: int = 0
    retry_after_s: float | None = None

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def webhook_rules(config: FetchConfig) -> FetchRules:
    """Return the rules for endpoints: those for photos, on any port, and without `allow`, which
    says where photos come from.
    """
    rules = FetchRules.of(config, max_bytes=2000)
    return replace(rules, allow=(), ports=(), max_wait_s=MAX_WAIT_S, per_host=10_000)


def check_endpoint(url: str, rules: FetchRules) -> str:
    """Return an endpoint's URL as it is kept; raises InputError where it may not be asked.

    A name is judged when it is resolved, at each delivery.
    """
    with Fetcher(rules) as fetcher:
        try:
            target = fetcher.checked(url)
        except PhotoError as error:
            raise InputError(f"no webhook can be at {error.detail}") from None
    host = target.host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return target.url
    if why := refusal(address, private=rules.is_private(host, target.port)):
        end = f"{why}, which is never asked"
        if refusal(address, private=True) is None:
            end = (f"{why}: a private address is told nothing. If it is yours, name it in "
                   f'listlens.toml: [fetch] private = ["{host}"]')  # fmt: skip
        raise InputError(f"no webhook can be at {host}, {end}")
    return target.url


def check_kinds(kinds: Sequence[str]) -> Sequence[str]:
    """Return kinds of event as they are; raises InputError for one that is never announced."""
    for kind in kinds:
        if kind not in ANNOUNCED:
            raise InputError(f"no event is of kind {kind!r}. {suggest(kind, ANNOUNCED)}")
    return kinds


def check_tasks(store: Store, tasks: Sequence[str]) -> Sequence[str]:
    """Return names of tasks as they are; raises InputError for one that the project lacks."""
    known = {*(task.name for task in store.labels.tasks()), STARTER} if tasks else set[str]()
    for task in tasks:
        if task not in known:
            raise InputError(f"there is no task {task!r} to be told of. {suggest(task, known)}")
    return tasks


class Poster:
    """Sends to endpoints through the door that keeps private addresses out.

    Args:
        rules: see `webhook_rules`.
        resolve: answers names in place of the system's resolver.
    """

    def __init__(self, rules: FetchRules, resolve: Resolve | None = None) -> None:
        self._fetcher = Fetcher(rules, resolve) if resolve is not None else Fetcher(rules)

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> Sent:
        """Send one request; what goes wrong is in the answer."""
        started = time.monotonic()
        try:
            answer = self._fetcher.post(url, body, headers, total_s=TOTAL_S)
        except (PhotoError, FetchError) as error:
            return Sent(None, str(error), _since_ms(started))
        taken = 200 <= answer.status < 300
        said = " ".join(answer.start.split())[:300]
        detail = "" if taken else f"it answers {answer.status}{': ' if said else ''}{said}"
        return Sent(answer.status, detail, _since_ms(started), answer.retry_after_s)

    def close(self) -> None:
        """Close idle connections."""
        self._fetcher.close()


def _since_ms(started: float) -> int:
    return round(1000 * (time.monotonic() - started))


# -- what is sent ----------------------------------------------------------------------------------


def message_id(event_key: str) -> str:
    """Return the webhook-id of an event: the same whenever it is sent, and safe in a header."""
    return "evt_" + hashlib.sha256(event_key.encode("utf-8", "replace")).hexdigest()[:32]


def payload(one: Announcement) -> bytes:
    """Return the body that is sent for an announcement: `type`, `timestamp` and `data`."""
    at = one.created_at.isoformat() if one.created_at is not None else ""
    return to_json({"type": one.kind, "timestamp": at, "data": dict(one.body)}).encode()


def signed(secrets: Sequence[str], msg_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """Return the headers that prove a body to whoever knows one of the secrets.

    Source: standard-webhooks.md 1.0.0, symmetric signatures (v1): HMAC-SHA256 of id, timestamp and
    body, joined by full stops; one signature a valid secret.
    """
    at = str(int(now.timestamp()))
    content = b".".join([msg_id.encode(), at.encode(), body])
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets]
    made = [base64.b64encode(hmac.digest(key, content, "sha256")).decode() for key in keys]
    return {
        "Content-Type": "application/json",
        "webhook-id": msg_id,
        "webhook-timestamp": at,
        "webhook-signature": " ".join(f"v1,{one}" for one in made),
    }


# -- delivering ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Todo:
    """One delivery: an event, how often it was tried, and when first."""

    position: int
    event: Announcement | None
    attempts: int = 0
    first_at: datetime | None = None


def _blocks(todo: Sequence[_Todo]) -> Iterator[list[_Todo]]:
    """Yield what is sent at once: a few, and never two of one listing, which thus keep their order.

    Of several parked ones too, since the older ones stand first.
    """
    block: list[_Todo] = []
    listings: set[str] = set()
    for one in todo:
        listing = one.event.listing_id if one.event is not None else ""
        if block and (len(block) == AT_ONCE or listing in listings):
            yield block
            block, listings = [], set()
        block.append(one)
        listings.add(listing)
    if block:
        yield block


class Delivery:
    """Delivers to one endpoint at a time, round by round. The clock is the store's.

    Args:
        store: endpoints, outbox and clock.
        post: sends one request.
        jitter: factor on each wait, so that many endpoints do not come back at once.
    """

    def __init__(self, store: Store, post: Post, jitter: Callable[[], float] = lambda: 1.0) -> None:
        self._store, self._post, self._jitter = store, post, jitter

    def round(self, hook: Webhook) -> int:
        """Try what is due and what is new for an endpoint; return how much was tried.

        Args:
            hook: as it stands now.
        """
        if hook.state != "active":
            return 0
        now = self._store.clock()
        todo = self._again(hook, now)
        waiting = hook.n_waiting - len(todo)
        probing = waiting + len(todo) >= MOST_PARKED
        limit = PAGE - len(todo)
        if probing:
            limit = int(hook.probe_at is None or hook.probe_at <= now)
        fresh, cursor = self._fresh(hook, limit)
        tried = self._try_all(hook, [*todo, *fresh])
        if len(tried) < len(todo) + len(fresh):
            done = max(len(tried) - len(todo), 0)
            cursor = fresh[done - 1].position if done else hook.cursor
        if tried or cursor != hook.cursor:
            probe_at = now + timedelta(seconds=PROBE_S) if probing and fresh else None
            self._store.webhooks.settle(hook, tried, cursor, probe_at=probe_at)
            self._disable_if_hopeless(hook, tried)
        return len(tried)

    def _again(self, hook: Webhook, now: datetime) -> list[_Todo]:
        due = self._store.webhooks.due(hook.webhook_id, now, PAGE) if hook.n_waiting else {}
        events = self._store.outbox.at(list(due))
        return [_Todo(at, events.get(at), *before) for at, before in due.items()]

    def _fresh(self, hook: Webhook, limit: int) -> tuple[list[_Todo], int]:
        if limit <= 0:
            return [], hook.cursor
        found, cursor = self._store.outbox.read(
            hook.cursor, limit=limit, kinds=hook.kinds, tasks=hook.tasks
        )
        return [_Todo(one.position, one) for one in found], cursor

    def _try_all(self, hook: Webhook, todo: list[_Todo]) -> list[Attempt]:
        """Try in order, a few at once; after some failures no more are begun."""
        tried: list[Attempt] = []
        ends = time.monotonic() + ROUND_S
        with ExitStack() as stack:
            pool = None
            for block in _blocks(todo):
                if len(block) > 1 and pool is None:
                    pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
                send = pool.map if pool is not None else map
                tried += send(lambda one: self._try(hook, one), block)
                n_wrong = sum(one.outcome in {RETRIED, FAILED} for one in tried)
                gone = any(one.status == 410 for one in tried)
                if n_wrong >= MOST_WRONG or gone or time.monotonic() > ends:
                    break
        return tried

    def _try(self, hook: Webhook, todo: _Todo) -> Attempt:
        """Send one, and say what that means."""
        now = self._store.clock()
        number = todo.attempts + 1
        if todo.event is None:
            detail = "the event was forgotten or is too old"
            return Attempt(todo.position, number, DROPPED, None, 0, detail, now)
        body = payload(todo.event)
        headers = signed(hook.signing(now), message_id(todo.event.event_key), now, body)
        sent = self._post(hook.url, body, headers)
        outcome, next_at = DELIVERED, None
        if not sent.taken:
            outcome = FAILED
            if number <= len(SCHEDULE_S) and sent.status != 410:
                outcome = RETRIED
                wait_s = max(SCHEDULE_S[number - 1] * self._jitter(), sent.retry_after_s or 0)
                next_at = now + timedelta(seconds=wait_s)
        return Attempt(
            todo.position, number, outcome, sent.status, sent.took_ms, sent.detail, now,
            next_at, todo.first_at or now,
        )  # fmt: skip

    def _disable_if_hopeless(self, hook: Webhook, tried: Sequence[Attempt]) -> None:
        """Stop telling an endpoint that is gone, or took nothing during all tries of one event."""
        if any(one.status == 410 for one in tried):
            self._store.webhooks.disable(hook.webhook_id, "it answered 410 Gone")
            return
        if any(one.outcome == DELIVERED for one in tried):
            return
        for one in tried:
            since = one.first_at or one.at
            took_any = hook.delivered_at is not None and hook.delivered_at >= since
            if one.outcome == FAILED and not took_any:
                self._store.webhooks.disable(
                    hook.webhook_id,
                    f"it took nothing from {since:%Y-%m-%d %H:%M} UTC through {one.attempt} tries "
                    f"of one event; the last: {one.detail}",
                )
                return

    def test(self, hook: Webhook) -> tuple[Sent, dict[str, Any]]:
        """Send an event of kind ``listlens.test`` that changes nothing; return what came of it."""
        now = self._store.clock()
        said = {"webhook": hook.webhook_id, "message": "listlens can reach this endpoint."}
        one = Announcement(f"test-{now.isoformat()}", "listlens.test", "", "", said, created_at=now)
        body = payload(one)
        headers = signed(hook.signing(now), message_id(one.event_key), now, body)
        return self._post(hook.url, body, headers), {"headers": headers, "body": body.decode()}
