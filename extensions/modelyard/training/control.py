"""Stop, pause, resume and kill: signals to a run's process group, told in its log. Works from any process that can read
the run's folder: the kernel that started it, another one, the notebook server.

A stop is asked for: an iterative trainer ends after the iteration it is in and keeps the best state; where there are
no iterations, the fit is abandoned. A pause is SIGSTOP: the run keeps its memory and uses no time. A kill takes all
workers with it; the last checkpoint stays.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from modelyard.training import runlog
from modelyard.training.progress import Progress

if TYPE_CHECKING:
    import psutil

ACTIONS = ("stop", "pause", "resume", "kill")


class Stop(BaseException):
    """The fit is to be abandoned. No Exception: an estimator that swallows those must not swallow this."""


class Control:
    """What the training process is asked. `gentle` is set by trainers that look at `stopping` after each iteration;
    else a stop raises `Stop` wherever the process is. A second stop does so in any case."""

    def __init__(self) -> None:
        self.stopping = False
        self.gentle = False

    def listen(self) -> None:
        """From now on SIGTERM is a stop. Ctrl-C is for whoever waits: they decide."""
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def deafen(self) -> None:
        """A stop changes nothing any more: what is left to do is to keep the result."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _on_term(self, _signal: int, _frame: FrameType | None) -> None:
        again, self.stopping = self.stopping, True
        if again or not self.gentle:
            raise Stop


def send(folder: Path, now: Progress, action: str) -> None:
    """Ask a running run for one of ACTIONS; a run that is gone is left alone. Returns when it was asked, not
    when it is done."""
    if process_of(now) is None:
        return
    if action == "pause" and now.paused_at is None:
        _signal(now, signal.SIGSTOP, group=True)
        runlog.append(folder, "paused")
    elif action == "resume" and now.paused_at is not None:
        runlog.append(folder, "resumed")
        _signal(now, signal.SIGCONT, group=True)
    elif action in ("stop", "kill"):
        runlog.append(folder, "stopping")
        if action == "kill":
            _signal(now, signal.SIGKILL, group=True)
            return
        _signal(now, signal.SIGTERM, group=False)
        if now.paused_at is not None:
            runlog.append(folder, "resumed")
            _signal(now, signal.SIGCONT, group=True)


def process_of(now: Progress) -> psutil.Process | None:
    """The process of a run, or None: it is gone, or its number belongs to another one by now."""
    import psutil

    try:
        process = psutil.Process(now.pid)
        same = abs(process.create_time() - now.created) < 1.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _signal(now: Progress, number: int, *, group: bool) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if group:
            os.killpg(now.pid, number)  # it leads a session of its own
        else:
            os.kill(now.pid, number)


def actions(now: Progress) -> dict[str, Any]:
    """Which of ACTIONS make sense now; for panels."""
    running = now.ended is None
    return {
        "stop": running and not now.stopping,
        "pause": running and now.paused_at is None and not now.stopping,
        "resume": running and now.paused_at is not None,
        "kill": running,
    }
