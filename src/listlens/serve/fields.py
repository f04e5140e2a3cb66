"""What is wrong in a document, in words: where, what is allowed, and the nearest of its fields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, RootModel, ValidationError

from listlens.core.errors import suggest

MOST_CHARS = 100
"""Of a name that came: whoever sends megabytes of it gets no more back."""

MOST = 20
"""Mistakes that are told."""

_EXTRA = "extra_forbidden"
_WORDS = {
    "missing": "is needed, and is not there",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
}
_WAY = re.compile(r"constrained-\w+|literal\[.*\]|int|str|bool|float")
"""What stands behind a field that may be one thing or another: which of them was tried."""


def mistakes(error: ValidationError, shape: type[BaseModel]) -> list[dict[str, str]]:
    """Return what is wrong in a document, at most `MOST`, without repeating what came.

    Fields that are none come first, as a misspelt one explains the one that is missing.

    Args:
        error: of the document.
        shape: that it should have.

    Returns:
        `at`, `problem` and `kind` (pydantic's) of each; what a field may be instead is one problem.
    """
    found: dict[str, dict[str, str]] = {}
    raised = error.errors(include_input=False, include_url=False, include_context=False)
    for e in sorted(raised, key=lambda e: e["type"] != _EXTRA):
        loc = e["loc"]
        if len(loc) > 1 and isinstance(loc[-1], str) and _WAY.fullmatch(loc[-1]):
            loc = loc[:-1]
        at = place(loc)
        if e["type"] == _EXTRA:
            problem = no_such_field(shape, loc)
        else:
            problem = _WORDS.get(e["type"]) or e["msg"].replace("Input should be", "must be", 1)
        if at in found:
            found[at]["problem"] += f", or {problem}"
        elif len(found) < MOST:
            found[at] = {"at": at, "problem": problem, "kind": e["type"]}
    return list(found.values())


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
