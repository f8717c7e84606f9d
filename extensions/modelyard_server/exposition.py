"""Prometheus' document of a model server: our names, KServe's histograms and Triton's counters.

A module of its own, as prometheus_client is not needed before somebody asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from modelyard_server.metrics import Metrics, Processes, Times

_TRITON = (
    ("nv_inference_request_success", "Predictions answered with 200."),
    ("nv_inference_request_failure", "Predictions refused or failed."),
    ("nv_inference_count", "Rows predicted."),
    ("nv_inference_exec_count", "Runs of the model."),
    ("nv_inference_request_duration_us", "Time to answer, summed."),
    ("nv_inference_queue_duration_us", "Time waited for the model, summed."),
    ("nv_inference_compute_infer_duration_us", "Time of the model's runs, summed."),
)
"""In the order of `Metrics.counts`."""


class Exposition(Collector):
    """Of one server's metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client asks for them."""
        metrics = self._metrics
        yield InfoMetricFamily("modelyard_model", "What is served.", value=metrics.info)
        codes = {str(code): n for code, n in metrics.codes.items()}
        yield _counter("modelyard_requests", "Predictions answered.", "code", codes)
        yield _counter(
            "modelyard_violations", "Requests refused, by rule of the signature.", "rule", metrics.violations
        )
        yield CounterMetricFamily("modelyard_rows", "Rows predicted.", value=metrics.rows)
        yield CounterMetricFamily("modelyard_left", "Requests whose caller left before the answer.", value=metrics.left)
        yield GaugeMetricFamily("modelyard_in_flight", "Predictions under way.", value=metrics.in_flight())
        yield GaugeMetricFamily("modelyard_queued", "Predictions that wait for the model.", value=metrics.queued())
        yield _histogram("modelyard_request_seconds", "Time to answer.", {}, metrics.request)
        yield _histogram("modelyard_queue_seconds", "Time that a request waited for the model.", {}, metrics.queue)
        yield _histogram("modelyard_predict_seconds", "Time of the model's runs.", {}, metrics.predict)
        yield _histogram("modelyard_batch_rows", "Rows of the model's runs.", {}, metrics.batch)
        if metrics.pool is not None:
            yield from _processes(metrics.pool)
        yield from self._kserve()
        yield from self._triton()

    def _kserve(self) -> Iterator[Metric]:
        metrics = self._metrics
        label = {"model_name": metrics.labels["model"]}
        yield _histogram("request_preprocess_seconds", "Time to read and check a request.", label, metrics.read)
        yield _histogram("request_predict_seconds", "Time of the model's runs.", label, metrics.predict)
        yield _histogram("request_postprocess_seconds", "Time to write an answer.", label, metrics.write)

    def _triton(self) -> Iterator[Metric]:
        metrics = self._metrics
        for (name, said), value, before in zip(_TRITON, metrics.counts(), metrics.before, strict=True):
            family = Metric(name, said, "gauge")  # a gauge in name only: Triton's counters have no `_total`
            family.add_sample(name, metrics.labels, value - before)
            yield family


def _processes(pool: Processes) -> Iterator[Metric]:
    yield GaugeMetricFamily("modelyard_workers", "Processes of the model that are ready to predict.", value=pool.up)
    said = "Processes of the model that were started again after they had ended."
    yield CounterMetricFamily("modelyard_worker_restarts", said, value=pool.restarts)
    family = GaugeMetricFamily("modelyard_worker_memory_bytes", "Resident memory of a process.", labels=["worker"])
    for worker, size in pool.memory().items():
        family.add_metric([worker], size)
    yield family


def _counter(name: str, said: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, said, labels=[label])
    for value, n in list(values.items()):
        family.add_metric([value], n)
    return family


def _histogram(name: str, said: str, labels: dict[str, str], times: Times) -> Metric:
    family = HistogramMetricFamily(name, said, labels=list(labels))
    family.add_metric(list(labels.values()), times.buckets(), times.total)
    return family
