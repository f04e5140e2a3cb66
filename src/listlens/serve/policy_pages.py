"""The page on thresholds: what others would do, and putting them in force."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from listlens.core.errors import (
    InputError,
    ModelError,
    NotFoundError,
    TrainingError,
    suggest,
)
from listlens.core.types import STARTER
from listlens.learn.policies import FINEST
from listlens.serve.pages import page, read_form
from listlens.serve.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from listlens.serve.app import Serving

SHOWN_POLICIES = 20
KINDS = {"single": ("error", "precision"), "multi": ("error", "precision"), "tree": ("error",)}
"""Aims with a number that may be typed in, by kind of task."""


class PolicyPages:
    """The page on the thresholds of a task's live model, of one server.

    Args:
        serving: whose models.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        # Held-out answers and labels of a large task fill memory: one at a time.
        self._one = CapacityLimiter(1)

    def add_routes(self, app: FastAPI) -> None:
        """Add the page to the application; it is no part of the API's description."""
        hidden: dict[str, Any] = {"include_in_schema": False, "response_model": None}
        app.get("/models/policy", **hidden)(self.policy)
        app.post("/models/policy", **hidden)(self.change)

    async def policy(self, request: Request) -> Response:
        """Show the thresholds in force and what others would do; of those asked for, all of it."""
        asked = request.query_params
        task, admin = asked.get("task", ""), bool(request.state.token.allows("admin"))
        if not task:
            return await self._choose()
        wanted, refused = None, ""
        try:
            wanted = _wanted(asked)
        except Problem as problem:
            refused = problem.detail  # on the page: what was typed can be mended there
        name = asked.get("class") or None

        def read() -> dict[str, Any]:
            project = self._serving.project
            self._require(task)
            found = project.store.labels.task(task)
            told: dict[str, Any] = {"kind": found.kind, "policies": [], "choices": None,
                                    "plan": None, "missing": "", "refused": refused}  # fmt: skip
            if found.kind == "score":
                return told
            told["policies"] = project.policies(task)
            if not admin:
                return told
            try:
                told["choices"] = project.policy_choices(task, name)
                if wanted is not None:
                    told["plan"] = project.set_policy(task, dry_run=True, **wanted)
            except (TrainingError, ModelError) as error:  # earlier ones can be restored still
                told["missing"] = self._serving.places.hidden(str(error))
            except InputError as error:
                told["refused"] = _sentence(error)
            return told

        known = await self._run(read)
        return page(
            "policy.html",
            422 if known["refused"] else 200,
            task=task,
            name=name,
            typed=asked,
            asked={} if wanted is None else _fields(wanted),
            numbered=KINDS.get(known["kind"], ()),
            changed=asked.get("changed", ""),
            admin=admin,
            shown=SHOWN_POLICIES,
            **known,
        )

    async def _choose(self) -> Response:
        """Go on to the only task that has thresholds, or show which have."""
        tasks = await self._run(self._tasks)
        if len(tasks) == 1:
            return RedirectResponse(f"/models/policy?{urlencode({'task': tasks[0]})}", 303)
        return page("policy_tasks.html", tasks=tasks)

    def _tasks(self) -> list[str]:
        """The tasks with a model of their own."""
        project = self._serving.project
        names = [task.name for task in project.store.labels.tasks() if task.name != STARTER]
        return [name for name in names if list(project.registry.list([name]))]

    def _require(self, task: str) -> None:
        if task not in (names := self._tasks()):
            raise NotFoundError(f"no task {task[:100]!r} has thresholds. {suggest(task, names)}")

    async def change(self, request: Request) -> Response:
        """Put thresholds in force, chosen or earlier ones, and show them."""
        form = await read_form(request, self._serving)
        task, wanted = form.get("task", ""), _wanted(form)
        project = self._serving.project

        def change() -> None:
            self._require(task)
            version = _number(form, "model")
            if version != project.policies(task)[0]["model"]:
                raise Problem(
                    "invalid", f"Model {version} of {task!r} answers no more: look again."
                )
            if wanted is not None:
                project.set_policy(task, version=version, **wanted)
            else:
                project.restore_policy(task, _number(form, "restore"), version)
            self._serving.models.refresh()

        await self._run(change)
        return RedirectResponse(f"/models/policy?{urlencode({'task': task, 'changed': 1})}", 303)

    async def _run(self, work: Callable[[], Any]) -> Any:
        return await to_thread.run_sync(work, limiter=self._one)


def _wanted(form: Mapping[str, str]) -> dict[str, Any] | None:
    """What `set_policy` is to do, of the fields of a form; None where none is said.

    Raises:
        Problem: a number that is none, or a percentage that no thresholds can promise.

    Example:
        >>> _wanted({"aim": "error", "percent": "2.5"}), _wanted({"class": "a", "threshold": "0.9"})
        ({'target': 'error<=0.025'}, {'thresholds': {'a': 0.9}})
        >>> _wanted({"aim": "precision", "percent": "95"}), _wanted({"class": "a"})
        ({'target': 'precision>=0.95'}, None)
    """
    if target := form.get("target", ""):
        return {"target": target}
    if aim := form.get("aim", ""):
        sign = {"error": "<=", "precision": ">="}.get(aim)
        if sign is None:
            raise Problem("invalid", f"aim {aim[:20]!r}; allowed: error, precision.")
        share = _float(form.get("percent", ""), "percent") / 100
        if not FINEST <= share <= 1 - FINEST:
            least, most = f"{100 * FINEST:f}".rstrip("0"), f"{100 * (1 - FINEST):.6g}"
            raise Problem(
                "invalid", f"{100 * share:g} per cent; allowed: from {least} to {most}, such as 3."
            )
        return {"target": f"{aim}{sign}{f'{share:.8f}'.rstrip('0')}"}
    if form.get("threshold", ""):
        return {"thresholds": {form.get("class", ""): _float(form["threshold"], "threshold")}}
    return None


def _sentence(error: InputError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:].removesuffix(".") + "."


def _fields(wanted: dict[str, Any]) -> dict[str, str]:
    """The same as the hidden fields of a form."""
    if "target" in wanted:
        return {"target": wanted["target"]}
    ((name, value),) = wanted["thresholds"].items()
    return {"class": name, "threshold": f"{value:g}"}


def _float(text: str, what: str) -> float:
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Problem("invalid", f"{what} {text[:20]!r}; it must be a number.")
    return number


def _number(form: Mapping[str, str], name: str) -> int:
    text = form.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Problem("invalid", f"{name} must be a whole number.")
    return int(text)
