"""What goes over the wire, in types: the OpenAPI document is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
)

RecordId = (
    Annotated[StrictStr, StringConstraints(max_length=500)]
    | Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)]
)
TaskName = Annotated[StrictStr, StringConstraints(min_length=1, max_length=500)]

MOST_TASKS = 100


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecordIn(_Shape):
    """One photo: by its address, or its bytes in base64. Exactly one of the two."""

    id: RecordId | None = Field(None, description="Echoed; by default the place in the list.")
    url: StrictStr | None = Field(None, description="http or https address of the photo.")
    base64: StrictStr | None = Field(None, description="The file's bytes in base64.")


class PredictRequest(_Shape):
    """Photos, and the tasks to answer for each."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "records": [{"id": "a", "url": "https://shop.example/photos/a.jpg"}],
                    "tasks": ["room"],
                }
            ]
        }
    )

    records: list[RecordIn] = Field(min_length=1, description="At most `serve.max_records`.")
    tasks: list[TaskName] | None = Field(
        None,
        max_length=MOST_TASKS,
        description="By default every task with a model, or the starter tags where none has one.",
    )
    top: Annotated[StrictInt, Field(ge=0, le=100_000)] | None = Field(
        None, description="Only so many of the likeliest classes in `probabilities`."
    )


class Result(BaseModel):
    """What one task says of one photo."""

    prediction: str | list[str] | float | None = Field(
        description="single: the class; multi: the classes, the surest first; tree: the path of a "
        "node, or null where not even the top level is sure enough; score: the mean vote."
    )
    probability: float | None = Field(
        description="Of the class or node; of the least sure of several; null for a score."
    )
    probabilities: dict[str, float] = Field(
        description="Calibrated, of every class; tree: of its leaves; score: of each step's votes."
    )
    review: bool = Field(description="A person should look.")
    model: str = Field(description="Task and version of the model.", examples=["room/3"])
    spread: float | None = Field(None, description="score: standard deviation of the votes.")
    percentile: float | None = Field(
        None, description="score: which share of the shop's photos is scored lower, in [0, 1]."
    )


class RecordOut(BaseModel):
    """What came of one photo."""

    id: str | int
    status: Literal["ok", "failed"]
    results: dict[str, Result] | None = Field(None, description="By task; where status is ok.")
    reason: str | None = Field(
        None, description="Why it failed, such as not_an_image, truncated, bad_row, unreachable."
    )
    detail: str | None = Field(None, description="The same in a sentence.")
    retry: bool | None = Field(None, description="Whether the same call may succeed later.")


class Statistics(BaseModel):
    """What the call took."""

    records: int
    ok: int
    failed: int
    computed: int = Field(description="Photos that were decoded and looked at for this call.")
    cached: int = Field(description="Answered from memory.")
    stored: int = Field(description="Answered from embeddings in the project's store.")
    shared: int = Field(description="Answered along with an equal photo asked at the same time.")
    seconds: float


class PredictResponse(BaseModel):
    """One record for each that came, in the same order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "records": [
                        {
                            "id": "a",
                            "status": "ok",
                            "results": {
                                "room": {
                                    "prediction": "kitchen",
                                    "probability": 0.97,
                                    "probabilities": {"kitchen": 0.97, "bathroom": 0.03},
                                    "review": False,
                                    "model": "room/3",
                                }
                            },
                        },
                        {
                            "id": "b",
                            "status": "failed",
                            "reason": "truncated",
                            "detail": "the file ends early",
                            "retry": False,
                        },
                    ],
                    "statistics": {
                        "records": 2, "ok": 1, "failed": 1, "computed": 1, "cached": 0,
                        "stored": 0, "shared": 0, "seconds": 0.031,
                    },
                }
            ]
        }
    )  # fmt: skip

    records: list[RecordOut]
    statistics: Statistics


class ProblemOut(BaseModel):
    """An error, as RFC 9457 shapes it."""

    type: str = Field(examples=["urn:listlens:problem:unknown-task"])
    title: str
    status: int
    detail: str
    request_id: str = Field(description="As in the header X-Request-ID, and in the server's log.")
    errors: list[dict[str, Any]] | None = Field(
        None, description="What is wrong where in the document, for status 422."
    )
    retry_after_s: int | None = Field(None, description="For status 429.")
    end: str | None = Field(
        None, description="The cursor to go on with, where one is beyond the end of the feed."
    )
    reason: str | None = Field(None, description="Why a photo cannot be used, where it is that.")


class ModelOut(BaseModel):
    """A model in force."""

    task: str
    model: str
    version: int
    kind: str
    classes: list[str]
    target: str = Field(description="What its thresholds were chosen for.")
    policy: int = Field(description="Number of its thresholds; 0 for the starter tags.")
    taxonomy: int = Field(description="Version of the classes that it answers with.")
    created: str | None
    backbone: str
    canary: dict[str, Any] | None = Field(
        description="A candidate that answers a share of the contents, with that `share`."
    )


class ModelsOut(BaseModel):
    """The models in force."""

    models: list[ModelOut]


Version = Annotated[StrictInt, Field(ge=1, lt=2**31)]
Why = Annotated[StrictStr, Field(max_length=2000, description="A reason, for the history.")]
DryRun = Annotated[StrictBool, Field(description="Only say what would be done.")]


class PromoteIn(_Shape):
    """Which model is to answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 2, "why": "new labels"}]})

    version: Version | None = Field(
        None, description="Of the model; by default the newest, unless that one is retired."
    )
    shadow: StrictBool = Field(
        False, description="Let it answer beside the live one; its answers are never given out."
    )
    share: float | None = Field(
        None, ge=0, lt=1, description="Of the contents that it answers; 0 ends that."
    )
    why: Why = ""
    dry_run: DryRun = False


