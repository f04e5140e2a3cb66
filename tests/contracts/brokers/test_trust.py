"""TLS, users and passwords of brokers, on real servers that ask for them."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
import trustme

from listlens.brokers.registry import look, open_inlet, open_outlet, parse
from listlens.core.errors import BrokerError, ConfigError
from listlens.core.messages import Outgoing

PASSWORD = f"s3cret-{uuid4().hex}"
SERVERS = Path(__file__).resolve().parents[3] / "benchmarks" / "broker_servers.py"


def load_servers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("broker_servers", SERVERS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


broker_servers = load_servers()


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority's certificate, those of a server and a client, and another's."""
    folder = tmp_path_factory.mktemp("papers")
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "other.pem")
    for name, maker, host in (
        ("server", authority, "localhost"),
        ("client", authority, "worker.example"),
        ("stranger", other, "worker.example"),
    ):
        made = maker.issue_cert(host)
        made.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        made.private_key_pem.write_to_path(folder / f"{name}.key")
    return folder


class Secured:
    """A server that asks for a client's certificate and a password, and addresses of topics on it.

    Args:
        kind: of `broker_servers.SERVERS`.
        papers: folder of certificates.
        folder: for its files.
        asks: whether a certificate of the client is asked for.
        user: whom it lets in.
    """

    def __init__(
        self, kind: str, papers: Path, folder: Path, *, asks: bool = True, user: str = "shop"
    ) -> None:
        scheme, at = KINDS[kind]
        self.scheme, self._at, self._papers = scheme, at, papers
        self._user = f"{user}:{PASSWORD}@" if user else ""
        secure = broker_servers.Secure(
            *(papers / "ca.pem", papers / "server.pem", papers / "server.key", user, PASSWORD, asks)
        )
        self.server = broker_servers.SERVERS[kind](folder, secure)

    def url(
        self, topic: str, *, host: str = "localhost", who: str | None = None, **files: str
    ) -> str:
        """Return an address; each file is named by option, and left out where it is empty."""
        named = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key", **files}
        query = "&".join(f"{k}={self._papers / v}" for k, v in named.items() if v)
        query += "&tls=yes" if self.scheme == "nats" else ""
        query += "&security=ssl" if self.scheme == "kafka" else ""
        who = self._user if who is None else who
        topic = self._at.format(topic=topic)
        return f"{self.scheme}://{who}{host}:{self.server.port}/{topic}?{query}"

    def wait(self) -> None:
        """Wait until it takes calls."""
        until = time.monotonic() + 90
        while True:
            try:
                open_outlet(self.url("ready")).close()
                return
            except BrokerError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)


KINDS = {
    "nats": ("nats", "{topic}"),
    "redis": ("rediss", "0/{topic}"),
    "rabbitmq": ("amqps", "{topic}"),
    "kafka": ("kafka", "{topic}"),
}
"""Kind to the scheme and the path of a topic."""


def needs(kind: str) -> None:
    """Skip where a server is not installed; the package of a Kafka server is in no extra."""
    if missing := broker_servers.SERVERS[kind].missing():
        if os.environ.get("CI") == "true" and kind != "kafka":
            pytest.fail(f"no {kind} here: {missing}")
        pytest.skip(f"no {kind} here: {missing}")


