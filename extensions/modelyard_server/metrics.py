"""Prometheus metrics of one model server, in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """What `/metrics` answers; times in seconds."""

    def __init__(self, model: str, version: str, flavor: str) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter("modelyard_requests", "Predictions answered.", ["code"], registry=self._registry)
        self.latency = Histogram(
            "modelyard_request_seconds", "Time to answer.", buckets=_BUCKETS, registry=self._registry
        )
        self.in_flight = Gauge("modelyard_in_flight", "Predictions under way.", registry=self._registry)
        self.rows = Counter("modelyard_rows", "Rows predicted.", registry=self._registry)
        info = Info("modelyard_model", "What is served.", registry=self._registry)
        info.info({"model": model, "version": version, "flavor": flavor})

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)
