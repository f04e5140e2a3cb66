"""What goes over the wire about budgets and drift, in types: what `listlens budget --json` and
`listlens drift --json` print."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from listlens.serve.shapes import MOST_TASKS, TaskName

SPENT_EXAMPLE = {
    "photos": 1200, "core_s": 32.4, "cost": 0.00036, "core_s_a_1000_photos": 27.0,
    "cost_a_1000_photos": 0.0003,
}  # fmt: skip

BUDGET_EXAMPLE: dict[str, Any] = {
    "day": "2026-11-26",
    "month": "2026-11",
    "timezone": "UTC",
    "currency": "EUR",
    "all": {"today": SPENT_EXAMPLE, "month": SPENT_EXAMPLE},
    "sources": [
        {
            "source": "old-stock",
            "seen": True,
            "today": SPENT_EXAMPLE,
            "month": SPENT_EXAMPLE,
            "limits": [
                {
                    "limit": "daily_photos", "cap": 1200.0, "used": 1200.0, "period": "2026-11-26",
                    "ends": "2026-11-27T00:00:00+00:00", "reached": True,
                }
            ],
            "at_cap": "queue",
            "backfill_only": False,
            "reached": True,
            "goes_on": "2026-11-27T00:00:00+00:00",
        }
    ],
    "ahead": [
        {
            "source": "old-stock", "waiting": 3000, "today": 0, "at_cap": "queue",
            "last_day": "2026-11-29",
        }
    ],
}  # fmt: skip

DRIFT_EXAMPLE: dict[str, Any] = {
    "drifted": True,
    "found": [
        {
            "source": "new-agency",
            "task": "room",
            "model": "room/3",
            "from": "2026-11-25",
            "to": "2026-11-26",
            "photos": 199,
            "needed": 100,
            "drifted": True,
            "parts": {"look": {"distance": 1.4, "threshold": 0.67, "p": 1e-9, "found": True}},
            "classes": [{"class": "kitchen", "training": 0.3, "now": 0.31}],
            "review": {"training": 0.05, "now": 0.06},
            "advice": "Photos look unlike those that room/3 was trained on: look at some, label "
            "them and train again.",
        }
    ],
    "problems": [],
}


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BudgetQuery(_Asked):
    """How much to tell."""

    ahead: bool = Field(
        False,
        description="Say too which sources' waiting photos run into a cap; it counts all that "
        "waits, which takes seconds for millions of events.",
    )


class SpentOut(BaseModel):
    """What was used in a day or month."""

    photos: int = Field(description="That were looked at.")
    core_s: float = Field(description="Thread seconds of decoding and networks.")
    cost: float | None = Field(description="By `[budget] core_hour`; null where it is no price.")
    core_s_a_1000_photos: float | None = Field(description="Null where none was looked at.")
    cost_a_1000_photos: float | None = Field(description="Likewise, and without a price.")


class LimitOut(BaseModel):
    """A cap, and where it stands."""

    limit: Literal["daily_photos", "daily_cost", "monthly_photos", "monthly_cost"]
    cap: float = Field(description="Photos, or money.")
    used: float = Field(description="Of it.")
    period: str = Field(description="The day or month.")
    ends: str
    reached: bool


class SourceOut(BaseModel):
    """What a source used, against its caps."""

    source: str
    seen: bool = Field(description="Whether any of its photos was ever looked at.")
    today: SpentOut
    month: SpentOut
    limits: list[LimitOut]
    at_cap: Literal["queue", "sample", "embed-only"] | None = Field(
        description="What happens at a cap; null where there is none."
    )
    backfill_only: bool = Field(description="Whether new uploads go on at a cap.")
    reached: bool
    goes_on: str | None = Field(description="When it goes on, where a cap is reached.")


class AllOut(BaseModel):
    """What all sources used together."""

    today: SpentOut
    month: SpentOut


class AheadOut(BaseModel):
    """A source whose waiting photos run into a cap."""

    source: str
    waiting: int = Field(description="Its photos that wait.")
    today: int = Field(description="So many of them fit into the cap.")
    at_cap: Literal["queue", "sample", "embed-only"] = Field(description="What the rest meets.")
    last_day: str | None = Field(
        description="When the last of those that queue is looked at; null: not in ten years."
    )


class BudgetOut(BaseModel):
    """What was used, and what may be."""

    model_config = ConfigDict(json_schema_extra={"examples": [BUDGET_EXAMPLE]})

    day: str
    month: str
    timezone: str = Field(description="In which they begin.")
    currency: str | None = Field(description="Null where `[budget] core_hour` is no price.")
    all: AllOut
    sources: list[SourceOut]
    ahead: list[AheadOut] | None = Field(description="Where it was asked for; else null.")


class DriftQuery(_Asked):
    """What to judge."""

    task: list[TaskName] = Field(
        default_factory=list, max_length=MOST_TASKS, description="Only these."
    )
    source: str | None = Field(None, max_length=1000, description="Only this one.")
    days: Annotated[int, Field(ge=1, le=400)] | None = Field(
        None,
        description="The last days together; by default the newest day, and those before it until "
        "there are enough photos.",
    )


class PartOut(BaseModel):
    """How far one thing lies from the training."""

    distance: float
    threshold: float = Field(description="The distance above which it has drifted.")
    p: float = Field(description="Of so large a distance by chance.")
    found: bool = Field(description="Whether it has drifted.")


class ShareOut(BaseModel):
    """A share in training, and now."""

    training: float
    now: float


class ClassShareOut(ShareOut):
    """A class's share of the answers."""

    model_config = ConfigDict(populate_by_name=True)

    class_: str = Field(alias="class")


class FindingOut(BaseModel):
    """A source's photos beside a model's training."""

    model_config = ConfigDict(populate_by_name=True)

    source: str
    task: str
    model: str
    from_: str = Field(alias="from", description="First day.")
    to: str = Field(description="Last day.")
    photos: int = Field(description="Of these days; each content once.")
    needed: int = Field(description="Fewer are not judged.")
    drifted: bool
    parts: dict[str, PartOut] = Field(
        description="look, classes, sureness, review; empty where there are too few photos."
    )
    classes: list[ClassShareOut] = Field(description="Those that moved most first.")
    review: ShareOut | None = Field(
        description="Share for a person; null where the thresholds are not the training's."
    )
    advice: str


class DriftOut(BaseModel):
    """Whether what comes in is still what the live models were trained on."""

    model_config = ConfigDict(json_schema_extra={"examples": [DRIFT_EXAMPLE]})

    drifted: bool = Field(description="Whether anything has.")
    found: list[FindingOut]
    problems: list[str] = Field(description="Why some tasks cannot be judged.")
