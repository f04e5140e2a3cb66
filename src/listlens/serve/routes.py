"""The API's addresses, with what the OpenAPI document says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio import to_thread
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer

from listlens.serve.documents import ANYWHERE, BEARER, inlined, problems
from listlens.serve.event_routes import add_events
from listlens.serve.job_routes import add_jobs
from listlens.serve.listing_routes import add_listings
from listlens.serve.registry_routes import add_registry
from listlens.serve.shapes import HealthOut, ModelsOut, PredictRequest, PredictResponse
from listlens.serve.watch_routes import add_watching
from listlens.serve.webhook_routes import add_webhooks

if TYPE_CHECKING:
    from listlens.serve.app import Serving

FORM = {
    "type": "object",
    "required": ["photo"],
    "properties": {
        "photo": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "A file each; its name becomes the record's id.",
        },
        "tasks": {"type": "string", "description": "Comma-separated, or repeated."},
        "top": {"type": "integer", "minimum": 0, "maximum": 100_000},
    },
}


def add_routes(app: FastAPI, serving: Serving) -> None:
    """Add the API to the application."""
    router = APIRouter()
    _add_predict(router, serving)
    _add_looking(router, serving)
    add_events(router, serving)
    add_listings(router, serving)
    add_webhooks(router, serving)
    add_registry(router, serving)
    add_jobs(router, serving)
    add_watching(router, serving)
    app.include_router(router)
    app.state.api = router
    original = app.openapi

    def with_tokens() -> dict[str, Any]:
        document = original()
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        bearer = HTTPBearer(description="`listlens token create` makes one.").model
        schemes["token"] = bearer.model_dump(by_alias=True, exclude_none=True, mode="json")
        return document

    app.openapi = with_tokens  # type: ignore[method-assign]


def _add_predict(router: APIRouter, serving: Serving) -> None:
    body = {
        "required": True,
        "content": {
            "application/json": {
                "schema": inlined(PredictRequest.model_json_schema()),
            },
            "multipart/form-data": {"schema": FORM},
        },
    }

    @router.post(
        "/v1/predict",
        summary="Answer tasks for photos",
        tags=["predict"],
        response_model=None,
        responses={
            200: {"model": PredictResponse, "description": "One record for each that came."},
            **problems(
                *ANYWHERE, "unknown-task", "too-slow", "too-large", "unsupported-media-type",
                "invalid", "busy",
            ),
        },
        openapi_extra={"requestBody": body, **BEARER},
    )  # fmt: skip
    async def predict(request: Request) -> Response:
        """Answer one or more tasks for one or many photos; nothing is stored.

        A photo that cannot be used has `status` failed and a `reason`; the others are answered.
        Needs scope `predict`.
        """
        return await serving.predicting(request)


def _add_looking(router: APIRouter, serving: Serving) -> None:
    @router.get(
        "/v1/models",
        summary="The models in force",
        tags=["predict"],
        response_model=ModelsOut,
        responses=problems(*ANYWHERE),
        openapi_extra=BEARER,
    )
    async def models() -> Response:
        """Return each task's live model with its classes. Needs scope `predict`."""
        found = [one.as_dict() for _, one in sorted(serving.models.current.items())]
        return JSONResponse({"models": found})

    @router.get("/health", summary="Whether the server answers", tags=["operate"],
                response_model=HealthOut, responses=problems("internal"))  # fmt: skip
    async def health() -> Response:
        """Return 200 as soon as calls are answered, with no model yet too. Needs no token."""
        troubles = (serving.models.trouble, serving.topics.trouble, serving.worker())
        trouble = serving.places.hidden(" ".join(filter(None, troubles)))
        names = sorted(one.name for one in serving.models.current.values())
        status = "degraded" if trouble else "ready"
        return JSONResponse({"status": status, "detail": trouble, "models": names})

    @router.get("/v1/status", summary="What the server does", tags=["operate"],
                response_model=None, responses=problems(*ANYWHERE),
                openapi_extra=BEARER)  # fmt: skip
    async def status() -> Response:
        """Return throughput, queue, failures, cache hits, and how the stream stands.

        Needs scope `read`.
        """
        return JSONResponse(await to_thread.run_sync(serving.status))

    @router.get("/metrics", summary="Metrics for Prometheus", tags=["operate"],
                response_model=None, responses=problems(*ANYWHERE),
                openapi_extra=BEARER)  # fmt: skip
    async def metrics() -> Response:
        """Return all counters in Prometheus' text format. Needs scope `read`."""
        text = await to_thread.run_sync(serving.counting.text)
        return Response(text, media_type="text/plain; version=0.0.4")
