"""The run log: what a training run tells of itself, one JSON object per line, only ever appended.

Whoever reads it from the start knows the whole run, whichever process wrote it and whether that still lives.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

FILE = "run.jsonl"


class RunState(StrEnum):
    """Where a training run is in its life."""

    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    stopped = "stopped"


def append(folder: Path, event: str, **fields: Any) -> None:
    """Add an event to the log in `folder`. One write per line, so that several processes may."""
    line = json.dumps({"at": time.time(), "event": event, **fields}, default=str) + "\n"
    descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


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


@dataclass
class Progress:
    """All that a log has told so far."""

    state: RunState = RunState.running
    started: float = 0.0
    ended: float | None = None
    pid: int = 0
    created: float = 0.0
    step: str = "Starting"
    source: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    mlflow_run: str | None = None
    mlflow_url: str | None = None
    error: str = ""
    traceback: str = ""
    stopping: bool = False
    tasks: Task = field(default_factory=Task)
    reports: bool = False

    @property
    def fraction(self) -> float | None:
        """How much of the fit is done, 0 to 1; None when the estimator does not tell."""
        if self.state is RunState.succeeded:
            return 1.0
        return self.tasks.fraction if self.reports else None

    def take(self, event: dict[str, Any]) -> None:
        """Take an event in. What a newer version wrote and this one does not know is passed over."""
        handler = getattr(self, f"_on_{event.get('event')}", None)
        if handler is not None and self.ended is None:
            handler(event)

    def _on_launched(self, event: dict[str, Any]) -> None:
        self.started, self.pid, self.created = event["at"], event["pid"], event["created"]

    def _on_step(self, event: dict[str, Any]) -> None:
        self.step = event["text"]

    def _on_source(self, event: dict[str, Any]) -> None:
        self.source, self.reports = event["text"], event["reports"]

    def _on_metrics(self, event: dict[str, Any]) -> None:
        self.metrics.update(event["values"])

    def _on_warning(self, event: dict[str, Any]) -> None:
        self.warnings.append(event["text"])

    def _on_tracked(self, event: dict[str, Any]) -> None:
        self.mlflow_run, self.mlflow_url = event["run_id"], event["url"]

    def _on_stopping(self, event: dict[str, Any]) -> None:
        self.stopping = True

    def _on_task(self, event: dict[str, Any]) -> None:
        node = self.tasks
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
        if not event["end"] and event.get("text"):
            self.step = event["text"]

    def _on_ended(self, event: dict[str, Any]) -> None:
        self.ended, self.state = event["at"], RunState(event["state"])
        self.error, self.traceback = event.get("error", ""), event.get("traceback", "")


class Reader:
    """Reads a log as it grows."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._offset = 0
        self.progress = Progress()

    def read(self) -> Progress:
        """What the log tells by now. A last line that is not whole yet is left for later."""
        try:
            with self._path.open("rb") as log:
                log.seek(self._offset)
                content = log.read()
        except FileNotFoundError:
            return self.progress
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                event = json.loads(line)
            except ValueError:  # cut off by a full disk or a kill; what follows still counts
                continue
            self.progress.take(event)
        return self.progress
