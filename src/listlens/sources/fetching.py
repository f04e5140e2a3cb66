"""The one door to URLs that strangers name: fetches a photo, or says why not, and reaches nothing
but the open internet and the hosts that the operator named.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from listlens._version import __version__
from listlens.core.errors import ConfigError, FetchError, PhotoError
from listlens.core.types import Reason
from listlens.sources.addresses import (
    HostPattern,
    Resolve,
    Resolver,
    parse_patterns,
    system_resolve,
)
from listlens.sources.connections import Answer, Connections, Timing
from listlens.sources.hosts import Hosts, retry_after_s
from listlens.sources.objects import Objects, is_object, not_allowed, parse_places
from listlens.sources.room import Lease, Room
from listlens.sources.urls import Target, parse_url, redirected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from listlens.core.config import FetchConfig

REDIRECTS = {301, 302, 303, 307, 308}
AGENT = f"listlens/{__version__}"

_ANSWER_BYTES = 2000

_MAX_VALIDATOR_CHARS = 1000
"""A longer ETag or date is not kept: the photo is then fetched whole again."""


@dataclass(frozen=True, slots=True)
class FetchRules:
    """What may be fetched, and what it may cost. `[fetch]` of `listlens.toml` explains each.

    Args:
        allow: where given, only these hosts (and those in `private`).
        private: hosts that may lie in private networks or on this machine.
        ports: allowed ones, besides those that `allow` and `private` name; any where empty.
        max_bytes: of one body.
        max_redirects: followed for one URL.
        connect_s: seconds to resolve and connect, TLS included.
        total_s: seconds from the first byte sent to the last received, redirects included.
        per_host: requests at once to one host.
        max_wait_s: longest wait that a host may ask for (Retry-After), and for a turn at it.
        agent: the User-Agent header.
        ca_file: certificate authorities in PEM; empty: the system's.
        buckets: places on object stores that may be read.
    """

    allow: tuple[HostPattern, ...] = ()
    private: tuple[HostPattern, ...] = ()
    ports: tuple[int, ...] = (80, 443)
    max_bytes: int = 100 * 2**20
    max_redirects: int = 5
    connect_s: float = 5.0
    total_s: float = 30.0
    per_host: int = 8
    max_wait_s: float = 60.0
    agent: str = AGENT
    ca_file: str = ""
    buckets: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: FetchConfig, max_bytes: int) -> FetchRules:
        """Return the rules that a project's settings give.

        Raises:
            ConfigError: an entry of `allow`, `private` or `buckets` names nothing.
        """
        return cls(
            allow=parse_patterns(config.allow),
            private=parse_patterns(config.private),
            ports=config.ports,
            max_bytes=max_bytes,
            connect_s=config.connect_s,
            total_s=config.total_s,
            per_host=config.per_host,
            max_wait_s=config.max_wait_s,
            agent=config.agent or AGENT,
            ca_file=config.ca_file,
            buckets=parse_places(config.buckets),
        )

    def is_private(self, host: str, port: int) -> bool:
        """Whether the operator named this host as one that may be private."""
        return any(pattern.matches(host, port) for pattern in self.private)

    def check(self, target: Target) -> None:
        """Raise PhotoError (NOT_ALLOWED) for a host or port that may not be asked."""
        host, port = target.host, target.port
        if self.is_private(host, port):
            return
        named = [pattern for pattern in self.allow if pattern.matches(host, port)]
        if self.allow and not named:
            raise PhotoError(
                Reason.NOT_ALLOWED, f"{host}:{port} is not among the hosts of [fetch] allow"
            )
        if (
            self.ports
            and port not in self.ports
            and not any(pattern.port == port for pattern in named)
        ):
            raise PhotoError(
                Reason.NOT_ALLOWED, f"{host}: port {port} is not among those of [fetch] ports"
            )


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL gave.

    Args:
        data: the body; empty where `not_modified`.
        etag: to be handed in next time, or None.
        modified: the Last-Modified header, to be handed in next time, or None.
        not_modified: whether it is what it was when `etag` or `modified` were given.
        final_url: after redirects.
        lease: of the memory for a long body. Others wait until this object is gone, so let go of it
            when the body is not needed any more, and keep it as long as it is.
    """

    data: bytes
    etag: str | None
    modified: str | None
    not_modified: bool
    final_url: str
    lease: Lease | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Posted:
    """What a URL answered to what was sent to it.

    Args:
        status: of HTTP.
        start: up to 2,000 bytes of the body, as text.
        retry_after_s: how long its host asks to wait, or None.
    """

    status: int
    start: str
    retry_after_s: float | None


