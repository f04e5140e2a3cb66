"""What a job may be, and what is said of it, in types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    StrictBool,
    StrictInt,
    StrictStr,
)
from pydantic_core import PydanticCustomError

from listlens.core.errors import suggest
from listlens.serve.shapes import ProblemOut, TaskName, Version, Why

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
JobKind = Literal["train", "diff", "tag", "promote"]
State = Literal["waiting", "running", "done", "failed", "cancelled"]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainJob(_Asked):
    """Learn a task from its labels, as `listlens train` does."""

    kind: Literal["train"]
    task: TaskName
    target: Annotated[StrictStr, Field(max_length=200)] = Field(
        "best-f1", description="What its thresholds are chosen for."
    )
    seed: Annotated[StrictInt, Field(ge=0, lt=2**31)] = 0
    force: StrictBool = Field(False, description="Although nothing has changed.")
    few: StrictBool = Field(False, description="Learn classes of one or two photos too.")
    budget_s: Seconds | None = Field(None, description="Search so long for something better.")
    finetune: StrictBool = Field(False, description="Try to train the network too.")
    promote: StrictBool = Field(False, description="Let it answer unless it is worse.")


class DiffJob(_Asked):
    """Say what promoting a model would change, as `listlens models diff` does."""

    kind: Literal["diff"]
    task: TaskName
    version: Version | None = Field(None, description="Of the model; by default the newest.")
    sample: Annotated[StrictInt, Field(ge=1, lt=2**31)] | None = Field(
        None, description="Look at so many photos, drawn at random."
    )
    days: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="Only photos that were answered in so many days."
    )


class TagJob(_Asked):
    """Answer the stored photos from their embeddings, as `listlens tag` does."""

    kind: Literal["tag"]
    task: TaskName | None = Field(None, description="By default every task with a model.")


class PromoteJob(_Asked):
    """Let a model answer, and before that all stored photos, as `listlens models promote` does."""

    kind: Literal["promote"]
    task: TaskName
    version: Version | None = Field(None, description="Of the model; by default the newest.")
    why: Why = ""


def _of_a_kind(asked: Any) -> Any:
    """Refuse what is of no kind, saying what came and which kinds there are."""
    kinds = get_args(JobKind)
    if not isinstance(asked, Mapping) or asked.get("kind") in kinds:
        return asked
    kind = str(asked.get("kind") or "")[:50]
    told = f"no kind of job: {kind!r}" if kind else "no kind of job is given"
    said = f"{told}. {suggest(kind, kinds).removesuffix('.')}"
    raise PydanticCustomError("job_kind", "{said}", {"said": said})


AnyJob = Annotated[
    TrainJob | DiffJob | TagJob | PromoteJob,
    Field(discriminator="kind"),
    BeforeValidator(_of_a_kind),
]


def _plain(schema: dict[str, Any]) -> None:
    """Leave out what names definitions that are put in their places."""
    schema.pop("discriminator", None)


class JobIn(RootModel[AnyJob]):
    """What is to be done."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra=_plain,
    )


class JobsQuery(_Asked):
    """Which jobs."""

    state: State | None = Field(None, description="Only those in it.")
    kind: JobKind | None = Field(None, description="Only those of it.")
    task: TaskName | None = Field(None, description="Only those about it.")
    before: Annotated[int, Field(ge=1, lt=2**63)] | None = Field(
        None, description="Only those with a smaller id: a cursor."
    )
    limit: Annotated[int, Field(ge=1, le=500)] = Field(100, description="How many at most.")


class ProgressOut(BaseModel):
    """How far a job is."""

    step: str = Field(description="What it does now.")
    done: int = Field(description="Of that step.")
    total: int | None = Field(description="Of that step; null where nobody knows.")


class JobOut(BaseModel):
    """A job."""

    id: int
    kind: str
    task: str = Field(description="That it is about; empty where it is about all.")
    asked: dict[str, Any]
    who: str
    state: State
    cancelling: bool = Field(description="Somebody wants it to end.")
    starts: int = Field(description="How often it was started; more than once after a crash.")
    progress: ProgressOut
    created_at: str
    started_at: str | None
    finished_at: str | None
    problem: ProblemOut | None = Field(description="Why it failed, as RFC 9457 shapes it.")


class JobWholeOut(JobOut):
    """A job with what came of it."""

    log: str = Field(description="Its last lines.")
    result: dict[str, Any] | None = Field(description="Once it is done.")


class JobsOut(BaseModel):
    """Jobs, the newest first."""

    jobs: list[JobOut]
    next: int | None = Field(description="`before` of the next page; null where this is the last.")
