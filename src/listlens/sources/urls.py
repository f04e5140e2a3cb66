"""A URL taken apart strictly: what two parsers could read in two ways is refused."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from listlens.core.errors import PhotoError
from listlens.core.types import Reason
from listlens.sources.objects import is_object

MAX_URL_CHARS = 8000
"""What common servers accept as a request line."""

DEFAULT_PORTS = {"http": 80, "https": 443}
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\\]")
_SAFE = "%/:@!$&'()*+,;=~-._?[]|"
"""Characters left as they are in path and query; others are percent-encoded."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be asked for, in parts.

    Args:
        scheme: ``http`` or ``https``.
        host: ASCII, lower case, without brackets.
        port: as given, or the scheme's.
        path: percent-encoded, with the query; begins with a slash.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL and in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What a connection may be used again for."""
        return self.scheme, self.host, self.port


def is_url(location: str) -> bool:
    """Whether a photo's location is a URL and not a path.

    Example:
        >>> is_url("https://shop.example/a.jpg"), is_url("s3://photos/a.jpg"), is_url("/http/a.jpg")
        (True, True, False)
    """
    return location.startswith(("https://", "http://")) or is_object(location)


def parse_url(url: str) -> Target:
    """Take a URL apart.

    Raises:
        PhotoError: BAD_URL: not http or https, with a user name or password, a control character
            or backslash, a host that is none, or an IPv4 address in other than four decimal parts.

    Example:
        >>> parse_url("HTTPS://Shop.Example/a b.jpg#top").url
        'https://shop.example/a%20b.jpg'
    """
    text = url.strip(" ")
    if len(text) > MAX_URL_CHARS:
        raise _bad(text, f"longer than {MAX_URL_CHARS:,} characters")
    if _CONTROL.search(text):
        raise _bad(text, "it holds a control character or a backslash")
    try:
        parts = urlsplit(text)
        port = parts.port
        path = quote(parts.path or "/", safe=_SAFE)
        query = quote(parts.query, safe=_SAFE)
    except ValueError as error:
        raise _bad(text, str(error)) from None
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise _bad(text, "only http and https are fetched")
    if "@" in parts.netloc:
        raise PhotoError(
            Reason.BAD_URL, f"{scheme}:// URL with a user name or password: leave them out"
        )
    if port == 0:
        raise _bad(text, "port 0")
    host = _host(text, parts.hostname or "")
    return Target(scheme, host, port or DEFAULT_PORTS[scheme], f"{path}?{query}" if query else path)


def redirected(target: Target, location: str) -> Target:
    """Return where a redirect leads.

    Raises:
        PhotoError: BAD_URL as in `parse_url`; UNSAFE_REDIRECT from https to http.
    """
    if _CONTROL.search(location):
        raise _bad(location, "a redirect with a control character or a backslash")
    try:
        joined = urljoin(target.url, location)
    except ValueError as error:
        raise _bad(location, str(error)) from None
    following = parse_url(joined)
    if target.scheme == "https" and following.scheme == "http":
        raise PhotoError(
            Reason.UNSAFE_REDIRECT, f"{target.host} redirects from https to {following.url[:200]}"
        )
    return following


def _host(url: str, host: str) -> str:
    """The host in ASCII; refuses what is neither a name nor a plain address."""
    if ":" in host:
        try:
            if "%" in host:
                raise ValueError("bound to an interface")
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise _bad(url, "its host is no IPv6 address") from None
    # Width and dot variants first, so that they cannot hide a number; IDNA 2008 keeps what is left.
    folded = unicodedata.normalize("NFKC", host.lower()).replace("\u3002", ".").lower()
    labels = [_ascii_label(label) for label in folded.removesuffix(".").split(".")]
    if not all(_LABEL.fullmatch(label) for label in labels) or sum(map(len, labels)) > 250:
        raise _bad(url, "its host is no host name")
    name = ".".join(labels)
    if _NUMBER.fullmatch(labels[-1]):
        # Like browsers: what ends in a number is an address, and only its plain form is taken.
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise _bad(url, "an IPv4 address must have four decimal parts") from None
    return name


def _ascii_label(label: str) -> str:
    if label.isascii():
        return label
    try:
        return "xn--" + label.encode("punycode").decode("ascii")
    except UnicodeError:
        return ""


def _bad(url: str, why: str) -> PhotoError:
    shown = "".join(c if c.isprintable() else "\ufffd" for c in url[:200])
    return PhotoError(Reason.BAD_URL, f"{shown}: {why}")
