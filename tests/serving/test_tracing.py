"""Spans as a collector gets them over HTTP: part of the caller's trace, and with nothing of a person in them."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import ValidationError

from nightshift.config.settings import Tracing
from nightshift.serving.telemetry.tracing import tracer_of

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"
ROUTE = "/v1/users/{user_id}/recommendations"


class Collector:
    """A real one as far as OTLP goes: takes what is posted to /v1/traces."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, Any]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                assert self.path == "/v1/traces"
                for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    collector.resources.append(plain(of_resource.resource.attributes))
                    collector.spans += [span for scope in of_resource.scope_spans for span in scope.spans]
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@contextmanager
def tracing(collector: Collector, sample: float = 0.0) -> Iterator[Any]:
    tracer = tracer_of(Tracing(endpoint=collector.endpoint, sample=sample))
    assert tracer
    tracer.start()
    yield tracer
    tracer.stop()


def test_a_span_is_a_part_of_its_callers_trace_and_says_nothing_of_a_person(collector: Collector) -> None:
    with tracing(collector) as tracer:
        span = tracer.begin({"traceparent": SAMPLED, "tracestate": "shop=1", "cookie": "anna"}, "GET")
        span.end(ROUTE, 200, 2113, caller="shop", run="2011-11-30/night", variant=None)
    (sent,) = collector.spans
    assert (sent.trace_id.hex(), sent.parent_span_id.hex(), sent.trace_state) == (TRACE, CALLER, "shop=1")
    assert span.traceparent == f"00-{TRACE}-{sent.span_id.hex()}-01"
    assert (sent.name, sent.kind) == (f"GET {ROUTE}", sent.SPAN_KIND_SERVER)
    assert sent.end_time_unix_nano > sent.start_time_unix_nano
    assert plain(sent.attributes) == {
        "http.request.method": "GET",
        "http.route": ROUTE,
        "http.response.status_code": 200,
        "http.response.body.size": 2113,
        "nightshift.caller": "shop",
        "nightshift.run": "2011-11-30/night",
    }
    assert collector.resources[0]["service.name"] == "nightshift-lookup"


def test_a_failure_is_marked_as_one_and_a_refusal_is_not(collector: Collector) -> None:
    with tracing(collector) as tracer:
        for status in (503, 404):
            tracer.begin({"traceparent": SAMPLED}, "GET").end(ROUTE, status, 0)
    assert [span.status.code for span in collector.spans] == [2, 0]


@pytest.mark.parametrize("traceparent", [NOT_SAMPLED, "00-0-0-01", f"00-{'0' * 32}-{CALLER}-01", "\x00", ""])
def test_what_the_caller_does_not_trace_or_cannot_say_is_not_traced(collector: Collector, traceparent: str) -> None:
    with tracing(collector, sample=1.0) as tracer:
        assert tracer.begin({"traceparent": traceparent}, "GET") is None


def test_of_the_others_a_share_begins_a_trace_of_its_own(collector: Collector) -> None:
    with tracing(collector, sample=0.0) as tracer:
        assert [tracer.begin({}, "GET") for _ in range(100)] == [None] * 100
    with tracing(collector, sample=1.0) as tracer:
        for _ in range(3):
            tracer.begin({}, "POST").end("/v1/recommendations:batch", 200, 10)
    assert len({span.trace_id for span in collector.spans}) == 3
    assert {span.parent_span_id for span in collector.spans} == {b""}


def test_off_is_the_default_and_imports_nothing() -> None:
    assert tracer_of(Tracing()) is None
    code = (
        "import sys, nightshift.serving.telemetry.tracing as t; from nightshift.config.settings import Tracing;"
        "t.tracer_of(Tracing()); print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_endpoint_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValidationError, match="collector:4317' is not like http://"):
        Tracing(endpoint="collector:4317")
