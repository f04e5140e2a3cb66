"""The address of a topic at a broker: a URL, checked, whose password is never shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from listlens.core.errors import ConfigError, suggest

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


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
    parts = urlsplit(url)
    if parts.scheme not in schemes:
        raise ConfigError(
            f"no kind of broker {parts.scheme!r}. {suggest(parts.scheme, schemes)} An address "
            "looks like nats://127.0.0.1:4222/photos."
        )
    if "@" not in parts.netloc and "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ConfigError(  # else half a password would be taken for a part of the path, and shown
            f"{parts.scheme}://...: an '@' stands behind a '/', '?' or '#'. In a user or password "
            "write them as %2F, %3F and %23, or use ${NAME}; elsewhere write '@' as %40"
        )
    options = {k: v for k, v in schemes[parts.scheme].items() if v.way in ("", way)}
    userinfo, _, place = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    texts = (user, password, place, parts.path.lstrip("/"))
    read = [_expanded(unquote(text), environ) for text in texts]
    address = Address(parts.scheme, read[2], read[3], read[0], read[1])
    if not address.path or parts.fragment:
        what = "has a '#': write it as %23" if parts.fragment else "names no topic behind the host"
        raise ConfigError(f"{address.shown} {what}")
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


def _value(option: Option, text: str) -> str | float:
    """What a text says; the ValueError never repeats it, for it may be a secret."""
    if isinstance(option.default, str):
        if option.one_of and text not in option.one_of:
            raise ValueError(f"allowed are {', '.join(option.one_of)}")
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
