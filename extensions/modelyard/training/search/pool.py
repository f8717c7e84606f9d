"""Where the folds of a search are fitted: in the training process, or in several beside it.

Processes, not threads: what a pipeline does in Python would take turns; a fit that is abandoned or runs out of memory
takes nothing else with it. Each maps the data from the run's folder, so that they are in memory once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from modelyard.training.control import Control, Stop
from modelyard.training.search.trials import Folds, Outcome

_POLL = 0.2
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT")


class Pool(Protocol):
    """Fits folds. A job is the number of its trial; it has one fold at a time."""

    size: int

    def submit(self, job: int, drawn: Mapping[str, Any], fold: int) -> None:
        """Begin; no more jobs at a time than `size`."""

    def done(self) -> list[tuple[int, Outcome]]:
        """Wait until at least one is done. Raises Stop when that is asked for: what runs is abandoned."""

    def close(self) -> None:
        """End the processes, whatever they do."""


class Here:
    """In this process, one after the other."""

    size = 1

    def __init__(self, folds: Folds, control: Control) -> None:
        self._folds, self._control = folds, control
        self._next: tuple[int, Mapping[str, Any], int] | None = None

    def submit(self, job: int, drawn: Mapping[str, Any], fold: int) -> None:
        """See Pool."""
        self._next = (job, drawn, fold)

    def done(self) -> list[tuple[int, Outcome]]:
        """See Pool."""
        assert self._next is not None
        job, drawn, fold = self._next
        self._control.gentle = False  # a stop need not wait for this fit
        try:
            if self._control.stopping:
                raise Stop
            return [(job, self._folds.fit(drawn, fold))]
        finally:
            self._control.gentle = True

    def close(self) -> None:
        """See Pool."""


class Workers:
    """In `size` processes of their own. One that dies is a failed fold, and another one takes its place."""

    def __init__(self, folder: Path, size: int, cores: int, control: Control) -> None:
        self.size = size
        self._folder, self._control = folder, control
        self._threads = max(1, cores // size)
        self._idle: list[_Worker] = []
        self._busy: dict[int, _Worker] = {}

    def submit(self, job: int, drawn: Mapping[str, Any], fold: int) -> None:
        """See Pool."""
        worker = self._idle.pop() if self._idle else _Worker(self._folder, self._threads)
        self._busy[job] = worker
        with contextlib.suppress(BrokenPipeError):  # it died meanwhile; `done` finds that out
            worker.link.send((dict(drawn), fold))

    def done(self) -> list[tuple[int, Outcome]]:
        """See Pool."""
        while True:
            if self._control.stopping:
                raise Stop
            ready = wait([worker.link for worker in self._busy.values()], _POLL)
            if ready:
                return [self._take(job) for job in [j for j, w in self._busy.items() if w.link in ready]]

    def _take(self, job: int) -> tuple[int, Outcome]:
        worker = self._busy.pop(job)
        try:
            outcome: Outcome = worker.link.recv()
        except (EOFError, ConnectionResetError):
            return job, Outcome(None, 0.0, worker.death())
        self._idle.append(worker)
        return job, outcome

    def close(self) -> None:
        """See Pool."""
        for worker in (*self._idle, *self._busy.values()):
            worker.end()
        self._idle, self._busy = [], {}


class _Worker:
    def __init__(self, folder: Path, threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # a copy of this process would have threads that do not run
        self.link, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(folder, threads, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def death(self) -> str:
        self._process.join()
        self.link.close()
        code = self._process.exitcode or 0
        if code == -signal.SIGKILL:
            return "its process was killed by SIGKILL; perhaps the memory ran out"
        return f"its process was killed by {signal.Signals(-code).name}" if code < 0 else f"its process ended ({code})"

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.link.close()


def _work(folder: Path, threads: int, link: Connection) -> None:
    """What a worker does until its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_outlive, daemon=True).start()
    os.environ |= dict.fromkeys(_THREADS, str(threads))  # read by the libraries that are loaded now
    folds = Folds.load(folder)
    folds.single()
    while True:
        drawn, fold = link.recv()
        link.send(folds.fit(drawn, fold))


def _outlive() -> None:
    """End with the parent, also in the middle of a fit."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
