"""A table of `listlens.toml`: what every section of the settings is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the file: frozen, and no key that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")
