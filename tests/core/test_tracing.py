"""Traces: off unless asked for, nothing imported then, and spans in the places they belong."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from listlens.core import tracing
from listlens.core.errors import ConfigError, MissingExtraError

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "  "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "Console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_SERVICE_NAME": "shop"}, False),
    ],
)
def test_the_standard_variables_say_whether(environ: dict[str, str], asked: bool) -> None:
    assert tracing.wanted(environ) is asked
    if not asked:
        with tracing.tracing(environ) as on:
            assert on is tracing.on() is False


def test_without_being_asked_nothing_is_imported_and_nothing_is_noted() -> None:
    code = (
        "import sys\nfrom listlens.core import tracing\n"
        "with tracing.tracing({}), tracing.span('a') as span:\n"
        "    assert span is None and tracing.current() is None and tracing.begin('b') is None\n"
        "    tracing.note('c', 0.0, 1.0, None); tracing.failed(None, 'x')\n"
        "    tracing.answered(None, 'GET', '/', 200, 'r'); assert tracing.trace_id(None) is None\n"
        "with tracing.request_span('GET', {'traceparent': 'x'}) as span: assert span is None\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_happens_in_a_block_stands_under_it(spans: Any) -> None:
    begun = time.monotonic()
    with tracing.span("outer", photos=3) as outer:
        assert tracing.current() is outer
        with tracing.span("inner"):
            pass
        tracing.note("before", begun - 2.0, begun - 1.0, outer, photos=1)
    tracing.note("nobody's", begun, begun, None)
    inner, before, out = spans.get_finished_spans()
    assert [inner.name, before.name, out.name] == ["inner", "before", "outer"]
    assert inner.parent.span_id == before.parent.span_id == out.context.span_id
    assert out.parent is None and dict(out.attributes) == {"photos": 3}
    assert (before.end_time - before.start_time) / 1e9 == pytest.approx(1.0, abs=1e-3)
    assert before.end_time / 1e9 == pytest.approx(time.time() - 1.0, abs=1.0)


def test_a_request_continues_its_caller_s_trace(spans: Any) -> None:
    with tracing.request_span("POST", {"traceparent": CALLER}) as span:
        assert tracing.trace_id(span) == "0af7651916cd43dd8448eb211c80319c"
        tracing.answered(span, "POST", "/v1/predict", 503, "r-1")
    with tracing.request_span("GET", {"traceparent": "nonsense"}) as span:
        tracing.answered(span, "GET", "/", 200, "r-2")
    first, second = spans.get_finished_spans()
    assert (first.name, first.kind.name) == ("POST /v1/predict", "SERVER")
    assert f"{first.parent.span_id:016x}" == "b7ad6b7169203331"
    assert first.attributes["http.response.status_code"] == 503 and not first.status.is_ok
    assert first.attributes["listlens.request_id"] == "r-1"
    assert second.parent is None and second.context.trace_id != first.context.trace_id


def test_a_span_may_end_in_another_thread_and_belongs_to_no_other(spans: Any) -> None:
    with tracing.span("somebody else's"):
        alone = tracing.begin("event", source="s")

    def work() -> None:
        with tracing.span("fetch", alone, host="x"):
            time.sleep(0.001)
        tracing.failed(alone, "missing")
        alone.end()  # type: ignore[union-attr]

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    found = {one.name: one for one in spans.get_finished_spans()}
    assert found["event"].parent is None
    assert found["fetch"].parent.span_id == found["event"].context.span_id
    assert found["event"].attributes["listlens.reason"] == "missing"
    assert not found["event"].status.is_ok


class Receiver:
    """A real collector's HTTP door, that keeps what it is sent."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
                    ExportTraceServiceRequest,
                )

                sent = ExportTraceServiceRequest()
                sent.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.paths.append(self.path)
                for part in sent.resource_spans:
                    said = {a.key: a.value.string_value for a in part.resource.attributes}
                    receiver.resources.append(said)
                    receiver.spans += [s for scope in part.scope_spans for s in scope.spans]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self) -> Receiver:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.mark.parametrize("named", ["", "my-shop"])
def test_a_collector_is_sent_what_was_traced(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        if named:
            monkeypatch.setenv("OTEL_SERVICE_NAME", named)
        said: list[str] = []
        with tracing.traced(said.append):
            assert tracing.on()
            with tracing.span("outer"), tracing.span("inner"):
                pass
        assert not tracing.on()
    assert said == ["Traces are sent as the variables OTEL_... say."]
    assert receiver.paths == ["/v1/traces"]
    assert [one.name for one in receiver.spans] == ["inner", "outer"]
    assert receiver.resources[0]["service.name"] == (named or "listlens")


def test_a_collector_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(tracing, "FLUSH_S", 0.3)
    begun = time.monotonic()
    with tracing.tracing() as on:
        assert on
        with tracing.span("lost"):
            pass
    assert time.monotonic() - begun < 8


def test_what_cannot_be_spoken_is_said_and_nothing_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(ConfigError, match="http/protobuf"), tracing.tracing(environ):
        pass
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with (
        pytest.raises(MissingExtraError, match=r"listlens\[otel\]"),
        tracing.tracing({"OTEL_TRACES_EXPORTER": "otlp"}),
    ):
        pass
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    said: list[str] = []
    with tracing.traced(said.append):
        assert not tracing.on()
    assert "No traces are sent" in said[0] and "pip install" in said[0]
