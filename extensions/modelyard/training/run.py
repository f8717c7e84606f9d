"""A training run as the notebook sees it: read from its folder, so that it survives the kernel."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from modelyard.training import data
from modelyard.training.html import html
from modelyard.training.runlog import MODEL, OUTPUT, PROCESS, STOP, Observed, Tail, runs_folder
from modelyard_api.errors import ModelFailed, NotFound, TimedOut

_GRACE = 5.0
_POLL = 0.2


class State(StrEnum):
    """Where a run is."""

    running = "running"
    finished = "finished"
    failed = "failed"
    stopped = "stopped"


class TrainingFailed(ModelFailed):
    """The fit raised, or its process ended; the text ends with the traceback."""

    status = 422


class TrainingRun:
    """A run that `yard.train` started, or that `yard.attach` found again."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes] | None = None) -> None:
        """`process`: the child, where this is the process that started it."""
        self.folder = folder
        self._process = process
        self._tail = Tail(folder)
        self._model: Any = None

    @property
    def id(self) -> str:
        """What `yard.attach` takes."""
        return self.folder.name

    @property
    def observed(self) -> Observed:
        """What the run log says so far."""
        return self._tail.read()

    @property
    def state(self) -> State:
        """A child that ended without a word has failed, unless it was stopped."""
        alive = self._alive()  # before the log is read: what it wrote last is then surely in it
        ended = self.observed.ended
        if ended is not None:
            return State(ended)
        if alive:
            return State.running
        return State.stopped if (self.folder / STOP).exists() else State.failed

    @property
    def reason(self) -> str:
        """Why it failed, in a sentence; empty when it did not."""
        if self.state is not State.failed:
            return ""
        failure = self.observed.failure
        if failure:
            return f"{failure['type']}: {failure['message']}"
        code = self._process.returncode if self._process is not None else None
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = "; perhaps memory ran out" if name == "SIGKILL" else ""
            return f"the training process was killed by {name}{hint}"
        return "the training process ended without a result" + (f" (exit status {code})" if code else "")

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics on the rows held out; empty until they are measured."""
        return dict(self.observed.metrics)

    @property
    def mlflow_run_id(self) -> str | None:
        """The run in MLflow, when it was recorded there."""
        return self.observed.mlflow.get("run_id")

    @property
    def mlflow_url(self) -> str | None:
        """Its page in MLflow."""
        return self.observed.mlflow.get("url")

    @property
    def model(self) -> Any:
        """The fitted model; waits for it. Raises as `wait` does."""
        self.wait()
        if self._model is None:
            import cloudpickle

            with (self.folder / MODEL).open("rb") as file:
                self._model = cloudpickle.load(file)
        return self._model

    @property
    def training_rows(self) -> Any:
        """The rows that it was given."""
        return data.read(self.folder)[0]

    @property
    def example(self) -> Any:
        """The first five of them."""
        return self.training_rows[:5]

    def wait(self, timeout: float | None = None) -> TrainingRun:
        """Return itself when finished. Ctrl-C ends the waiting, not the run.

        `timeout` in seconds. Raises TrainingFailed with the traceback, or TimedOut.
        """
        self.until_ended(timeout)
        state = self.state
        if state is State.stopped:
            raise TrainingFailed(f"run {self.id} was stopped", remedy="Train again.")
        if state is State.failed:
            said = self.observed.failure.get("traceback") or self.logs(lines=20)
            raise TrainingFailed(f"run {self.id} failed: {self.reason}\n{said}".rstrip(), remedy="")
        return self

    def until_ended(self, timeout: float | None = None, each: Callable[[], None] = lambda: None) -> None:
        """Wait for the end, however it ends; `each` is called a few times per second. Raises TimedOut."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.state is State.running:
            if deadline is not None and time.monotonic() > deadline:
                raise TimedOut(f"run {self.id} still runs after {timeout:g} s", remedy="Wait longer, or .stop() it.")
            each()
            self._pause()
        each()

    def _pause(self) -> None:
        if self._process is None:
            time.sleep(_POLL)
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_POLL)

    def stop(self) -> TrainingRun:
        """End the process and all that it started; returns when they are gone."""
        if self.state is State.running:
            (self.folder / STOP).touch()
            for number in (signal.SIGTERM, signal.SIGKILL):
                self._signal(number)
                with contextlib.suppress(TimedOut):
                    self.until_ended(_GRACE)
                    break
        return self

    def logs(self, *, lines: int = 200) -> str:
        """The end of what the fit printed."""
        with contextlib.suppress(FileNotFoundError):
            text = (self.folder / OUTPUT).read_text(errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    def _alive(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return self._found() is not None

    def _signal(self, number: signal.Signals) -> None:
        """To the child's whole group; the child leads it, so its pid is not another's while it is not reaped."""
        pid = self._process.pid if self._process is not None else self._found()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)

    def _found(self) -> int | None:
        """The child's pid, when a process of that pid and start time lives; another kernel may have started it."""
        import psutil

        try:
            known = json.loads((self.folder / PROCESS).read_text())
            process = psutil.Process(known["pid"])
            same = abs(process.create_time() - known["create_time"]) < 1.0
            return known["pid"] if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (OSError, ValueError, psutil.Error):
            return None

    def __repr__(self) -> str:
        measured = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())
        return f"TrainingRun({self.id}, {self.state}{', ' if measured else ''}{measured})"

    def _repr_html_(self) -> str:
        return html(self.id, self.state, self.observed, self.reason)


def attach(run_id: str) -> TrainingRun:
    """A run of this account by its id, whichever kernel started it. Raises NotFound, which names the latest."""
    folder = runs_folder() / run_id
    if not run_id or os.sep in run_id or not folder.is_dir():
        latest = ", ".join(sorted((p.name for p in runs_folder().glob("*")), reverse=True)[:5]) or "none"
        raise NotFound(f"there is no run {run_id!r}", remedy=f"The latest are: {latest}.")
    return TrainingRun(folder)
