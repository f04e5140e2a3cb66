"""`POST /v1/predict`: records in, the answers of several tasks out."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from anyio import CapacityLimiter, to_thread
from starlette.responses import Response

from listlens.core import tracing
from listlens.core.errors import FetchError, ListlensError, NotFoundError, PhotoError, Retryable
from listlens.core.types import Reason
from listlens.serve.answering import Answered, in_order
from listlens.serve.bodies import Budget, Record, Share, parse_call, read_body
from listlens.serve.counting import HOW
from listlens.serve.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from listlens.core.config import ServeConfig
    from listlens.serve.answering import Answer, Answering
    from listlens.serve.counting import Counting
    from listlens.serve.live import LiveModels, Served

MOST_FETCHES = 16
"""Photos fetched at once for all callers."""


@dataclass(frozen=True)
class Predicting:
    """What a predict call goes through.

    Args:
        models: in force.
        answering: photos to answers.
        counting: what is counted.
        config: bounds.
        budget: memory for all bodies.
        fetch: address to bytes; None where photos by address are not taken.
        fetches: how many addresses are fetched at once.
    """

    models: LiveModels
    answering: Answering
    counting: Counting
    config: ServeConfig
    budget: Budget
    fetch: Callable[[str], bytes] | None
    fetches: CapacityLimiter

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""
        begun = time.perf_counter()
        self.answering.require_room()  # a call that will be refused anyway costs no reading
        with self.budget.share() as share:
            with tracing.span("read"):
                body = await read_body(request, self.config.max_body_bytes, share)
                content_type = request.headers.get("content-type", "")
                call = await parse_call(body, content_type, self.config.max_records)
                del body
            models = chosen(self.models, call.tasks)
            records = await in_order([self._fetched(one, share) for one in call.records])
            answered = await self.answer(records, models)
        outcomes = list(zip(call.records, answered, strict=True))
        document = {
            "records": [outcome(record, one, call.top) for record, one in outcomes],
            "statistics": statistics(answered, time.perf_counter() - begun),
        }
        return Response(
            json.dumps(document, separators=(",", ":")),
            headers={"Cache-Control": "no-store"},
            media_type="application/json",
        )

    async def answer(self, records: Sequence[Record], models: Sequence[Served]) -> list[Answered]:
        """Answer every record, in order; those that fail have their error."""
        good = [one for one in records if one.error is None]
        with tracing.span("answer", photos=len(good), tasks=[one.live.task for one in models]):
            answers = iter(await self.answering.answer([one.data for one in good], models))
        found = [
            next(answers) if one.error is None else Answered(error=one.error) for one in records
        ]
        for one in found:
            if one.error is not None:
                self.counting.failure(reason_of(one.error)[0])
        return found

    async def _fetched(self, record: Record, share: Share) -> Record:
        """A record with the bytes behind its address."""
        if not record.url:
            return record
        if self.fetch is None:
            error: ListlensError = PhotoError(Reason.REMOTE, "this server fetches no addresses")
        else:
            try:
                with tracing.span("fetch", host=host_of(record.url)):
                    data = await to_thread.run_sync(self.fetch, record.url, limiter=self.fetches)
                share.take(len(data))
                return Record(record.record_id, data)
            except ListlensError as failed:
                error = failed
        return Record(record.record_id, error=error)


def chosen(models: LiveModels, tasks: list[str] | None) -> list[Served]:
    """Return the models of these tasks. Raises Problem: 404 for a task without one."""
    try:
        return models.chosen(tasks)
    except NotFoundError as error:
        raise Problem("unknown-task", str(error)) from None


def outcome(record: Record, answered: Answered, top: int | None = None) -> dict[str, Any]:
    """Return what a caller reads of one record, JSON-able."""
    if answered.error is not None:
        reason, detail = reason_of(answered.error)
        return {
            "id": record.record_id,
            "status": "failed",
            "reason": reason,
            "detail": detail,
            "retry": isinstance(answered.error, Retryable),
        }
    results = {one.served.live.task: result(one, top) for one in answered.answers}
    return {"id": record.record_id, "status": "ok", "results": results}


def result(answer: Answer, top: int | None = None) -> dict[str, Any]:
    """Return what one task says of a photo, JSON-able; see `listlens.serve.shapes.Result`."""
    live, decision = answer.served.live, answer.decision
    document: dict[str, Any] = {
        "prediction": _prediction(live.kind, answer),
        "probability": decision.probability,
        "probabilities": _probabilities(live.classes, answer.probs, top),
        "review": decision.review,
        "model": answer.served.name,
    }
    if decision.score is not None:
        document |= {"spread": decision.spread, "percentile": answer.served.place(decision.score)}
    return document


def _prediction(kind: str, answer: Answer) -> str | list[str] | float | None:
    decision = answer.decision
    if kind == "multi":
        return list(decision.classes)
    if kind == "score":
        return decision.score
    return decision.classes[0] if decision.classes else None


def _probabilities(
    classes: tuple[str, ...], probs: np.ndarray[Any, np.dtype[np.float32]], top: int | None
) -> dict[str, float]:
    if top is None:
        return dict(zip(classes, probs.tolist(), strict=True))
    order = np.argsort(-probs, kind="stable")[:top]
    return {classes[i]: float(probs[i]) for i in order}


def host_of(url: str) -> str:
    """Return the host of an address, empty where it names none; the rest of it is nobody's."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def reason_of(error: ListlensError) -> tuple[str, str]:
    """Return a failure's code and its sentence."""
    if isinstance(error, PhotoError | FetchError):
        return error.reason.value, error.detail
    return "internal", str(error)


def statistics(answered: Sequence[Answered], took_s: float) -> dict[str, Any]:
    """Return what a call took, JSON-able; see `listlens.serve.shapes.Statistics`."""
    hows = [one.how for one in answered]
    failed = sum(1 for one in answered if one.error is not None)
    return {
        "records": len(answered),
        "ok": len(answered) - failed,
        "failed": failed,
        **{how: hows.count(how) for how in HOW},
        "seconds": round(took_s, 6),
    }
