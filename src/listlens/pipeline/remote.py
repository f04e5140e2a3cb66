"""Photos behind URLs: reached under the project's rules, sent again only where they changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from listlens.core.errors import FetchError, PhotoError
from listlens.core.types import Reason
from listlens.images.files import Limits
from listlens.sources.fetching import Fetcher, FetchRules

if TYPE_CHECKING:
    from listlens.core.config import Config
    from listlens.sources.fetching import Fetched

AT_ONCE = 16
"""Photos fetched at once, of all hosts together."""

ESTIMATE_BYTES = 4 * 2**20
"""What a photo of unknown size counts for, where photos read ahead are bounded in bytes."""

TRIES = 3
WAIT_S = 0.5
MAX_WAIT_S = 10.0
"""What may pass is tried three times, after waits that double, or as long as the host asks for."""


@dataclass(frozen=True, slots=True)
class Reach(Limits):
    """The bounds of photos, and the way to those behind URLs.

    Args:
        fetcher: fetches them.
    """

    fetcher: Fetcher = field(kw_only=True)


def limits_of(config: Config) -> Limits:
    """Return a project's bounds, with a way to URLs where `[fetch] enabled` says so.

    Raises:
        ConfigError: `[fetch]` names what is no host.
    """
    bounds = Limits(**config.limits.model_dump())
    return reaching(bounds, config) if config.fetch.enabled else bounds


def reaching(limits: Limits, config: Config) -> Reach:
    """Return the same bounds with a way to URLs; those that have one already as they are."""
    if isinstance(limits, Reach):
        return limits
    fetcher = Fetcher(FetchRules.of(config.fetch, limits.max_bytes))
    return Reach(**{f.name: getattr(limits, f.name) for f in fields(Limits)}, fetcher=fetcher)


def release(limits: Limits | None) -> None:
    """Close the connections of bounds that are not needed any more."""
    if isinstance(limits, Reach):
        limits.fetcher.close()


def read_url(url: str, limits: Limits) -> bytes:
    """Fetch the bytes of a photo once more, since they are not kept.

    Raises:
        PhotoError: REMOTE where URLs are not fetched; else as `Fetcher.fetch`, what may pass too.
    """
    if not isinstance(limits, Reach):
        raise PhotoError(
            Reason.REMOTE,
            f"{url[:200]} is not kept here, and URLs are not fetched again unless [fetch] enabled "
            "in listlens.toml says so",
        )
    try:
        return limits.fetcher.fetch(url).data
    except FetchError as error:
        raise PhotoError(error.reason, error.detail) from None


def ask(
    fetcher: Fetcher,
    url: str,
    etag: str | None,
    modified: str | None,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Fetch a URL if it changed; what may pass is tried a few times.

    Raises:
        PhotoError: never usable.
        FetchError: not now.
    """
    wait_s = WAIT_S
    for left in range(TRIES - 1, -1, -1):
        try:
            return fetcher.fetch(url, etag=etag, modified=modified)
        except FetchError as error:
            pause_s = max(wait_s, error.retry_after_s or 0.0)
            if not left or pause_s > MAX_WAIT_S:
                raise
            sleep(pause_s)
            wait_s *= 2
    raise AssertionError("not reached")
