"""A table of `listlens.toml`: what every section of the settings is made of."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A table of the file: frozen, and no key that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _no_bool_as_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false where a number is meant, which Python takes for 1 and 0."""
        kind = cls.model_fields[info.field_name or ""].annotation
        items = value if isinstance(value, (list, tuple)) else [value]
        if {int, float} & {kind, *get_args(kind)} and any(isinstance(one, bool) for one in items):
            raise PydanticCustomError("bool_as_number", "must be a number, not true or false")
        return value
