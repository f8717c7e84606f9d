"""What a run log tells, added up: `Progress`, and the events it is made of.

| event | fields | told by |
| --- | --- | --- |
| launched | pid, created, oom_kills | whoever started the process; oom_kills: see `faults` |
| step | text | what the process does now, in words |
| source | text, kind | how progress is known: callbacks, iterations, trials, elapsed |
| total | of, unit | how many iterations there will be at most; unit: epoch, tree, round, pass, fold, trial; another
  unit begins to count anew |
| estimate | seconds, text | how long the fit will take by an earlier one, and by which |
| points | series: {name: [[steps], [values]]}, done | curves, and the iteration that is done; at most ten lines a
  second, every point in them |
| task | path, of, sequential, end, text | scikit-learn's tree of fit tasks |
| fold | number, of, metrics | a fold of a cross-validation is done |
| trial | number, state, value, params, seconds, reason | a trial of a search (from 1) is complete, pruned or failed |
| best | step, name, value | the best state so far, which a stop keeps |
| checkpoint | step | a state from which the run can be resumed is on disk |
| usage | cpu (cores), memory (bytes), shm (bytes), gpu (percent), gpu_memory (bytes), rows (per second) | each second |
| metrics | values | on the held-out rows |
| report | name | `report-<name>.json` is written: what a chart is drawn from |
| warning | text | |
| tracked | run_id, url | the run is in MLflow |
| paused, resumed, stopping | | whoever asked |
| ended | state, error, remedy, traceback, model (bool) | the process, or whoever found it dead |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from modelyard.training import runlog

POINTS = 2_000
"""Points kept of a curve; beyond, every second one goes, so that a curve of any length keeps its shape."""


class RunState(StrEnum):
    """Where a training run is in its life."""

    running = "running"
    paused = "paused"
    succeeded = "succeeded"
    failed = "failed"
    stopped = "stopped"


class ProgressKind(StrEnum):
    """How a run knows how far it is."""

    callbacks = "callbacks"
    iterations = "iterations"
    trials = "trials"
    elapsed = "elapsed"


@dataclass
class Curve:
    """A curve in at most POINTS points, its last one always exact."""

    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    last: tuple[float, float] | None = None
    _stride: int = 1
    _seen: int = 0

    def add(self, step: float, value: float) -> None:
        """The next point; a step that is not beyond the last one (a resumed run) takes back what came after it."""
        if self.last is not None and step <= self.last[0]:
            kept = [i for i, s in enumerate(self.steps) if s < step]
            self.steps, self.values = [self.steps[i] for i in kept], [self.values[i] for i in kept]
        self.last = (step, value)
        if self._seen % self._stride == 0:
            self.steps.append(step)
            self.values.append(value)
        self._seen += 1
        if len(self.steps) > POINTS:
            del self.steps[1::2], self.values[1::2]
            self._stride *= 2

    def points(self) -> tuple[list[float], list[float]]:
        """Steps and values, the last one included."""
        if self.last is None or (self.steps and self.steps[-1] == self.last[0]):
            return self.steps, self.values
        return [*self.steps, self.last[0]], [*self.values, self.last[1]]


@dataclass
class Task:
    """A node of the tree of scikit-learn's fit tasks. `of`: children expected; None: not known, 0: a leaf."""

    of: int | None = None
    done: bool = False
    sequential: bool = False
    passed: int = 0
    children: dict[str, Task] = field(default_factory=dict)

    @property
    def fraction(self) -> float:
        """How much of it is done, 0 to 1."""
        if self.done:
            return 1.0
        if not self.of:
            return 0.0
        started = [child.fraction for key, child in self.children.items() if not self._passed(key)]
        return min(1.0, (self.passed + sum(started)) / self.of)

    def _passed(self, key: str) -> bool:
        return self.sequential and key.isdigit() and int(key) < self.passed

    def take(self, event: Mapping[str, Any]) -> None:
        """A `task` event, told to the root."""
        node = self
        node.of, node.sequential = event["of"][0], event["sequential"][0]
        ids = [str(part) for part in event["path"][1:]]
        for depth, key in enumerate(ids, start=1):
            last = depth == len(ids)
            if last and event["end"] and node.sequential and key.isdigit():
                node.passed = max(node.passed, int(key) + 1)
                node.children = {k: child for k, child in node.children.items() if not node._passed(k)}
                return
            node = node.children.setdefault(key, Task())
            node.of, node.sequential = event["of"][depth], event["sequential"][depth]
        node.done = node.done or event["end"]


