"""Parts of the OpenAPI document that routes share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from listlens.serve.problems import KINDS, MEDIA_TYPE
from listlens.serve.shapes import ProblemOut

BEARER: dict[str, Any] = {"security": [{"token": []}]}

ANYWHERE = ("bad-request", "unauthorized", "forbidden", "rate-limited", "internal", "unavailable")


def problems(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of errors."""
    shape = {MEDIA_TYPE: {"schema": ProblemOut.model_json_schema()}}
    statuses = sorted({KINDS[kind][0] for kind in kinds})
    titles = {s: " or ".join(KINDS[k][1] for k in kinds if KINDS[k][0] == s) for s in statuses}
    return {status: {"description": titles[status], "content": shape} for status in statuses}


WITH_BODY = ("too-slow", "too-large", "invalid", "busy")


def said(
    summary: str,
    tag: str,
    answer: type[BaseModel],
    *,
    body: type[BaseModel] | None = None,
    body_needed: bool = True,
    query: type[BaseModel] | None = None,
    status: int = 200,
    wrong: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return what the OpenAPI document says of a route, as arguments of its decorator.

    Args:
        summary: a few words.
        tag: group of the route.
        answer: shape of what it returns.
        body: shape of what it takes.
        body_needed: whether a call without a body is wrong.
        query: shape of what stands behind the question mark.
        status: of the answer.
        wrong: kinds of problems beside those that may come anywhere.
    """
    extra: dict[str, Any] = dict(BEARER)
    kinds = [*ANYWHERE, *wrong]
    if body is not None:
        schema = {"schema": inlined(body.model_json_schema())}
        extra["requestBody"] = {"required": body_needed, "content": {"application/json": schema}}
        kinds += WITH_BODY
    if query is not None:
        extra["parameters"] = _parameters(inlined(query.model_json_schema()))
        kinds.append("invalid")
    return {
        "summary": summary,
        "tags": [tag],
        "status_code": status,
        "response_model": None,
        "responses": {
            status: {"model": answer, "description": answer.__doc__ or ""},
            **problems(*kinds),
        },
        "openapi_extra": extra,
    }


def _parameters(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """A shape's members as parameters behind the question mark."""
    needed = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in needed,
            "description": about.pop("description", ""),
            "schema": about,
        }
        for name, about in schema["properties"].items()
    ]


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON schema with its definitions put in their places."""
    definitions = schema.pop("$defs", {})

    def put(node: Any) -> Any:
        if isinstance(node, dict):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name in definitions:
                return put(definitions[name])
            return {key: put(value) for key, value in node.items()}
        return [put(one) for one in node] if isinstance(node, list) else node

    found: dict[str, Any] = put(schema)
    return found
