"""Latencies as histograms add up and are told apart in time, which quantiles cannot. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def quantile(buckets: Mapping[float, float], q: float) -> float | None:
    """A quantile of a cumulative histogram (upper bound to count), linear within its bucket as Prometheus does; in the
    bounds' unit, None when empty.

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
            return low + (high - low) * (rank - below) / (count - below)
        low, below = bound, count
    return None


def since(before: Iterable[tuple[float | None, int]], now: Iterable[tuple[float | None, int]]) -> dict[float, float]:
    """What was added to a histogram, as sent (None is the bound of what lies above all others), between two looks.

    A count that went down means that a replica started again: then all that it counted since.
    """
    old = {_bound(bound): count for bound, count in before}
    new = {_bound(bound): count for bound, count in now}
    if any(new.get(bound, 0) < count for bound, count in old.items()):
        old = {}
    return {bound: float(count - old.get(bound, 0)) for bound, count in new.items()}


def _bound(bound: float | None) -> float:
    return float("inf") if bound is None else bound
