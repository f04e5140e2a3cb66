"""Errors in one shape: RFC 9457, `application/problem+json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from listlens.core.errors import (
    AccessError,
    BusyError,
    InputError,
    ListlensError,
    MissingExtraError,
    NotFoundError,
    PhotoError,
    Retryable,
)

MEDIA_TYPE = "application/problem+json"

KINDS: dict[str, tuple[int, str]] = {
    "bad-request": (400, "The request cannot be read"),
    "unauthorized": (401, "A token is needed"),
    "forbidden": (403, "The token does not allow this"),
    "not-found": (404, "There is no such thing"),
    "unknown-task": (404, "There is no such task"),
    "method-not-allowed": (405, "This address takes another method"),
    "too-slow": (408, "The request came too slowly"),
    "beyond-end": (410, "The feed ends before this cursor"),
    "too-large": (413, "The request is too large"),
    "unsupported-media-type": (415, "The request is in a format that is not read"),
    "invalid": (422, "The request does not say what it must"),
    "busy": (429, "Too much at once"),
    "rate-limited": (429, "The token's calls for this minute are used up"),
    "internal": (500, "Something broke on our side"),
    "missing-package": (501, "The server lacks an optional package"),
    "unavailable": (503, "The server cannot answer now"),
}
"""The last part of a problem's `type`, with its status and title."""


class Problem(Exception):
    """An error on its way to the caller.

    Args:
        kind: of KINDS.
        detail: one or two sentences: what came, what is allowed, what to do.
        headers: of the response.
        more: members of the document beside the standard ones, JSON-able.
    """

    def __init__(
        self, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail
        self.headers, self.more = dict(headers or {}), more

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return KINDS[self.kind][0]

    def document(self, request_id: str = "") -> dict[str, Any]:
        """Return what it says, JSON-able, as RFC 9457 shapes it."""
        status, title = KINDS[self.kind]
        return {
            "type": f"urn:listlens:problem:{self.kind}",
            "title": title,
            "status": status,
            "detail": self.detail,
            "request_id": request_id,
            **self.more,
        }

    def response(self, request_id: str = "") -> Response:
        """Return what the caller gets."""
        text, headers = json.dumps(self.document(request_id)), dict(self.headers)
        return Response(text, self.status, headers | {"Cache-Control": "no-store"}, MEDIA_TYPE)


def problem_of(error: ListlensError) -> Problem:
    """Return the problem that says what one of our errors says."""
    if isinstance(error, BusyError):
        return busy(str(error), error.retry_after_s)
    if isinstance(error, NotFoundError):
        return Problem("not-found", str(error))
    if isinstance(error, InputError):
        return Problem("invalid", str(error))
    if isinstance(error, PhotoError):  # of the one photo that the call is about
        return Problem("invalid", str(error), reason=error.reason.value)
    if isinstance(error, AccessError):
        return Problem("forbidden", str(error))
    if isinstance(error, MissingExtraError):
        return Problem("missing-package", str(error))
    if isinstance(error, Retryable):
        return Problem("unavailable", str(error), headers={"Retry-After": "5"})
    return Problem("internal", str(error))


def busy(detail: str, retry_after_s: float, kind: str = "busy") -> Problem:
    """Return a 429 that says when to come again, in whole seconds, at least one."""
    wait_s = max(1, math.ceil(retry_after_s))
    return Problem(kind, detail, headers={"Retry-After": str(wait_s)}, retry_after_s=wait_s)


def unauthorized(detail: str, error: str = "") -> Problem:
    """Return a 401 as RFC 6750 wants it; `error` where a token came that lets nobody in."""
    challenge = 'Bearer realm="listlens"' + (f', error="{error}"' if error else "")
    return Problem("unauthorized", detail, headers={"WWW-Authenticate": challenge})
