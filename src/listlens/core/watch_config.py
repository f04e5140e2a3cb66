"""Settings for those who watch: what the work may cost, and when photos count as drifted."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from listlens.core.section import Section

AtCap = Literal["queue", "sample", "embed-only"]


class CapsConfig(Section):
    daily_photos: int = Field(
        0, ge=0, description="Photos of a source that are looked at in a day; 0: no cap."
    )
    monthly_photos: int = Field(
        0, ge=0, description="Photos of a source that are looked at in a month; 0: no cap."
    )
    daily_cost: float = Field(
        0.0,
        ge=0,
        description="What looking at a source's photos may cost in a day, by core_hour; 0: no cap.",
    )
    monthly_cost: float = Field(
        0.0,
        ge=0,
        description="What looking at a source's photos may cost in a month, by core_hour; 0: no "
        "cap.",
    )
    at_cap: AtCap = Field(
        "queue",
        description="What happens at a cap: queue lets photos wait for the next day or month; "
        "sample looks at a share of them and puts the rest among the dead letters; embed-only "
        "looks at them and leaves the answers to `listlens tag`.",
    )
    sample: float = Field(
        0.1, gt=0, lt=1, description="Share of the photos that go on at a cap, for at_cap = sample."
    )
    backfill_only: bool = Field(
        False,
        description="Whether only back-fills are held at a cap; new uploads count, and go on.",
    )

    @property
    def capped(self) -> bool:
        """Whether there is any cap."""
        return any((self.daily_photos, self.monthly_photos, self.daily_cost, self.monthly_cost))


class SourceBudgetConfig(CapsConfig):
    """The caps of one source; keys left out take the value of `[budget]`."""


class BudgetConfig(CapsConfig):
    core_hour: float = Field(
        0.0,
        ge=0,
        description="Price of an hour of one processor core, such as 0.04; 0 shows no costs.",
    )
    currency: str = Field("EUR", max_length=10, description="Of the price.")
    timezone: str = Field(
        "UTC", description="In which days and months begin, such as 'Europe/Berlin'."
    )
    sources: dict[str, SourceBudgetConfig] = Field(
        default_factory=dict,
        description="Caps of single sources, one table each: [budget.sources.NAME]. What it leaves "
        "out is taken from [budget].",
    )

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name == "UTC":  # known everywhere
            return name
        try:
            ZoneInfo(name)
        except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
            raise ValueError(
                "no such time zone on this machine. Give a name such as 'UTC' or 'Europe/Berlin' "
                "(Windows has none before pip install tzdata)"
            ) from None
        return name

    @model_validator(mode="after")
    def _priced(self) -> BudgetConfig:
        costs = [self.daily_cost, self.monthly_cost]
        costs += [c for one in self.sources.values() for c in (one.daily_cost, one.monthly_cost)]
        if any(costs) and not self.core_hour:
            raise ValueError("a cap on cost needs core_hour, the price of an hour of a core")
        return self

    def caps_of(self, source: str) -> CapsConfig:
        """The caps of a source: its own, and what its table leaves out from here."""
        own = self.sources.get(source)
        if own is None:
            return self
        given = {name: getattr(own, name) for name in own.model_fields_set}
        return self.model_copy(update=given)


class DriftConfig(Section):
    enabled: bool = Field(
        True, description="Whether the worker compares what comes in with the training's photos."
    )
    days: int = Field(
        7, ge=1, le=90, description="At most so many of the newest days are judged together."
    )
    min_photos: int = Field(
        100,
        ge=30,
        description="Photos of a source that are judged together: of the newest day, and of those "
        "before it until there are so many.",
    )
