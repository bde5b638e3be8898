"""A span a request, sent by OpenTelemetry over OTLP.

A request whose caller is traced (a traceparent header with the sampled flag, https://www.w3.org/TR/trace-context/) is
traced as a part of that; of the others, a share. A span says which route answered what, from which run, to which
program: no user id, no query, no address. Its names are of OpenTelemetry's semantic conventions for HTTP servers.
"""

from __future__ import annotations

import random
import secrets

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import nightshift
from nightshift.serving.seams import Headers

SEND_SECONDS = 5.0  # that the collector has to take a batch


class Span:
    """A request that is traced.

    Attributes:
        traceparent: for the answer, so that who asked can find the span.
    """

    __slots__ = ("_method", "_span", "traceparent")

    def __init__(self, span: trace.Span, method: str) -> None:
        self._span, self._method = span, method
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-01"

    def end(self, route: str, status: int, size: int, **about: str | None) -> None:
        """End it now.

        Args:
            route: the address with the names of its parts: `/v1/users/{user_id}/recommendations`.
            size: bytes of the answer's body.
            about: further attributes, under `nightshift.`: caller, run, variant, request_id. None: left out.
        """
        self._span.update_name(f"{self._method} {route}")
        self._span.set_attributes(
            {
                "http.route": route,
                "http.response.status_code": status,
                "http.response.body.size": size,
                **{f"nightshift.{name}": value for name, value in about.items() if value is not None},
            }
        )
        if status >= 500:
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()


class Tracer:
    """Begins spans, between `start` and `stop`.

    Args:
        endpoint: where they are sent, by a thread; what it does not take in time is dropped.
        sample: the share of the requests to trace whose caller is not traced.
    """

    def __init__(self, endpoint: str, sample: float) -> None:
        self._endpoint, self._sample = endpoint, sample
        self._propagator = TraceContextTextMapPropagator()

    def start(self) -> None:
        what = {
            "service.namespace": "nightshift",
            "service.name": "nightshift-lookup",
            "service.version": nightshift.__version__,
            "service.instance.id": secrets.token_hex(8),
        }
        self._provider = TracerProvider(ALWAYS_ON, Resource.create(what), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(self._endpoint, timeout=SEND_SECONDS)))
        self._tracer = self._provider.get_tracer("nightshift.serving", nightshift.__version__)

    def stop(self) -> None:
        """Send what is left, and end."""
        self._provider.shutdown()

    def begin(self, headers: Headers, method: str) -> Span | None:
        """A span for a request that has just come; None where this one is not traced."""
        traceparent = headers.get("traceparent")
        if traceparent is None:
            return self._span(Context(), method) if random.random() < self._sample else None
        caller = self._caller(traceparent, headers.get("tracestate"))
        return None if caller is None else self._span(caller, method)

    def _caller(self, traceparent: str, tracestate: str | None) -> Context | None:
        """The context of a caller that is traced; None where it is not sampled, or the header is not one."""
        context = self._propagator.extract({"traceparent": traceparent, "tracestate": tracestate or ""})
        found = trace.get_current_span(context).get_span_context()
        return context if found.is_valid and found.trace_flags.sampled else None

    def _span(self, context: Context, method: str) -> Span:
        attributes = {"http.request.method": method}
        return Span(self._tracer.start_span(method, context, trace.SpanKind.SERVER, attributes), method)
