"""Settings of the stream: what a shop's events look like, who works on them, and brokers."""

from __future__ import annotations

import re

from pydantic import Field, model_validator

from listlens.core.errors import suggest
from listlens.core.section import Section

EVENT_FIELDS = frozenset(
    (
        *("id", "kind", "listing_id", "photo_id", "url", "path", "position", "seller_id"),
        *("attributes", "at", "sequence", "source", "priority"),
    )
)
"""What an event may say; see `listlens.pipeline.events`."""

EVENT_KINDS = frozenset({"photo.added", "photo.changed", "photo.deleted", "listing.changed"})

_PATH = re.compile(r"\.|[^.\[\]]+(?:\.[^.\[\]]+|\[[0-9]+\])*")
"""What leads to a value of an event: ``.``, the whole, or names, each with places in lists."""


class EventsConfig(Section):
    mapping: dict[str, str] = Field(
        default_factory=dict,
        description="Our name to the path in a shop's own event, such as url = "
        "'data.image.href'; '=text' is a fixed value (docs/stream.md). Empty: events come in our "
        "own form.",
    )
    kinds: dict[str, str] = Field(
        default_factory=dict,
        description="A shop's own names of what happened to ours, such as "
        "'image.created' = 'photo.added'.",
    )
    each: str = Field(
        "",
        description="Path of a list in a shop's event that names several photos, each of which is "
        "an event; paths that begin with '@.' look into its items.",
    )
    photos: str = Field(
        "",
        description="Folder, relative to this file, in which the files lie that events name by "
        "path. Empty: events name URLs only.",
    )

    @model_validator(mode="after")
    def _known_names(self) -> EventsConfig:
        wrong = sorted(set(self.mapping) - EVENT_FIELDS)
        if wrong:
            raise ValueError(f"no such field of an event: {wrong[0]!r}. "
                             f"{suggest(wrong[0], EVENT_FIELDS)}")  # fmt: skip
        wrong = sorted(set(self.kinds.values()) - EVENT_KINDS)
        if wrong:
            raise ValueError(f"no such kind: {wrong[0]!r}. {suggest(wrong[0], EVENT_KINDS)}")
        if any(path.startswith("@.") for path in self.mapping.values()) and not self.each:
            raise ValueError("paths that begin with '@.' need 'each', the path of a list")
        for name, path in {**self.mapping, **({"each": self.each} if self.each else {})}.items():
            inside = "." if path == "@." else path.removeprefix("@.")
            if not path.startswith("=") and not _PATH.fullmatch(inside):
                raise ValueError(
                    f"{name} = {path!r} is no path. Write names with dots between them, and a "
                    "place in a list as [0], counted from 0: 'data.images[0].href'"
                )
        return self


class WorkerConfig(Section):
    in_flight: int = Field(
        128, ge=1, le=10_000, description="Events worked on at once: what bounds its memory."
    )
    fetchers: int = Field(
        16, ge=1, le=256, description="Photos fetched or read at once, of all hosts together."
    )
    lease_s: float = Field(
        60.0,
        gt=0,
        description="Seconds after which another worker takes over the events of one that died.",
    )
    attempts: int = Field(
        12, ge=1, description="Tries of what may pass, before an event goes to the dead letters."
    )
    backoff_s: float = Field(
        5.0, gt=0, description="Seconds before the second try; each next one waits twice as long."
    )
    backoff_max_s: float = Field(3600.0, gt=0, description="Longest wait between two tries.")
    keep_days: float = Field(
        30.0,
        gt=0,
        le=36_500,
        description="Days that done events, announcements and marks of deleted photos are kept. "
        "The counts of the ledger stay.",
    )
    dead_days: float = Field(
        400.0,
        ge=0,
        le=36_500,
        description="Days that dead letters are kept; the ledger goes on counting those that are "
        "removed then. 0: until somebody replays or removes them.",
    )
    top: int = Field(
        10, ge=0, description="Likeliest classes whose probabilities an announcement carries."
    )


class BrokersConfig(Section):
    sources: tuple[str, ...] = Field(
        (),
        description="Addresses of topics that events are read from, such as "
        "'nats://127.0.0.1:4222/photos' (docs/brokers.md). '${NAME}' in one stands for a variable "
        "of the environment, such as a password.",
    )
    announce: tuple[str, ...] = Field(
        (), description="Addresses of topics that what is announced is sent to; likewise."
    )
    max_waiting: int = Field(
        5000,
        ge=1,
        description="While more events than these wait, nothing is read: the rest is left to the "
        "brokers.",
    )
