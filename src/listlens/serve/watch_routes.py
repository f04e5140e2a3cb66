"""The API's addresses for those who watch: what was used against the caps, and what has drifted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from listlens.serve.bodies import read_query
from listlens.serve.documents import said
from listlens.serve.watch_shapes import BudgetOut, BudgetQuery, DriftOut, DriftQuery

if TYPE_CHECKING:
    from listlens.serve.app import Serving


def add_watching(router: APIRouter, serving: Serving) -> None:
    """Add the addresses; both need scope `read`."""
    project = serving.project

    @router.get(
        "/v1/budget",
        **said("What was used, against the caps", "operate", BudgetOut, query=BudgetQuery),
    )
    async def budget(request: Request) -> Response:
        """Return what each source used today and this month, what 1,000 photos cost, and caps.

        Needs scope `read`.
        """
        asked = read_query(request, BudgetQuery)
        return JSONResponse(await to_thread.run_sync(lambda: project.budget(ahead=asked.ahead)))

    @router.get(
        "/v1/drift",
        **said(
            "What has drifted", "operate", DriftOut, query=DriftQuery, wrong=("not-found",)
        ),
    )  # fmt: skip
    async def drift(request: Request) -> Response:
        """Compare what came in with what the live models were trained on, by source and task.

        Needs scope `read`.
        """
        asked = read_query(request, DriftQuery)
        return JSONResponse(
            await to_thread.run_sync(
                lambda: project.drift(asked.task or None, source=asked.source, days=asked.days)
            )
        )
