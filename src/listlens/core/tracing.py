"""Traces by OpenTelemetry, where the environment asks for them; otherwise nothing is imported.

One tracer a process, begun by `start`. Without one every function here returns at once. Times are
seconds of the monotonic clock, as everywhere else.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from listlens.core.errors import ConfigError, ListlensError, MissingExtraError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
EXPORTERS = {"otlp", "console"}

FLUSH_S = 3.0
"""How long the end of a process may wait for a collector that does not answer."""

_OFFSET_S = time.time() - time.monotonic()
_OFF = nullcontext(None)
_tracer: Tracer | None = None
_provider: TracerProvider | None = None


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the standard variables of OpenTelemetry ask for traces.

    Example:
        >>> wanted({}), wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})
        (False, True)
        >>> wanted({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"})
        False
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter:
        return exporter in EXPORTERS
    return any(environ.get(name, "").strip() for name in ENDPOINTS)


@contextmanager
def tracing(environ: Mapping[str, str] | None = None) -> Iterator[bool]:
    """Trace for as long as the context lasts, where the environment asks for it.

    Args:
        environ: variables; by default those of the process.

    Yields:
        Whether traces are on.

    Raises:
        MissingExtraError: they are asked for, and the extra `otel` is not installed.
        ConfigError: they are asked for in a way that is not spoken here.
    """
    if not wanted(os.environ if environ is None else environ):
        yield False
        return
    use(_provider_of(os.environ if environ is None else environ))
    try:
        yield True
    finally:
        made = _provider
        use(None)
        if made is not None:  # exporters try again for longer than anybody waits for an end
            last = threading.Thread(target=made.shutdown, name="traces", daemon=True)
            last.start()
            last.join(FLUSH_S)


@contextmanager
def traced(say: Callable[[str], None]) -> Iterator[None]:
    """Trace as `tracing` does; where that cannot be, say why and go on without."""
    with ExitStack() as stack:
        try:
            if stack.enter_context(tracing()):
                say("Traces are sent as the variables OTEL_... say.")
        except ListlensError as error:
            say(f"No traces are sent: {error}")
        yield


def use(provider: TracerProvider | None) -> None:
    """Trace with a provider from now on; None: no more."""
    global _tracer, _provider  # noqa: PLW0603  one a process, as OpenTelemetry's own
    _provider = provider
    _tracer = None if provider is None else provider.get_tracer("listlens")


def _provider_of(environ: Mapping[str, str]) -> TracerProvider:
    """A provider as the environment describes it; the exporters read their variables themselves."""
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
    )
    if protocol != "http/protobuf":
        raise ConfigError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; spoken here: http/protobuf, which "
            "collectors take on port 4318."
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
    except ModuleNotFoundError as error:
        raise MissingExtraError("sending traces (OTEL_... is set)", "otel") from error
    named = {} if environ.get("OTEL_SERVICE_NAME") else {"service.name": "listlens"}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    console = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "console"
    exporter = ConsoleSpanExporter() if console else OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def on() -> bool:
    """Whether anybody traces."""
    return _tracer is not None


def span(
    name: str, under: Span | None = None, /, **attributes: Any
) -> AbstractContextManager[Span | None]:
    """Give a span that lasts as long as the block; what begins in the block stands under it.

    Args:
        name: few different ones: what is done, not to what.
        under: the span that it belongs to; by default the one that is current.
        attributes: numbers, texts, or lists of them.
    """
    if _tracer is None:
        return _OFF
    context = None if under is None else _context(under)
    return _tracer.start_as_current_span(name, context, attributes=attributes)


def request_span(name: str, headers: Mapping[str, str]) -> AbstractContextManager[Span | None]:
    """Give the span of a request, under that of its caller where its headers name one."""
    if _tracer is None:
        return _OFF
    from opentelemetry.propagate import extract
    from opentelemetry.trace import SpanKind

    return _tracer.start_as_current_span(name, extract(headers), kind=SpanKind.SERVER)


def begin(name: str, **attributes: Any) -> Span | None:
    """Begin a span of its own that somebody ends later; None where nobody traces."""
    if _tracer is None:
        return None
    from opentelemetry.context import Context

    return _tracer.start_span(name, Context(), attributes=attributes)


def current() -> Span | None:
    """Return the span that is current; None where there is none."""
    if _tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    found = get_current_span()
    return found if found.is_recording() else None


def note(name: str, begun_s: float, ended_s: float, under: Span | None, **attributes: Any) -> None:
    """Note a span that has ended already.

    Args:
        name: what was done.
        begun_s: when it began.
        ended_s: when it ended.
        under: the span that it belongs to; None: nothing is noted.
        attributes: numbers and texts.
    """
    if _tracer is None or under is None:
        return
    made = _tracer.start_span(
        name, _context(under), attributes=attributes, start_time=_nanoseconds(begun_s)
    )
    made.end(_nanoseconds(ended_s))


def answered(of: Span | None, method: str, route: str, status: int, request_id: str) -> None:
    """Say of the span of a request which route answered it, and how."""
    if of is None:
        return
    from opentelemetry.trace import StatusCode

    of.update_name(f"{method} {route}")
    of.set_attributes(
        {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "listlens.request_id": request_id,
        }
    )
    if status >= 500:
        of.set_status(StatusCode.ERROR)


def failed(of: Span | None, reason: str) -> None:
    """Say of a span that what it stands for failed, and why."""
    if of is None:
        return
    from opentelemetry.trace import StatusCode

    of.set_attribute("listlens.reason", reason)
    of.set_status(StatusCode.ERROR, reason)


def trace_id(of: Span | None) -> str | None:
    """Return the trace that a span belongs to as 32 hex digits, as logs name it."""
    return None if of is None else f"{of.get_span_context().trace_id:032x}"


def _context(under: Span) -> Any:
    from opentelemetry.trace import set_span_in_context

    return set_span_in_context(under)


def _nanoseconds(at_s: float) -> int:
    return int((at_s + _OFFSET_S) * 1e9)
