"""The client for asyncio: the same calls, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import httpx

from listlens.client import calls
from listlens.client.calls import Answer, Call
from listlens.client.photos import BATCH_PHOTOS, Named, batches, merged
from listlens.client.retrying import Retries
from listlens.client.sending import Attempts, arguments
from listlens.serve.event_shapes import DeadReplayOut, FeedOut, LedgerOut, LetterOut, TakenOut
from listlens.serve.job_shapes import JobOut, JobWholeOut
from listlens.serve.listing_shapes import HitOut, ListingOut, ToldOut
from listlens.serve.shapes import (
    DeliveryOut,
    HealthOut,
    ModelOut,
    RecordOut,
    ReplayOut,
    TestOut,
    WebhookEnabledOut,
    WebhookOut,
    WebhookSecretOut,
)
from listlens.serve.watch_shapes import BudgetOut, DriftOut


class AsyncClient:
    """Calls a server from one event loop. Use it in an `async with`, or close it.

    What fails for now (429, 5xx, no connection) is tried again as `retries` says; what is raised
    then, and at once for what will never succeed, is a `ListlensError`: `BusyError`, `ServerError`,
    `AccessError`, `NotFoundError`, `InputError`.

    Args:
        url: of the server.
        token: as `listlens token create` made it; by default that of LISTLENS_TOKEN.
        retries: how often calls are made again; by default 5 attempts within seconds.
        timeout_s: for connecting, and between two parts of an answer.
        options: further arguments of `httpx.AsyncClient`, such as `verify` or `proxy`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        *,
        retries: Retries | None = None,
        timeout_s: float = 60.0,
        **options: Any,
    ) -> None:
        self._retries = retries or Retries()
        self._http = httpx.AsyncClient(**arguments(url, token, timeout_s, options))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _send(self, call: Call[Answer]) -> Answer:
        attempts = Attempts(call, self._retries)
        while True:
            try:
                response = await self._http.request(**call.request)
            except httpx.TransportError as error:
                pause_s = attempts.lost(error)
            else:
                if response.is_success:
                    return call.read(response.content)
                pause_s = attempts.refused(response)
            await asyncio.sleep(pause_s)

    # -- predictions ------------------------------------------------------------------------

    async def predict(
        self, photos: Iterable[Named], tasks: Sequence[str] | None = None, *, top: int | None = None
    ) -> list[RecordOut]:
        """Answer tasks for photos; a record each, in order. See `predict_each`."""
        return [one async for one in self.predict_each(photos, tasks, top=top)]

    async def predict_each(
        self,
        photos: Iterable[Named],
        tasks: Sequence[str] | None = None,
        *,
        top: int | None = None,
        batch: int = BATCH_PHOTOS,
    ) -> AsyncIterator[RecordOut]:
        """Answer tasks for any number of photos, some at a time; nothing is stored.

        Args:
            photos: addresses, paths of files, or bytes; each alone or as `(id, photo)`.
            tasks: only these.
            top: only so many of the likeliest classes.
            batch: photos a call, at most `serve.max_records`.

        Yields:
            A record for each photo, in order; one that cannot be used has `status` failed and a
            `reason`.
        """
        groups = batches(photos, batch)
        while (group := await asyncio.to_thread(next, groups, None)) is not None:
            records = [one.record for one in group if one.record is not None]
            said = (await self._send(calls.predict(records, tasks, top))).records if records else []
            for one in merged(group, said):
                yield one

    async def models(self) -> list[ModelOut]:
        """Return the models in force."""
        return (await self._send(calls.models())).models

    async def health(self) -> HealthOut:
        """Return whether the server answers, and with what."""
        return await self._send(calls.health())

    # -- events -----------------------------------------------------------------------------

    async def put(self, events: Iterable[Mapping[str, Any]]) -> TakenOut:
        """Take events in, each id once.

        Args:
            events: in our form, or in the shop's own where the server's `[events]` reads it;
                together no more than `serve.max_body_bytes`.
        """
        return await self._send(calls.put_events(events))

    async def feed(
        self,
        cursor: int | str = 0,
        *,
        kinds: Sequence[str] = (),
        tasks: Sequence[str] = (),
        follow: bool = False,
        poll_s: float = 1.0,
        limit: int = 100,
    ) -> AsyncIterator[FeedOut]:
        """Iterate over what was announced after a cursor, a page of events at a time.

        Keep each page's `cursor` in one transaction with what was done about its events: going on
        from there nothing is missed, and nothing is done twice.

        Args:
            cursor: of the last page that was handled; 0 for the beginning, "end" for only what is
                still to come.
            kinds: only these.
            tasks: only what answers one of these.
            follow: wait for what is still to come, without end.
            poll_s: seconds between two looks for it.
            limit: events a page.
        """
        while True:
            page = await self._send(calls.feed(cursor, limit, kinds, tasks))
            cursor = page.cursor
            if page.events:
                yield page
            elif not (follow or page.more):
                return
            elif not page.more:
                await asyncio.sleep(poll_s)

    async def ledger(self) -> LedgerOut:
        """Count every event that ever came in by where it stands."""
        return await self._send(calls.ledger())

    # -- watching ---------------------------------------------------------------------------

    async def budget(self, *, ahead: bool = False) -> BudgetOut:
        """Return what each source used today and this month, against its caps.

        Args:
            ahead: say too which sources' waiting photos run into a cap.
        """
        return await self._send(calls.budget(ahead))

    async def drift(
        self, tasks: Sequence[str] = (), *, source: str | None = None, days: int | None = None
    ) -> DriftOut:
        """Return whether what comes in is still what the live models were trained on.

        Args:
            tasks: only these.
            source: only this one.
            days: the last so many together; by default the newest, until there are enough photos.
        """
        return await self._send(calls.drift(tasks, source, days))

    # -- listings ---------------------------------------------------------------------------

    async def listing(self, listing_id: str, *, top: int | None = None) -> ListingOut:
        """Return a listing with its photos and their answers."""
        return await self._send(calls.listing(listing_id, top))

    async def put_listing(
        self,
        listing_id: str,
        photos: Iterable[Mapping[str, Any]] = (),
        *,
        complete: bool = False,
        **said: Any,
    ) -> ToldOut:
        """Tell of a listing with its photos, which are then fetched and answered.

        Args:
            listing_id: external id.
            photos: each with `id`, `url` (or `path`) and `position`.
            complete: there are no others: those that are known and not named go.
            said: seller_id, attributes, at, source, priority.
        """
        body = {"photos": [dict(one) for one in photos], "complete": complete, **said}
        return await self._send(calls.put_listing(listing_id, body))

    async def search(
        self, tag: str | None = None, *, words: str | None = None, limit: int = 20
    ) -> list[HitOut]:
        """Find photos by a tag, or by the words that are written on them."""
        return (await self._send(calls.search(tag, words, limit))).hits

    # -- dead letters -----------------------------------------------------------------------

    async def dead(self, *, reason: str | None = None) -> AsyncIterator[LetterOut]:
        """Iterate over the dead letters, the oldest first."""
        after: int | None = 0
        while after is not None:
            page = await self._send(calls.dead(reason, after, 100))
            for one in page.dead:
                yield one
            after = page.next

    async def event(self, event_id: str) -> LetterOut:
        """Return one event with all that is known of it."""
        return await self._send(calls.event(event_id))

    async def replay_dead(
        self, ids: Sequence[str] | None = None, *, reason: str | None = None, every: bool = False
    ) -> DeadReplayOut:
        """Let dead letters wait again: some ids, all with a reason, or every one."""
        return await self._send(calls.replay_dead(ids, reason, every))

    # -- webhooks ---------------------------------------------------------------------------

    async def webhooks(self) -> list[WebhookOut]:
        """Return the endpoints."""
        return (await self._send(calls.webhooks())).webhooks

    async def add_webhook(self, url: str, **said: Any) -> WebhookSecretOut:
        """Add an endpoint: name, kinds, tasks, from_start. Its secret is shown this once."""
        return await self._send(calls.add_webhook(url, said))

    async def remove_webhook(self, webhook_id: int) -> WebhookOut:
        """Remove an endpoint; return what it was."""
        return await self._send(calls.remove_webhook(webhook_id))

    async def rotate_webhook(self, webhook_id: int, keep_hours: float = 24.0) -> WebhookSecretOut:
        """Give an endpoint a new secret; the old one signs too for a while."""
        return await self._send(calls.rotate_webhook(webhook_id, keep_hours))

    async def enable_webhook(self, webhook_id: int) -> WebhookEnabledOut:
        """Tell a disabled endpoint again, from where it stopped; an active one stays as it is."""
        return await self._send(calls.enable_webhook(webhook_id))

    async def test_webhook(self, webhook_id: int) -> TestOut:
        """Send an endpoint a test event; return what it answered."""
        return await self._send(calls.test_webhook(webhook_id))

    async def replay_webhook(self, webhook_id: int, after: int | None = None) -> ReplayOut:
        """Deliver again what failed for good, or everything after a position."""
        return await self._send(calls.replay_webhook(webhook_id, after))

    async def deliveries(self, webhook_id: int) -> list[DeliveryOut]:
        """Return what was delivered to an endpoint, the newest first."""
        return (await self._send(calls.deliveries(webhook_id))).deliveries

    # -- jobs -------------------------------------------------------------------------------

    async def start_job(self, kind: str, task: str | None = None, **asked: Any) -> JobWholeOut:
        """Ask for long work, which the server does apart; the same twice is one job.

        Args:
            kind: train, diff, tag or promote.
            task: that it is about.
            asked: further members, as `/openapi.json` names them, such as version or budget_s.
        """
        return await self._send(calls.start_job(kind, task, asked))

    async def jobs(
        self, *, state: str | None = None, kind: str | None = None, task: str | None = None
    ) -> AsyncIterator[JobOut]:
        """Iterate over jobs, the newest first."""
        before: int | None = None
        while True:
            page = await self._send(calls.jobs(state, kind, task, before, 100))
            for one in page.jobs:
                yield one
            before = page.next
            if before is None:
                return

    async def job(self, job_id: int) -> JobWholeOut:
        """Return a job with its progress, log, and result or problem."""
        return await self._send(calls.job(job_id))

    async def cancel_job(self, job_id: int) -> JobWholeOut:
        """End a job: at once where it waits, and within seconds where it runs."""
        return await self._send(calls.cancel_job(job_id))

    async def wait_job(self, job_id: int, *, poll_s: float = 1.0) -> JobWholeOut:
        """Wait until a job has ended, however it does; return it."""
        while not calls.ended(found := await self.job(job_id)):
            await asyncio.sleep(poll_s)
        return found
