"""The API's addresses for events: in, out by cursor, the ledger, and the dead letters."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ValidationError

from listlens.pipeline.dead_letters import as_dict, chosen, replay
from listlens.pipeline.event_door import let_in, read_lines, understood
from listlens.pipeline.events import Wrong
from listlens.serve.bodies import invalid, read_body
from listlens.serve.documents import ANYWHERE, BEARER, inlined, problems
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
    from listlens.store.event_rows import EventRecord, EventView

Shape = TypeVar("Shape", bound=BaseModel)

NDJSON = ("application/x-ndjson", "application/jsonl", "application/json-lines")
WITH_BODY = ("too-slow", "too-large", "invalid", "busy")
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
    said = _said("Take events in", TakenOut, status=202, also=WITH_BODY)
    said["openapi_extra"] = {**BEARER, "requestBody": BODY}

    @router.post("/v1/events", **said)
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
        found: Iterable[EventRecord | Wrong] = read_lines(io.BytesIO(body), config, now)
    else:
        said = _json(body)
        each = said if isinstance(said, list) else [said]
        found = chain.from_iterable(understood(one, config, now) for one in each)
    wrong: list[str] = []

    def noted() -> Iterator[EventRecord | Wrong]:
        for one in found:
            if isinstance(one, Wrong) and len(wrong) < 20:
                wrong.append(one.detail)
            yield one

    let = let_in(store, noted())
    return {"new": let.new, "duplicates": let.duplicates, "dead": let.dead, "wrong": wrong}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem("bad-request", f"The body is no JSON in UTF-8: {error}.") from None


def _add_out(router: APIRouter, serving: Serving) -> None:
    store = serving.project.store
    feed_said = _said("What was announced", FeedOut, query=FeedQuery, also=("invalid",))

    @router.get("/v1/feed", **feed_said)
    async def feed(request: Request) -> Response:
        """Return announcements after a cursor, for those who can neither listen nor subscribe.

        Keep the cursor of the answer, and ask again with it: nothing is left out and nothing comes
        twice. Needs scope `read`.
        """
        asked = _asked(request, FeedQuery)

        def read() -> dict[str, Any]:
            found, at = store.outbox.read(
                asked.cursor, limit=asked.limit, kinds=set(asked.kind), tasks=set(asked.task)
            )
            more = len(found) == asked.limit
            return {"events": [dict(one.body) for one in found], "cursor": str(at), "more": more}

        return JSONResponse(await to_thread.run_sync(read))

    @router.get("/v1/ledger", **_said("The ledger of events", LedgerOut))
    async def ledger() -> Response:
        """Count every event that ever came in by where it stands. Needs scope `read`."""

        return JSONResponse(await to_thread.run_sync(serving.project.ledger))


def _add_dead(router: APIRouter, serving: Serving) -> None:
    events = serving.project.store.events
    dead_said = _said("Dead letters", DeadOut, query=DeadQuery, also=("invalid",))

    @router.get("/v1/dead", **dead_said)
    async def dead(request: Request) -> Response:
        """Return dead letters, the oldest first, with their reasons. Needs scope `admin`."""
        asked = _asked(request, DeadQuery)

        def read() -> list[EventView]:
            return list(events.dead(reason=asked.reason, after=asked.after, limit=asked.limit))

        found = await to_thread.run_sync(read)
        after = found[-1].event_id if len(found) == asked.limit else None
        return JSONResponse({"dead": [as_dict(one) for one in found], "next": after})

    replay_said = _said("Replay dead letters", DeadReplayOut, also=(*WITH_BODY, "not-found"))
    schema = {"schema": inlined(DeadReplayIn.model_json_schema())}
    body = {"required": True, "content": {"application/json": schema}}
    replay_said["openapi_extra"] = {**BEARER, "requestBody": body}

    @router.post("/v1/dead/replay", **replay_said)
    async def replay_dead(request: Request) -> Response:
        """Let dead letters wait again, as if they had just come in. Needs scope `admin`."""
        with serving.predicting.budget.share() as share:
            data = await read_body(request, MAX_REPLAY_BYTES, share)
        try:
            asked = DeadReplayIn.model_validate_json(data)
        except ValidationError as error:
            raise invalid(error) from None
        done = await to_thread.run_sync(_replay, serving, asked)
        return JSONResponse({"again": done.again, "left": done.left})

    @router.get("/v1/dead/{event_id:path}", **_said("One event", LetterOut, also=("not-found",)))
    async def one(event_id: str) -> Response:
        """Return one event with all that is known of it. Needs scope `admin`."""
        return JSONResponse(as_dict(await to_thread.run_sync(events.get, event_id)))


def _replay(serving: Serving, asked: DeadReplayIn) -> Any:
    if sum((asked.ids is not None, asked.reason is not None, asked.all)) != 1:
        raise Problem("invalid", "Say which: ids, reason, or all; exactly one of them.")
    store = serving.project.store
    letters = chosen(store, asked.ids, asked.reason)
    return replay(store, serving.project.config.events, letters)


def _asked(request: Request, shape: type[Shape]) -> Shape:
    """Read the query of an address; raises Problem."""
    lists = {n for n, f in shape.model_fields.items() if f.default_factory is list}
    query = request.query_params
    values = {name: query.getlist(name) if name in lists else query[name] for name in query}
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        raise invalid(error) from None


def _said(
    summary: str,
    answer: type[BaseModel],
    *,
    query: type[BaseModel] | None = None,
    status: int = 200,
    also: Sequence[str] = (),
) -> dict[str, Any]:
    """What the OpenAPI document says of a route."""
    extra: dict[str, Any] = dict(BEARER)
    if query is not None:
        schema = inlined(query.model_json_schema())
        extra["parameters"] = [
            {"name": name, "in": "query", "required": False, "schema": about}
            for name, about in schema["properties"].items()
        ]
    return {
        "summary": summary,
        "tags": ["events"],
        "status_code": status,
        "response_model": None,
        "responses": {
            status: {"model": answer, "description": answer.__doc__ or ""},
            **problems(*ANYWHERE, *also),
        },
        "openapi_extra": extra,
    }
