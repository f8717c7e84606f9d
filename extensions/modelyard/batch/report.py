"""What a run's process tells while it works: a `RunReport` among its results, whole at every moment."""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from modelyard import recorded
from modelyard.batch.hidden import redactor
from modelyard.batch.order import Order
from modelyard_api.resources import MiB
from modelyard_api.runs import NOTEBOOK, PROGRESS, Failure, Progress, RunReport

STORAGE_FULL = "StorageFull"
"""The reason of a run that had no room on a disk."""
_EVERY = 0.5
_LONGEST = 400
_RESERVE = 2 * MiB
"""Bytes that are kept free for the last words: report, output notebook, the end of the log."""


class Reporter:
    """Writes the report when something changed, twice a second at most, and always at the end.

    A thread of its own measures the memory of this process and its descendants, and carries what was not written yet.
    """

    def __init__(self, order: Order) -> None:
        self.path = order.output / PROGRESS
        self.notebook = order.output / NOTEBOOK
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.records = Path("records.jsonl").absolute()
        self._reserve = Path("reserve").absolute()
        with suppress(OSError):
            self._reserve.write_bytes(b"\0" * _RESERVE)
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
    def reason(self) -> str:
        """Why it fails, in a word; empty while it does not."""
        return self._report.reason

    @property
    def message(self) -> str:
        """Why it fails, in a sentence."""
        return self._report.message

    @property
    def peak(self) -> int:
        """Most bytes of memory that were used."""
        return self._peak

    def progress(self, **fields: Any) -> None:
        """How far it is: members of `Progress`."""
        if "last_output" in fields:
            # Hidden before it is cut: what is left of a value is none that would be found.
            fields["last_output"] = redactor().text(fields["last_output"])[-_LONGEST:]
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
            self._keep(self.path, self._report.model_copy(update=change).model_dump_json())

    def keep(self, notebook: str) -> bool:
        """The output notebook as it is now; False where there is no room, and it stays as it was."""
        return self._keep(self.notebook, notebook)

    def _keep(self, path: Path, text: str) -> bool:
        """What was reserved is given up for it. What a full disk does not take costs no run that goes on without."""
        for _ in range(2):
            try:
                put(path, text)
            except OSError as error:
                if not is_full(error):
                    raise
                if not self._reserve.exists():
                    break
                self._reserve.unlink(missing_ok=True)
            else:
                return True
        return False

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY):
            self._peak = max(self._peak, _used())
            self.write()


def put(path: Path, text: str) -> None:
    """In one step: what is read is never half of it."""
    pending = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pending.write_text(redactor().text(text), encoding="utf-8")
        os.replace(pending, path)
    except OSError:
        pending.unlink(missing_ok=True)
        raise


def is_full(error: OSError) -> bool:
    """Whether it says that there is no room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def no_room(error: OSError) -> str:
    """What to say of it."""
    return f"There is no space left where the run works: {error}"


def _used() -> int:
    me = psutil.Process()
    used = 0
    for process in (me, *me.children(recursive=True)):
        try:
            used += process.memory_info().rss
        except psutil.Error:
            continue
    return used
