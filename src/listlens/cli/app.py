"""The application: its commands, and the one place where errors become messages."""

from __future__ import annotations

import errno
import os
import signal
import sys
from types import FrameType

import typer

from listlens._version import __version__
from listlens.cli import (
    backbone,
    brokers,
    classes,
    dead_letters,
    explaining,
    finding,
    image_atm,
    jobs,
    learning,
    models,
    operating,
    photos,
    policy,
    quality,
    serving,
    stream,
    text,
    token,
    using,
    watching,
    webhooks,
)
from listlens.cli.output import ExitCode, carry_any_text, exit_code, note
from listlens.core.errors import DiskFullError, ListlensError, StoreError

app = typer.Typer(
    name="listlens",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Tag the photos of a marketplace's listings, and learn from the people who correct it.\n\n"
    "Start with **listlens auto PHOTOS LABELS --out DIR**: it does everything once, and "
    "DIR is then a project in which every other command works.",
)
for module in (
    photos,
    learning,
    classes,
    models,
    jobs,
    policy,
    explaining,
    using,
    quality,
    stream,
    dead_letters,
    brokers,
    text,
    finding,
    image_atm,
    backbone,
    token,
    serving,
    operating,
    watching,
    webhooks,
):
    module.register(app)


class _Interrupted(BaseException):
    """Control-C; not an Exception, so that nothing on the way takes it for a failure."""


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise _Interrupted


def _print_version(asked: bool) -> None:
    if asked:
        print(f"listlens {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_print_version, help="Print the version."
    ),
) -> None:
    """Options that stand before a command."""


def run(args: list[str] | None = None) -> int:
    """Run the command line and return its exit code; bad input never shows a stack trace."""
    before = signal.signal(signal.SIGINT, _interrupt)
    carry_any_text()
    try:
        app(args=args, prog_name="listlens")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else ExitCode.DONE
    except ListlensError as error:
        return _refuse(error)
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does. The interpreter must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except OSError as error:
        return _refuse(_in_our_words(error))
    except _Interrupted:
        note("listlens: interrupted. What was committed is kept; the same command goes on.")
        return ExitCode.INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, before)
    return ExitCode.DONE


def _refuse(error: ListlensError) -> ExitCode:
    note(f"listlens: {error}")
    return exit_code(error)


def _in_our_words(error: OSError) -> ListlensError:
    """What the operating system refused: a full disk, or a file that may not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            errno.ENOSPC,
            f"the disk is full ({error}). What was committed is kept: free some room and repeat "
            "the command",
        )
    return StoreError(f"{error}. Check the path, and that you may read and write there.")
