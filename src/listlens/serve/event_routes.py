"""The API's addresses for events: in, out again as a feed, counted, and the dead ones."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from listlens.core.errors import NotFoundError
from listlens.pipeline.dead_letters import as_dict, replay
from listlens.pipeline.event_door import as_said, let_in, read_lines, understood
from listlens.pipeline.events import Wrong
from listlens.serve.bodies import read_body, read_query, read_shape
from listlens.serve.documents import WITH_BODY, said
from listlens.serve.problems import Problem
from listlens.serve.stream_shapes import (
    DeadOut,
    DeadQuery,
    EventsIn,
    EventsOut,
    EventsQuery,
    FeedOut,
    FeedQuery,
    LedgerOut,
    LetterOut,
    ReplayDeadIn,
    ReplayDeadOut,
)

if TYPE_CHECKING:
    from listlens.serve.app import Serving
    from listlens.store.event_rows import Announcement, EventRecord, EventView

EVENTS_BYTES = 8 * 2**20
"""Of the events of one call."""

LINES = {"application/x-ndjson", "application/jsonl", "application/json-lines"}

LOOK_S = 0.25
"""How often a call that waits for something new looks at the outbox."""

SHOWN = 100
"""Events that a dry run shows."""


def add_events(router: APIRouter, serving: Serving) -> None:
    """Add the addresses for events."""
    _add_in(router, serving)
    _add_out(router, serving)
    _add_dead(router, serving)


def _add_in(router: APIRouter, serving: Serving) -> None:
    @router.post(
        "/v1/events",
        **said(
            "Take events in", "events", EventsOut, body=EventsIn, query=EventsQuery, status=202,
            wrong=WITH_BODY,
        ),
    )  # fmt: skip
    async def put(request: Request) -> Response:
        """Take events in, each id once: a JSON object, a list of them, or JSON lines.

        They are in the shop's own form where `[events]` says how to read it. Those that cannot be
        used go to the dead letters, with the reason. Needs scope `write`.
        """
        asked = read_query(request, EventsQuery)
        with serving.predicting.budget.share() as share:
            body = await read_body(request, EVENTS_BYTES, share)
            media = request.headers.get("content-type", "").partition(";")[0].strip().lower()

            def take() -> dict[str, Any]:
                found = _events(serving, body, media, "backfill" if asked.backfill else None)
                if asked.dry_run:
                    return _shown(found)
                let = let_in(serving.project.store, found)
                return {"new": let.new, "duplicates": let.duplicates, "dead": let.dead}

            taken = await to_thread.run_sync(take)
        serving.wake()
        return JSONResponse(taken, 202)


def _events(
    serving: Serving, body: bytes, media: str, priority: str | None
) -> Iterator[EventRecord | Wrong]:
    config, now = serving.project.config.events, serving.project.store.clock()
    if media in LINES:
        yield from read_lines(io.BytesIO(body), config, now, priority=priority)
        return
    try:
        came = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem("bad-request", f"The body is no JSON in UTF-8: {error}.") from None
    for one in came if isinstance(came, list) else [came]:
        yield from understood(one, config, now, priority=priority)


def _shown(found: Iterator[EventRecord | Wrong]) -> dict[str, Any]:
    """What a dry run says, of the first events only."""
    good: list[dict[str, Any]] = []
    wrong: list[dict[str, Any]] = []
    for one in islice(found, SHOWN):
        if isinstance(one, Wrong):
            wrong.append({"detail": one.detail, "came": one.record.body.get("raw")})
        else:
            good.append(as_said(one))
    return {"new": 0, "duplicates": 0, "dead": 0, "understood": good, "wrong": wrong}


def _add_out(router: APIRouter, serving: Serving) -> None:
    store = serving.project.store

    @router.get("/v1/feed", **said("What happened", "events", FeedOut, query=FeedQuery))
    async def feed(request: Request) -> Response:
        """Return what was announced after a cursor, as webhooks are told it. Needs scope `read`.

        Keep the cursor with what you did about the events, in one transaction: nothing is missed
        and nothing is done twice. Events are kept for `worker.keep_days`.
        """
        asked = read_query(request, FeedQuery)
        until = time.monotonic() + asked.wait_s

        def read() -> tuple[list[Announcement], int]:
            return store.outbox.read(
                asked.after, limit=asked.limit, kinds=asked.kind, tasks=asked.task
            )

        found, cursor = await to_thread.run_sync(read)
        while not found and time.monotonic() < until:
            await anyio.sleep(LOOK_S)
            found, cursor = await to_thread.run_sync(read)
        return JSONResponse({"events": [_fed(one) for one in found], "cursor": cursor})

    @router.get("/v1/ledger", **said("Where events stand", "events", LedgerOut))
    async def ledger() -> Response:
        """Count every event that ever came in by its state. Needs scope `read`."""

        def count() -> dict[str, Any]:
            n_announced, (_, oldest) = store.outbox.count(), store.events.waiting()
            age = None if oldest is None else (store.clock() - oldest).total_seconds()
            counts = store.events.ledger().as_dict()
            return {**counts, "announced": n_announced, "oldest_waiting_s": age}

        return JSONResponse(await to_thread.run_sync(count))


def _fed(one: Announcement) -> dict[str, Any]:
    at = one.created_at.isoformat() if one.created_at is not None else ""
    return {"cursor": one.position, "type": one.kind, "timestamp": at, "data": dict(one.body)}


def _add_dead(router: APIRouter, serving: Serving) -> None:
    store = serving.project.store

    @router.get("/v1/dead", **said("Dead letters", "events", DeadOut, query=DeadQuery))
    async def list_dead(request: Request) -> Response:
        """List events that will never succeed, or were tried too often. Needs scope `admin`."""
        asked = read_query(request, DeadQuery)

        def read() -> dict[str, Any]:
            found = list(
                store.events.dead(reason=asked.reason, after=asked.after, limit=asked.limit)
            )
            return {
                "dead": [as_dict(one) for one in found],
                "reasons": dict(store.events.ledger().reasons),
                "cursor": found[-1].event_id if found else asked.after,
            }

        return JSONResponse(await to_thread.run_sync(read))

    @router.get(
        "/v1/dead/{event_id:path}",
        **said("One event", "events", LetterOut, wrong=("not-found",)),
    )
    async def show(event_id: str) -> Response:
        """Return one event with all that is known of it, whatever its state."""
        letter = await to_thread.run_sync(store.events.get, event_id)
        return JSONResponse(as_dict(letter))

    @router.post(
        "/v1/dead/replay",
        **said("Replay", "events", ReplayDeadOut, body=ReplayDeadIn, wrong=("not-found",)),
    )
    async def again(request: Request) -> Response:
        """Let dead letters wait again; those that were not understood are read again first."""
        asked = await read_shape(request, serving.predicting.budget, ReplayDeadIn, 2**20)
        if sum((asked.ids is not None, asked.reason is not None, asked.all)) != 1:
            raise Problem("invalid", "Say which: ids, reason, or all; and only one of them.")

        def put_back() -> dict[str, int]:
            done = replay(store, serving.project.config.events, _chosen(serving, asked))
            return {"again": done.again, "left": done.left}

        done = await to_thread.run_sync(put_back)
        serving.wake()
        return JSONResponse(done)


def _chosen(serving: Serving, asked: ReplayDeadIn) -> list[EventView]:
    """The letters that were named; taken out of the list before any is changed."""
    events = serving.project.store.events
    if asked.ids is None:
        return list(events.dead(reason=asked.reason))
    found = [events.get(one) for one in asked.ids]
    living = [one.event_key for one in found if one.state.value != "dead"]
    if living:
        raise NotFoundError(f"{living[0]!r} is not among the dead letters.")
    return found
