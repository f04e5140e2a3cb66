"""Which fields a document may have at some place, for errors that name the nearest one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, RootModel

from listlens.core.errors import suggest

MOST_CHARS = 100
"""Of a name that came: whoever sends megabytes of it gets no more back."""


def place(loc: Sequence[str | int]) -> str:
    """Return where something is wrong, such as ``records.0.url``."""
    return ".".join(str(part)[:MOST_CHARS] for part in loc)


def no_such_field(shape: type[BaseModel], loc: Sequence[str | int]) -> str:
    """Say that a field is none, with the nearest that is and all there are at its place.

    Example:
        >>> from listlens.serve.shapes import PredictRequest
        >>> no_such_field(PredictRequest, ("records", 3, "ulr"))
        "no such field. Did you mean 'url'? Allowed: 'base64', 'id', 'url'"
    """
    here = list(_models(shape))
    for part in loc[:-1]:
        if isinstance(part, str):
            inner = [one.model_fields[part].annotation for one in here if part in one.model_fields]
            here = [found for one in inner for found in _models(one)] or _tagged(here, part)
    names = {name for one in here for name in one.model_fields}
    return f"no such field. {suggest(str(loc[-1])[:MOST_CHARS], names)}".removesuffix(".")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The shapes of objects that an annotation names, at any depth of lists and alternatives."""
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        for part in get_args(annotation):
            yield from _models(part)
    elif issubclass(annotation, RootModel):
        yield from _models(annotation.model_fields["root"].annotation)
    else:
        yield annotation


def _tagged(shapes: list[type[BaseModel]], tag: str) -> list[type[BaseModel]]:
    """Of alternatives told apart by a field, that which has this value."""
    return [
        one
        for one in shapes
        if any(tag in get_args(field.annotation) for field in one.model_fields.values())
    ] or shapes
