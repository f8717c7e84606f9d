"""What the replicas' own metrics say, added up per revision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import httpx
from prometheus_client.parser import text_string_to_metric_families

from modelyard_api.endpoints import RevisionMetrics

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
            elif name.endswith("process_resident_memory_bytes"):
                sample.memory = value
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
        latency_p50_ms=quantile(buckets, 0.5),
        latency_p99_ms=quantile(buckets, 0.99),
        memory_bytes=int(sum(memory)) if memory else None,
    )


def quantile(buckets: dict[float, float], q: float) -> float | None:
    """A quantile in milliseconds of a histogram, linear within its bucket as Prometheus does; None when empty.

    What lies above the highest finite bound counts as that bound.
    """
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] == 0:
        return None
    rank = q * buckets[bounds[-1]]
    low, below = 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank and count > below:
            high = low if bound == float("inf") else bound
            return round(1000 * (low + (high - low) * (rank - below) / (count - below)), 3)
        low, below = bound, count
    return None


async def _fetch(http: httpx.AsyncClient, address: str) -> str | None:
    try:
        answer = await http.get(f"{address.rstrip('/')}/metrics", timeout=_TIMEOUT)
    except httpx.HTTPError:
        return None
    return answer.text if answer.status_code == 200 else None
