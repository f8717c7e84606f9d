"""The folder of a run, and its append-only log of JSON lines. One line, one event; what it says is never changed.

The events: started, progress, metrics, warning, mlflow, fitted, finished, failed.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOG, JOB, DATA, ESTIMATOR, MODEL, OUTPUT, STOP, PROCESS = (
    "run.jsonl",
    "job.json",
    "data.joblib",
    "estimator.pkl",
    "model.pkl",
    "output.log",
    "stop",
    "process.json",
)


def runs_folder() -> Path:
    """Where runs are kept: MODELYARD_RUNS, else below ~/.local/share."""
    return Path(os.environ.get("MODELYARD_RUNS") or Path.home() / ".local/share/modelyard/runs")


class RunLog:
    """Appends events. Several processes may: each line is one write to a file opened for appending."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG

    def write(self, event: str, **members: Any) -> None:
        """One event with its time (seconds since 1970)."""
        line = json.dumps({"event": event, "at": round(time.time(), 3), **members}, default=str) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


@dataclass
class Observed:
    """What a log says so far. `done` of `total` counts the outermost tasks of the fit; `total` None: not known."""

    ended: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    done: int = 0
    total: int | None = None
    text: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    failure: dict[str, Any] = field(default_factory=dict)
    mlflow: dict[str, str] = field(default_factory=dict)

    def take(self, entry: dict[str, Any]) -> None:
        """Add one event."""
        kind = entry.get("event")
        if kind == "started":
            self.started_at = entry["at"]
        elif kind == "progress":
            self.done += int(entry.get("ended", 0))
            self.total = entry.get("total", self.total)
            self.text = entry.get("text", self.text)
        elif kind == "metrics":
            self.metrics |= entry["values"]
        elif kind == "warning":
            self.warnings.append(entry["text"])
        elif kind == "mlflow":
            self.mlflow = {k: v for k, v in entry.items() if k not in ("event", "at")}
        elif kind in ("finished", "failed"):
            self.ended, self.ended_at = kind, entry["at"]
            self.failure = entry if kind == "failed" else {}


class Tail:
    """Reads a log as it grows, each line once; a line that is not whole yet waits for the next call."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOG
        self._offset = 0
        self.observed = Observed()

    def read(self) -> Observed:
        """Take what is new."""
        try:
            with self._path.open("rb") as log:
                log.seek(self._offset)
                new = log.read()
        except FileNotFoundError:
            return self.observed
        whole = new.rfind(b"\n") + 1
        for line in new[:whole].splitlines():
            self.observed.take(json.loads(line))
        self._offset += whole
        return self.observed
