"""The API's addresses for the models of a project: which answers, and changing that.

All need scope `admin`; `/v1/models`, which says what answers, does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from listlens.core.errors import InputError
from listlens.serve.bodies import read_shape
from listlens.serve.documents import said
from listlens.serve.job_routes import by
from listlens.serve.shapes import MovedOut, PromoteIn, RegistryOut, RetireIn, RollbackIn

if TYPE_CHECKING:
    from listlens.pipeline.moved import Moved
    from listlens.serve.app import Serving

Shape = TypeVar("Shape", bound=BaseModel)

MAX_BODY_BYTES = 16 * 1024

MOST_ANSWERED = 20_000
"""Stored pictures that a call may answer on the way, some seconds of work; the command takes any
number. Of a model that brings a network of its own `MOST_EMBEDDED`, since it looks at photos."""

MOST_EMBEDDED = 200


def add_registry(router: APIRouter, serving: Serving) -> None:
    """Add the addresses."""
    registry = serving.project.registry

    @router.get("/v1/registry/{task}", **_said("The models of a task", RegistryOut))
    async def listed(task: str) -> Response:
        """Return every model of a task with its stage, the newest first, and every change."""

        def read() -> dict[str, Any]:
            return {"models": list(registry.list([task])), "changes": list(registry.history(task))}

        return JSONResponse(await to_thread.run_sync(read))

    @router.post("/v1/registry/{task}/promote", **_said("Promote a model", MovedOut, PromoteIn))
    async def promote(task: str, request: Request) -> Response:
        """Let a model answer, or answer beside: as a shadow, or for a share of the contents.

        The live one is retired, and `rollback` returns to it. No call fails, and calls that have
        begun are answered by the model they began with. Where many stored pictures have to be
        answered first, the command `listlens models promote` does it.
        """
        asked = await _read(request, serving, PromoteIn)
        how = _how(request, asked)

        def change() -> Moved:
            if asked.shadow or asked.share is not None:
                share = None if asked.shadow else asked.share
                return registry.beside(task, asked.version, share=share, **how)
            _require_quick(serving, task, asked.version)
            return registry.promote(task, asked.version, **how)

        return await _moved(serving, change)

    @router.post("/v1/registry/{task}/rollback", **_said("Roll back", MovedOut, RollbackIn))
    async def rollback(task: str, request: Request) -> Response:
        """Return to the model that answered before, at once."""
        asked = await _read(request, serving, RollbackIn)
        how = _how(request, asked)
        return await _moved(serving, lambda: registry.rollback(task, **how))

    @router.post("/v1/registry/{task}/retire", **_said("Retire a model", MovedOut, RetireIn))
    async def retire(task: str, request: Request) -> Response:
        """Take a model out for good, with its stored answers; not the live one."""
        asked = await _read(request, serving, RetireIn)
        how = _how(request, asked)
        return await _moved(serving, lambda: registry.retire(task, asked.version, **how))


def planned(serving: Serving, task: str, version: int | None) -> tuple[Moved, int]:
    """Return what promoting would do, and how many pictures a call may answer for it."""
    registry = serving.project.registry
    plan = registry.promote(task, version, dry_run=True)
    own = registry.brings_network(task, plan.version)
    return plan, MOST_EMBEDDED if own else MOST_ANSWERED


def _require_quick(serving: Serving, task: str, version: int | None) -> None:
    """Raise InputError where promoting would take longer than a call should."""
    plan, most = planned(serving, task, version)
    if plan.to_answer > most:
        raise InputError(
            f"{plan.to_answer} stored pictures have no answer of model {plan.version} yet, and a "
            f"call answers at most {most}: listlens models promote {task} {plan.version}, or a job "
            "of kind promote"
        )


async def _moved(serving: Serving, change: Callable[[], Moved]) -> Response:
    """Make a change, and take it into force here before the call is answered."""
    moved = await to_thread.run_sync(change)
    if not moved.dry_run:
        await to_thread.run_sync(serving.models.refresh)
    return JSONResponse(moved.as_dict())


def _how(request: Request, asked: PromoteIn | RollbackIn | RetireIn) -> dict[str, Any]:
    """What the history notes: of the token its number and name, which are no secret."""
    return {"who": by(request), "why": asked.why, "dry_run": asked.dry_run}


async def _read(request: Request, serving: Serving, shape: type[Shape]) -> Shape:
    """Read a small JSON body, which may be absent; raises Problem."""
    budget = serving.predicting.budget
    return await read_shape(request, budget, shape, MAX_BODY_BYTES, absent=b"{}")


def _said(
    summary: str, answer: type[BaseModel], body: type[BaseModel] | None = None
) -> dict[str, Any]:
    """What the OpenAPI document says of a route."""
    wrong = ("not-found", "invalid")
    return said(summary, "models", answer, body=body, body_needed=False, wrong=wrong)
