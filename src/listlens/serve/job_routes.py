"""The API's addresses for jobs: long work that is asked for, looked at, and cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ValidationError

from listlens.serve.bodies import invalid, read_query, read_shape
from listlens.serve.documents import said
from listlens.serve.job_kinds import require_possible
from listlens.serve.job_shapes import JobIn, JobsOut, JobsQuery, JobWholeOut
from listlens.serve.problems import Problem

if TYPE_CHECKING:
    from listlens.serve.app import Serving
    from listlens.store.jobs import Job


def add_jobs(router: APIRouter, serving: Serving) -> None:
    """Add the addresses; all need scope `admin`."""
    jobs = serving.project.store.jobs

    @router.post("/v1/jobs", **_said("Ask for long work", JobWholeOut, body=JobIn, status=202))
    async def add(request: Request) -> Response:
        """Ask for a job, which runs apart from the server, and answer at once with its number.

        What cannot be done is refused at once where that is known: no such task, target or model,
        or nothing to learn from. The same job that waits or runs already is returned instead of a
        second one.
        """
        asked = await read_shape(request, serving.predicting.budget, JobIn)
        made = await to_thread.run_sync(start_job, serving, asked, by(request))
        return JSONResponse(made.as_dict(), 202, {"Location": f"/v1/jobs/{made.job_id}"})

    @router.get("/v1/jobs", **_said("The jobs", JobsOut, query=JobsQuery))
    async def listed(request: Request) -> Response:
        """Return jobs, the newest first, without their logs and results."""
        asked = read_query(request, JobsQuery)
        found = await to_thread.run_sync(lambda: jobs.list(**asked.model_dump()))
        after = found[-1].job_id if len(found) == asked.limit else None
        return JSONResponse({"jobs": [one.as_dict(whole=False) for one in found], "next": after})

    @router.get("/v1/jobs/{job_id}", **_said("One job", JobWholeOut))
    async def one(job_id: str) -> Response:
        """Return a job with its progress, the end of its log, and its result or problem."""
        return await _answer(jobs.get, job_id)

    @router.post("/v1/jobs/{job_id}/cancel", **_said("Cancel a job", JobWholeOut))
    async def cancel(job_id: str) -> Response:
        """End a job: at once where it waits, and within seconds where it runs."""
        return await _answer(jobs.cancel, job_id)


def start_job(serving: Serving, asked: JobIn, who: str) -> Job:
    """Ask for a job, unless it is known already that it cannot be done.

    Raises:
        NotFoundError: no such task or model, or none that is live.
        InputError: it cannot be done as asked, or there is nothing to learn from.
        MissingExtraError: what it needs is not installed.
        BusyError: too many jobs wait.
    """
    require_possible(serving.project, asked)
    values = asked.model_dump()
    kind, task = values.pop("kind"), values.pop("task") or ""
    return serving.project.store.jobs.add(kind, task, who=who, **values)


def job_of(asked: dict[str, Any]) -> JobIn:
    """Return what is asked, checked; raises Problem: 422."""
    try:
        return JobIn.model_validate(asked)
    except ValidationError as error:
        raise invalid(error, JobIn) from None


def by(request: Request) -> str:
    """Who asks: of the token its number and name, which are no secret."""
    token = request.state.token
    return f"token {token.token_id} {token.name}".strip()


async def _answer(ask: Callable[[int], Job], job_id: str) -> Response:
    return JSONResponse((await to_thread.run_sync(ask, job_number(job_id))).as_dict())


def job_number(text: str) -> int:
    """Return the number of a job in an address; raises Problem where it is none."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Problem("not-found", f"no job {text[:50]!r}")
    return int(text)


def _said(summary: str, answer: type[BaseModel], **how: Any) -> dict[str, Any]:
    """What the OpenAPI document says of a route."""
    return said(summary, "jobs", answer, wrong=("not-found", "invalid", "busy"), **how)
