"""Requests a second and latencies over the last minutes, from what an endpoint's replicas counted. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from modelyard_api.endpoints import RevisionMetrics
from modelyard_api.latency import quantile, since

WINDOW = 300.0
"""Seconds that are kept."""
SHORTEST, LONGEST = 1.0, 15.0
"""Seconds between two looks, below which few calls make odd rates, and above which they say nothing of now."""
Rate = list[float | None]
"""Requests and errors a second, p50 and p99 in ms between two looks, calls under way, memory in bytes."""
Point = tuple[float, dict[str, Rate]]


class Rates:
    """Sums since the start, looked at again and again, as rates by revision."""

    def __init__(self) -> None:
        self.points: deque[Point] = deque()
        self._before: dict[int, RevisionMetrics] = {}
        self._at = 0.0

    def add(self, at: float, items: Iterable[RevisionMetrics]) -> Point | None:
        """The rates of the time since the last look; `at` in seconds. None: there was none shortly before."""
        seconds = at - self._at
        if seconds < SHORTEST:
            return None
        now = {m.revision: m for m in items}
        point = None
        if seconds <= LONGEST:
            found = {str(n): _rate(self._before[n], m, seconds) for n, m in now.items() if n in self._before}
            point = (round(at, 2), found)
            self.points.append(point)
            while self.points and self.points[0][0] < at - WINDOW:
                self.points.popleft()
        self._before, self._at = now, at
        return point


def _rate(before: RevisionMetrics, now: RevisionMetrics, seconds: float) -> Rate:
    again = now.requests < before.requests  # replicas that started again count from nothing
    requests = now.requests - (0 if again else before.requests)
    errors = now.errors - (0 if again else before.errors)
    spread = since(before.latency_ms, now.latency_ms)
    return [
        round(requests / seconds, 2),
        round(max(errors, 0) / seconds, 2),
        _rounded(quantile(spread, 0.5)),
        _rounded(quantile(spread, 0.99)),
        float(now.in_flight),
        None if now.memory_bytes is None else float(now.memory_bytes),
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
