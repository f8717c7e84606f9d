"""`TrainingRun`: a handle on a training process, drawn from its run log, wherever it was started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from modelyard import config, display
from modelyard.command import CommandLine
from modelyard.errors import Conflict, NotFound, TimedOut, TrainingFailed, TrainingStopped
from modelyard.training import code, control, faults, record, runlog, workers
from modelyard.training.job import CHECKPOINT
from modelyard.training.launch import OUTPUT, launch, locked
from modelyard.training.progress import Progress, Reader, RunState
from modelyard.training.spec import TrainSpec

_GRACE = 5.0
_POLL = 0.1
_TAIL = 20
_LEFTOVERS = 10.0
"""Seconds that workers of a process that was killed may live on."""


class TrainingRun:
    """A training run. `state` is running, succeeded, failed or stopped; everything is read anew from the run log."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes] | None = None) -> None:
        self.folder = folder
        self._process = process
        self._reader = Reader(folder)
        self._lock = threading.RLock()
        self._model: Any = None
        self._shown_in: int | None = None

    @classmethod
    def find(cls, run_id: str) -> TrainingRun:
        """The run of that id; NotFound names the latest ones."""
        known = _known()
        if run_id not in known:
            latest = ", ".join(known[:5]) or "none"
            raise NotFound(f"there is no training run {run_id!r} on this machine", remedy=f"The latest: {latest}.")
        return cls(config.runs_folder() / run_id)

    @classmethod
    def all(cls) -> list[TrainingRun]:
        """All runs on this machine, the newest first. Their logs are read when something is asked of them."""
        return [cls(config.runs_folder() / run_id) for run_id in _known()]

    @property
    def id(self) -> str:
        """For `yard.attach(id)`."""
        return self.folder.name

    @cached_property
    def spec(self) -> TrainSpec:
        """What it was asked to do."""
        return TrainSpec.load(self.folder)

    @property
    def name(self) -> str:
        """The name that was given, or the estimator's class."""
        return self.id.rsplit("-", 3)[0]

    @property
    def progress(self) -> Progress:
        """All that the run has told by now. A process that is gone without a word is told as failed."""
        with self.reading() as now:
            return now

    @contextlib.contextmanager
    def reading(self) -> Iterator[Progress]:
        """As `progress`; no other thread adds to it meanwhile."""
        with self._lock:
            now = self._reader.read()
            if now.ended is None and now.pid and not self._alive(now):
                now = self._reader.read()  # its last words may have come in between
                if now.ended is None:
                    workers.clean(now.pid)
                    now = self._tell(self._death(now))
            yield now

    def _tell(self, death: dict[str, Any]) -> Progress:
        try:
            runlog.append(self.folder, "ended", **death)
        except OSError:  # perhaps the disk is full: then this reader knows it, and the next one finds it again
            self._reader.progress.take({"at": time.time(), "event": "ended", **death})
        return self._reader.read()

    @property
    def state(self) -> RunState:
        """running, succeeded, failed or stopped."""
        return self.progress.state

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics on the held-out rows; empty until they are computed."""
        return dict(self.progress.metrics)

    @property
    def trials(self) -> list[dict[str, Any]]:
        """The trials of a search in the order in which they ended: number, state (complete, pruned, failed), value,
        params, seconds, reason; `pandas.json_normalize(run.trials)` makes a table of them."""
        return list(self.progress.trials)

    @property
    def best_params(self) -> dict[str, Any]:
        """The parameters of the best trial so far, as `set_params` takes them; empty before the first."""
        if not (self.folder / "best.pkl").exists():
            return {}
        best: dict[str, Any] = self._load("best.pkl")
        return best

    @property
    def warnings(self) -> list[str]:
        """What went wrong without failing the run."""
        return list(self.progress.warnings)

    @property
    def curves(self) -> dict[str, tuple[list[float], list[float]]]:
        """Curves by name: iterations and values, at most 2,000 points of each."""
        return {name: curve.points() for name, curve in self.progress.curves.items()}

    @property
    def best(self) -> dict[str, Any] | None:
        """The best iteration on the validation curve: step, name and value; None where there is no such curve."""
        return self.progress.best

    @property
    def folds(self) -> list[dict[str, Any]]:
        """Folds of the cross-validation that are done: number, of, metrics."""
        return list(self.progress.folds)

    @property
    def reports(self) -> list[str]:
        """Names of the reports that there are, such as roc, confusion, importance."""
        return list(self.progress.reports)

    def report(self, name: str) -> Any:
        """What a chart is drawn from; see `modelyard.training.evaluate`. NotFound names the reports there are."""
        try:
            return json.loads((self.folder / f"report-{name}.json").read_text())
        except FileNotFoundError:
            there = ", ".join(self.reports) or "none yet"
            raise NotFound(f"{self.id} has no report {name!r}", remedy=f"There are: {there}.") from None

    @property
    def code(self) -> CommandLine:
        """The cell that trains the same again."""
        return CommandLine((self.folder / code.FILE).read_text())

    @property
    def mlflow_run(self) -> str | None:
        """The id of the run in MLflow; None until it is logged, or when it could not be."""
        return self.progress.mlflow_run

    @property
    def mlflow_url(self) -> str | None:
        """The page of the run in MLflow."""
        return self.progress.mlflow_url

    @property
    def elapsed(self) -> float:
        """Seconds that it runs, or ran; pauses left out."""
        return self.progress.elapsed(time.time())

    @property
    def model(self) -> Any:
        """The fitted model; waits for it. Raises as `wait` does. A run that failed when it had a model gives that: of a
        loss that was no longer finite the last good weights."""
        return self.wait_model()

    @property
    def example(self) -> Any:
        """The first rows that it was fitted on, as an example for publishing; waits for them."""
        self._wait_kept()
        return self._load(record.EXAMPLE)

    def wait(self, timeout: float | None = None) -> TrainingRun:
        """This run, once it has succeeded. Ctrl-C ends the waiting, not the training.

        Raises TrainingFailed with the traceback of the training process, TrainingStopped, and TimedOut after `timeout`
        seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = threading.Event()
        while (now := self.progress).ended is None:
            if deadline is not None and time.monotonic() > deadline:
                raise TimedOut(f"{self.id} still runs after {timeout:g} s", remedy="Wait on, or stop it: run.stop().")
            pause.wait(_POLL)
        self._reap()
        if now.state is RunState.failed:
            raise TrainingFailed(f"training {self.id} failed: {now.error}", remedy=now.remedy, traceback=now.traceback)
        if now.state is RunState.stopped and not now.has_model:
            raise TrainingStopped(f"training {self.id} was stopped before it had a model")
        return self

    def wait_model(self) -> Any:
        """See `model`."""
        self._wait_kept()
        if self._model is None:
            self._model = self._load(record.MODEL)
        return self._model

    def _wait_kept(self) -> None:
        """Wait for the model, which is there too when the process died after it was saved."""
        try:
            self.wait()
        except TrainingFailed:
            if not self.progress.has_model:
                raise

    def stop(self, wait: float = _GRACE) -> TrainingRun:
        """Ask it to end after the iteration that it is in, and keep the best state so far; waits `wait` seconds for
        that. A run that has ended stays as it is."""
        return self._ask("stop", wait)

    def kill(self) -> TrainingRun:
        """End the process and its workers at once; what the last checkpoint holds is kept."""
        return self._ask("kill", _GRACE)

    def pause(self) -> TrainingRun:
        """Halt it: it keeps its memory and uses no time, until `resume`."""
        return self._ask("pause", 0)

    def resume(self) -> TrainingRun:
        """Go on after a pause; or, when it failed, was killed or stopped, from its last checkpoint, with the same data
        and options, in the same log. It then ends as it would have without the interruption.

        Raises Conflict when it has succeeded, has no checkpoint, or is going on already.
        """
        if self.progress.ended is None:
            return self._ask("resume", 0)
        deadline = time.monotonic() + _LEFTOVERS
        while True:
            try:
                with locked(self.folder) as lock:
                    self._check_resumable()
                    self._process = launch(self.folder, lock, resumed=True)
                self._model = None
                return self
            except Conflict:  # workers of a process that was killed live on for a few seconds
                now = self.progress
                if now.ended is None or not now.resumable or time.monotonic() > deadline:
                    raise
                threading.Event().wait(_POLL)

    def _check_resumable(self) -> None:
        now = self.progress
        if now.ended is None:
            raise Conflict(f"{self.id} is running", remedy="Wait for it, or stop it first.")
        if not now.resumable or not (self.folder / CHECKPOINT).exists():
            why = "has succeeded" if now.state is RunState.succeeded else "has no checkpoint"
            raise Conflict(f"{self.id} {why}: there is nothing to go on from", remedy="Train again: yard.train(…).")

    def _ask(self, action: str, wait: float) -> TrainingRun:
        now = self.progress
        if now.ended is None:
            control.send(self.folder, now, action)
        if wait:
            with contextlib.suppress(TimedOut, TrainingFailed, TrainingStopped):
                self.wait(wait)
        if self.progress.ended is not None:
            self._reap()
        return self

    def logs(self, last: int | None = None) -> str:
        """What the training process printed; of it the `last` bytes."""
        with contextlib.suppress(FileNotFoundError), (self.folder / OUTPUT).open("rb") as output:
            if last is not None:
                size = output.seek(0, os.SEEK_END)
                output.seek(max(0, size - last))
            return output.read().decode(errors="replace")
        return ""

    def show(self) -> None:
        """Draw its panel in the notebook's cell, live until it ends; the cell does not wait."""
        from IPython.display import display as draw

        from modelyard.widgets.train import TrainPanel

        self.is_shown()
        draw(TrainPanel(run=self))

    def is_shown(self) -> None:
        """It is drawn by now: this cell need not draw it again as its result."""
        self._shown_in = _execution_count()

    def follow(self) -> TrainingRun:
        """Wait and print lines. Raises as `wait` does; Ctrl-C stops the training."""
        from modelyard.training.portrait import Lines

        lines = Lines(self)
        pause = threading.Event()
        try:
            while not lines.tell(self.progress):
                pause.wait(_POLL)
        except KeyboardInterrupt:
            self.stop()
            raise
        return self.wait()

    def _ipython_display_(self) -> None:
        if display.is_live():
            if self._shown_in is None or self._shown_in != _execution_count():
                self.show()
            return
        display.write(repr(self))

    def __repr__(self) -> str:
        from modelyard.training.portrait import as_text

        return as_text(self, self.progress)

    def _load(self, file: str) -> Any:
        import pickle

        try:
            with (self.folder / file).open("rb") as content:
                return pickle.load(content)  # what cloudpickle wrote
        except FileNotFoundError:
            raise NotFound(f"{self.id} has kept no {file}", remedy="Train again: yard.train(…).") from None

    def _alive(self, now: Progress) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return control.process_of(now) is not None

    def _death(self, now: Progress) -> dict[str, Any]:
        kept = {"model": (self.folder / record.MODEL).exists()}
        if now.stopping:
            return {"state": "stopped"} | kept
        code = None if self._process is None else self._process.returncode
        if code is None or code == -signal.SIGKILL:
            reason = faults.killed(now.oom_kills, faults.oom_kills(), by_kill=code is not None)
        elif code < 0:
            reason = {"error": f"the training process was killed by {signal.Signals(-code).name}"}
            reason |= faults.aborted(self.logs())
        else:
            reason = {"error": f"the training process ended with status {code}"}
        tail = "\n".join(self.logs().splitlines()[-_TAIL:])
        return {"state": "failed", "traceback": tail} | reason | kept

    def _reap(self) -> None:
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)


def _known() -> list[str]:
    """Ids of the runs on this machine, the newest first: they end with date, time and a random part."""
    found = config.runs_folder().glob(f"*/{runlog.FILE}")
    return sorted((log.parent.name for log in found), key=lambda run_id: run_id.rsplit("-", 3)[1:], reverse=True)


def _execution_count() -> int | None:
    if not display.in_kernel():
        return None
    from IPython import get_ipython

    count: int = get_ipython().execution_count
    return count
