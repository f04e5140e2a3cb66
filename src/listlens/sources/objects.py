"""Photos on object stores (S3 and the like), from the places that the operator names and no other.

The names of buckets are the operator's, not a stranger's: a stranger's URL only picks a key below
one of them. So nothing has to be resolved or judged here, and the credentials, which are taken from
the environment, read nothing that was not named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from listlens.core.errors import ConfigError, FetchError, MissingExtraError, PhotoError
from listlens.core.types import Reason

if TYPE_CHECKING:
    from datetime import timedelta

SCHEMES = ("s3", "gs", "az")
_PLACE = re.compile(r"(s3|gs|az)://[A-Za-z0-9._-]+(/[^\x00-\x1f]*)?")
READ_BYTES = 2**20


def is_object(url: str) -> bool:
    """Whether a URL names an object of a store.

    Example:
        >>> is_object("s3://photos/a.jpg"), is_object("https://shop.example/a.jpg")
        (True, False)
    """
    scheme, found, _ = url.partition("://")
    return bool(found) and scheme.lower() in SCHEMES


def parse_places(entries: Sequence[str]) -> tuple[str, ...]:
    """Read `[fetch] buckets`: each a URL of a bucket, or of a folder in one.

    Raises:
        ConfigError: an entry is no such URL.

    Example:
        >>> parse_places(["s3://photos/", "gs://shop/incoming"])
        ('s3://photos', 'gs://shop/incoming')
    """
    for entry in entries:
        if not _PLACE.fullmatch(entry) or _strange(entry.partition("://")[2].rstrip("/")):
            raise ConfigError(
                f"{entry!r} names no object store. Give one such as 's3://photos', "
                "'gs://photos/incoming' or 'az://account/container'."
            )
    return tuple(entry.rstrip("/") for entry in entries)


class Objects:
    """Reads objects below some places. Safe to share among threads.

    Args:
        places: from `parse_places`.
        max_bytes: of one object.
        connect: longest wait for a connection.
        total: longest wait for an object.

    Raises:
        MissingExtraError: obstore is not installed.
        ConfigError: a place that obstore does not take, or without what it needs to be reached.
    """

    def __init__(
        self, places: Sequence[str], max_bytes: int, connect: timedelta, total: timedelta
    ) -> None:
        try:
            from obstore.store import from_url
        except ModuleNotFoundError as error:
            raise MissingExtraError("Reading from object stores", "objects") from error
        self._max_bytes = max_bytes
        self._stores: dict[str, Any] = {}
        # What is given here takes the place of all that obstore reads of it in the environment.
        plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"true", "1"}
        options: Any = {"connect_timeout": connect, "timeout": total, "allow_http": plain}
        for place in sorted(places, key=len, reverse=True):  # of two the narrower one counts
            try:
                self._stores[place] = from_url(
                    place,
                    client_options=options,
                    retry_config={"max_retries": 1, "retry_timeout": total},
                )
            except Exception as error:  # obstore's errors share no base that is public
                raise ConfigError(f"[fetch] buckets: {place}: {_said(error)}") from None

    def read(self, url: str, etag: str | None) -> tuple[bytes | None, str | None]:
        """Return an object's bytes and ETag; None for the bytes where the ETag is still the same.

        Raises:
            PhotoError: NOT_ALLOWED, BAD_URL, MISSING, FORBIDDEN, TOO_MANY_BYTES or EMPTY.
            FetchError: UNREACHABLE.
        """
        import obstore
        from obstore import exceptions

        place, key = self._find(url)
        options: Any = {"if_none_match": etag} if etag else None
        try:
            found = obstore.get(self._stores[place], key, options=options)
            data = self._bytes(found, url)
            return data, found.meta.get("e_tag")
        except exceptions.NotModifiedError:
            return None, etag
        except (exceptions.NotFoundError, FileNotFoundError):
            raise PhotoError(Reason.MISSING, f"nothing is at {url[:200]}") from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise PhotoError(Reason.FORBIDDEN, f"{url[:200]}: {_said(error)}") from None
        except (exceptions.BaseError, OSError) as error:
            raise FetchError(Reason.UNREACHABLE, f"{url[:200]}: {_said(error)}") from None

    def _find(self, url: str) -> tuple[str, str]:
        """The place that a URL lies in, and its key there."""
        scheme, _, rest = url.partition("://")
        named = f"{scheme.lower()}://{rest}"
        if _strange(rest):
            raise PhotoError(
                Reason.BAD_URL, f"{url[:200]!r}: '.', '..' and empty parts are refused"
            )
        for place in self._stores:
            if named.startswith(f"{place}/"):
                return place, named[len(place) + 1 :]
        raise not_allowed(url)

    def _bytes(self, found: Any, url: str) -> bytes:
        """Read at most so many bytes, whatever the store says of their number."""
        too_many = PhotoError(
            Reason.TOO_MANY_BYTES, f"more than {self._max_bytes:,} at {url[:200]}"
        )
        if found.meta["size"] > self._max_bytes:
            raise too_many
        parts, total = [], 0
        for part in found.stream(min_chunk_size=READ_BYTES):
            parts.append(bytes(part))
            total += len(parts[-1])
            if total > self._max_bytes:
                raise too_many
        if not total:
            raise PhotoError(Reason.EMPTY, f"0 bytes at {url[:200]}")
        return b"".join(parts)


def not_allowed(url: str) -> PhotoError:
    """Return the error for an object that no setting names."""
    return PhotoError(
        Reason.NOT_ALLOWED, f"{url[:200]!r} is in none of the places of [fetch] buckets"
    )


def _strange(path: str) -> bool:
    parts = path.split("/")
    return any(part in {"", ".", ".."} for part in parts) or not path.isprintable()


def _said(error: BaseException) -> str:
    """The first line of what obstore says; the rest are internals."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
