"""OpenTelemetry traces: the spans of each request, sent to a collector over HTTP from a thread of the SDK's own."""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import threading
from random import random

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from modelyard_server.settings import ServerSettings
from modelyard_server.watch.record import Record

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-([0-9a-f]{2})(?:-.*)?")
_PATH = "/v1/traces"
_QUEUE = 8192
"""Spans that wait for the collector; what comes then is dropped."""
_VERSIONS = 4
"""Whose tracers are kept: of a swap the one that is let go, and the one that comes."""
_PATIENCE = 5.0
_CLOSING = 2.0
_NONE = Context()


class Traces:
    """Three spans for each request: `request`, and in it `queue` and `predict`.

    Who asked with a sampled traceparent is traced, who asked with an unsampled one is not, of others a share is."""

    def __init__(self, settings: ServerSettings, url: str) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a collector that is away is told of by itself
        self._settings = settings
        where = url.rstrip("/")
        exporter = OTLPSpanExporter(where if where.endswith(_PATH) else where + _PATH, timeout=_PATIENCE)
        self._share = settings.trace_share
        self._spans = BatchSpanProcessor(exporter, max_queue_size=_QUEUE, schedule_delay_millis=1000)
        self._tracer = functools.lru_cache(_VERSIONS)(self._tracer_of)
        self._propagator = TraceContextTextMapPropagator()

    def tell(self, record: Record, status: int, size: int, ended: float) -> None:
        # The answer goes first.
        if self._chosen(record.traceparent):
            asyncio.get_running_loop().call_soon(self._trace, record, status, size, ended)

    def deliver(self) -> None:
        """Wait until the spans so far are delivered, or given up."""
        self._spans.force_flush()

    async def close(self) -> None:
        closed, loop = asyncio.Event(), asyncio.get_running_loop()

        def close() -> None:
            self._spans.shutdown()  # type: ignore[no-untyped-call]
            loop.call_soon_threadsafe(closed.set)

        threading.Thread(target=close, daemon=True, name="traces").start()
        try:
            await asyncio.wait_for(closed.wait(), _CLOSING)
        except TimeoutError:
            logging.getLogger(__name__).warning("the collector of traces did not take the last spans")

    def _chosen(self, traceparent: str) -> bool:
        told = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
        return random() < self._share if told is None else int(told[1], 16) & 1 == 1

    def _tracer_of(self, version: str) -> Tracer:
        """A version's spans name it as their service's: another one may be served by now."""
        said: dict[str, str | int] = {
            "service.name": self._settings.endpoint,
            "service.version": version,
            "modelyard.model": self._settings.model,
            "modelyard.revision": self._settings.revision,
        }
        provider = TracerProvider(
            sampler=ALWAYS_ON,  # what is not to be traced does not come so far: it would cost ten microseconds
            resource=Resource.create({**said}),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self._spans)
        return provider.get_tracer("modelyard_server")

    def _trace(self, record: Record, status: int, size: int, ended: float) -> None:
        parent = _NONE
        if record.traceparent:
            parent = self._propagator.extract({"traceparent": record.traceparent}, _NONE)
        begun, zero, tracer = record.begun, record.started, self._tracer(record.version)

        def at(moment: float) -> int:
            return begun + int((moment - zero) * 1e9)

        span = tracer.start_span("request", parent, SpanKind.SERVER, start_time=begun)
        said: dict[str, str | int] = {
            "http.request.method": record.method,
            "url.path": record.path,
            "http.response.status_code": status,
            "http.response.body.size": size,
            "modelyard.request.id": record.id,
        }
        if record.rows:
            said["modelyard.rows"] = record.rows
        if record.caller is not None:
            said["enduser.id"] = record.caller
        if record.address:
            said["client.address"] = record.address
        if record.reason:
            said["error.type"] = record.reason
        span.set_attributes(said)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        if record.run_to:
            within = set_span_in_context(span, _NONE)
            queue = tracer.start_span("queue", within, start_time=at(record.waited_from))
            queue.end(at(record.run_from))
            counts = {"modelyard.rows": record.rows, "modelyard.batch.rows": record.batch}
            predict = tracer.start_span("predict", within, attributes=counts, start_time=at(record.run_from))
            predict.end(at(record.run_to))
        span.end(at(ended))
