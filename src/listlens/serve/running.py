"""Starting and stopping the server: one process, one port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from listlens.core import tracing
from listlens.core.errors import ConfigError, MissingExtraError
from listlens.pipeline.inference import Inference
from listlens.serve.job_keeper import keeping_jobs
from listlens.stream.relay import delivering

if TYPE_CHECKING:
    from types import FrameType

    import uvicorn
    from fastapi import FastAPI

    from listlens.project import Project
    from listlens.serve.job_keeper import JobKeeper
    from listlens.sources.fetching import Fetcher
    from listlens.store.jobs import Job

DRAIN_S = 30
"""How long calls that were accepted may take after the server was told to stop."""

_STOPPING = (signal.SIGINT, signal.SIGTERM)

Beside = Callable[[Inference], AbstractContextManager[Callable[[], str]]]
"""What runs beside the server on the same queue, such as the worker; gives what says why it does
not get on, '' where it does."""


def require_server() -> None:
    """Raise MissingExtraError where the packages of the server are absent."""
    try:
        import fastapi  # noqa: F401
        import limits  # noqa: F401
        import prometheus_client  # noqa: F401
        import structlog  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("the server", "serve") from error


def first_token(project: Project) -> str:
    """Make a token for everything where there is none that is valid yet; else return ''."""
    tokens = project.store.tokens
    if tokens.list():
        return ""
    return tokens.create(["admin"], name="made at the first start")[0]


def serve(
    project: Project,
    *,
    host: str = "",
    port: int | None = None,
    open_inference: bool = False,
    beside: Beside = lambda _: nullcontext(str),
    say: Callable[[str], None] = print,
) -> None:
    """Serve a project until the process is told to stop.

    Args:
        project: whose models, tokens and store.
        host: address to listen on; by default that of the settings.
        port: likewise; 0 takes a free one.
        open_inference: predict calls from this machine need no token.
        beside: what else runs on the same queue for as long as the server does.
        say: told what a person should know, such as the first token.

    Raises:
        MissingExtraError: the extra `serve` is not installed.
        ConfigError: the port is taken, or inference would be open to other machines.
    """
    require_server()
    from listlens.serve.access import is_loopback
    from listlens.serve.app import app
    from listlens.serve.log import carried, make_log

    config = project.config.serve
    host, port = host or config.host, config.port if port is None else port
    if open_inference and not is_loopback(host):
        raise ConfigError(
            f"--open-inference is for this machine only, and {host} is open to others. Listen on "
            "127.0.0.1, or make tokens: listlens token create --scope predict"
        )
    with ExitStack() as stack:
        stack.enter_context(tracing.traced(say))
        stack.enter_context(carried(log := make_log()))
        listening = stack.enter_context(listen(host, port))
        text = first_token(project)
        if text:
            say("There was no token yet. This one allows everything and is shown this once:")
            say(text)
        inference = Inference(project.backbone, project.limits)
        stack.callback(inference.close)
        stack.enter_context(_handlers_put_back())
        trouble = stack.enter_context(beside(inference))
        stack.enter_context(delivering(project))
        jobs = stack.enter_context(keeping_jobs(project))
        fetcher = stack.enter_context(fetching(project))
        made = app(
            project,
            inference,
            open_inference=open_inference,
            fetch=lambda url: fetcher.fetch(url).data,
            worker=trouble,
            log=log,
        )
        server = _server(made)
        say(f"listlens serves {project.root} on {address(listening)}; stop it with Control-C.")
        stop_on_signals(server, jobs, say)
        server.run(sockets=[listening])


def _server(made: FastAPI) -> uvicorn.Server:
    import uvicorn

    from listlens.serve.slow import TimedH11

    protocol: type[asyncio.Protocol] = TimedH11
    with suppress(ImportError):  # httptools is not there for every Python
        from listlens.serve.wire import BoundedProtocol

        protocol = BoundedProtocol
    return uvicorn.Server(
        uvicorn.Config(
            made,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
            timeout_keep_alive=30,
            http=protocol,
        )
    )


@contextmanager
def _handlers_put_back() -> Iterator[None]:
    """Let signals do in the end what they did before, once everything is closed."""
    before = {one: signal.getsignal(one) for one in _STOPPING}
    try:
        yield
    finally:
        for one, handler in before.items():
            if handler is not None:  # which stands for one that was not set by Python
                signal.signal(one, handler)


def stop_on_signals(server: uvicorn.Server, jobs: JobKeeper, say: Callable[[str], None]) -> None:
    """Let SIGINT and SIGTERM stop the server gently, and SIGINT after that end the process at once.

    uvicorn's own handler raises them again once it has stopped: that would kill the process before
    the store and the queue are closed.

    Args:
        server: not running yet.
        jobs: what it runs, which is named.
        say: told at once what is waited for; not in the handler, which may have broken into a line
            that is just being written.
    """

    def stop(signum: int, frame: FrameType | None) -> None:
        if server.should_exit and signum == signal.SIGINT:
            os._exit(128 + signum)
        if not server.should_exit:
            server.should_exit = True
            threading.Thread(target=say, args=(stopping(jobs.running),)).start()

    server.handle_exit = stop  # type: ignore[method-assign,assignment]
    for one in _STOPPING:
        signal.signal(one, stop)


def stopping(jobs: Sequence[Job]) -> str:
    """What a person should know of a server that has been told to stop."""
    said = ["Stopping: calls that were accepted are answered, and events in hand finished."]
    for job in jobs:
        what = f"{job.kind} {job.task}".strip()
        said.append(
            f"Job {job.job_id} ({what}) is ended, and begins anew with the next server; "
            f"listlens jobs cancel {job.job_id} takes it back."
        )
    return " ".join([*said, "Control-C once more ends at once."])


def fetching(project: Project) -> Fetcher:
    """Return what fetches photos by address, no larger than a request may be."""
    from listlens.sources.fetching import Fetcher, FetchRules

    config = project.config
    max_bytes = min(project.limits.max_bytes, config.serve.max_body_bytes)
    return Fetcher(FetchRules.of(config.fetch, max_bytes))


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        ConfigError: the address is taken, or not of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror or error}). Choose another address: "
            "--host, --port, or [serve] in listlens.toml."
        ) from error


def address(listening: socket.socket) -> str:
    """Return the address of a socket as one types it into a browser."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
