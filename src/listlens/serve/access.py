"""Who may come in: tokens, their scopes and rates, the browser's cookie, open inference."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from ipaddress import ip_address
from typing import TYPE_CHECKING

from anyio import to_thread
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from listlens.serve.problems import Problem, busy, unauthorized

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from listlens.store.tokens import Token, Tokens

COOKIE = "listlens_token"

OPEN = {"/health", "/v2/health/live", "/v2/health/ready", "/login"}
"""Need no token; so do the style sheets and scripts under STATIC, which hold nothing of a shop."""
STATIC = "/static/"

PREDICT = ("/v1/predict", "/v1/models", "/try", "/v2", "/openapi.json")
"""Whatever begins with these needs scope `predict`; elsewhere reading needs `read`, the rest
`write`."""

ADMIN = ("/v1/tokens", "/v1/webhooks", "/v1/dead", "/v1/registry", "/v1/jobs", "/jobs")

ADMIN_FORMS = ("/models", "/dead")
"""Pages on which anything but looking needs `admin`."""

OPEN_INFERENCE = ("/v1/predict", "/v1/models", "/v2/")

REMEMBERED_S = 1.0
"""How long a looked-up token is believed; so soon a revoked one is refused."""

_MOST_REMEMBERED = 4096
_MOST_CHARS = 200
"""Ours have 52. What is remembered of whoever sends megabytes in place of one stays small so."""

_SAFE = {"GET", "HEAD", "OPTIONS"}


class Access:
    """Decides from a request's headers alone.

    Args:
        tokens: those of the project.
        open_inference: whether predict calls from this machine need no token.
    """

    def __init__(self, tokens: Tokens, *, open_inference: bool = False) -> None:
        self._tokens, self._open_inference = tokens, open_inference
        self._remembered: OrderedDict[str, tuple[float, Token | None]] = OrderedDict()
        self._rates = MovingWindowRateLimiter(MemoryStorage())

    async def admit(self, connection: HTTPConnection) -> Token | None:
        """Return the caller's token, None where none is needed.

        Raises:
            Problem: 401 without a token that is valid, 403 where it does not allow this, 429
                where its calls for this minute are used up.
        """
        path, method = connection.scope["path"], connection.scope["method"]
        if path in OPEN or path.startswith(STATIC):
            return None
        text, by_cookie = credentials(connection)
        if not text:
            if self._open_inference and path.startswith(OPEN_INFERENCE) and _is_local(connection):
                return None
            raise unauthorized(
                "Send a token: `Authorization: Bearer TOKEN`. `listlens token create` makes one."
            )
        token = await self.find(text)
        if token is None:
            raise unauthorized(
                "This token is unknown, expired or revoked. `listlens token create` makes one.",
                "invalid_token",
            )
        if by_cookie and method not in _SAFE and not _same_origin(connection):
            raise Problem("forbidden", "A form of another site may not use this log-in.")
        self._require_scope(token, method, path)
        self._require_rate(token)
        return token

    async def find(self, text: str) -> Token | None:
        """Return the valid token with this text, from the store at most once a second."""
        if len(text) > _MOST_CHARS:
            return None
        now = time.monotonic()
        known = self._remembered.get(text)
        if known is not None and now - known[0] < REMEMBERED_S:
            return known[1]
        if known is not None:  # one caller looks, the others go on with what was known
            self._remembered[text] = (now, known[1])
        token = await to_thread.run_sync(self._tokens.find, text)
        self._remembered[text] = (now, token)
        self._remembered.move_to_end(text)
        while len(self._remembered) > _MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        return token

    def _require_scope(self, token: Token, method: str, path: str) -> None:
        scope = needed_scope(method, path)
        if not token.allows(scope):
            has = ", ".join(token.scopes)
            raise Problem(
                "forbidden",
                f"This needs a token with scope {scope!r}; this one has: {has}. "
                f"`listlens token create --scope {scope}` makes one.",
            )

    def _require_rate(self, token: Token) -> None:
        if token.per_minute is None:
            return
        item, key = RateLimitItemPerMinute(token.per_minute), str(token.token_id)
        if not self._rates.hit(item, key):
            wait_s = self._rates.get_window_stats(item, key).reset_time - time.time()
            detail = f"This token may call {token.per_minute} times a minute."
            raise busy(detail, math.ceil(wait_s), "rate-limited")


def credentials(connection: HTTPConnection) -> tuple[str, bool]:
    """Return the token that a request brings, and whether the browser's cookie brought it."""
    kind, _, text = connection.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and text.strip():
        return text.strip(), False
    return connection.cookies.get(COOKIE, ""), True


def needed_scope(method: str, path: str) -> str:
    """Return the scope that a call needs.

    Example:
        >>> needed_scope("POST", "/v1/predict"), needed_scope("GET", "/metrics")
        ('predict', 'read')
        >>> needed_scope("PUT", "/v1/listings/7")
        'write'
        >>> needed_scope("GET", "/models"), needed_scope("POST", "/models/change")
        ('read', 'admin')
    """
    if path.startswith(PREDICT):
        return "predict"
    if path.startswith(ADMIN):
        return "admin"
    if path.startswith(ADMIN_FORMS) and method not in _SAFE:
        return "admin"
    return "read" if method in _SAFE or path == "/logout" else "write"


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_local(connection: HTTPConnection) -> bool:
    """The caller is on this machine, and no web page of another site sends it.

    A page may have its own host name point here (DNS rebinding); then the Host header tells.
    """
    client = connection.client
    name = connection.url.hostname or ""
    return (
        client is not None
        and is_loopback(client.host)
        and is_loopback(name)
        and _same_origin(connection)
    )


def _same_origin(connection: HTTPConnection) -> bool:
    """No other site is named as the sender: by Sec-Fetch-Site, which no page can set, and Origin.

    Browsers write the origin "null" where the page hides where it is from; then the former decides.
    """
    origin = connection.headers.get("origin")
    site = connection.headers.get("sec-fetch-site")
    if site not in (None, "none", "same-origin"):
        return False
    if origin is None or (origin == "null" and site == "same-origin"):
        return True
    return origin.partition("://")[2] == connection.headers.get("host")
