"""Parts of the OpenAPI document that routes share."""

from __future__ import annotations

from typing import Any

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
