"""The application: what the server is made of, and which address leads where."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from listlens._version import __version__
from listlens.core.errors import ListlensError, Retryable
from listlens.serve.access import Access
from listlens.serve.answering import Answering
from listlens.serve.bodies import Budget
from listlens.serve.counting import Counting
from listlens.serve.gate import Gate
from listlens.serve.job_pages import JobPages
from listlens.serve.live import LiveModels
from listlens.serve.log import make_log
from listlens.serve.model_pages import ModelPages
from listlens.serve.pages import Pages, problem_page, wants_page
from listlens.serve.places import Places
from listlens.serve.policy_pages import PolicyPages
from listlens.serve.predicting import MOST_FETCHES, Predicting
from listlens.serve.problems import Problem
from listlens.serve.protocols import Protocols
from listlens.serve.routes import add_routes
from listlens.serve.standing import Standing
from listlens.serve.topics import TopicWatch
from listlens.serve.watching import WatchCollector

if TYPE_CHECKING:
    from listlens.pipeline.inference import Inference
    from listlens.project import Project

REFRESH_S = 1.0
"""How often the store is asked whether other models are in force."""

START_TRIES = 30
"""Looks at the store, one a second, before a server gives up that starts beside its database."""

ABOUT = """Tags and scores the photos of a marketplace's listings.

Send `Authorization: Bearer TOKEN` with every call but `/health`. Errors are
`application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`, `request_id`.
Status 429 says in `Retry-After` when to come again."""


@dataclass(frozen=True)
class Serving:
    """What the routes share."""

    project: Project
    inference: Inference
    models: LiveModels
    counting: Counting
    predicting: Predicting
    access: Access
    topics: TopicWatch
    standing: Standing
    places: Places
    worker: Callable[[], str]
    log: Any

    def refresh(self) -> bool:
        """Look what is new in the store; return whether other models are in force."""
        self.predicting.answering.seen.refresh()
        self.topics.refresh()
        self.standing.refresh()
        return self.models.refresh()

    def status(self) -> dict[str, Any]:
        """Return what the server does, and how the stream stands; JSON-able."""
        stream = self.standing.as_dict()
        stream["trouble"] = self.places.hidden(stream["trouble"])
        return {**self.counting.status(), "stream": stream}


def app(
    project: Project,
    inference: Inference,
    *,
    open_inference: bool = False,
    fetch: Callable[[str], bytes] | None = None,
    worker: Callable[[], str] = str,
    log: Any = None,
    close_inference: bool = False,
) -> FastAPI:
    """Build the application.

    Args:
        project: whose models, tokens and store.
        inference: the queue, which a worker may share.
        open_inference: predict calls from this machine need no token.
        fetch: address of a photo to its bytes; None where addresses are not taken.
        worker: says why the worker that shares the queue does not get on; '' where it does.
        log: a structlog logger; by default JSON lines on standard error.
        close_inference: answer what was accepted and close the queue in the end.

    Returns:
        A FastAPI application; it is ready once its lifespan has started.
    """
    serving = _serving(project, inference, open_inference, fetch, worker, log or make_log())
    pages = Pages(serving)
    made = FastAPI(
        title="listlens",
        version=__version__,
        description=ABOUT,
        docs_url=None,  # both load their scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan(serving, close_inference),
        exception_handlers={Problem: _problem, HTTPException: _http_problem},
    )
    made.state.serving = serving
    add_routes(made, serving)
    Protocols(serving).add_routes(made)
    pages.add_routes(made)
    ModelPages(serving).add_routes(made)
    PolicyPages(serving).add_routes(made)
    JobPages(serving).add_routes(made)
    made.add_middleware(
        Gate,
        access=serving.access,
        counting=serving.counting,
        log=serving.log,
        login=pages.login_page,
        shown=problem_page,
        hide=serving.places.hidden,
        direct={("POST", "/v1/predict"): serving.predicting},
    )
    return made


def _serving(
    project: Project,
    inference: Inference,
    open_inference: bool,
    fetch: Callable[[str], bytes] | None,
    worker: Callable[[], str],
    log: Any,
) -> Serving:
    config = project.config.serve
    models = LiveModels(project, inference)
    price, watch = project.config.budget, WatchCollector(project)
    counting = Counting(inference, models, price.core_hour, price.currency, watch)
    topics = TopicWatch(project.store.topics)
    counting.show(topics)
    standing = Standing(project, counting.answered, watch.findings)
    counting.show(standing)
    answering = Answering(
        project.store,
        inference,
        counting,
        cache_bytes=config.cache_bytes,
        max_queue_s=config.max_queue_ms / 1000,
    )
    predicting = Predicting(
        models,
        answering,
        counting,
        config,
        Budget(config.max_held_bytes),
        fetch,
        CapacityLimiter(MOST_FETCHES),
    )
    access = Access(project.store.tokens, open_inference=open_inference)
    photos = project.config.events.photos
    places = Places(project.root, project.root / photos if photos else None)
    return Serving(
        project, inference, models, counting, predicting, access, topics, standing, places, worker,
        log,
    )  # fmt: skip


def _lifespan(serving: Serving, close_inference: bool) -> Any:
    """Load and warm up before the first request; keep looking for other models; stop gently."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await to_thread.run_sync(serving.inference.warm_up)
        await _first_look(serving)
        async with AsyncExitStack() as stack:
            if close_inference:
                stack.push_async_callback(_close, serving.inference)
            watching = asyncio.create_task(_watch(serving))
            stack.callback(watching.cancel)
            _say_models(serving)
            yield

    return lifespan


