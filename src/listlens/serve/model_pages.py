"""The pages on models: which answers each task, what another would change, and changing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from listlens.core.errors import InputError
from listlens.core.types import STARTER
from listlens.evaluate.wording import card_numbers
from listlens.serve.job_routes import by, job_of, start_job
from listlens.serve.pages import page, read_form
from listlens.serve.problems import Problem
from listlens.serve.registry_routes import planned

if TYPE_CHECKING:
    from listlens.pipeline.moved import Moved
    from listlens.serve.app import Serving
    from listlens.store.jobs import Job

SHOWN_VERSIONS = 6
"""Versions of a task that are shown at once; older ones unfold."""

SHOWN_CHANGES = 30
SHOWN_FLIPS, SHOWN_CLASSES = 30, 60
MOST_DIFFS = 200
"""Jobs among which the newest diff of two models is looked for."""

SHARES = (0.01, 0.05, 0.1, 0.25, 0.5)
"""Of the contents, for a canary; the command takes any."""

ACTIONS = ("promote", "shadow", "canary", "recall", "rollback", "retire")


class ModelPages:
    """The pages on models of one server.

    Args:
        serving: what they show.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def add_routes(self, app: FastAPI) -> None:
        """Add the pages to the application; they are no part of the API's description."""
        hidden: dict[str, Any] = {"include_in_schema": False, "response_model": None}
        app.get("/models", **hidden)(self.models)
        app.get("/models/diff", **hidden)(self.diff)
        app.post("/models/diff", **hidden)(self.start_diff)
        app.get("/models/confirm", **hidden)(self.confirm)
        app.post("/models/change", **hidden)(self.change)
        app.get("/thumbnail/{sha256}.jpg", **hidden)(self.thumbnail)

    async def models(self, request: Request) -> Response:
        """Show every task's models with their stages."""
        tasks = await to_thread.run_sync(self._tasks)
        changed = request.query_params.get("changed", "")
        return page(
            "models.html",
            tasks=tasks,
            changed=next((t for t in tasks if t["name"] == changed), None),
            admin=_is_admin(request),
            shown=SHOWN_VERSIONS,
        )

    def _tasks(self) -> list[dict[str, Any]]:
        project = self._serving.project
        jobs = [j for s in ("waiting", "running") for j in project.store.jobs.list(state=s)]
        return [
            self._task(task.name, task.task_id, task.kind, jobs)
            for task in project.store.labels.tasks()
            if task.name != STARTER
        ]

    def _task(self, name: str, task_id: int, kind: str, jobs: list[Job]) -> dict[str, Any]:
        project = self._serving.project
        models = list(project.registry.list([name]))
        for model in models:
            model["numbers"] = card_numbers(model["metrics"])
        before = project.store.stages.previous(task_id)
        changes = project.registry.history(name)
        return {
            "name": name,
            "kind": kind,
            "models": models,
            "live": next((m["version"] for m in models if m["stage"] == "live"), None),
            "previous": before.version if before is not None else None,
            "changes": changes[::-1][:SHOWN_CHANGES],
            "n_changes": len(changes),
            "jobs": [job for job in jobs if job.task == name],
        }

    # -- what would change ------------------------------------------------------------------

    async def diff(self, request: Request) -> Response:
        """Show what promoting a model would change, or the way to find out."""
        task, version = _asked(request.query_params)

        def read() -> dict[str, Any]:
            found = self._task(task, self._task_id(task), "", [])
            if version not in {m["version"] for m in found["models"]}:
                raise Problem("not-found", f"no model {version} of {task!r}.")
            return {"live": found["live"], "job": self._newest_diff(task, version)}

        known = await to_thread.run_sync(read)
        job: Job | None = known["job"]
        facts = job.result if job is not None and job.result is not None else None
        stale = facts is not None and list(facts.get("models", ())) != [known["live"], version]
        return page(
            "diff.html",
            task=task,
            version=version,
            live=known["live"],
            job=job,
            f=facts if facts is not None and "flips" in facts else None,
            stale=stale,
            admin=_is_admin(request),
            shown_flips=SHOWN_FLIPS,
            shown_classes=SHOWN_CLASSES,
        )

    async def start_diff(self, request: Request) -> Response:
        """Ask for a diff, which runs as a job."""
        form = await read_form(request, self._serving)
        task, version = _asked(form)
        asked: dict[str, Any] = {"kind": "diff", "task": task, "version": version}
        which, _, n = form.get("which", "").partition(":")
        if which in ("sample", "days") and n.isascii() and n.isdigit() and len(n) < 9:
            asked[which] = int(n)
        job = job_of(asked)
        await to_thread.run_sync(start_job, self._serving, job, by(request))
        return _to("/models/diff", task=task, version=version)

    def _newest_diff(self, task: str, version: int) -> Job | None:
        jobs = self._serving.project.store.jobs
        found = jobs.list(kind="diff", task=task, limit=MOST_DIFFS)
        for job in found:
            asked = job.asked.get("version")  # None: the newest candidate, which its result names
            if asked in (version, None):
                whole = jobs.get(job.job_id)
                if asked or version in ((whole.result or {}).get("models") or ())[1:]:
                    return whole
        return None

    def _task_id(self, task: str) -> int:
        return self._serving.project.store.labels.task(task).task_id

    # -- changing ---------------------------------------------------------------------------

    async def confirm(self, request: Request) -> Response:
        """Say what a change would do, and ask whether it is meant."""
        asked = dict(request.query_params)
        action, (task, version) = _action(asked), _asked(asked)
        share = _share(asked) if action == "canary" else None

        def read() -> dict[str, Any]:
            plan, apart = self._planned(action, task, version, share)
            job = self._newest_diff(task, version) if action == "promote" else None
            return {"plan": plan, "apart": apart, "job": job}

        known = await to_thread.run_sync(read)
        return page(
            "confirm.html",
            action=action,
            task=task,
            version=version,
            share=share,
            admin=_is_admin(request),
            **known,
        )

    async def change(self, request: Request) -> Response:
        """Change which model answers, and go back to the models."""
        form = await read_form(request, self._serving)
        action, (task, version) = _action(form), _asked(form)
        share = _share(form) if action == "canary" else None
        how = {"who": by(request), "why": form.get("why", "")[:2000]}

        def change() -> bool:
            plan, apart = self._planned(action, task, version, share)
            if plan.version != version:  # of a rollback: somebody was quicker
                raise Problem("invalid", f"Model {plan.version} would answer now: look again.")
            if apart:
                asked = {"kind": "promote", "task": task, "version": plan.version}
                start_job(self._serving, job_of(asked | {"why": how["why"]}), how["who"])
                return False
            self._change(action, task, version, share, **how)
            self._serving.models.refresh()
            return True

        done = await to_thread.run_sync(change)
        return _to("/models", changed=task) if done else _to("/jobs")

    def _planned(
        self, action: str, task: str, version: int, share: float | None
    ) -> tuple[Moved, bool]:
        """What a change would do, and whether it takes so long that a job does it."""
        if action == "promote":
            plan, most = planned(self._serving, task, version)
            return plan, plan.to_answer > most
        return self._change(action, task, version, share, dry_run=True), False

    def _change(
        self, action: str, task: str, version: int, share: float | None, **how: Any
    ) -> Moved:
        registry = self._serving.project.registry
        changes: dict[str, Callable[[], Moved]] = {
            "promote": lambda: registry.promote(task, version, **how),
            "shadow": lambda: registry.beside(task, version, **how),
            "canary": lambda: registry.beside(task, version, share=share, **how),
            "recall": lambda: registry.beside(task, version, share=0.0, **how),
            "rollback": lambda: registry.rollback(task, **how),
            "retire": lambda: registry.retire(task, version, **how),
        }
        return changes[action]()

    # -- photos -----------------------------------------------------------------------------

    async def thumbnail(self, sha256: str) -> Response:
        """Show a stored photo small, as it was decoded and encoded anew."""
        try:
            data = await to_thread.run_sync(self._serving.project.store.thumbnails.get, sha256)
        except InputError:
            data = None
        if data is None:
            raise Problem("not-found", "There is no such thumbnail.")
        headers = {"Cache-Control": "private, max-age=60"}
        return Response(data, headers=headers, media_type="image/jpeg")


def _is_admin(request: Request) -> bool:
    return bool(request.state.token.allows("admin"))


def _action(form: Any) -> str:
    action = str(form.get("action", ""))
    if action not in ACTIONS:
        raise Problem("invalid", f"action {action[:20]!r}; allowed: {', '.join(ACTIONS)}.")
    return action


def _asked(form: Any) -> tuple[str, int]:
    """The task and version that a form names; raises Problem."""
    version = str(form.get("version", ""))
    if not (version.isascii() and version.isdigit() and 0 < len(version) < 10):
        raise Problem("invalid", "version must be a whole number.")
    return str(form.get("task", "")), int(version)


def _share(form: Any) -> float:
    text = str(form.get("share", ""))
    known = {f"{share:g}": share for share in SHARES}
    if text not in known:
        raise Problem("invalid", f"share {text[:20]!r}; allowed: {', '.join(known)}.")
    return known[text]


def _to(path: str, **query: Any) -> Response:
    return RedirectResponse(path + (f"?{urlencode(query)}" if query else ""), 303)
