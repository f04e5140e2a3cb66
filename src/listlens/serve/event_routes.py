"""The API's addresses for events: in, out by cursor, the ledger, and the dead letters."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from listlens.pipeline.dead_letters import as_dict, check_reason, chosen, replay
from listlens.pipeline.event_door import let_in, read_lines, understood
from listlens.pipeline.events import Came, Wrong
from listlens.serve.bodies import read_body, read_query, read_shape
from listlens.serve.documents import BEARER, WITH_BODY
from listlens.serve.documents import said as documented
from listlens.serve.event_shapes import (
    DeadOut,
    DeadQuery,
    DeadReplayIn,
    DeadReplayOut,
    FeedOut,
    FeedQuery,
    LedgerOut,
    LetterOut,
    TakenOut,
)
from listlens.serve.problems import Problem

if TYPE_CHECKING:
    from listlens.serve.app import Serving
    from listlens.store.event_rows import EventView
    from listlens.store.open import Store

NDJSON = ("application/x-ndjson", "application/jsonl", "application/json-lines")
TAG = "events"
MAX_REPLAY_BYTES = 2**20

BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "description": "An event, or a list of them: in our form (docs/stream.md), or as "
                "[events] of the settings says that a shop's look.",
                "anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}],
            },
            "example": {
                "id": "e-1",
                "kind": "photo.added",
                "listing_id": "4711",
                "photo_id": "front",
                "url": "https://shop.example/photos/front.jpg",
            },
        },
        NDJSON[0]: {"schema": {"type": "string", "description": "A JSON object a line."}},
    },
}


def add_events(router: APIRouter, serving: Serving) -> None:
    """Add the addresses for events."""
    _add_in(router, serving)
    _add_out(router, serving)
    _add_dead(router, serving)


def _add_in(router: APIRouter, serving: Serving) -> None:
    described = documented("Take events in", TAG, TakenOut, status=202, wrong=WITH_BODY)
    described["openapi_extra"] = {**BEARER, "requestBody": BODY}

    @router.post("/v1/events", **described)
    async def put(request: Request) -> Response:
        """Take events in, each id once, and answer once they are stored; the worker does the rest.

        Wrong ones go to the dead letters and do not stop the others. Needs scope `write`.
        """
        limit = serving.project.config.serve.max_body_bytes
        with serving.predicting.budget.share() as share:
            body = await read_body(request, limit, share)
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            taken = await to_thread.run_sync(_take, serving, body, kind in NDJSON)
        return JSONResponse(taken, 202)


def _take(serving: Serving, body: bytes, lines: bool) -> dict[str, Any]:
    store, config = serving.project.store, serving.project.config.events
    now = store.clock()
    if lines:
        found: Iterable[Came] = read_lines(io.BytesIO(body), config, now)
    else:
        said = _json(body)
        each = said if isinstance(said, list) else [said]
        found = chain.from_iterable(understood(one, config, now) for one in each)
    wrong: list[str] = []

    def noted() -> Iterator[Came]:
        for one in found:
            if isinstance(one, Wrong) and len(wrong) < 20:
                wrong.append(one.detail)
            yield one

    let = let_in(store, noted())
    counts = {"new": let.new, "duplicates": let.duplicates, "dead": let.dead, "empty": let.empty}
    return {**counts, "wrong": wrong}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem("bad-request", f"The body is no JSON in UTF-8: {error}.") from None


def _add_out(router: APIRouter, serving: Serving) -> None:
    store = serving.project.store

    described = documented(
        "What was announced", TAG, FeedOut, query=FeedQuery, wrong=("beyond-end", "not-found")
    )

    @router.get("/v1/feed", **described)
    async def feed(request: Request) -> Response:
        """Return announcements after a cursor, for those who can neither listen nor subscribe.

        Keep the cursor of the answer, and ask again with it: nothing is left out and nothing comes
        twice. A kind or task that there is not is refused, and a cursor beyond the end (410: the
        project was restored from a backup; `end` of the answer is where to go on). Needs scope
        `read`.
        """
        asked = read_query(request, FeedQuery)

        def read() -> dict[str, Any]:
            from listlens.stream.webhooks import check_kinds, check_tasks

            check_kinds(asked.kind)
            check_tasks(store, asked.task)
            if asked.cursor == "end":
                return {"events": [], "cursor": str(store.outbox.last()), "more": False}
            _require_given(store, asked.cursor)
            found, at = store.outbox.read(
                asked.cursor, limit=asked.limit, kinds=set(asked.kind), tasks=set(asked.task)
            )
            more = len(found) == asked.limit or at < store.outbox.last()
            return {"events": [dict(one.body) for one in found], "cursor": str(at), "more": more}

        return JSONResponse(await to_thread.run_sync(read))

    @router.get("/v1/ledger", **documented("The ledger of events", TAG, LedgerOut))
    async def ledger() -> Response:
        """Count every event that ever came in by where it stands. Needs scope `read`."""

        return JSONResponse(await to_thread.run_sync(serving.project.ledger))


def _require_given(store: Store, cursor: int) -> None:
    """Refuse a cursor that the feed never gave: what comes up to it would never be told."""
    end = store.outbox.last()
    if cursor > end and cursor > store.outbox.given():
        raise Problem(
            "beyond-end",
            f"The feed ends at {end}, so cursor {cursor} is of a time that this project does not "
            "know: it was restored from a backup, or is another one. Ask again with "
            f"cursor={end}, and expect events that came before under other numbers.",
            end=str(end),
        )


def _add_dead(router: APIRouter, serving: Serving) -> None:
    store, config = serving.project.store, serving.project.config.events

    @router.get("/v1/dead", **documented("Dead letters", TAG, DeadOut, query=DeadQuery))
    async def dead(request: Request) -> Response:
        """Return dead letters, the oldest first, with their reasons. Needs scope `admin`."""
        asked = read_query(request, DeadQuery)

        def read() -> list[EventView]:
            if asked.reason is not None:
                check_reason(store, asked.reason)
            return list(store.dead.list(reason=asked.reason, after=asked.after, limit=asked.limit))

        found = await to_thread.run_sync(read)
        after = found[-1].event_id if len(found) == asked.limit else None
        return JSONResponse({"dead": [as_dict(one, config) for one in found], "next": after})

    @router.post(
        "/v1/dead/replay",
        **documented(
            "Replay dead letters", TAG, DeadReplayOut, body=DeadReplayIn, wrong=("not-found",)
        ),
    )
    async def replay_dead(request: Request) -> Response:
        """Let dead letters wait again, as if they had just come in. Needs scope `admin`."""
        budget = serving.predicting.budget
        asked = await read_shape(request, budget, DeadReplayIn, MAX_REPLAY_BYTES)
        done = await to_thread.run_sync(_replay, serving, asked)
        return JSONResponse({"again": done.again, "left": done.left})

    @router.get(
        "/v1/dead/{event_id:path}",
        **documented("One event", TAG, LetterOut, wrong=("not-found",)),
    )
    async def one(event_id: str) -> Response:
        """Return one event with all that is known of it. Needs scope `admin`."""
        return JSONResponse(as_dict(await to_thread.run_sync(store.events.get, event_id), config))


def _replay(serving: Serving, asked: DeadReplayIn) -> Any:
    if sum((asked.ids is not None, asked.reason is not None, asked.all)) != 1:
        raise Problem("invalid", "Say which: ids, reason, or all; exactly one of them.")
    store = serving.project.store
    letters = chosen(store, asked.ids, asked.reason)
    return replay(store, serving.project.config.events, letters)
