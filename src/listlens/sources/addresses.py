"""Which hosts and addresses may be connected to, and one resolution of a name, bounded in time.

What is refused follows the IANA special-purpose address registries (2024-10), not
`ipaddress.is_global`, whose answers differ between patch releases of Python (CVE-2024-4032).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass

from listlens.core.errors import ConfigError, FetchError, PhotoError
from listlens.core.types import Reason

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
"""Host name and port to addresses as text, in the order to try."""

_PRIVATE = tuple(
    ipaddress.ip_network(net)
    for net in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8"),
        *("::1/128", "fc00::/7"),
    )
)
"""Refused, save for hosts that the operator names."""

_NEVER = tuple(
    ipaddress.ip_network(net)
    for net in (
        "0.0.0.0/8",  # "this host": connects to loopback on Linux
        "169.254.0.0/16",  # link-local, with the metadata services of most clouds
        "100.100.100.200/32",  # metadata, Alibaba
        "168.63.129.16/32",  # Azure's wire server, although a global address
        "192.0.0.0/24",  # protocol assignments; metadata, Oracle
        *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",  # benchmarks
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "fd00:ec2::/32",  # metadata, AWS
        "fd20:ce::/32",  # metadata, Google
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside, and out of use
        "3fff::/20",  # documentation
    )
)
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is handed out for the internet; the rest is refused, whatever it is."""

_CARRIES_4 = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))
"""IPv4-mapped, and what DNS64 answers on networks with IPv6 only: the IPv4 inside is judged."""


def refusal(address: Address, *, private: bool = False) -> str | None:
    """Return why an address may not be connected to, or None.

    Args:
        address: what a name resolved to.
        private: whether the operator named the host: then private networks and loopback will do,
            but never link-local, metadata or multicast addresses.

    Example:
        >>> refusal(ipaddress.ip_address("::ffff:10.0.0.1"))
        'in 10.0.0.0/8'
    """
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in net for net in _CARRIES_4):
            return refusal(ipaddress.IPv4Address(address.packed[-4:]), private=private)
        if address.scope_id is not None:
            return "bound to an interface"
    for net in _NEVER:
        if address.version == net.version and address in net:
            return f"in {net}"
    for net in _PRIVATE:
        if address.version == net.version and address in net:
            return None if private else f"in {net}"
    if address.version == 6 and address not in _GLOBAL_6:
        return "no global IPv6 address"
    return None


@dataclass(frozen=True, slots=True)
class HostPattern:
    """A host that a setting names: ``shop.example``, ``*.shop.example`` (any name below it, not
    itself), with ``:8080`` only this port, ``[::1]:8080`` for IPv6.
    """

    host: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> HostPattern:
        """Read one entry of a setting.

        Raises:
            ConfigError: it is no host.
        """
        host, port = text.strip().lower(), None
        head, colon, tail = host.rpartition(":")
        if colon and tail.isdigit() and (":" not in head or head.endswith("]")):
            host, port = head, int(tail)
        host = host.removeprefix("[").removesuffix("]").rstrip(".")
        bare = host.removeprefix("*.")
        if not bare or set(bare) & set("*/@ \\?#[]") or port == 0:
            raise ConfigError(
                f"{text!r} names no host. Give one such as 'shop.example', '*.shop.example' or "
                "'127.0.0.1:8080', without http://."
            )
        return cls(host, port)

    def matches(self, host: str, port: int) -> bool:
        """Whether a host of a URL (lower case, without brackets) is meant."""
        if self.port is not None and self.port != port:
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return host == self.host


def parse_patterns(entries: Iterable[str]) -> tuple[HostPattern, ...]:
    """Read the entries of a setting; see HostPattern."""
    return tuple(HostPattern.parse(entry) for entry in entries)


def system_resolve(host: str, port: int) -> list[str]:
    """Ask the system's resolver; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Resolver:
    """Resolves a name once, in a bounded time, and checks every address it has.

    Args:
        resolve: what answers; the system's resolver by default. It may block: it runs in one of
            16 threads, and is left behind after its time.
    """

    def __init__(self, resolve: Resolve = system_resolve) -> None:
        self._resolve = resolve
        self._pool = ThreadPoolExecutor(16, thread_name_prefix="listlens-dns")

    def addresses(self, host: str, port: int, *, private: bool, timeout_s: float) -> list[str]:
        """Return the addresses to connect to, each of them checked.

        Raises:
            PhotoError: UNSAFE_ADDRESS where any is not on the open internet.
            FetchError: UNKNOWN_HOST or TIMEOUT.
        """
        found = list(dict.fromkeys(self._ask(host, port, timeout_s)))
        for text in found:
            try:
                why = refusal(ipaddress.ip_address(text), private=private)
            except ValueError:
                why = "no IP address"
            if why is not None:
                raise PhotoError(
                    Reason.UNSAFE_ADDRESS,
                    f"{host} leads to {text}, which is {why}: only hosts on the open internet are "
                    "fetched from, and those that [fetch] private names",
                )
        return found

    def _ask(self, host: str, port: int, timeout_s: float) -> list[str]:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            pass
        else:
            return [host]
        future = self._pool.submit(self._resolve, host, port)
        try:
            found = list(future.result(timeout_s))
        except FutureTimeout:
            future.cancel()
            raise FetchError(
                Reason.TIMEOUT, f"{host}: its name was not resolved in {timeout_s:.1f} s"
            ) from None
        except (OSError, UnicodeError) as error:
            raise FetchError(Reason.UNKNOWN_HOST, f"{host}: {error}") from None
        if not found:
            raise FetchError(Reason.UNKNOWN_HOST, f"{host} has no address")
        return found

    def close(self) -> None:
        """Take no more questions; those under way are left to end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
