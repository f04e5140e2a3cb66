"""The pages on jobs: what is done apart from the server, how far it is, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from listlens.serve.job_routes import by, job_number, job_of, start_job
from listlens.serve.pages import page, read_form
from listlens.serve.problems import Problem

if TYPE_CHECKING:
    from listlens.serve.app import Serving
    from listlens.store.jobs import Job

SHOWN = 50
FORMS = ("train", "tag")
"""Kinds that the pages ask for by themselves; of the others the pages on models do."""


class JobPages:
    """The pages on jobs of one server.

    Args:
        serving: what they show.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def add_routes(self, app: FastAPI) -> None:
        """Add the pages to the application; they are no part of the API's description."""
        hidden: dict[str, Any] = {"include_in_schema": False, "response_model": None}
        app.get("/jobs", **hidden)(self.jobs)
        app.post("/jobs", **hidden)(self.start)
        app.get("/jobs/{job_id}", **hidden)(self.job)
        app.post("/jobs/{job_id}/cancel", **hidden)(self.cancel)

    async def jobs(self) -> Response:
        """Show the newest jobs."""
        jobs = self._serving.project.store.jobs
        found = await to_thread.run_sync(lambda: jobs.list(limit=SHOWN, whole=True))
        return page("jobs.html", jobs=found, shown=SHOWN)

    async def start(self, request: Request) -> Response:
        """Ask for a job, and go to its page."""
        form = await read_form(request, self._serving)
        kind, task = form.get("kind", ""), form.get("task", "")
        if kind not in FORMS or not 0 < len(task) <= 500:
            raise Problem("invalid", f"kind must be one of {', '.join(FORMS)}, with a task.")
        asked = job_of({"kind": kind, "task": task})
        made = await to_thread.run_sync(start_job, self._serving, asked, by(request))
        return RedirectResponse(f"/jobs/{made.job_id}", 303)

    async def job(self, job_id: str) -> Response:
        """Show a job with its progress, log, and what came of it."""
        job = await to_thread.run_sync(self._get, job_id)
        return page("job.html", job=job, next=_next(job))

    async def cancel(self, job_id: str) -> Response:
        """End a job, and go to its page."""
        job = await to_thread.run_sync(self._get, job_id)
        await to_thread.run_sync(self._serving.project.store.jobs.cancel, job.job_id)
        return RedirectResponse(f"/jobs/{job.job_id}", 303)

    def _get(self, job_id: str) -> Job:
        return self._serving.project.store.jobs.get(job_number(job_id))


def _next(job: Job) -> tuple[str, str] | None:
    """Where to go on from a job: an address and its words."""
    version = (job.result or {}).get("version", job.asked.get("version"))
    if job.kind == "diff" and version is not None:
        query = urlencode({"task": job.task, "version": version})
        return f"/models/diff?{query}", "What would change"
    if job.kind in ("train", "promote", "diff"):
        return "/models", "The models"
    return None
