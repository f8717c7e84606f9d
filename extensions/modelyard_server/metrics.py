"""What a model server counts: plain numbers, for a library's counters cost as much as a small model.

`exposition` makes them into what Prometheus reads, when it asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from typing import Protocol

SECONDS = (
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


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


class Metrics:
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

    def serves(self, model: str, version: str, flavor: str) -> None:
        """What is served from now on. Triton's counters, which name the version, begin anew; the others go on."""
        self.before = self.counts()
        self.labels = {"model": model, "version": version}
        self.info = {"model": model, "version": version, "flavor": flavor}

    def counts(self) -> tuple[float, ...]:
        """What Triton's counters tell, of all versions together; `before`: of those before this one."""
        good, predict = self.codes[200], self.predict
        bad = self.codes.total() - good
        seconds = self.request.total, self.queue.total, predict.total
        return good, bad, self.rows, predict.count, *(1e6 * total for total in seconds)