async def _first_look(serving: Serving) -> None:
    """Look at the store; a database that is just starting is waited for."""
    for left in range(START_TRIES, -1, -1):
        try:
            await to_thread.run_sync(serving.refresh)
            return
        except ListlensError as error:
            if not isinstance(error, Retryable) or not left:
                raise
            serving.log.warning("the store is not there yet", detail=str(error))
            await asyncio.sleep(1.0)


async def _close(inference: Inference) -> None:
    await to_thread.run_sync(inference.close)


async def _watch(serving: Serving) -> None:
    """Take other models into force when the store says so."""
    said = ""
    while True:
        await asyncio.sleep(REFRESH_S)
        before = serving.models.trouble
        try:
            changed = await to_thread.run_sync(serving.refresh)
        except ListlensError as error:
            if str(error) != said:  # once, not each second for as long as it lasts
                serving.log.warning("the store could not be looked at", detail=str(error))
            said = str(error)
            continue
        except Exception:
            serving.log.exception("the store could not be looked at")
            continue
        said = ""
        if changed:
            _say_models(serving)
        elif serving.models.trouble != before:
            serving.log.error("models could not be loaded", detail=serving.models.trouble)


def _say_models(serving: Serving) -> None:
    live = sorted(one.name for one in serving.models.current.values())
    serving.log.info("models in force", models=live)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    if request.url.path.startswith("/v2"):  # where that protocol's clients look
        error.more.setdefault("error", error.detail)
    return _answered(request, error)


async def _http_problem(request: Request, error: Exception) -> Response:
    """Starlette's own refusals, in our shape."""
    assert isinstance(error, HTTPException)
    kinds = {404: "not-found", 405: "method-not-allowed", 400: "bad-request"}
    detail, headers = str(error.detail), dict(error.headers or {})
    if error.status_code == 404:
        detail = f"Nothing is at {request.url.path[:200]!r}. /openapi.json lists what there is."
    elif error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request))
        detail = f"{request.method} is not taken here; allowed: {headers['Allow']}."
    kind = kinds.get(error.status_code, "bad-request")
    return _answered(request, Problem(kind, detail, headers=headers))


def _allowed(request: Request) -> list[str]:
    """The methods that an address takes; each of them is a route of its own."""
    found = set[str]()
    for route in (*request.app.routes, *request.app.state.api.routes):
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= set(getattr(route, "methods", None) or ())
    return sorted(found) or ["GET", "HEAD"]  # of a file, below which no route is


def _answered(request: Request, problem: Problem) -> Response:
    """A problem as whoever asks reads it."""
    if wants_page(request):
        return problem_page(problem, request.state.request_id)
    return problem.response(request.state.request_id)
