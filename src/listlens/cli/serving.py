"""The command that serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listlens.cli.output import ProjectOption, note
from listlens.core.errors import ListlensError, Retryable

if TYPE_CHECKING:
    from listlens.pipeline.inference import Inference
    from listlens.project import Project
    from listlens.serve.running import Beside


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(serve)


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on. Default: [serve] host, 127.0.0.1.")
    ] = "",
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port to listen on, 0 for a free one. Default: [serve] port, 8000.",
        ),
    ] = None,
    open_inference: Annotated[
        bool,
        typer.Option("--open-inference", help="Predict calls from this machine need no token."),
    ] = False,
    no_worker: Annotated[
        bool,
        typer.Option("--no-worker", help="Leave the events to `listlens work` in other processes."),
    ] = False,
    project: ProjectOption = Path(),
) -> None:
    """Answer over HTTP: the API and its pages, in one process on one port.

    The first start prints a token; `listlens token` makes and revokes others. It answers as soon as
    /health does, with the models that are in force then, and takes newer ones into force by itself.
    The worker runs inside it: events that come in are worked on, announced and delivered.
    Control-C or SIGTERM answers what was accepted, and ends; Control-C twice ends at once.

    Example: listlens serve --port 8080
    """
    import listlens.project
    from listlens.serve.running import require_server
    from listlens.serve.running import serve as run

    require_server()
    with listlens.project.open(project) as opened:
        run(
            opened,
            host=host,
            port=port,
            open_inference=open_inference,
            beside=_beside(opened, no_worker),
            say=lambda text: print(text, flush=True),
        )


def _beside(project: Project, no_worker: bool) -> Beside:
    """What runs beside the server on the same queue to the network."""
    from listlens.stream.running import working

    @contextmanager
    def beside(inference: Inference) -> Iterator[Callable[[], str]]:
        with ExitStack() as stack:
            trouble = ""
            if not no_worker:
                try:
                    worker = stack.enter_context(working(project, inference))
                except ListlensError as error:
                    if isinstance(error, Retryable):  # whoever starts the server starts it again
                        raise
                    trouble = f"no worker runs here, and events wait: {error}"
                    note(trouble)  # calls are answered all the same
                else:
                    yield lambda: worker.trouble
                    return
            yield lambda: trouble

    return beside