@dataclass
class Progress:
    """All that a log has told so far. Times are seconds since the epoch, `idle` seconds that it was paused."""

    state: RunState = RunState.running
    started: float = 0.0
    ended: float | None = None
    idle: float = 0.0
    paused_at: float | None = None
    pid: int = 0
    created: float = 0.0
    oom_kills: int | None = None
    step: str = "Starting"
    source: str = ""
    kind: ProgressKind | None = None
    of: int | None = None
    unit: str = ""
    done: float = 0.0
    begun: float | None = None
    """When the first iteration was told, for the estimate."""
    idle_before: float = 0.0
    """`idle` at that time."""
    expected: tuple[float, float] | None = None
    """By an earlier fit: seconds that this one will take, and the time when it began."""
    told: float = 0.0
    """When the log's last line was written."""
    curves: dict[str, Curve] = field(default_factory=dict)
    folds: list[dict[str, Any]] = field(default_factory=list)
    trials: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    checkpoint: float | None = None
    usage: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    reports: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    mlflow_run: str | None = None
    mlflow_url: str | None = None
    error: str = ""
    remedy: str = ""
    traceback: str = ""
    stopping: bool = False
    has_model: bool = False
    tasks: Task = field(default_factory=Task)

    @property
    def fraction(self) -> float | None:
        """How much of the fit is done, 0 to 1; None when that cannot be known."""
        if self.state is RunState.succeeded:
            return 1.0
        if self.of:
            return min(1.0, self.done / self.of)
        return self.tasks.fraction if self.kind is ProgressKind.callbacks else None

    @property
    def resumable(self) -> bool:
        """Whether it has ended, and can go on from a checkpoint."""
        ended = self.ended is not None and self.state is not RunState.succeeded
        return ended and self.checkpoint is not None

    def elapsed(self, now: float) -> float:
        """Seconds that it ran, pauses left out."""
        if not self.started:
            return 0.0
        paused = max(0.0, now - self.paused_at) if self.paused_at is not None and self.ended is None else 0.0
        return max(0.0, (self.ended or now) - self.started - self.idle - paused)

    def remaining(self, now: float) -> float | None:
        """Seconds until all iterations are done at the pace so far; None when that cannot be known."""
        fraction = self.fraction
        if self.ended is None and fraction is None and self.expected is not None:
            seconds, since = self.expected
            return max(0.0, seconds - (self.elapsed(now) - (since - self.started)))
        if self.ended is not None or not fraction or fraction >= 1 or self.begun is None:
            return None
        spent = self.elapsed(now) - (self.begun - self.started - self.idle_before)
        return spent * (1 - fraction) / fraction if spent > 0 else None

    def take(self, event: Mapping[str, Any]) -> None:
        """Take an event in. What a newer version wrote and this one does not know is passed over."""
        handler = getattr(self, f"_on_{event.get('event')}", None)
        if handler is not None and (self.ended is None or event.get("event") in ("launched", "warning", "tracked")):
            handler(event)
            self.told = event["at"]

    def _on_launched(self, event: Mapping[str, Any]) -> None:
        if self.ended is not None:  # resumed: the time in between counts as paused
            self.idle += event["at"] - self.ended
            self.ended, self.state, self.stopping = None, RunState.running, False
            self.error = self.remedy = self.traceback = ""
            self.done = self.checkpoint or 0.0
        self.started = self.started or event["at"]
        self.pid, self.created, self.oom_kills = event["pid"], event["created"], event.get("oom_kills")

    def _on_step(self, event: Mapping[str, Any]) -> None:
        self.step = event["text"]

    def _on_source(self, event: Mapping[str, Any]) -> None:
        self.source, self.kind = event["text"], ProgressKind(event["kind"])

    def _on_total(self, event: Mapping[str, Any]) -> None:
        if event["unit"] != self.unit:
            self.done, self.begun = 0.0, None
        self.of, self.unit = event["of"], event["unit"]
        self._begin(event)

    def _begin(self, event: Mapping[str, Any]) -> None:
        if self.begun is None:
            self.begun, self.idle_before = event["at"], self.idle

    def _on_estimate(self, event: Mapping[str, Any]) -> None:
        self.expected = (event["seconds"], event["at"] - self.idle)

    def _on_points(self, event: Mapping[str, Any]) -> None:
        for name, (steps, values) in event["series"].items():
            curve = self.curves.setdefault(name, Curve())
            for step, value in zip(steps, values, strict=True):
                curve.add(step, math.nan if value is None else value)
            self.done = max(self.done, steps[-1])
        self.done = max(self.done, event.get("done", 0.0))

    def _on_task(self, event: Mapping[str, Any]) -> None:
        self._begin(event)
        self.tasks.take(event)
        if not event["end"] and event.get("text"):
            self.step = event["text"]

    def _on_fold(self, event: Mapping[str, Any]) -> None:
        self.folds.append({k: event[k] for k in ("number", "of", "metrics")})
        if self.unit == "fold":
            self.done = max(self.done, event["number"])

    def _on_trial(self, event: Mapping[str, Any]) -> None:
        self.trials.append({k: event.get(k) for k in ("number", "state", "value", "params", "seconds", "reason")})
        self.done = max(self.done, len(self.trials))

    def _on_best(self, event: Mapping[str, Any]) -> None:
        self.best = {k: event[k] for k in ("step", "name", "value")}

    def _on_checkpoint(self, event: Mapping[str, Any]) -> None:
        self.checkpoint = event["step"]

    def _on_usage(self, event: Mapping[str, Any]) -> None:
        self.usage = {k: v for k, v in event.items() if k not in ("at", "event")}

    def _on_metrics(self, event: Mapping[str, Any]) -> None:
        self.metrics.update(event["values"])

    def _on_report(self, event: Mapping[str, Any]) -> None:
        if event["name"] not in self.reports:
            self.reports.append(event["name"])

    def _on_warning(self, event: Mapping[str, Any]) -> None:
        self.warnings.append(event["text"])

    def _on_tracked(self, event: Mapping[str, Any]) -> None:
        self.mlflow_run, self.mlflow_url = event["run_id"], event["url"]

    def _on_paused(self, event: Mapping[str, Any]) -> None:
        self.state, self.paused_at = RunState.paused, event["at"]

    def _on_resumed(self, event: Mapping[str, Any]) -> None:
        if self.paused_at is not None:
            self.idle += event["at"] - self.paused_at
        self.state, self.paused_at = RunState.running, None

    def _on_stopping(self, event: Mapping[str, Any]) -> None:
        self.stopping = True

    def _on_ended(self, event: Mapping[str, Any]) -> None:
        if self.paused_at is not None:
            self._on_resumed(event)
        self.ended, self.state = event["at"], RunState(event["state"])
        self.error, self.traceback = event.get("error", ""), event.get("traceback", "")
        self.remedy, self.has_model = event.get("remedy", ""), event.get("model", self.state is RunState.succeeded)


class Reader:
    """Reads a log as it grows, into a `Progress`."""

    def __init__(self, folder: Path) -> None:
        self._tail = runlog.Tail(folder)
        self.progress = Progress()

    def read(self) -> Progress:
        """What the log tells by now."""
        for event in self._tail.read():
            self.progress.take(event)
        return self.progress
