"""Spawn time by phase: how long each part of a start took, what is usual, and what is left to wait."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import datetime

from prometheus_client import REGISTRY, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from modelyard_hub.spawner.starts.causes.base import Object, parse, when

PHASES = ("queue", "schedule", "attach", "pull", "start", "ready", "route")
"""In order. `queue`: until it had its turn and the pod is made; `ready`: from its start until the server answers."""
QUANTILES = (0.5, 0.95, 0.99)
KEPT = 500
SECONDS = Histogram(
    "modelyard_spawn_phase_seconds",
    "Seconds that notebook servers took for a phase of their start.",
    ["phase"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200),
)


def _quantile(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else None


class History:
    """The latest durations of each phase, in seconds, of starts that succeeded."""

    def __init__(self, kept: int = KEPT) -> None:
        self._durations: dict[str, deque[float]] = {phase: deque(maxlen=kept) for phase in PHASES}
        self._seeded: set[str] = set()

    def add(self, phase: str, seconds: float) -> None:
        """Remember one."""
        self._durations[phase].append(max(0.0, seconds))

    def seed(self, key: str, durations: Mapping[str, float]) -> None:
        """Take up what an earlier process of the hub measured for the server `key`; once."""
        if key not in self._seeded:
            self._seeded.add(key)
            for phase, seconds in durations.items():
                if phase in self._durations:
                    self.add(phase, float(seconds))

    def count(self, phase: str) -> int:
        """How many are remembered."""
        return len(self._durations[phase])

    def quantile(self, phase: str, share: float) -> float | None:
        """Seconds within which this share of them ended; None where there are none."""
        return _quantile(sorted(self._durations[phase]), share)

    def usual(self) -> dict[str, float]:
        """The median of each phase that has one."""
        found = ((phase, self.quantile(phase, 0.5)) for phase in PHASES)
        return {phase: seconds for phase, seconds in found if seconds is not None}

    def expected(self) -> dict[str, float]:
        """As `usual`; of pulling, the median of those starts whose image was not there yet."""
        pulled = sorted(seconds for seconds in self._durations["pull"] if seconds > 1.0)
        middle = _quantile(pulled, 0.5)
        return {**self.usual(), "pull": middle or 0.0}

    def remaining(self, phase: str, elapsed: float) -> float | None:
        """Seconds that a start will take from here on, which has been in this phase for so long.

        The median of those that took longer, and of the phases to come. None where no start is known that took as long.
        How long others waited for their turn says nothing of who has had it: in `queue`, the phases to come alone.
        """
        if phase == "queue":
            return self.whole()
        longer = sorted(seconds for seconds in self._durations[phase] if seconds >= elapsed)
        middle = _quantile(longer, 0.5)
        if middle is None:
            return None
        usual = self.usual()
        return middle - elapsed + sum(usual.get(later, 0.0) for later in PHASES[PHASES.index(phase) + 1 :])

    def whole(self) -> float | None:
        """Seconds that a start usually takes from its turn on; None where none is known to its end."""
        usual = self.usual()
        return sum(usual.get(phase, 0.0) for phase in PHASES[1:]) if "ready" in usual else None


class Quantiles(Collector):
    """p50, p95 and p99 of each phase over the latest starts, as gauges."""

    def __init__(self, history: History) -> None:
        self._history = history

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See `Collector.collect`."""
        family = GaugeMetricFamily(
            "modelyard_spawn_phase_quantile_seconds",
            f"Seconds within which a share of the latest {KEPT} starts had ended a phase.",
            labels=["phase", "quantile"],
        )
        for phase in PHASES:
            for share in QUANTILES:
                if (seconds := self._history.quantile(phase, share)) is not None:
                    family.add_metric([phase, str(share)], seconds)
        yield family


HISTORY = History()
REGISTRY.register(Quantiles(HISTORY))


def record(phase: str, seconds: float) -> None:
    """A phase of a start that succeeded."""
    SECONDS.labels(phase=phase).observe(max(0.0, seconds))
    HISTORY.add(phase, seconds)


class Clock:
    """When a start reached which phase, by the clock of this process."""

    def __init__(self) -> None:
        self._marks: dict[str, float] = {"begun": time.monotonic()}

    def mark(self, name: str) -> None:
        """Now; only the first time counts."""
        self._marks.setdefault(name, time.monotonic())

    def between(self, first: str, second: str) -> float | None:
        """Seconds from one mark to the other; None where one is missing."""
        if first in self._marks and second in self._marks:
            return self._marks[second] - self._marks[first]
        return None

    def since(self, name: str) -> float:
        """Seconds since a mark; 0 where it is missing."""
        return time.monotonic() - self._marks[name] if name in self._marks else 0.0


def of_pod(pod: Object, events: tuple[Object, ...] = ()) -> dict[str, float]:
    """Seconds from a pod's creation to its container's start, by phase, by the cluster's own clock (in whole seconds).

    Without events the image's pulling cannot be told from the container's start: it is then taken for it.
    """
    status = pod.get("status") or {}
    conditions = {c.get("type"): c for c in status.get("conditions") or () if c.get("status") == "True"}
    created = parse((pod.get("metadata") or {}).get("creationTimestamp"))
    scheduled = _changed(conditions.get("PodScheduled"))
    running = (status.get("containerStatuses") or [{}])[-1].get("state", {}).get("running") or {}
    started = parse(running.get("startedAt"))
    if not (created and scheduled and started):
        return {}
    times = {when_.get("reason"): when(when_) for when_ in events}
    pulling, pulled = times.get("Pulling"), times.get("Pulled")
    prepared = pulling or pulled or _changed(conditions.get("PodReadyToStartContainers")) or scheduled
    prepared = min(max(prepared, scheduled), started)
    had = min(max(pulled or started, prepared), started) if pulling or not events else prepared
    return {
        "schedule": _seconds(created, scheduled),
        "attach": _seconds(scheduled, prepared),
        "pull": _seconds(prepared, had),
        "start": _seconds(had, started),
    }


def _changed(condition: Object | None) -> datetime | None:
    return parse(condition.get("lastTransitionTime")) if condition else None


def _seconds(first: datetime, second: datetime) -> float:
    return max(0.0, (second - first).total_seconds())
