"""Structured logs: one JSON object a line, on standard error; in colours on a terminal."""

from __future__ import annotations

import sys
from typing import Any, TextIO

import structlog


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
    return structlog.wrap_logger(structlog.PrintLogger(stream), processors=processors)