class Fetcher:
    """Fetches photos from URLs under rules. Safe to share among threads; close it in the end.

    Args:
        rules: what may be fetched and what it may cost.
        resolve: answers names in place of the system's resolver.

    Example:
        >>> with Fetcher(FetchRules()) as fetcher:
        ...     fetcher.fetch("http://169.254.169.254/latest/meta-data/")
        Traceback (most recent call last):
        ...
        listlens.core.errors.PhotoError: unsafe_address: 169.254.169.254 leads to \
169.254.169.254, which is in 169.254.0.0/16: only hosts on the open internet are fetched from, and \
those that [fetch] private names
    """

    def __init__(self, rules: FetchRules, resolve: Resolve = system_resolve) -> None:
        self.rules = rules
        self._hosts = Hosts(rules.per_host, rules.max_wait_s)
        self._room = Room()
        self._connections = Connections(
            Resolver(resolve), rules.is_private, _trusting(rules.ca_file)
        )
        self._objects = None
        if rules.buckets:
            connect, total = (timedelta(seconds=s) for s in (rules.connect_s, rules.total_s))
            self._objects = Objects(rules.buckets, rules.max_bytes, connect, total)

    def fetch(self, url: str, *, etag: str | None = None, modified: str | None = None) -> Fetched:
        """Fetch one URL, following redirects, each checked like the first.

        Args:
            url: http or https; s3, gs or az below one of `FetchRules.buckets`.
            etag: of the copy at hand, for a conditional request.
            modified: Last-Modified of the copy at hand.

        Returns:
            The body, or that it is not modified.

        Raises:
            PhotoError: never usable: its Reason says why.
            FetchError: may work later; carries a Reason too, and how long the host asks to wait.
        """
        if is_object(url):
            return self._object(url, etag)
        headers = {"User-Agent": self.rules.agent, "Accept": "image/*,*/*;q=0.5"}
        headers["Accept-Encoding"] = "identity"
        headers |= {"If-None-Match": etag} if etag and etag.isprintable() else {}
        headers |= {"If-Modified-Since": modified} if modified and modified.isprintable() else {}
        timing = Timing(self.rules.connect_s, self.rules.total_s)
        target = parse_url(url)
        for _ in range(self.rules.max_redirects + 1):
            self.rules.check(target)
            with self._hosts.turn(target.host):
                answer = self._connections.send("GET", target, headers, timing)
                try:
                    found = self._settle(target, answer, conditional=bool(etag or modified))
                finally:
                    answer.close()
            if isinstance(found, Fetched):
                return found
            target, timing = found, Timing(timing.connect_s, answer.left_s())
        raise PhotoError(
            Reason.TOO_MANY_REDIRECTS, f"{parse_url(url).host}: over {self.rules.max_redirects}"
        )

    def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, total_s: float | None = None
    ) -> Posted:
        """Send bytes to a URL under the same rules; redirects are not followed.

        Raises:
            PhotoError: the URL may not be asked.
            FetchError: no answer.
        """
        target = self.checked(url)
        timing = Timing(self.rules.connect_s, total_s or self.rules.total_s)
        sent = {"User-Agent": self.rules.agent, "Accept-Encoding": "identity", **headers}
        with self._hosts.turn(target.host):
            answer = self._connections.send("POST", target, sent, timing, body)
            try:
                wait_s = retry_after_s(answer.headers.get("retry-after"), self.rules.max_wait_s)
                start = answer.start(_ANSWER_BYTES).decode("utf-8", "replace")
                return Posted(answer.status, start, wait_s)
            finally:
                answer.close()

    def _object(self, url: str, etag: str | None) -> Fetched:
        if self._objects is None:
            raise not_allowed(url)
        with self._hosts.turn(url.partition("://")[2].partition("/")[0]):
            data, found = self._objects.read(url, etag)
        return Fetched(data or b"", _validator(found), None, data is None, url)

    def checked(self, url: str) -> Target:
        """Return a URL in parts if it may be asked, as far as that shows before its name is
        resolved; raises PhotoError.
        """
        target = parse_url(url)
        self.rules.check(target)
        return target

    def _settle(self, target: Target, answer: Answer, *, conditional: bool) -> Fetched | Target:
        """Return the photo or where to look instead; raises what the answer means otherwise."""
        status, headers = answer.status, answer.headers
        if status in REDIRECTS and headers.get("location"):
            return redirected(target, headers["location"])
        etag, modified = (_validator(headers.get(name)) for name in ("etag", "last-modified"))
        if status == 304 and conditional:
            return Fetched(b"", etag, modified, True, target.url)
        if status not in {200, 203}:
            raise self._no_photo(target, status, headers)
        if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            raise PhotoError(
                Reason.ENCODED,
                f"{target.host} sends Content-Encoding {headers['content-encoding'][:40]!r}, "
                "although the photo was asked for as it is",
            )
        leases: list[Lease] = []
        data = answer.read(
            self.rules.max_bytes, lambda n_bytes: leases.append(self._leased(n_bytes, answer))
        )
        if data is None:
            raise PhotoError(
                Reason.TOO_MANY_BYTES, f"more than {self.rules.max_bytes:,} bytes at {target.host}"
            )
        if not data:
            raise PhotoError(Reason.EMPTY, f"{target.host} answers with zero bytes")
        return Fetched(data, etag, modified, False, target.url, next(iter(leases), None))

    def _leased(self, n_bytes: int, answer: Answer) -> Lease:
        """Wait for memory for a long body."""
        lease = self._room.take(n_bytes, min(answer.left_s(), self.rules.max_wait_s))
        if lease is None:
            raise FetchError(Reason.BUSY, "too many large photos are being fetched", 1.0)
        return lease

    def _no_photo(
        self, target: Target, status: int, headers: Mapping[str, str]
    ) -> PhotoError | FetchError:
        """What a status means that brings no photo."""
        said = f"{target.host} answers {status}"
        if status in {404, 410}:
            return PhotoError(Reason.MISSING, said)
        if status in {401, 403, 407, 451}:
            return PhotoError(Reason.FORBIDDEN, said)
        wait_s = retry_after_s(headers.get("retry-after"), self.rules.max_wait_s)
        if status in {429, 503}:
            if wait_s:
                self._hosts.leave_alone(target.host, wait_s)
            return FetchError(Reason.BUSY if status == 429 else Reason.HOST_FAILED, said, wait_s)
        if status >= 500 or status in {408, 421, 425}:
            return FetchError(Reason.HOST_FAILED, said, wait_s)
        return PhotoError(Reason.REFUSED, said)

    def close(self) -> None:
        """Close idle connections."""
        self._connections.close()

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _validator(value: str | None) -> str | None:
    """An ETag or date that can be sent back."""
    return value if value and value.isprintable() and len(value) <= _MAX_VALIDATOR_CHARS else None


def _trusting(ca_file: str) -> ssl.SSLContext | None:
    """A TLS context for own certificate authorities, or None for the system's."""
    if not ca_file:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"[fetch] ca_file {ca_file}: {error}. Give a file of certificates in PEM."
        ) from None
