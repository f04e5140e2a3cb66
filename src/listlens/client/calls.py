"""Every call: where it goes, what it carries, and the type of what comes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from listlens.core.errors import ServerError
from listlens.serve.event_shapes import (
    DeadOut,
    DeadReplayOut,
    FeedOut,
    LedgerOut,
    LetterOut,
    TakenOut,
)
from listlens.serve.job_shapes import JobsOut, JobWholeOut
from listlens.serve.listing_shapes import HitsOut, ListingOut, ToldOut
from listlens.serve.shapes import (
    DeliveriesOut,
    HealthOut,
    ModelsOut,
    PredictResponse,
    ReplayOut,
    TestOut,
    WebhookEnabledOut,
    WebhookOut,
    WebhookSecretOut,
    WebhooksOut,
)
from listlens.serve.watch_shapes import BudgetOut, DriftOut

Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One call of the API.

    Args:
        method: of HTTP.
        path: below the server's address.
        answer: type of what comes back.
        query: what stands behind the question mark; None is left out.
        body: JSON-able; None for no body.
        safe: whether the call twice does what it does once, so that it may be made again after
            an answer that does not say whether it was done.
    """

    method: str
    path: str
    answer: type[Answer]
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    safe: bool = True

    @property
    def request(self) -> dict[str, Any]:
        """The call as arguments of httpx."""
        query = {name: value for name, value in self.query.items() if value not in (None, [], ())}
        more = {} if self.body is None else {"json": self.body}
        return {"method": self.method, "url": self.path, "params": query, **more}

    def read(self, text: bytes) -> Answer:
        """Check what came back. Raises ServerError where it is something else."""
        try:
            return self.answer.model_validate_json(text)
        except ValidationError as error:
            raise ServerError(
                f"{self.path} answered something else than listlens does: {error.error_count()} "
                "problems. Is it the address of `listlens serve`, and of this version?"
            ) from None


def predict(
    records: Sequence[Mapping[str, Any]], tasks: Sequence[str] | None, top: int | None
) -> Call[PredictResponse]:
    """Answer tasks for photos."""
    body = {"records": list(records), "tasks": list(tasks) if tasks else None, "top": top}
    return Call("POST", "/v1/predict", PredictResponse, body=body)


def models() -> Call[ModelsOut]:
    """The models in force."""
    return Call("GET", "/v1/models", ModelsOut)


def health() -> Call[HealthOut]:
    """Whether the server answers."""
    return Call("GET", "/health", HealthOut)


def put_events(events: Iterable[Mapping[str, Any]]) -> Call[TakenOut]:
    """Take events in; each has its effect once, so the call may be repeated."""
    return Call("POST", "/v1/events", TakenOut, body=[dict(one) for one in events])


def feed(
    cursor: int | str, limit: int, kinds: Sequence[str], tasks: Sequence[str]
) -> Call[FeedOut]:
    """What was announced after a cursor."""
    query = {"cursor": cursor, "limit": limit, "kind": list(kinds), "task": list(tasks)}
    return Call("GET", "/v1/feed", FeedOut, query)


def ledger() -> Call[LedgerOut]:
    """Where every event stands."""
    return Call("GET", "/v1/ledger", LedgerOut)


def budget(ahead: bool) -> Call[BudgetOut]:
    """What was used, against the caps."""
    return Call("GET", "/v1/budget", BudgetOut, {"ahead": ahead or None})


def drift(tasks: Sequence[str], source: str | None, days: int | None) -> Call[DriftOut]:
    """What has drifted."""
    return Call("GET", "/v1/drift", DriftOut, {"task": list(tasks), "source": source, "days": days})


def listing(listing_id: str, top: int | None) -> Call[ListingOut]:
    """What is known of a listing."""
    return Call("GET", f"/v1/listings/{_part(listing_id)}", ListingOut, {"top": top})


def put_listing(listing_id: str, said: Mapping[str, Any]) -> Call[ToldOut]:
    """Tell of a listing."""
    body = {name: value for name, value in said.items() if value is not None}
    return Call("PUT", f"/v1/listings/{_part(listing_id)}", ToldOut, body=body)


