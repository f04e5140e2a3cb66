"""The pages: what the server does, a photo to try, and the log-in."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from anyio import to_thread
from fastapi import FastAPI, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from listlens._version import __version__
from listlens.core.amounts import counted, money, of_cap, unit_of
from listlens.core.errors import PhotoError
from listlens.images.prepare import prepare
from listlens.serve.access import COOKIE
from listlens.serve.bodies import Record, parse_call, read_body
from listlens.serve.predicting import outcome
from listlens.serve.problems import Problem
from listlens.store.usage import MOST_HELD

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from listlens.serve.app import Serving

FORM_BYTES = 16 * 1024
SHOWN = 8
"""Likeliest classes shown a task."""

PREVIEW_PX = 800

STATIC_FOLDER = Path(__file__).parent / "static"


@cache
def environment() -> Environment:
    """Return the templates; they hold no inline script or style, so that none can be injected."""
    made = Environment(
        loader=PackageLoader("listlens.serve", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["our_version"] = __version__
    made.globals.update(many=unit_of, of_cap=of_cap)
    made.filters.update(counted=counted, money=money, rate=_rate)
    return made


class Pages:
    """The pages of one server.

    Args:
        serving: what they show.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def add_routes(self, app: FastAPI) -> None:
        """Add the pages to the application; they are no part of the API's description."""
        app.mount("/static", StaticFiles(directory=STATIC_FOLDER), name="static")
        hidden: dict[str, Any] = {"include_in_schema": False, "response_model": None}
        app.get("/", **hidden)(self.status)
        app.post("/dead", **hidden)(self.replay)
        app.get("/try", **hidden)(self.try_page)
        app.post("/try", **hidden)(self.tried)
        app.get("/login", **hidden)(self.login)
        app.post("/login", **hidden)(self.log_in)
        app.post("/logout", **hidden)(self.log_out)

    async def status(self, request: Request) -> Response:
        """Show what the server does."""
        serving = self._serving
        models = [one.as_dict() for _, one in sorted(serving.models.current.items())]
        status = await to_thread.run_sync(serving.status)
        history = status["stream"]["history"]
        again = request.query_params.get("again", "")
        troubles = filter(None, (serving.models.trouble, serving.topics.trouble))
        return page(
            "status.html",
            status=status,
            models=models,
            trouble=serving.places.hidden(" ".join(troubles)),
            project=serving.project.root.name,
            most_held=MOST_HELD,
            curves={name: points(history[name]) for name in ("calls", "events", "lag_s")},
            admin=request.state.token.allows("admin"),
            again=again if again.isascii() and again.isdigit() and len(again) < 10 else "",
        )

    async def replay(self, request: Request) -> Response:
        """Let the dead letters with a reason wait again."""
        reason = (await read_form(request, self._serving)).get("reason", "")
        if not reason:
            raise Problem("invalid", "Say which reason.")
        project = self._serving.project
        done = await to_thread.run_sync(lambda: project.replay(reason=reason))
        return RedirectResponse(f"/?again={done.again}", 303)

    async def try_page(self) -> Response:
        """Show the form for a photo."""
        return page("try.html", answer=None, preview="", name="", kinds={}, how="", shown=SHOWN)

    async def tried(self, request: Request) -> Response:
        """Answer every task for the photo of the form, and show it."""
        serving = self._serving
        with serving.predicting.budget.share() as share:
            body = await read_body(request, serving.predicting.config.max_body_bytes, share)
            call = await parse_call(body, request.headers.get("content-type", ""), 1)
            record = call.records[0]
            models = serving.models.chosen(call.tasks)
            (answered,) = await serving.predicting.answer([record], models)
            preview = await to_thread.run_sync(self._preview, record)
        kinds = {one.live.task: one.live.kind for one in models}
        return page(
            "try.html",
            answer=outcome(record, answered, SHOWN),
            preview=preview,
            name=str(record.record_id),
            kinds=kinds,
            how=answered.how,
            shown=SHOWN,
        )

    def _preview(self, record: Record) -> str:
        """The photo as a data address, encoded anew: a browser never sees what was uploaded."""
        way = self._serving.inference.backbone.preprocessing
        limits = self._serving.project.limits
        try:
            made = prepare(record.data, way, limits=limits, thumbnail_px=PREVIEW_PX, measure=False)
        except PhotoError:
            return ""
        jpeg = made.thumbnail or b""
        return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")

    async def login(self, request: Request) -> Response:
        """Show the form for a token."""
        return self.login_page(request, None)

    def login_page(self, connection: HTTPConnection, problem: Problem | None) -> Response:
        """Return the form for a token, with the status of the problem that led here."""
        wrong = problem is not None and "error=" in problem.headers.get("WWW-Authenticate", "")
        response = page("login.html", 200 if problem is None else problem.status, wrong=wrong)
        response.headers.update(problem.headers if problem is not None else {})
        return response

    async def log_in(self, request: Request) -> Response:
        """Take a token into the browser's cookie."""
        text = (await read_form(request, self._serving)).get("token", "")
        token = await self._serving.access.find(text) if text else None
        if token is None:
            response = page("login.html", 401, wrong=True)
            response.headers["WWW-Authenticate"] = 'Bearer realm="listlens"'
            return response
        home = "/" if token.allows("read") else "/try"
        answer = RedirectResponse(home, 303)
        answer.set_cookie(
            COOKIE, text, httponly=True, samesite="strict", secure=request.url.scheme == "https"
        )
        return answer

    async def log_out(self) -> Response:
        """Make the browser forget the token."""
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer


def page(template: str, /, code: int = 200, **values: Any) -> Response:
    """Return a page made of a template."""
    html = environment().get_template(template).render(**values)
    return HTMLResponse(html, code, headers={"Cache-Control": "no-store"})


def problem_page(problem: Problem, request_id: str = "") -> Response:
    """Return a problem as a person reads it in a browser."""
    made = page("problem.html", problem.status, problem=problem.document(request_id))
    made.headers.update(problem.headers)
    return made


def wants_page(connection: HTTPConnection) -> bool:
    """Whether who asks is a browser that shows pages."""
    return "text/html" in connection.headers.get("accept", "")


def points(values: Sequence[float]) -> dict[str, Any]:
    """Return a curve as the points of an SVG polyline in a box of 240 by 60, and its highest value.

    Example:
        >>> points([0, 5, 10])
        {'line': '0.0,60.0 120.0,31.0 240.0,2.0', 'top': 10, 'last': 10}
    """
    top, n = max([*values, 1e-9]), max(1, len(values) - 1)
    places = [(240 * i / n, 60 - 58 * value / top) for i, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return {"line": line, "top": max(values, default=0), "last": values[-1] if values else 0}


def _rate(value: float) -> str:
    """A number that is read at a glance: a digit behind the point only where it is small."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


async def read_form(request: Request, serving: Serving) -> dict[str, str]:
    """Return the fields of a small form, each once; raises Problem."""
    with serving.predicting.budget.share() as share:
        body = await read_body(request, FORM_BYTES, share)
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=50)
    except ValueError as error:
        raise Problem("bad-request", f"The form cannot be read: {error}.") from None
    return {name: values[0].strip() for name, values in fields.items()}