class RollbackIn(_Shape):
    """Why."""

    why: Why = ""
    dry_run: DryRun = False


class RetireIn(_Shape):
    """Which model answers no more."""

    version: Version
    why: Why = ""
    dry_run: DryRun = False


class MovedOut(BaseModel):
    """What was done, or would be."""

    task: str
    action: str = Field(
        description="promoted, shadowed, canary, recalled, restored (by a rollback) or retired."
    )
    version: int
    stage: str
    before: int | None = Field(description="Version that answered until then.")
    live: int | None = Field(description="Version that answers since.")
    share: float
    dry_run: bool
    answered: int = Field(description="Stored pictures answered for this.")
    to_answer: int = Field(description="Stored pictures that it has no answer for.")
    swept: dict[str, int]


class RegistryOut(BaseModel):
    """The models of a task, the newest first, and every change of their stages."""

    models: list[dict[str, Any]]
    changes: list[dict[str, Any]]


class HealthOut(BaseModel):
    """Whether the server answers, and with what."""

    status: Literal["ready", "degraded"]
    detail: str = Field(description="What is wrong, in words; empty where nothing is.")
    models: list[str]


Names = Annotated[list[TaskName], Field(max_length=100)]


class WebhookIn(_Shape):
    """An endpoint to be told what happens."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"url": "https://shop.example/hooks", "kinds": ["photo.predicted"]}]
        }
    )

    url: StrictStr = Field(description="http or https; no private address.", max_length=8000)
    name: StrictStr = Field("", description="What it is for.", max_length=500)
    kinds: Names = Field([], description="Of event that it is told; all where empty.")
    tasks: Names = Field([], description="Whose answers it is told; all where empty.")
    from_start: bool = Field(False, description="Tell it what was announced before, too.")


class RotateIn(_Shape):
    """A new secret for an endpoint."""

    keep_hours: float = Field(
        24.0, ge=0, le=24 * 365, description="How long the old secret stays valid too."
    )


class ReplayIn(_Shape):
    """What to deliver again."""

    after: Annotated[StrictInt, Field(ge=0, lt=2**63)] | None = Field(
        None, description="Everything after this position; null: what failed for good."
    )


class WebhookOut(BaseModel):
    """An endpoint."""

    id: int
    url: str
    name: str
    kinds: list[str]
    tasks: list[str]
    state: Literal["active", "disabled"]
    failures: int = Field(description="In a row, since the last delivery that was taken.")
    detail: str = Field(description="Why it is disabled, or what failed last.")
    waiting: int = Field(description="Deliveries to be tried again.")
    failed: int = Field(description="Deliveries that failed for good, and can be replayed.")
    next_at: str | None
    delivered_at: str | None
    former_until: str | None = Field(description="Until when the old secret is valid too.")
    created_at: str


class WebhookEnabledOut(WebhookOut):
    """An endpoint that was to be enabled."""

    changed: bool = Field(description="Whether it was disabled; nothing was done where not.")


class WebhookSecretOut(WebhookOut):
    """An endpoint with its secret, which is shown when it is made and rotated."""

    secret: str


class WebhooksOut(BaseModel):
    """The endpoints."""

    webhooks: list[WebhookOut]


class DeliveryOut(BaseModel):
    """A delivery that was tried."""

    at: str
    webhook: int
    position: int = Field(description="Of the event among all that was announced.")
    attempt: int
    outcome: Literal["delivered", "retried", "failed", "dropped"]
    status: int | None = Field(description="Of HTTP; null where nothing answered.")
    took_ms: int
    detail: str


class DeliveriesOut(BaseModel):
    """The delivery log, the newest first."""

    deliveries: list[DeliveryOut]


class TestOut(BaseModel):
    """What came of a test event."""

    webhook: int
    delivered: bool
    status: int | None
    took_ms: int
    detail: str


class ReplayOut(BaseModel):
    """How much is delivered again."""

    webhook: int
    again: int