def search(tag: str | None, words: str | None, limit: int) -> Call[HitsOut]:
    """Find photos."""
    return Call("GET", "/v1/search", HitsOut, {"tag": tag, "words": words, "limit": limit})


def dead(reason: str | None, after: int, limit: int) -> Call[DeadOut]:
    """Dead letters."""
    return Call("GET", "/v1/dead", DeadOut, {"reason": reason, "after": after, "limit": limit})


def event(event_id: str) -> Call[LetterOut]:
    """One event."""
    return Call("GET", f"/v1/dead/{_part(event_id)}", LetterOut)


def replay_dead(ids: Sequence[str] | None, reason: str | None, every: bool) -> Call[DeadReplayOut]:
    """Let dead letters wait again."""
    body: dict[str, Any] = {"all": every}
    body |= {"ids": list(ids)} if ids is not None else {}
    body |= {"reason": reason} if reason is not None else {}
    return Call("POST", "/v1/dead/replay", DeadReplayOut, body=body)


def webhooks() -> Call[WebhooksOut]:
    """The endpoints."""
    return Call("GET", "/v1/webhooks", WebhooksOut)


def add_webhook(url: str, said: Mapping[str, Any]) -> Call[WebhookSecretOut]:
    """Add an endpoint; twice would be two, so it is repeated only where nothing was done."""
    return Call("POST", "/v1/webhooks", WebhookSecretOut, body={"url": url, **said}, safe=False)


def remove_webhook(webhook_id: int) -> Call[WebhookOut]:
    """Remove an endpoint."""
    return Call("DELETE", f"/v1/webhooks/{webhook_id}", WebhookOut, safe=False)


def rotate_webhook(webhook_id: int, keep_hours: float) -> Call[WebhookSecretOut]:
    """Give an endpoint a new secret."""
    body = {"keep_hours": keep_hours}
    return Call("POST", f"/v1/webhooks/{webhook_id}/rotate", WebhookSecretOut, body=body,
                safe=False)  # fmt: skip


def enable_webhook(webhook_id: int) -> Call[WebhookEnabledOut]:
    """Tell a disabled endpoint again."""
    return Call("POST", f"/v1/webhooks/{webhook_id}/enable", WebhookEnabledOut)


def test_webhook(webhook_id: int) -> Call[TestOut]:
    """Send an endpoint a test event."""
    return Call("POST", f"/v1/webhooks/{webhook_id}/test", TestOut, safe=False)


def replay_webhook(webhook_id: int, after: int | None) -> Call[ReplayOut]:
    """Deliver to an endpoint again."""
    body = {"after": after}
    return Call("POST", f"/v1/webhooks/{webhook_id}/replay", ReplayOut, body=body, safe=False)


def deliveries(webhook_id: int) -> Call[DeliveriesOut]:
    """What was delivered to an endpoint."""
    return Call("GET", f"/v1/webhooks/{webhook_id}/log", DeliveriesOut)


def start_job(kind: str, task: str | None, asked: Mapping[str, Any]) -> Call[JobWholeOut]:
    """Ask for long work; the same twice is one job, so the call may be repeated."""
    body = {"kind": kind, **({} if task is None else {"task": task}), **asked}
    return Call("POST", "/v1/jobs", JobWholeOut, body=body)


def jobs(
    state: str | None, kind: str | None, task: str | None, before: int | None, limit: int
) -> Call[JobsOut]:
    """The jobs."""
    query = {"state": state, "kind": kind, "task": task, "before": before, "limit": limit}
    return Call("GET", "/v1/jobs", JobsOut, query)


def job(job_id: int) -> Call[JobWholeOut]:
    """One job."""
    return Call("GET", f"/v1/jobs/{job_id}", JobWholeOut)


def cancel_job(job_id: int) -> Call[JobWholeOut]:
    """End a job."""
    return Call("POST", f"/v1/jobs/{job_id}/cancel", JobWholeOut, safe=False)


def ended(job: JobWholeOut) -> bool:
    """Whether nothing more will happen to a job."""
    return job.state not in ("waiting", "running")


def _part(text: str) -> str:
    return quote(text, safe="")
