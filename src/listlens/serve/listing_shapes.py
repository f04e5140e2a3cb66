"""What goes over the wire about listings and searches, in types."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from listlens.serve.shapes import Result

Text = Annotated[StrictStr, Field(max_length=8192)]
Position = Annotated[StrictInt, Field(ge=0, lt=2**31)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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


class ToldOut(BaseModel):
    """What became of a listing's events: each is in exactly one of the counts."""

    new: int
    duplicates: int = Field(description="Had come in before, and are not taken again.")
    dead: int = Field(description="Cannot be used; kept with the reason, see /v1/dead.")
    wrong: list[str] = Field(default_factory=list, description="Why, of the first 20.")


class ListingQuery(_Asked):
    """How much to tell."""

    top: int | None = Field(
        None, ge=0, le=100_000, description="Only so many of the likeliest classes."
    )


class PhotoOut(BaseModel):
    """A photo, and what is known of it."""

    id: str
    position: int | None
    location: str = Field(
        description="Its address, or its path below the folder that it came from."
    )
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
    location: str = Field(description="As of a listing's photos.")
    task: str | None = None
    class_: str | None = Field(None, alias="class")
    probability: float | None = None
    text: str | None = Field(None, description="The lines that hold a word.")
    confidence: float | None = None


class HitsOut(BaseModel):
    """Photos that were found, the surest first."""

    hits: list[HitOut]
