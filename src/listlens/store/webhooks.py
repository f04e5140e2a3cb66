"""Webhooks: endpoints with their filters and secrets, what is to be tried again, and the log."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.core.errors import InputError, NotFoundError
from listlens.store.database import Database, chunks, clean_text
from listlens.store.stream_tables import outbox
from listlens.store.webhook_rows import (
    DELIVERED,
    FAILED,
    RETRIED,
    Attempt,
    Webhook,
    to_attempt,
    to_webhook,
)
from listlens.store.webhook_tables import delivery, parked, webhook

MOST_WEBHOOKS = 50
"""Each has a thread of its own where they are delivered."""

OUTAGE = 3
"""Failures in a row from which on an endpoint is taken for unwell: once it takes something again,
all that waits for it is due. A single event that it never takes keeps to its schedule."""

LOG_ROWS = 10_000
"""Kept of each endpoint's delivery log."""


class Webhooks:
    """The endpoints of a project. Delivering is `listlens.stream.webhooks`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- endpoints --------------------------------------------------------------------------

    def add(
        self,
        url: str,
        *,
        name: str = "",
        kinds: Sequence[str] = (),
        tasks: Sequence[str] = (),
        after: int | None = None,
    ) -> Webhook:
        """Add an endpoint; its URL was checked before.

        Args:
            url: where it is.
            name: what it is for.
            kinds: of event that it is told; all where none is named.
            tasks: whose answers it is told; all where none is named.
            after: position in the outbox from which on it is told; None: from now on.

        Returns:
            The endpoint with its secret.

        Raises:
            InputError: there are too many.
        """
        last = sa.select(sa.func.coalesce(sa.func.max(outbox.c.id), 0))
        with self._db.write() as connection:
            count = sa.select(sa.func.count()).select_from(webhook)
            if connection.execute(count).scalar_one() >= MOST_WEBHOOKS:
                raise InputError(
                    f"there are {MOST_WEBHOOKS} webhooks, which is the most; remove one, or let "
                    "one receiver pass on what several need"
                )
            row = {
                "url": url,
                "name": clean_text(name),
                "kinds": sorted(set(kinds)),
                "tasks": sorted(set(tasks)),
                "secret": new_secret(),
                "cursor": connection.execute(last).scalar_one() if after is None else after,
                "state": "active",
                "failures": 0,
                "detail": "",
                "created_at": self._db.clock(),
            }
            made = connection.execute(sa.insert(webhook).values(row).returning(webhook)).one()
        return to_webhook(made)

    def list(self) -> tuple[Webhook, ...]:
        """Return all endpoints with what waits for each, oldest first."""
        waiting = sa.func.count(parked.c.next_at)
        counts = sa.select(
            parked.c.webhook_id,
            waiting.label("waiting"),
            (sa.func.count() - waiting).label("failed"),
            sa.func.min(parked.c.next_at).label("next_at"),
        ).group_by(parked.c.webhook_id)
        with self._db.read() as connection:
            rows = connection.execute(sa.select(webhook).order_by(webhook.c.id)).all()
            known = {row.webhook_id: row for row in connection.execute(counts)}
        return tuple(
            replace(to_webhook(row), n_waiting=c.waiting, n_failed=c.failed, next_at=c.next_at)
            if (c := known.get(row.id)) is not None
            else to_webhook(row)
            for row in rows
        )

    def get(self, webhook_id: int) -> Webhook:
        """Return one endpoint; raises NotFoundError."""
        for one in self.list():
            if one.webhook_id == webhook_id:
                return one
        raise NotFoundError(f"no webhook {webhook_id}; `listlens webhooks list` shows them")

    def remove(self, webhook_id: int) -> Webhook:
        """Remove an endpoint with its log and what waits for it; raises NotFoundError."""
        found = self.get(webhook_id)
        with self._db.write() as connection:
            for table in (parked, delivery):
                connection.execute(sa.delete(table).where(table.c.webhook_id == webhook_id))
            connection.execute(sa.delete(webhook).where(webhook.c.id == webhook_id))
        return found

    def rotate(self, webhook_id: int, keep: timedelta) -> Webhook:
        """Give an endpoint a new secret; the one before stays valid beside it for a while."""
        before = self.get(webhook_id)
        values = {
            "secret": new_secret(),
            "former_secret": before.secret,
            "former_until": self._db.clock() + keep,
        }
        self._update(webhook_id, values)
        return self.get(webhook_id)

    def enable(self, webhook_id: int) -> tuple[Webhook, bool]:
        """Let a disabled endpoint be told again, from where it stopped; an active one stays.

        Returns:
            The endpoint, and whether it was disabled.
        """
        self.get(webhook_id)
        with self._db.write() as connection:
            disabled = (webhook.c.id == webhook_id, webhook.c.state == "disabled")
            back = {"state": "active", "failures": 0, "detail": "", "probe_at": None}
            changed = connection.execute(sa.update(webhook).where(*disabled).values(back)).rowcount
            if changed:
                self._all_due(connection, webhook_id)
        return self.get(webhook_id), changed == 1

    def disable(self, webhook_id: int, detail: str) -> None:
        """Tell an endpoint nothing more until it is enabled."""
        self._update(webhook_id, {"state": "disabled", "detail": clean_text(detail)})

    def replay(self, webhook_id: int, *, after: int | None = None) -> int:
        """Deliver again what failed for good, or everything after a position.

        Returns:
            How many deliveries are due again; an endpoint's filters may leave some out.
        """
        self.get(webhook_id)
        here = parked.c.webhook_id == webhook_id
        with self._db.write() as connection:
            if after is None:
                again = sa.update(parked).where(here, parked.c.next_at.is_(None))
                due = {"next_at": self._db.clock(), "attempts": 0, "first_at": self._db.clock()}
                return connection.execute(again.values(due)).rowcount
            behind = sa.select(sa.func.count()).select_from(outbox).where(outbox.c.id > after)
            connection.execute(sa.delete(parked).where(here, parked.c.position > after))
            back = sa.update(webhook).where(webhook.c.id == webhook_id, webhook.c.cursor > after)
            connection.execute(back.values(cursor=after))
            return int(connection.execute(behind).scalar_one())

    def told(self) -> int | None:
        """Return the position up to which every active endpoint has all it will get, or None.

        What is to be tried again counts as not told; what failed for good does not.
        """
        active = webhook.c.state == "active"
        waiting = sa.select(sa.func.min(parked.c.position) - 1).join(
            webhook, webhook.c.id == parked.c.webhook_id
        )
        with self._db.read() as connection:
            found = [
                connection.execute(query.where(active)).scalar()
                for query in (
                    sa.select(sa.func.min(webhook.c.cursor)),
                    waiting.where(parked.c.next_at.is_not(None)),
                )
            ]
        return min((at for at in found if at is not None), default=None)

    # -- delivering -------------------------------------------------------------------------

    def lease(self, webhook_id: int, owner: str, seconds: float) -> bool:
        """Take an endpoint for a while, so that no other process delivers to it meanwhile."""
        now = self._db.clock()
        free = sa.or_(
            webhook.c.owner.is_(None), webhook.c.owner == owner, webhook.c.leased_until < now
        )
        take = sa.update(webhook).where(webhook.c.id == webhook_id, free)
        until = now + timedelta(seconds=seconds)
        with self._db.write() as connection:
            values = {"owner": owner, "leased_until": until}
            return connection.execute(take.values(values)).rowcount == 1

    def release(self, owner: str) -> None:
        """Give back every endpoint that this owner has."""
        with self._db.write() as connection:
            held = sa.update(webhook).where(webhook.c.owner == owner)
            connection.execute(held.values(owner=None, leased_until=None))

    def due(self, webhook_id: int, now: datetime, limit: int) -> Mapping[int, tuple[int, datetime]]:
        """Return what is to be tried again now: position to attempts so far and the first one."""
        query = (
            sa.select(parked.c.position, parked.c.attempts, parked.c.first_at)
            .where(parked.c.webhook_id == webhook_id, parked.c.next_at <= now)
            .order_by(parked.c.position)
            .limit(limit)
        )
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        return {row.position: (row.attempts, row.first_at) for row in rows}

    def settle(
        self,
        hook: Webhook,
        attempts: Sequence[Attempt],
        cursor: int,
        *,
        probe_at: datetime | None = None,
    ) -> None:
        """Keep what came of a round, in one transaction.

        A delivery that was taken after an outage makes all that waits for the endpoint due.

        Args:
            hook: the endpoint.
            attempts: what was tried.
            cursor: position up to which everything was tried.
            probe_at: when one more may be tried although many fail; None leaves it.
        """
        taken = [one for one in attempts if one.outcome == DELIVERED]
        wrong = [one for one in attempts if one.outcome in {RETRIED, FAILED}]
        values: dict[str, Any] = {"cursor": cursor, "failures": hook.failures + len(wrong)}
        values |= {"probe_at": probe_at} if probe_at is not None else {}
        values |= {"detail": clean_text(wrong[-1].detail)} if wrong else {}
        if taken:
            values |= {"delivered_at": taken[-1].at, "failures": 0, "probe_at": None}
        values |= {"detail": ""} if taken and not wrong else {}
        here = parked.c.webhook_id == hook.webhook_id
        with self._db.write() as connection:
            for block in chunks([one.position for one in attempts]):
                connection.execute(sa.delete(parked).where(here, parked.c.position.in_(block)))
            rows = [_parked_row(hook.webhook_id, one) for one in wrong]
            self._db.bulk(connection, sa.insert(parked), rows)
            if taken and hook.failures >= OUTAGE:
                self._all_due(connection, hook.webhook_id)
            log = [_log_row(hook.webhook_id, one) for one in attempts]
            self._db.bulk(connection, sa.insert(delivery), log)
            # The cursor goes back when somebody replays meanwhile: then it stays where they put it.
            same = sa.and_(webhook.c.id == hook.webhook_id, webhook.c.cursor == hook.cursor)
            connection.execute(sa.update(webhook).where(same).values(values))

    def _all_due(self, connection: Connection, webhook_id: int) -> None:
        now = self._db.clock()
        later = (parked.c.webhook_id == webhook_id, parked.c.next_at > now)
        connection.execute(sa.update(parked).where(*later).values(next_at=now))

    # -- the log ----------------------------------------------------------------------------

    def log(
        self, webhook_id: int | None = None, *, limit: int = 100, failed: bool = False
    ) -> tuple[Attempt, ...]:
        """Return deliveries that were tried, the newest first.

        Args:
            webhook_id: of one endpoint, or None for all.
            limit: how many at most.
            failed: only what was not delivered.
        """
        query = sa.select(delivery).order_by(delivery.c.id.desc()).limit(limit)
        if webhook_id is not None:
            query = query.where(delivery.c.webhook_id == webhook_id)
        if failed:
            query = query.where(delivery.c.outcome != DELIVERED)
        with self._db.read() as connection:
            return tuple(to_attempt(row) for row in connection.execute(query))

    def prune(self, before: datetime) -> int:
        """Remove log rows of before a moment and all but each endpoint's newest; return how many.

        What failed for good and whose event is not in the outbox any more goes too.
        """
        n = 0
        known = sa.select(outbox.c.id).where(outbox.c.id == parked.c.position).exists()
        with self._db.write() as connection:
            n += connection.execute(sa.delete(delivery).where(delivery.c.at < before)).rowcount
            for webhook_id in connection.execute(sa.select(webhook.c.id)).scalars().all():
                mine = delivery.c.webhook_id == webhook_id
                newest = sa.select(delivery.c.id).where(mine).order_by(delivery.c.id.desc())
                oldest = connection.execute(newest.offset(LOG_ROWS - 1).limit(1)).scalar()
                if oldest is not None:
                    extra = sa.delete(delivery).where(mine, delivery.c.id < oldest)
                    n += connection.execute(extra).rowcount
            stale = sa.delete(parked).where(parked.c.next_at.is_(None), ~known)
            connection.execute(stale)
        return n

    def _update(self, webhook_id: int, values: Mapping[str, Any]) -> None:
        with self._db.write() as connection:
            here = webhook.c.id == webhook_id
            connection.execute(sa.update(webhook).where(here).values(dict(values)))


def new_secret() -> str:
    """Return a secret of 32 random bytes, written as the Standard Webhooks specification says."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode("ascii")


def _parked_row(webhook_id: int, one: Attempt) -> dict[str, Any]:
    return {
        "webhook_id": webhook_id,
        "position": one.position,
        "attempts": one.attempt,
        "first_at": one.first_at or one.at,
        "next_at": one.next_at,
        "detail": clean_text(one.detail),
    }


def _log_row(webhook_id: int, one: Attempt) -> dict[str, Any]:
    return {
        "webhook_id": webhook_id,
        "position": one.position,
        "attempt": one.attempt,
        "outcome": one.outcome,
        "status": one.status,
        "took_ms": one.took_ms,
        "detail": clean_text(one.detail),
        "at": one.at,
    }
