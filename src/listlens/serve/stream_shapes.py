"""What goes over the wire about events, listings and searches, in types."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from listlens.serve.shapes import Result

Text = Annotated[StrictStr, Field(max_length=8192)]
Position = Annotated[StrictInt, Field(ge=0, lt=2**31)]
Cursor = Annotated[int, Field(ge=0, lt=2**63)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EventsQuery(_Asked):
    """How events are taken in."""

    backfill: bool = Field(False, description="New uploads go before these.")
    dry_run: bool = Field(False, description="Only say what is understood; take nothing in.")


class EventsIn(BaseModel):
    """One event of the shop, in its own form or ours (`docs/stream.md`); or a list of events."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "kind": "photo.added",
                    "listing_id": "L1",
                    "photo_id": "a",
                    "url": "https://shop.example/photos/a.jpg",
                }
            ]
        },
    )


class WrongOut(BaseModel):
    """An event that cannot be used."""

    detail: str
    came: Any = None


class EventsOut(BaseModel):
    """What was taken in: every event is in exactly one of the counts."""

    new: int = Field(description="Wait now.")
    duplicates: int = Field(description="Had come in before.")
    dead: int = Field(description="Cannot be used, and are among the dead letters.")
    understood: list[dict[str, Any]] | None = Field(
        None, description="Only with dry_run: the events in our form."
    )
    wrong: list[WrongOut] | None = Field(None, description="Only with dry_run: what cannot be.")


class FeedQuery(_Asked):
    """Where to go on, and what of."""

    after: Cursor = Field(0, description="Cursor of the last answer; 0 for the beginning.")
    limit: int = Field(100, ge=1, le=1000, description="Events at most.")
    kind: list[str] = Field([], max_length=100, description="Only these kinds.")
    task: list[str] = Field([], max_length=100, description="Only what answers one of these.")
    wait_s: float = Field(
        0.0, ge=0, le=30, description="Wait so long for something new where there is nothing."
    )


class FeedEvent(BaseModel):
    """Something that happened, as webhooks are told it too."""

    cursor: int = Field(description="Its position; `after` goes on behind it.")
    type: str = Field(examples=["photo.predicted"])
    timestamp: str
    data: dict[str, Any]


class FeedOut(BaseModel):
    """What happened after a cursor, in order."""

    events: list[FeedEvent]
    cursor: int = Field(description="To go on from; it has passed what the filters left out.")


class LedgerOut(BaseModel):
    """Every event that ever came in, by where it stands."""

    received: int
    waiting: int
    leased: int
    done: int
    dead: int
    pruned: int
    forgotten: int
    adds_up: bool
    duplicates: int
    replayed: int
    outcomes: dict[str, int]
    reasons: dict[str, int]
    announced: int
    oldest_waiting_s: float | None = Field(description="How long the oldest due one has waited.")


class DeadQuery(_Asked):
    """Which dead letters."""

    reason: str | None = Field(None, description="Only those with this reason.")
    after: Cursor = Field(0, description="Cursor of the last answer.")
    limit: int = Field(100, ge=1, le=1000)


class LetterOut(BaseModel):
    """An event with all that is known of it."""

    id: str
    kind: str | None
    listing_id: str | None
    photo_id: str | None
    source: str
    state: Literal["waiting", "leased", "done", "dead"]
    reason: str | None
    detail: str
    outcome: str | None
    attempts: int
    at: str
    received_at: str | None
    finished_at: str | None
    body: dict[str, Any]


class DeadOut(BaseModel):
    """Dead letters, the oldest first."""

    dead: list[LetterOut]
    reasons: dict[str, int] = Field(description="How many there are in all, by reason.")
    cursor: int


class ReplayDeadIn(_Asked):
    """Which letters wait again: some ids, all with a reason, or all. Exactly one of them."""

    ids: list[Text] | None = Field(None, min_length=1, max_length=1000)
    reason: Text | None = None
    all: StrictBool = False


class ReplayDeadOut(BaseModel):
    """What became of dead letters."""

    again: int = Field(description="Wait again.")
    left: int = Field(description="Are still not understood, and stay.")


class PhotoIn(_Asked):
    """A photo of a listing: by its address, or by a file that the server may read."""

    id: Annotated[StrictStr, Field(min_length=1, max_length=1000)]
    url: Text | None = None
    path: Text | None = None
    position: Position | None = None


class ListingIn(_Asked):
    """A listing with its photos. What is left out stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "attributes": {"price": 120},
                    "photos": [{"id": "a", "url": "https://shop.example/a.jpg", "position": 0}],
                    "complete": True,
                }
            ]
        }
    )

    seller_id: Annotated[StrictStr, Field(min_length=1, max_length=1000)] | None = None
    attributes: dict[str, Any] | None = None
    photos: list[PhotoIn] = Field([], max_length=1000)
    complete: StrictBool = Field(
        False, description="There are no other photos: those that are known and not named go."
    )
    at: Annotated[StrictStr, Field(max_length=64)] | None = Field(
        None,
        description="When it became so, ISO 8601; by default now. The same words with the same "
        "moment are taken once.",
    )
    source: Annotated[StrictStr, Field(min_length=1, max_length=1000)] | None = None
    priority: Literal["new", "backfill"] | None = None


class ListingQuery(_Asked):
    """How much to tell."""

    top: int | None = Field(
        None, ge=0, le=100_000, description="Only so many of the likeliest classes."
    )


class PhotoOut(BaseModel):
    """A photo, and what is known of it."""

    id: str
    position: int | None
    location: str
    status: str = Field(description="ok, failed, gone, ...")
    reason: str | None
    detail: str
    sha256: str | None
    results: dict[str, Result] = Field(description="Stored answers, by task.")


class ListingOut(BaseModel):
    """A listing, and what is known of its photos."""

    listing_id: str
    seller_id: str | None
    attributes: dict[str, Any]
    waiting: int = Field(description="Events of it that are still on their way.")
    photos: list[PhotoOut] = Field(description="By position, at most 1,000.")


class SearchQuery(_Asked):
    """What to look for: exactly one of the two."""

    tag: str | None = Field(None, min_length=1, max_length=500, description="CLASS or TASK:CLASS.")
    words: str | None = Field(
        None, min_length=1, max_length=500, description="Words that are written on the photo."
    )
    limit: int = Field(20, ge=1, le=1000)


class HitOut(BaseModel):
    """A photo that was found."""

    model_config = ConfigDict(populate_by_name=True)

    listing_id: str
    image: str
    location: str
    task: str | None = None
    class_: str | None = Field(None, alias="class")
    probability: float | None = None
    text: str | None = Field(None, description="The lines that hold a word.")
    confidence: float | None = None


class HitsOut(BaseModel):
    """Photos that were found, the surest first."""

    hits: list[HitOut]