@pytest.fixture(scope="module", params=sorted(KINDS))
def secured(
    request: pytest.FixtureRequest, papers: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    needs(request.param)
    user = "" if request.param == "kafka" else "shop"
    folder = tmp_path_factory.mktemp(request.param) / "server"
    made = Secured(request.param, papers, folder, user=user)
    try:
        made.wait()
        yield made
    finally:
        made.server.stop()


def take(inlet: Any, n: int) -> list[bytes]:
    """Receive until n messages are there."""
    found: list[Any] = []
    until = time.monotonic() + 60
    while len(found) < n and time.monotonic() < until:
        found += inlet.receive(n - len(found), 2.0)
    inlet.acknowledge(found)
    return [message.body for message in found]


@pytest.mark.slow
def test_messages_travel_by_tls_are_acknowledged_and_come_again(secured):
    url = secured.url("photos")
    quick = "&session_timeout=6" if secured.scheme == "kafka" else ""
    outlet = open_outlet(url)
    outlet.send([Outgoing(b"%d" % n, "L1", f"m{n}") for n in range(5)])
    outlet.close()
    first = open_inlet(url + quick)
    held = first.receive(2, 20.0)
    while len(held) < 2:
        held += first.receive(1, 20.0)
    first.acknowledge(held)
    left = first.receive(1, 5.0)
    assert left
    first.close()  # gives it back
    again = open_inlet(url + quick)
    assert sorted([*(one.body for one in held), *take(again, 3)]) == [b"%d" % n for n in range(5)]
    assert again.receive(5, 0.5) == []
    again.close()
    assert [m.body for m in look(url, 5, 0.5)] == []


ASKED = r"(asks for a client's certificate that it trusts.*\?cert=)|(not trust the client's cert)"

REFUSALS = {
    "an authority that is not known": (
        {"ca": "other.pem"},
        r"not trusted here.*: name the file .*\?ca=",
    ),
    "the system's authorities": ({"ca": ""}, r"not trusted here.*: name the file .*\?ca="),
    "another name": ({"host": "127.0.0.1"}, r"is for another name"),
    "no certificate": ({"cert": "", "key": ""}, ASKED),
    "a stranger's certificate": ({"cert": "stranger.pem", "key": "stranger.key"}, ASKED),
    "a wrong password": ({"who": "shop:wrong-one@"}, r"User and password were refused.*\$\{"),
    "an unknown user": ({"who": "nobody:wrong-one@"}, r"User and password were refused.*\$\{"),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", [open_inlet, open_outlet, lambda url: look(url, 1, 0.1)])
@pytest.mark.parametrize("case", REFUSALS)
def test_who_is_refused_is_told_what_to_do_in_one_line_without_the_password(
    secured, case, way, caplog, capfd
):
    options, said = REFUSALS[case]
    if "who" in options and secured.scheme == "kafka":
        pytest.skip("its server has no users: another test is refused by it")
    caplog.set_level(logging.INFO)
    with pytest.raises(BrokerError, match=said) as caught:
        way(secured.url("photos", **options))
    words = str(caught.value)
    assert words.startswith(f"{secured.scheme}://")
    assert len(words.splitlines()) == 1
    printed = words + caplog.text + "".join(capfd.readouterr())
    assert PASSWORD not in printed
    assert "wrong-one" not in printed
    assert "Traceback" not in printed


@pytest.mark.slow
def test_a_kafka_server_that_knows_nobody_refuses_a_user_with_what_to_do(papers, tmp_path):
    needs("kafka")
    made = Secured("kafka", papers, tmp_path / "server", asks=False)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with socket.socket() as probe:  # the front is there at once, what is behind it later
                if probe.connect_ex(("127.0.0.1", made.server._behind)) == 0:
                    break
            time.sleep(0.1)
        url = made.url("photos", cert="", key="").replace(
            "security=ssl", "security=sasl_ssl&mechanism=SCRAM-SHA-512"
        )
        for way in (open_inlet, open_outlet):
            with pytest.raises(BrokerError, match=r"User and password were refused") as caught:
                way(url)
            assert PASSWORD not in str(caught.value)
            assert len(str(caught.value).splitlines()) == 1
    finally:
        made.server.stop()


@pytest.mark.slow
def test_a_password_of_the_environment_is_shown_by_no_command(papers, tmp_path):
    """Not in the list of processes, not in what is printed, right or wrong."""
    needs("nats")
    made = Secured("nats", papers, tmp_path / "server")
    try:
        made.wait()
        url = made.url("photos").replace(PASSWORD, "${BROKER_PASSWORD}")
        run = [sys.executable, "-c", "import sys; from listlens.cli import main; sys.exit(main())"]
        command = [*run, "events", "check", url, "--wait", "0.2"]
        subprocess.run([*run, "init", str(tmp_path / "shop")], check=True, timeout=120)
        for password, code in ((PASSWORD, 0), (f"{PASSWORD}-no", 1)):
            open_inlet(made.url("photos")).close()  # makes the stream
            done = subprocess.run(
                [*command, "--project", str(tmp_path / "shop"), "--json"],
                env={**os.environ, "BROKER_PASSWORD": password},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert (done.returncode != 0) == bool(code), done.stderr
            assert PASSWORD not in done.stdout + done.stderr + " ".join(command)
            assert "Traceback" not in done.stderr
            if code:
                assert "User and password were refused" in done.stderr
    finally:
        made.server.stop()


WRONG: dict[str, tuple[str, str]] = {
    "redis in the clear": ("redis://h/0/a?ca=/ca.pem", "begin with rediss://"),
    "rabbitmq in the clear": ("amqp://h/a?cert=/c.pem", "begin with amqps://"),
    "kafka in the clear": ("kafka://h/a?ca=/ca.pem", "security=ssl, or sasl_ssl"),
    "a key alone": ("rediss://h/0/a?key=/c.key", "name that as well, with cert"),
    "nobody to show": ("kafka://h/a?security=sasl_ssl", r"\$\{KAFKA_PASSWORD\}"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("way", ["in", "out"])
def test_options_of_tls_are_refused_where_nothing_is_encrypted(case, way):
    """Else a password would go over the network in the clear, and nobody would know."""
    url, said = WRONG[case]
    with pytest.raises(ConfigError, match=said):
        parse(url, way)


def files_that_are_none(papers: Path) -> dict[str, Callable[[], tuple[str, str]]]:
    text = papers / "text.pem"
    text.write_text("no certificate")
    return {
        "no such ca": lambda: (f"ca={papers}/none.pem", r"ca: '.*none.pem' cannot be read"),
        "a ca that is none": lambda: (f"ca={text}", "BEGIN CERTIFICATE"),
        "no such key": lambda: (f"cert={papers}/client.pem&key={papers}/none.key", "key: "),
        "another's key": lambda: (
            f"cert={papers}/client.pem&key={papers}/stranger.key", "cert: .*are no certificate and"
        ),
        "a certificate without its key": lambda: (f"cert={papers}/client.pem", "cert: "),
    }  # fmt: skip


@pytest.mark.parametrize("scheme", ["nats", "rediss", "amqps", "kafka"])
def test_files_of_tls_that_are_none_are_said_before_anybody_is_asked(papers, scheme):
    path = "0/photos" if scheme == "rediss" else "photos"
    more = "&security=ssl" if scheme == "kafka" else ""
    for case in files_that_are_none(papers).values():
        query, said = case()
        for way in (open_inlet, open_outlet):
            with pytest.raises(ConfigError, match=said):
                way(f"{scheme}://127.0.0.1:1/{path}?{query}{more}")


@pytest.mark.parametrize("scheme", ["rediss", "amqps", "nats"])
def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(papers, scheme, tmp_path):
    from cryptography.hazmat.primitives import serialization

    plain = serialization.load_pem_private_key((papers / "client.key").read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"pass"),
        )
    )
    path = "0/photos" if scheme == "rediss" else "photos"
    with pytest.raises(ConfigError, match="key without a password"):
        open_inlet(f"{scheme}://127.0.0.1:1/{path}?cert={papers}/client.pem&key={locked}")


def test_nothing_of_an_error_shows_a_password():
    from listlens.brokers.trust import refused

    address = parse(f"nats://shop:{PASSWORD}@h/photos", "in")
    error = ConnectionError(f"cannot log in as shop:{PASSWORD}\nand more")
    assert PASSWORD not in str(refused(address, error))
    odd = replace(address, password="p@ss/1")
    assert str(refused(odd, "amqp://shop:p%40ss%2F1@h or p@ss/1")).count("***") == 2
    token = replace(address, user="t0ken", password="")
    assert "t0ken" not in str(refused(token, "no t0ken"))
    assert str(refused(token, "plain words")) == "nats://h/photos: plain words"
