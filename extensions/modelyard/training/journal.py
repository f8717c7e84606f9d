"""The training process's side of the run log: what it tells, in few lines however fast it goes."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from modelyard.training import runlog
from modelyard.training.progress import ProgressKind

INTERVAL = 0.1
"""Seconds between two lines of points at least: a thousand steps in between make one line."""


class Journal:
    """Tells a run log. Points are gathered and written ten times a second at most, and before anything else is said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = 0
        """Rows trained on so far, counted up by the trainer; the sampler makes a rate of it."""
        self._series: dict[str, tuple[list[float], list[float | None]]] = {}
        self._done = 0.0
        self._said = 0.0
        self._written = 0.0
        self._lock = threading.RLock()

    def say(self, event: str, **fields: Any) -> None:
        """An event of the run log; see `progress`."""
        with self._lock:
            self.flush()
            runlog.append(self.folder, event, **fields)

    def step(self, text: str) -> None:
        """What is done now, in words."""
        self.say("step", text=text)

    def source(self, kind: ProgressKind, text: str) -> None:
        """How progress is known."""
        self.say("source", kind=kind.value, text=text)

    def total(self, of: int | None, unit: str) -> None:
        """How many iterations there will be at most, and what one is called: epoch, tree, round, pass, trial."""
        self.say("total", of=of, unit=unit)

    def point(self, step: float, values: Mapping[str, float]) -> None:
        """Iteration `step` is done; a point on each of these curves. Iterations count from 1."""
        with self._lock:
            self._done = step
            for name, value in values.items():
                steps, series = self._series.setdefault(name, ([], []))
                steps.append(step)
                series.append(float(value) if math.isfinite(value) else None)
            if time.monotonic() - self._written >= INTERVAL:
                self.flush()

    def usage(self, **fields: float) -> None:
        """A `usage` event, which leaves gathered points gathered."""
        runlog.append(self.folder, "usage", **fields)

    def flush(self) -> None:
        """Write the points that were gathered."""
        with self._lock:
            if self._series or self._done != self._said:
                gathered, self._series, self._said = self._series, {}, self._done
                runlog.append(self.folder, "points", series=gathered, done=self._done)
            self._written = time.monotonic()

    def report(self, name: str, content: Any) -> None:
        """Keep what a chart is drawn from as `report-<name>.json`, whole or not at all, and say so."""
        write(self.folder / f"report-{name}.json", json.dumps(content, separators=(",", ":")).encode())
        self.say("report", name=name)


def write(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """All of it (bytes, or what `content` writes to the file) or nothing, also when the disk is full or the machine
    stops: what was there before stays until then."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
