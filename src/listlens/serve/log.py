"""Structured logs: one JSON object a line, on standard error; in colours on a terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import structlog

REPEAT_S = 60.0
"""The same words are not said again within this: threads that wait for a database ask often."""

MOST_KEPT = 200
"""Different words that are remembered for it."""


def make_log(stream: TextIO | None = None) -> Any:
    """Return a logger that writes events with their fields; it sets nothing for the process."""
    stream = stream or sys.stderr
    shown: Any = (
        structlog.dev.ConsoleRenderer() if stream.isatty() else structlog.processors.JSONRenderer()
    )
    processors = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        shown,
    ]
    kept = structlog.PrintLogger(_Unfailing(stream))  # type: ignore[arg-type]
    return structlog.wrap_logger(kept, processors=processors)


@contextmanager
def carried(log: Any, clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Let what the worker and the other parts say by `logging` stand in the same log meanwhile.

    Args:
        log: as `make_log` makes it.
        clock: seconds that only grow.
    """
    handler, ours = _Carrier(log, clock), logging.getLogger("listlens")
    loggers, level = (ours, logging.getLogger("uvicorn")), ours.level
    ours.setLevel(logging.INFO)
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        ours.setLevel(level)
        for logger in loggers:
            logger.removeHandler(handler)


class _Unfailing:
    """A stream that may be full or closed: what it does not take is lost, and nothing else ends."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        """Likewise."""
        with suppress(OSError, ValueError):
            self._stream.flush()


class _Carrier(logging.Handler):
    """Writes records of `logging` as events of structlog."""

    def __init__(self, log: Any, clock: Callable[[], float]) -> None:
        super().__init__()
        self._log, self._clock = log, clock
        self._said: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write one, unless the same was said a moment ago."""
        try:
            error, now = record.exc_info and record.exc_info[1], self._clock()
            words = f"{record.name} {record.getMessage()} {error!r}"
            if now - self._said.get(words, -REPEAT_S) < REPEAT_S:
                return
            if len(self._said) >= MOST_KEPT:
                self._said.clear()
            self._said[words] = now
            more = {"exc_info": record.exc_info} if record.exc_info else {}
            self._log.log(record.levelno, record.getMessage(), logger=record.name, **more)
        except Exception:  # whoever speaks must not end by it
            self.handleError(record)
