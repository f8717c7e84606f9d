"""What a run's process tells while it works: a `RunReport` among its results, whole at every moment."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from modelyard import recorded
from modelyard.batch.order import Order
from modelyard_api.runs import NOTEBOOK, PROGRESS, Failure, Progress, RunReport

_EVERY = 0.5
_LONGEST = 400


class Reporter:
    """Writes the report when something changed, twice a second at most, and always at the end.

    A thread of its own measures the memory of this process and its descendants, and carries what was not written yet.
    """

    def __init__(self, order: Order) -> None:
        self.path = order.output / PROGRESS
        self.notebook = order.output / NOTEBOOK
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.records = Path("records.jsonl").absolute()
        self._report = RunReport(progress=Progress(expected=order.expected))
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._peak = 0
        self.write()
        self._thread = threading.Thread(target=self._watch, name="report", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write the last word."""
        self._ended.set()
        self._thread.join()
        self.write()

    @property
    def results(self) -> dict[str, Any]:
        """What was recorded so far."""
        return recorded.read(self.records)

    @property
    def peak(self) -> int:
        """Most bytes of memory that were used."""
        return self._peak

    def progress(self, **fields: Any) -> None:
        """How far it is: members of `Progress`."""
        if "last_output" in fields:
            fields["last_output"] = fields["last_output"][-_LONGEST:]
        with self._lock:
            told = self._report.progress.model_copy(update=fields)
            self._report = self._report.model_copy(update={"progress": told})

    def fail(self, reason: str, message: str, failure: Failure | None = None) -> None:
        """Why it fails; also said in the log."""
        print(f"{reason}: {message}", flush=True)  # noqa: T201
        with self._lock:
            change = {"reason": reason, "message": message, "failure": failure}
            self._report = self._report.model_copy(update=change)

    def tracked(self, run_id: str) -> None:
        """The MLflow run."""
        with self._lock:
            self._report = self._report.model_copy(update={"mlflow_run_id": run_id})

    def write(self) -> None:
        """Now."""
        with self._lock:
            elapsed = round(time.monotonic() - self._began, 1)
            progress = self._report.progress.model_copy(update={"elapsed": elapsed})
            change = {"progress": progress, "results": self.results, "peak_memory": self._peak or None}
            put(self.path, self._report.model_copy(update=change).model_dump_json())

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY):
            self._peak = max(self._peak, _used())
            self.write()


def put(path: Path, text: str) -> None:
    """In one step: what is read is never half of it."""
    pending = path.with_name(f".{path.name}.{os.getpid()}")
    pending.write_text(text, encoding="utf-8")
    os.replace(pending, path)


def _used() -> int:
    me = psutil.Process()
    used = 0
    for process in (me, *me.children(recursive=True)):
        try:
            used += process.memory_info().rss
        except psutil.Error:
            continue
    return used
