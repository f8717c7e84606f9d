"""A collector of OpenTelemetry traces over HTTP that keeps what it gets, or misbehaves."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector(ThreadingHTTPServer):
    """`spans` by name, each name's in order of arrival; `versions` of the service by span id; `silent`: takes requests
    and answers none."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *, silent: bool = False, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.silent = silent
        self.status = status
        self.asked = threading.Event()
        self.ended = threading.Event()
        self.spans: dict[str, list[Any]] = {}
        self.resource: dict[str, Any] = {}
        self.versions: dict[bytes, str] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        for part in request.resource_spans:
            self.resource |= attributes(part.resource)
            for scope in part.scope_spans:
                for span in scope.spans:
                    self.versions[span.span_id] = attributes(part.resource)["service.version"]
                    self.spans.setdefault(span.name, []).append(span)


def attributes(of: Any) -> dict[str, Any]:
    """Attributes of a span or a resource as plain values."""
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in of.attributes}


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.set()
        if self.server.silent:
            self.server.ended.wait()
            return
        body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
        if self.path == "/v1/traces" and self.server.status == 200:
            self.server.take(ExportTraceServiceRequest.FromString(body))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: its requests are in `spans`."""


@contextmanager
def collecting(**how: Any) -> Iterator[Collector]:
    """A collector that listens."""
    collector = Collector(**how)
    thread = threading.Thread(target=collector.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.ended.set()
        collector.shutdown()
        collector.server_close()
