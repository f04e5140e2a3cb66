"""What both clients do alike: how httpx is set up, and what its errors mean."""

from __future__ import annotations

import os
from typing import Any

import httpx

from listlens._version import __version__
from listlens.client.calls import Call
from listlens.client.failures import failure, retry_after
from listlens.client.retrying import Retries, is_worth_again
from listlens.core.errors import InputError, ListlensError, ServerError

TOKEN_NAME = "LISTLENS_TOKEN"


def arguments(
    url: str, token: str | None, timeout_s: float, options: dict[str, Any]
) -> dict[str, Any]:
    """Return the arguments of an httpx client.

    Raises:
        InputError: an address that is none, or a token that no header can carry.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise InputError(f"{url!r} is no address of a server; such as http://127.0.0.1:8000")
    text = os.environ.get(TOKEN_NAME, "") if token is None else token
    if not text.isascii() or any(char.isspace() for char in text):
        raise InputError("the token holds spaces or signs that no token has: was it copied whole?")
    headers = {"User-Agent": f"listlens/{__version__}", **options.pop("headers", {})}
    if text:
        headers["Authorization"] = f"Bearer {text}"
    return {"base_url": url, "headers": headers, "timeout": timeout_s, **options}


class Attempts:
    """The attempts at one call: after each that failed, a pause or the error.

    Args:
        call: what is asked.
        retries: how often, and after which pauses.
    """

    def __init__(self, call: Call[Any], retries: Retries) -> None:
        self._call, self._retries, self._n = call, retries, 0

    def refused(self, response: httpx.Response) -> float:
        """Return the seconds to wait after an answer that is an error, or raise it."""
        again = is_worth_again(response.status_code, safe=self._call.safe)
        return self._pause(failure(response), again, retry_after(response))

    def lost(self, error: httpx.TransportError) -> float:
        """Return the seconds to wait after there was no answer, or raise ServerError."""
        said = str(error) or type(error).__name__
        ours = ServerError(
            f"{self._call.path}: no answer from the server ({said}). Is it running, and is this "
            "its address?"
        )
        return self._pause(ours, self._call.safe or _never_sent(error))

    def _pause(self, error: ListlensError, again: bool, asked_s: float | None = None) -> float:
        self._n += 1
        pause_s = self._retries.pause(self._n, asked_s) if again else None
        if pause_s is None:
            raise error
        return pause_s


def _never_sent(error: httpx.TransportError) -> bool:
    """Whether a call surely did nothing: there was no connection."""
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
