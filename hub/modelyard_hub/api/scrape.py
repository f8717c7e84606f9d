"""What the replicas' own metrics say, added up per revision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import httpx
from prometheus_client.parser import text_string_to_metric_families

from modelyard_api.endpoints import RevisionMetrics
from modelyard_api.latency import quantile

_TIMEOUT = 2.0


@dataclass
class Sample:
    """One replica's numbers since it started. `buckets`: upper bound in seconds to cumulative count."""

    requests: float = 0
    errors: float = 0
    in_flight: float = 0
    memory: float | None = None
    buckets: dict[float, float] = field(default_factory=dict)


async def scrape(http: httpx.AsyncClient, addresses: Iterable[str]) -> list[Sample]:
    """What each replica says; a replica that does not answer is left out."""
    answers = await asyncio.gather(*(_fetch(http, address) for address in addresses))
    return [parse(text) for text in answers if text is not None]


def parse(text: str) -> Sample:
    """Read the model server's Prometheus text. Pure. Errors are answers of 400 and above."""
    sample = Sample()
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            if name == "modelyard_requests_total":
                sample.requests += value
                sample.errors += value if labels.get("code", "2")[:1] in "45" else 0
            elif name == "modelyard_in_flight":
                sample.in_flight += value
            elif name.endswith(("process_resident_memory_bytes", "modelyard_worker_memory_bytes")):
                sample.memory = (sample.memory or 0) + value  # a model that is Python is in processes of its own
            elif name == "modelyard_request_seconds_bucket":
                bound = float(labels["le"])
                sample.buckets[bound] = sample.buckets.get(bound, 0) + value
    return sample


def total(revision: int, samples: Iterable[Sample]) -> RevisionMetrics:
    """The sum over a revision's replicas. Pure."""
    replicas = list(samples)
    buckets: dict[float, float] = {}
    for sample in replicas:
        for bound, count in sample.buckets.items():
            buckets[bound] = buckets.get(bound, 0) + count
    memory = [s.memory for s in replicas if s.memory is not None]
    return RevisionMetrics(
        revision=revision,
        requests=int(sum(s.requests for s in replicas)),
        errors=int(sum(s.errors for s in replicas)),
        in_flight=int(sum(s.in_flight for s in replicas)),
        latency_p50_ms=_quantile(buckets, 0.5),
        latency_p99_ms=_quantile(buckets, 0.99),
        latency_ms=tuple(
            (None if bound == float("inf") else round(1000 * bound, 3), int(buckets[bound]))
            for bound in sorted(buckets)
        ),
        memory_bytes=int(sum(memory)) if memory else None,
    )


def _quantile(buckets: Mapping[float, float], q: float) -> float | None:
    """In milliseconds, of bounds in seconds."""
    found = quantile(buckets, q)
    return None if found is None else round(1000 * found, 3)


async def _fetch(http: httpx.AsyncClient, address: str) -> str | None:
    try:
        answer = await http.get(f"{address.rstrip('/')}/metrics", timeout=_TIMEOUT)
    except httpx.HTTPError:
        return None
    return answer.text if answer.status_code == 200 else None
