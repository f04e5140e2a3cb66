"""The address of a topic at a broker: a URL, checked, whose password is never shown."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from listlens.core.errors import ConfigError, NotFoundError, suggest

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PLACE = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?", re.DOTALL)
_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_SHOWN_NAMES = 20


@dataclass(frozen=True, slots=True)
class Option:
    """What may stand behind the `?` of an address.

    Args:
        about: one sentence for the documentation and for errors.
        default: its type is the option's: a text, or a number.
        one_of: the texts that are allowed; any where none is named.
        way: which end knows it: "in", "out", or "" for both.
        least: the smallest number allowed.
    """

    about: str
    default: str | float = ""
    one_of: tuple[str, ...] = ()
    way: str = ""
    least: float = 0


@dataclass(frozen=True, slots=True)
class Address:
    """A topic at a broker.

    Args:
        scheme: kind of broker, such as ``nats``.
        place: host and port, several with commas, or a region.
        path: what stands behind it, without the slash.
        user: empty where none is given.
        password: likewise.
        options: every option of its kind of broker, with its default where the URL is silent.
        given: names of the options that the URL has.
    """

    scheme: str
    place: str
    path: str
    user: str = ""
    password: str = field(default="", repr=False)
    options: Mapping[str, str | float] = field(default_factory=dict)
    given: frozenset[str] = frozenset()

    @property
    def shown(self) -> str:
        """It as logs, pages and errors name it: without user, password and how it is reached."""
        exchange = self.options.get("exchange")  # with it the path is a key, and no place alone
        where = f"?exchange={exchange}" if exchange else ""
        return f"{self.scheme}://{self.place}/{self.path}{where}"

    def host(self, port: int) -> tuple[str, int]:
        """Return the first host and its port, or else this one."""
        host, given = _hosts(self.place, safe=True)[0]
        return host.strip("[]"), given or port

    def text(self, name: str) -> str:
        """Return an option that is a text."""
        return str(self.options[name])

    def number(self, name: str) -> float:
        """Return an option that is a number."""
        return float(self.options[name])


def parse_address(
    url: str,
    schemes: Mapping[str, Mapping[str, Option]],
    way: str,
    environ: Mapping[str, str] = os.environ,
) -> Address:
    """Read a URL such as ``nats://user:${NATS_PASSWORD}@host:4222/photos?durable=listlens``.

    ``${NAME}`` stands for a variable of the environment, so that no secret need be written down.

    Args:
        url: as the user wrote it.
        schemes: kind of broker to its options.
        way: "in" or "out": options of the other end are refused.
        environ: the variables.

    Raises:
        ConfigError: says what is wrong and what is allowed, and never shows a password.
    """
    parts = _split(url, schemes)
    options = {k: v for k, v in schemes[parts.scheme].items() if v.way in ("", way)}
    userinfo, at, place = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    texts = (user, password, place, parts.path.lstrip("/"))
    read = [_expanded(unquote(text), environ) for text in texts]
    address = Address(parts.scheme, read[2], read[3], read[0], read[1])
    try:
        _hosts(address.place, safe=bool(at))
    except ValueError as error:
        raise ConfigError(f"{parts.scheme}://...: {error}") from None
    if not address.path or parts.fragment:
        what = "has a '#': write it as %23" if parts.fragment else "names no topic behind the host"
        raise ConfigError(f"{address.shown} {what}")
    if not address.path.isprintable() or address.path != address.path.strip():
        raise ConfigError(f"{parts.scheme}://{address.place}/...: {address.path!r} has a character "
                          "that no topic has")  # fmt: skip
    values: dict[str, str | float] = {name: option.default for name, option in options.items()}
    given = parse_qsl(parts.query, keep_blank_values=True)
    for name, text in given:
        if name not in options:
            raise ConfigError(f"{address.shown}: no option {name!r}. {suggest(name, options)}")
        try:
            values[name] = _value(options[name], _expanded(text, environ))
        except ValueError as error:
            about = options[name].about
            raise ConfigError(f"{address.shown}: {name}: {error}. {about}") from None
    return Address(
        *(address.scheme, address.place, address.path, address.user, address.password),
        options=values,
        given=frozenset(name for name, _ in given),
    )


def absent(
    address: Address, what: str, names: Iterable[str] | None, hint: str = ""
) -> NotFoundError:
    """Return the error of who looks for a topic that is not there, and makes none.

    Args:
        address: of the topic.
        what: such as "no queue of that name".
        names: of those that are there; None where the broker does not say.
        hint: what to do.
    """
    said = f"{address.shown}: there is {what}; a check makes none."
    if names is not None:
        there = sorted(names)
        near = difflib.get_close_matches(address.path.rpartition("/")[2], there, n=1)
        said += f" Did you mean {near[0]!r}?" if near else ""
        said += f" There are: {', '.join(map(repr, there[:_SHOWN_NAMES])) or 'none'}"
        said += ", ..." if len(there) > _SHOWN_NAMES else "."
    return NotFoundError(f"{said} {hint}".rstrip())


def _split(url: str, schemes: Mapping[str, object]) -> SplitResult:
    """Take a URL apart. What is wrong is told without it: anything may be a part of a password."""
    begin = next((f"{one}://" for one in schemes if url.lower().startswith(f"{one}://")), "")
    begin = f"{begin}...:" if begin else "the address of a broker:"
    odd = next((c for c in url if c.isspace() or not c.isprintable()), None)
    if odd is not None:
        raise ConfigError(f"{begin} has {odd!r}, and no spaces or control characters are allowed; "
                          "where one is meant, as in a password, write it as %20 and the like, or "
                          "use ${NAME}")  # fmt: skip
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError(f"{begin} what stands between '//' and the next '/' is no host. Brackets "
                          "are for IPv6, such as [::1]; in a user or password write every unusual "
                          "character as %XX, or use ${NAME}") from None  # fmt: skip
    if parts.scheme not in schemes:
        raise ConfigError(
            f"no kind of broker {parts.scheme!r}. {suggest(parts.scheme, schemes)} An address "
            "looks like nats://127.0.0.1:4222/photos."
        )
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ConfigError(  # else half a password would be taken for a part of the path, and shown
            f"{parts.scheme}://...: an '@' stands behind a '/', '?' or '#'. In a user or password "
            "write them as %2F, %3F and %23, or use ${NAME}; elsewhere write '@' as %40"
        )
    return parts


def _hosts(place: str, *, safe: bool) -> list[tuple[str, int]]:
    """Return hosts and ports of a place, 0 where none is given.

    Args:
        place: such as ``h1:4222,h2``.
        safe: whether user and password stand before it; else it may be them, and is not repeated.

    Raises:
        ValueError: says what is wrong.
    """
    found = []
    safe = safe and "@" not in place  # a variable of the environment may hold both
    for one in place.split(","):
        parts = _PLACE.fullmatch(one)
        host, port = (parts[1], parts[2]) if parts else (one, None)
        if not _is_host(host):
            came = f"not {host!r}" if safe or port is None else "not what came"
            raise ValueError("a host is needed behind the '//', such as broker or 127.0.0.1 or "
                             f"[::1], {came if host else 'and there is none'}")  # fmt: skip
        if port is not None and not (
            port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536
        ):
            came = f"not {port!r}" if safe or port.isdecimal() else "and what came is none"
            raise ValueError(f"the port of {host} is a number from 1 to 65535, {came}. User and "
                             "password stand before it, with an '@' behind them")  # fmt: skip
        found.append((host, int(port or 0)))
    return found


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return _NAME.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        return False
    return True


def _value(option: Option, text: str) -> str | float:
    """What a text says; the ValueError never repeats it, for it may be a secret."""
    if isinstance(option.default, str):
        if option.one_of and text not in option.one_of:
            raise ValueError(f"allowed are {', '.join(option.one_of)}")
        if not text.isprintable():
            raise ValueError("no control characters are allowed")
        return text
    try:
        number = float(text)
    except ValueError:
        raise ValueError("a number is needed") from None
    if not option.least <= number < float("inf"):
        raise ValueError(f"at least {option.least:g}")
    return number


def _expanded(text: str, environ: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in environ:
            raise ConfigError(
                f"the environment has no variable {found[1]}, which the address of a broker names"
            )
        return environ[found[1]]

    return _VARIABLE.sub(value, text)
