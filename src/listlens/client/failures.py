"""Answers that are errors, as errors of our tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from listlens.core.errors import (
    AccessError,
    BusyError,
    InputError,
    ListlensError,
    NotFoundError,
    ServerError,
)

if TYPE_CHECKING:
    import httpx

_URN = "urn:listlens:problem:"
_NOT_FOUND, _UNKNOWN_TASK = "not-found", "unknown-task"


def retry_after(response: httpx.Response) -> float | None:
    """Return the seconds that an answer asks to wait; None where it asks for nothing we read."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 8 else None


def failure(response: httpx.Response) -> ListlensError:
    """Return the error that an answer of status 400 and above is.

    Its message is the server's own sentence (RFC 9457 `detail`) with the request's id, by which the
    server's log knows it.
    """
    problem = _problem(response)
    status, kind = response.status_code, str(problem.get("type", "")).removeprefix(_URN)
    said = str(problem.get("detail") or f"{response.request.url} answered {status}")
    request_id = problem.get("request_id") or response.headers.get("x-request-id")
    text = f"{said} (request {request_id})" if request_id else said
    if status == 429:
        return BusyError(text.rstrip("."), retry_after(response) or 1.0)
    if status in (401, 403):
        return AccessError(text)
    if kind in (_NOT_FOUND, _UNKNOWN_TASK) or status == 404:
        return NotFoundError(text)
    if status >= 500 and status != 501:
        return ServerError(text)
    return InputError(text)


def _problem(response: httpx.Response) -> dict[str, Any]:
    """The document of the problem; empty where something else answered, such as a proxy."""
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
