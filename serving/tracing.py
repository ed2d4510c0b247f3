"""Traces of requests: a span each, and one for every stage of it. Needs the extra `headrace[otel]`.

Spans are made when a request is done, from the times that are taken of every request anyway: while it is answered a
traced request costs a list of times, one that is not sampled nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import Any

from pydantic import Field

from features.config import StrictConfig
from features.errors import StartupError

_HEADERS = ("traceparent", "tracestate")


class TracingConfig(StrictConfig):
    """Where traces go, and how many."""

    is_enabled: bool = False
    """Needs `pip install 'headrace[otel]'`."""
    endpoint: str = "http://127.0.0.1:4318/v1/traces"
    """OTLP over HTTP, of a collector."""
    sample_share: float = Field(0.01, ge=0, le=1)
    """Of requests that come without a trace of their caller's."""
    follows_callers: bool = True
    """Take the caller's trace and its decision (`traceparent` in the metadata); off: the share holds for all."""
    service_name: str = "headrace-serving"
    """How the server is called in traces."""


class RequestTrace:
    """One sampled request.

    Args:
        tracer: OpenTelemetry's.
        span: of the request, begun.
        started_s: `time.perf_counter()` of its begin.
        started_ns: wall clock of the same moment.
    """

    __slots__ = ("_span", "_stages", "_started_ns", "_started_s", "_tracer")

    def __init__(self, tracer: Any, span: Any, started_s: float, started_ns: int) -> None:
        self._tracer, self._span = tracer, span
        self._started_s, self._started_ns = started_s, started_ns
        self._stages: list[tuple[str, float, float]] = []

    def note_stage(self, stage: str, started_s: float, ended_s: float) -> None:
        """A stage took from one `time.perf_counter()` to another."""
        self._stages.append((stage, started_s, ended_s))

    def note_answer(self, request_id: str, version: str, arm: str, reasons: Sequence[str]) -> None:
        """Say what was answered; ids of users and items are nobody's business in a trace."""
        self._span.set_attributes(
            {
                "headrace.request_id": request_id,
                "headrace.model_version": version,
                "headrace.arm": arm,
                "headrace.degraded_reasons": list(reasons),
            }
        )

    def end(self, error: type[BaseException] | None) -> None:
        """Make the spans."""
        from opentelemetry.trace import StatusCode, set_span_in_context

        inside = set_span_in_context(self._span)
        for stage, started_s, ended_s in self._stages:
            span = self._tracer.start_span(f"stage {stage}", context=inside, start_time=self._at(started_s))
            span.end(self._at(ended_s))
        if error is not None:
            self._span.set_status(StatusCode.ERROR, error.__name__)
        self._span.end()

    def _at(self, moment_s: float) -> int:
        return self._started_ns + int((moment_s - self._started_s) * 1e9)


TRACE: ContextVar[RequestTrace | None] = ContextVar("headrace_trace", default=None)
"""Of the request in work; None where it is not sampled."""


class Tracing:
    """Begins traces, and sends what is done from a thread of its own.

    Args:
        config: where to, how many.
        processor: takes finished spans; one that sends batches over OTLP by default.

    Raises:
        StartupError: OpenTelemetry is not installed.
    """

    def __init__(self, config: TracingConfig, processor: Any = None) -> None:
        try:  # Here: it is an extra, and takes a second to import.
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
            from opentelemetry.trace import SpanKind
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise StartupError(
                f"serving.tracing.is_enabled needs OpenTelemetry ({error.name} is missing): install headrace[otel], or "
                "switch it off"
            ) from error
        sampler = ParentBased(TraceIdRatioBased(config.sample_share))
        resource = Resource.create({"service.name": config.service_name})
        self._provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter(endpoint=config.endpoint)))
        self._tracer = self._provider.get_tracer("headrace.serving")
        self._propagator = TraceContextTextMapPropagator()
        self._follows = config.follows_callers
        self._kind = SpanKind.SERVER

    def begin(self, method: str, metadata: Iterable[tuple[str, str | bytes]] | None) -> RequestTrace | None:
        """Begin a request's trace, the caller's where it sends one; None where it is not sampled."""
        started_s, started_ns = time.perf_counter(), time.time_ns()
        headers = {key: value for key, value in metadata or () if key in _HEADERS} if self._follows else {}
        parent = self._propagator.extract(headers) if headers else None
        span = self._tracer.start_span(method, context=parent, kind=self._kind, start_time=started_ns)
        return RequestTrace(self._tracer, span, started_s, started_ns) if span.is_recording() else None

    def close(self) -> None:
        """Send what waits, and end."""
        self._provider.shutdown()
