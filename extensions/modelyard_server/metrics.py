"""Prometheus metrics of one model server: our names, KServe's histograms and Triton's counters.

Plain numbers, read when somebody scrapes: a library's counters cost as much as a small model."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

SECONDS = (
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)

_TRITON = (
    ("nv_inference_request_success", "Predictions answered with 200."),
    ("nv_inference_request_failure", "Predictions refused or failed."),
    ("nv_inference_count", "Rows predicted."),
    ("nv_inference_exec_count", "Runs of the model."),
    ("nv_inference_request_duration_us", "Time to answer, summed."),
    ("nv_inference_queue_duration_us", "Time waited for the model, summed."),
    ("nv_inference_compute_infer_duration_us", "Time of the model's runs, summed."),
)


class Times:
    """A histogram. For one thread: a server's are its loop's."""

    __slots__ = ("_bounds", "count", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.count = 0
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.count += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as the exposition format has them."""
        found, below = [], 0
        for bound, count in zip((*self._bounds, float("inf")), self.counts, strict=True):
            below += count
            found.append(("+Inf" if bound == float("inf") else repr(float(bound)), float(below)))
        return found


class Processes(Protocol):
    """A model's processes."""

    restarts: int

    @property
    def up(self) -> int:
        """How many are ready to predict."""

    def memory(self) -> dict[str, int]:
        """Resident bytes of each."""


class Metrics(Collector):
    """What `/metrics` answers; times in seconds. Times of a request's parts: read, queue, predict, write."""

    def __init__(self, model: str, version: str, flavor: str) -> None:
        self.codes: Counter[int] = Counter()
        self.violations: Counter[str] = Counter()
        self.rows = 0
        self.left = 0
        self.request = Times()
        self.read = Times()
        self.queue = Times()
        self.predict = Times()
        self.write = Times()
        self.batch = Times(ROWS)
        self.serves(model, version, flavor)
        self.in_flight: Callable[[], int] = lambda: 0
        self.queued: Callable[[], int] = lambda: 0
        self.pool: Processes | None = None
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def serves(self, model: str, version: str, flavor: str) -> None:
        """What is served from now on. Triton's counters, which name the version, begin anew; the others go on."""
        self._before = self._counts()
        self._labels = {"model": model, "version": version}
        self._info = {"model": model, "version": version, "flavor": flavor}

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client asks for them."""
        yield InfoMetricFamily("modelyard_model", "What is served.", value=self._info)
        codes = {str(code): n for code, n in self.codes.items()}
        yield _counter("modelyard_requests", "Predictions answered.", "code", codes)
        yield _counter("modelyard_violations", "Requests refused, by rule of the signature.", "rule", self.violations)
        yield CounterMetricFamily("modelyard_rows", "Rows predicted.", value=self.rows)
        yield CounterMetricFamily("modelyard_left", "Requests whose caller left before the answer.", value=self.left)
        yield GaugeMetricFamily("modelyard_in_flight", "Predictions under way.", value=self.in_flight())
        yield GaugeMetricFamily("modelyard_queued", "Predictions that wait for the model.", value=self.queued())
        yield _histogram("modelyard_request_seconds", "Time to answer.", {}, self.request)
        yield _histogram("modelyard_queue_seconds", "Time that a request waited for the model.", {}, self.queue)
        yield _histogram("modelyard_predict_seconds", "Time of the model's runs.", {}, self.predict)
        yield _histogram("modelyard_batch_rows", "Rows of the model's runs.", {}, self.batch)
        if self.pool is not None:
            yield from _processes(self.pool)
        yield from self._kserve()
        yield from self._triton()

    def _kserve(self) -> Iterator[Metric]:
        label = {"model_name": self._labels["model"]}
        yield _histogram("request_preprocess_seconds", "Time to read and check a request.", label, self.read)
        yield _histogram("request_predict_seconds", "Time of the model's runs.", label, self.predict)
        yield _histogram("request_postprocess_seconds", "Time to write an answer.", label, self.write)

    def _counts(self) -> tuple[float, ...]:
        """Of all versions together, in the order of `_TRITON`."""
        good, predict = self.codes[200], self.predict
        bad = self.codes.total() - good
        seconds = self.request.total, self.queue.total, predict.total
        return good, bad, self.rows, predict.count, *(1e6 * total for total in seconds)

    def _triton(self) -> Iterator[Metric]:
        for (name, said), value, before in zip(_TRITON, self._counts(), self._before, strict=True):
            family = Metric(name, said, "gauge")  # a gauge in name only: Triton's counters have no `_total`
            family.add_sample(name, self._labels, value - before)
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
