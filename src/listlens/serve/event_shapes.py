"""What goes over the wire for events, in types: the OpenAPI document is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr


class TakenOut(BaseModel):
    """What became of events that came in: each is in exactly one of the counts."""

    new: int
    duplicates: int = Field(description="Had come in before, and are not taken again.")
    dead: int = Field(description="Cannot be used; kept with the reason, see /v1/dead.")
    empty: int = Field(0, description="Name no photo, so that there is nothing to do.")
    wrong: list[str] = Field(description="Why, of the first 20.")


class FeedQuery(BaseModel):
    """Which announcements to return."""

    model_config = ConfigDict(extra="forbid")

    cursor: Annotated[int, Field(ge=0, le=2**62)] | Literal["end"] = Field(
        0, description="As the last answer gave it; 0 to begin, `end` for what is still to come."
    )
    limit: int = Field(100, ge=1, le=1000, description="How many at most.")
    kind: list[str] = Field(
        default_factory=list, max_length=20, description="Only these, such as photo.predicted."
    )
    task: list[str] = Field(
        default_factory=list, max_length=100, description="Only what answers one of these."
    )


class FeedOut(BaseModel):
    """Announcements in the order they were made."""

    events: list[dict[str, Any]]
    cursor: str = Field(description="Ask with it for what comes after.")
    more: bool = Field(
        description="Whether there is more now; with filters a page may be empty all the same."
    )


class LedgerOut(BaseModel):
    """Every event that ever came in, by where it stands."""

    received: int
    waiting: int
    leased: int
    done: int
    dead: int
    pruned: int
    forgotten: int
    removed: int = Field(0, description="Dead letters that were removed, by age or by command.")
    adds_up: bool
    duplicates: int
    replayed: int
    outcomes: dict[str, int]
    reasons: dict[str, int]
    put_off: dict[str, int]
    removed_reasons: dict[str, int] = Field(default_factory=dict)
    announced: int


class DeadQuery(BaseModel):
    """Which dead letters to return."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = None
    after: int = Field(0, ge=0, le=2**62, description="`next` of the last answer.")
    limit: int = Field(100, ge=1, le=1000)


class LetterOut(BaseModel):
    """An event, with where it stands and why."""

    id: str
    kind: str | None
    listing_id: str | None
    photo_id: str | None
    source: str
    state: str
    reason: str | None
    detail: str
    sent_id: str | None = Field(
        None, description="The id its sender seems to have given it, where it was not understood."
    )
    excerpt: str | None = Field(None, description="The beginning of what came, likewise.")
    outcome: str | None
    attempts: int
    at: str | None
    received_at: str | None
    finished_at: str | None
    body: dict[str, Any]


class DeadOut(BaseModel):
    """Dead letters, the oldest first."""

    dead: list[LetterOut]
    next: int | None = Field(description="`after` of the next call; null where there are no more.")


class DeadReplayIn(BaseModel):
    """Which dead letters are to wait again: by id, by reason, or all. Exactly one of the three."""

    model_config = ConfigDict(extra="forbid")

    ids: list[StrictStr] | None = Field(None, max_length=1000)
    reason: StrictStr | None = None
    all: StrictBool = False


class DeadReplayOut(BaseModel):
    """What became of dead letters."""

    again: int
    left: int = Field(description="Are still not understood, and stay.")
