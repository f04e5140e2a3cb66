"""Whom to trust and who one is: files of TLS, and what a broker that refuses says, in our words."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from listlens.brokers.address import Address, Option
from listlens.core.errors import BrokerError, ConfigError

TLS = {
    "ca": Option("Path of the certificate authorities that are trusted, as a PEM file; the "
                 "system's where left out."),
    "cert": Option("Path of the client's certificate, as a PEM file, where the broker asks for "
                   "one."),
    "key": Option("Path of the key of `cert`, as a PEM file without a password; left out: it is "
                  "in the same file."),
}  # fmt: skip
"""Options of every address that is reached by TLS."""

_MOST_SHOWN = 300

ASKS = (
    "asks for a client's certificate that it trusts: name its files, such as "
    "?cert=/etc/ssl/client.pem&key=/etc/ssl/client.key"
)

_OTHER_NAME = ("hostname mismatch", "address mismatch", "doesn't match", "does not match")
_UNTRUSTED = (
    "certificate verify failed",
    "certificate_verify_failed",
    "unable to get local issuer",
)
_ASKS = (
    "certificate required",
    "certificate_required",
    "bad certificate",
    "bad_certificate",
    "alert unknown ca",
)
_NO_TLS = ("wrong version number", "wrong_version_number", "record layer failure")
_ENDED = ("reset", "connection lost", "eof occurred", "closed", "broken pipe", "transport failure")
_LOGIN = (
    *("authorization violation", "user authentication expired"),
    *("wrongpass", "invalid username-password", "noauth", "authentication required"),
    "hello must be called with the client already authenticated",
    *("login was refused", "probableauthenticationerror"),
    *("sasl authentication", "authentication failed", "authentication failure"),
)


def files(address: Address) -> dict[str, str]:
    """Return the files that an address names, by option: those of `TLS` that it has.

    Raises:
        ConfigError: one of them cannot be read.
    """
    found = {name: str(address.options.get(name, "")) for name in TLS}
    found = {name: path for name, path in found.items() if path}
    for name, path in found.items():
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            raise ConfigError(
                f"{address.shown}: {name}: {path!r} cannot be read: {error.strerror}. Name a PEM "
                "file that this user may read"
            ) from None
    return found


def context(address: Address) -> ssl.SSLContext:
    """Return how a client checks who it talks to, and shows who it is.

    Raises:
        ConfigError: a file cannot be read, or is not what is needed.
    """
    named = files(address)
    try:
        found = ssl.create_default_context(cafile=named.get("ca"))
    except ssl.SSLError:
        raise ConfigError(
            f"{address.shown}: ca: no certificate in {named['ca']!r}. A PEM file is needed, which "
            "has a line -----BEGIN CERTIFICATE-----"
        ) from None
    if "cert" not in named:
        return found
    try:
        # Without a password for the key: else the terminal would be asked for it.
        found.load_cert_chain(named["cert"], named.get("key"), password=lambda: b"")
    except (ssl.SSLError, ValueError):
        both = " and ".join(repr(named[name]) for name in ("cert", "key") if name in named)
        raise ConfigError(
            f"{address.shown}: cert: {both} are no certificate and the key it was made with, as "
            "PEM files, the key without a password"
        ) from None
    return found


def encrypts(address: Address) -> bool:
    """Whether a topic is reached by TLS. NATS is, where a file for it is named."""
    options = address.options
    said = options.get("tls") == "yes" or str(options.get("security", "")).endswith("ssl")
    named = address.scheme == "nats" and any(options.get(name) for name in TLS)
    return said or named or address.scheme in ("rediss", "amqps")


def wrong_options(address: Address, how: str = "") -> str:
    """Return what is wrong with the options of TLS; empty where nothing is.

    Args:
        address: of the topic.
        how: to say that TLS is meant.
    """
    given = [name for name in TLS if address.options.get(name)]
    if given and not encrypts(address):
        return f"{given[0]} is for TLS, and this is not encrypted: {how}"
    if "key" in given and "cert" not in given:
        return "key is of a certificate: name that as well, with cert"
    return ""


def refused(
    address: Address, error: BaseException | str, *, connecting: bool = False
) -> BrokerError:
    """Return what a broker or its client said as an error: one line, what to do, no password.

    Args:
        address: of the topic.
        error: what was raised, or its words.
        connecting: whether nothing was ever answered.
    """
    texts = [error] if isinstance(error, str) else [*_words(error)]
    why = (texts[0].strip().splitlines() or [""])[0][:_MOST_SHOWN]
    hint = _hint(" ".join(texts).lower(), address, connecting)
    said = f"{why.rstrip('.')}. {hint}" if hint else why
    secret = address.password or (address.user if address.scheme == "nats" else "")  # a token
    for one in filter(None, (secret, quote(secret, safe=""))):
        said = said.replace(one, "***")
    return BrokerError(f"{address.shown}: {said}")


def _words(error: BaseException) -> Iterator[str]:
    """What an error says, and what those say that it came of."""
    one: BaseException | None = error
    for _ in range(5):
        if one is None:
            return
        yield str(one) or type(one).__name__
        one = one.__cause__ or one.__context__


def _hint(said: str, address: Address, connecting: bool) -> str:
    """What to do about it; empty where we do not know better."""
    if any(words in said for words in _OTHER_NAME):
        return ("The server's certificate is for another name: write the host as the certificate "
                "has it, or give the server one for this name")  # fmt: skip
    if any(words in said for words in _UNTRUSTED):
        other = ", or is for another name" if address.scheme == "kafka" else ""  # it does not say
        return (f"The server's certificate is not trusted here{other}: name the file of the "
                "authority that signed it, such as ?ca=/etc/ssl/broker-ca.pem")  # fmt: skip
    if any(words in said for words in _ASKS):
        return f"The server {ASKS}"
    if any(words in said for words in _NO_TLS):
        return "The server does not speak TLS on this port: name its port for TLS"
    if any(words in said for words in _LOGIN):
        return (f"User and password were refused, or are missing: write them before the host, such "
                f"as {address.scheme}://USER:${{BROKER_PASSWORD}}@HOST, with the password in the "
                "environment")  # fmt: skip
    if connecting and any(words in said for words in _ENDED):
        return _perhaps(address)
    return ""


def _perhaps(address: Address) -> str:
    """What a server may want that ends a connection without a word."""
    if not encrypts(address):
        more = {"redis": "rediss://", "amqp": "amqps://", "nats": "?tls=yes"}
        return f"Perhaps it takes TLS only: {more.get(address.scheme, '?security=ssl')}"
    if not address.options.get("cert"):
        return f"Perhaps it {ASKS}"
    return "Perhaps it does not trust the client's certificate"
