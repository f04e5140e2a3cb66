"""The API's addresses for webhooks; all need scope `admin`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from listlens.core.errors import NotFoundError
from listlens.serve.bodies import read_shape
from listlens.serve.documents import said
from listlens.serve.problems import Problem
from listlens.serve.shapes import (
    DeliveriesOut,
    ReplayIn,
    ReplayOut,
    RotateIn,
    TestOut,
    WebhookEnabledOut,
    WebhookIn,
    WebhookOut,
    WebhookSecretOut,
    WebhooksOut,
)

if TYPE_CHECKING:
    from listlens.serve.app import Serving
    from listlens.store.webhook_rows import Webhook


def add_webhooks(router: APIRouter, serving: Serving) -> None:
    """Add the addresses for webhooks."""
    _add_endpoints(router, serving)
    _add_one(router, serving)
    _add_delivering(router, serving)


def _add_endpoints(router: APIRouter, serving: Serving) -> None:
    hooks = serving.project.store.webhooks

    @router.get("/v1/webhooks", **_said("The webhooks", WebhooksOut))
    async def list_webhooks() -> Response:
        """Return every endpoint, what waits for it, and why one is disabled."""
        found = await to_thread.run_sync(hooks.list)
        return JSONResponse({"webhooks": [hook.as_dict() for hook in found]})

    @router.post("/v1/webhooks", **_said("Add a webhook", WebhookSecretOut, WebhookIn, status=201))
    async def add(request: Request) -> Response:
        """Add an endpoint; its secret is in the answer. Private addresses are refused."""
        asked = await read_shape(request, serving.predicting.budget, WebhookIn)

        def make() -> Webhook:
            from listlens.stream.webhooks import (
                check_endpoint,
                check_kinds,
                check_tasks,
                webhook_rules,
            )

            url = check_endpoint(asked.url, webhook_rules(serving.project.config.fetch))
            after = 0 if asked.from_start else None
            return hooks.add(
                url,
                name=asked.name,
                kinds=check_kinds(asked.kinds),
                tasks=check_tasks(serving.project.store, asked.tasks),
                after=after,
            )

        return _with_secret(await to_thread.run_sync(make), 201)


def _add_one(router: APIRouter, serving: Serving) -> None:
    hooks = serving.project.store.webhooks

    @router.get("/v1/webhooks/{webhook_id}", **_said("One webhook", WebhookOut))
    async def get(webhook_id: str) -> Response:
        """Return one endpoint."""
        return await _answer(hooks.get, webhook_id)

    @router.delete("/v1/webhooks/{webhook_id}", **_said("Remove a webhook", WebhookOut))
    async def remove(webhook_id: str) -> Response:
        """Remove an endpoint with its log and what waits for it; returns what it was."""
        return await _answer(hooks.remove, webhook_id)

    @router.post("/v1/webhooks/{webhook_id}/enable", **_said("Enable a webhook", WebhookEnabledOut))
    async def enable(webhook_id: str) -> Response:
        """Tell a disabled endpoint again, from where it stopped; an active one stays as it is."""
        hook, changed = await to_thread.run_sync(hooks.enable, _id(webhook_id))
        return JSONResponse({**hook.as_dict(), "changed": changed})

    @router.post(
        "/v1/webhooks/{webhook_id}/rotate",
        **_said("Give a webhook a new secret", WebhookSecretOut, RotateIn),
    )
    async def rotate(webhook_id: str, request: Request) -> Response:
        """Make a new secret, which is in the answer; the old one signs too for a while."""
        asked = await read_shape(request, serving.predicting.budget, RotateIn)
        keep = timedelta(hours=asked.keep_hours)
        return _with_secret(await to_thread.run_sync(hooks.rotate, _id(webhook_id), keep))

    @router.get(
        "/v1/webhooks/{webhook_id}/log",
        **_said("What was delivered", DeliveriesOut),
    )
    async def log(webhook_id: str) -> Response:
        """Return the newest 200 deliveries that were tried, and what was answered."""
        number = _id(webhook_id)

        def read() -> list[dict[str, Any]]:
            hooks.get(number)
            return [one.as_dict() for one in hooks.log(number, limit=200)]

        return JSONResponse({"deliveries": await to_thread.run_sync(read)})


def _add_delivering(router: APIRouter, serving: Serving) -> None:
    store = serving.project.store

    @router.post("/v1/webhooks/{webhook_id}/test", **_said("Test a webhook", TestOut))
    async def test(webhook_id: str) -> Response:
        """Send an event of kind `listlens.test`, and return what the endpoint answered."""
        number = _id(webhook_id)

        def send() -> dict[str, Any]:
            from listlens.stream.webhooks import Delivery, Poster, webhook_rules

            poster = Poster(webhook_rules(serving.project.config.fetch))
            try:
                sent, _ = Delivery(store, poster).test(store.webhooks.get(number))
            finally:
                poster.close()
            return {"webhook": number, "delivered": sent.taken, "status": sent.status,
                    "took_ms": sent.took_ms, "detail": sent.detail}  # fmt: skip

        return JSONResponse(await to_thread.run_sync(send))

    @router.post("/v1/webhooks/{webhook_id}/replay", **_said("Deliver again", ReplayOut, ReplayIn))
    async def replay(webhook_id: str, request: Request) -> Response:
        """Deliver again what failed for good, or everything after a position."""
        asked, number = (
            await read_shape(request, serving.predicting.budget, ReplayIn),
            _id(webhook_id),
        )

        def again() -> int:
            return store.webhooks.replay(number, after=asked.after)

        n = await to_thread.run_sync(again)
        return JSONResponse({"webhook": number, "again": n})


def _said(
    summary: str, answer: type[BaseModel], body: type[BaseModel] | None = None, status: int = 200
) -> dict[str, Any]:
    """What the OpenAPI document says of a route."""
    wrong = ("not-found", "invalid")
    return said(summary, "webhooks", answer, body=body, status=status, wrong=wrong)


async def _answer(ask: Callable[[int], Webhook], webhook_id: str) -> Response:
    return JSONResponse((await to_thread.run_sync(ask, _id(webhook_id))).as_dict())


def _with_secret(hook: Webhook, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store"}
    return JSONResponse({**hook.as_dict(), "secret": hook.secret}, status, headers)


def _id(text: str) -> int:
    """The number in an address; raises Problem: 404 where it is none."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Problem("not-found", str(NotFoundError(f"no webhook {text[:50]!r}")))
    return int(text)
