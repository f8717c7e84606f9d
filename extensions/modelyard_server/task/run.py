"""A command from its start to its end: its output, its limits, and why it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, SimpleQueue

from modelyard_api.redact import Redactor, redact_files
from modelyard_api.tasks import TaskState, TaskStatus
from modelyard_server.task.folder import TaskFolder
from modelyard_server.task.log import Log
from modelyard_server.task.memory import oom_kills, used_by

_TICK = 0.5
_LAST_WORDS = 2.0
_NOT_FOUND, _NOT_STARTED = 127, 126


@dataclass(frozen=True)
class Order:
    """What to run. `timeout` in seconds, None for as long as it takes; `grace`: seconds between SIGTERM and SIGKILL;
    `memory` bytes, 0 where something else sees to it; `log_size` bytes, twice of which are kept; `tee`: say all that it
    says; `secrets`: values that are hidden in all that it leaves."""

    command: Sequence[str]
    environment: Mapping[str, str]
    timeout: float | None = None
    grace: float = 10.0
    memory: int = 0
    log_size: int = 10 * 1024 * 1024
    tee: bool = False
    secrets: tuple[str, ...] = ()


class Runner:
    """Runs one order in one folder. `stop` may be called from a signal handler."""

    def __init__(self, folder: TaskFolder, order: Order) -> None:
        self._folder, self._order = folder, order
        self._news: SimpleQueue[str] = SimpleQueue()
        self._why: tuple[str, str] | None = None
        self._began = ""

    def stop(self) -> None:
        """End the command."""
        self._news.put("stop")

    def run(self) -> TaskStatus:
        """Run it; how it ended. The folder says that it runs, and not yet that it ended."""
        self._folder.make()
        self._began = _now()
        self._folder.write_status(TaskStatus(TaskState.running, started=self._began))
        redactor = Redactor(self._order.secrets)
        log = Log(
            self._folder.log, self._folder.older_log, self._order.log_size, tee=self._order.tee, redactor=redactor
        )
        kills = oom_kills()
        try:
            # A session of its own: what it starts ends with it, and a terminal's Ctrl-C is ours alone.
            child = subprocess.Popen(
                self._order.command,
                env=dict(self._order.environment),
                cwd=self._folder.work,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return self._not_started(error)
        assert child.stdout is not None
        pump = threading.Thread(target=log.pump, args=(child.stdout.fileno(),), daemon=True)
        pump.start()
        threading.Thread(target=self._await, args=(child.pid,), daemon=True).start()
        self._watch(child.pid)
        code = child.wait()
        # Not for ever: something that it left behind in another session may hold the pipe.
        pump.join(_LAST_WORDS)
        if redactor:
            redact_files(self._folder.results, redactor)
        return self._ended(code, log.recent(), oom_kills() > kills)

    def _await(self, pid: int) -> None:
        # Not reaped: its number, which is its group's, stays its own until the group was ended.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self._news.put("ended")

    def _watch(self, pid: int) -> None:
        """Until it has ended; what is left of its group is ended too."""
        clock, order = time.monotonic, self._order
        deadline = None if order.timeout is None else clock() + order.timeout
        kill_at: float | None = None
        while True:
            news = self._next()
            if news == "ended":
                break
            if self._why is None:
                self._why = self._verdict(pid, news, deadline is not None and clock() > deadline)
                if self._why is not None:
                    _signal_group(pid, signal.SIGTERM)
                    kill_at = clock() + (0.0 if self._why[0] == "OutOfMemory" else order.grace)
            if kill_at is not None and clock() >= kill_at:
                _signal_group(pid, signal.SIGKILL)
            _reap_others(pid)
        _signal_group(pid, signal.SIGKILL)

    def _next(self) -> str:
        try:
            return self._news.get(timeout=_TICK)
        except Empty:
            return ""

    def _verdict(self, pid: int, news: str, late: bool) -> tuple[str, str] | None:
        """Why it must end now, or None."""
        limit = self._order.memory
        if news == "stop":
            return "Stopped", "It was told to end before it had finished."
        if late:
            return "DeadlineExceeded", f"It did not finish within its {self._order.timeout:g} s."
        if limit and (used := used_by(pid, limit)) > limit:
            return "OutOfMemory", f"It used {used // 2**20} MiB, more than its limit of {limit // 2**20} MiB."
        return None

    def _not_started(self, error: OSError) -> TaskStatus:
        command = self._order.command[0]
        code = _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_STARTED
        text = f"{command} cannot be started: {error.strerror}."
        return TaskStatus(TaskState.failed, code, "StartError", text, self._began, _now())

    def _ended(self, code: int, lines: tuple[str, ...], killed_for_memory: bool) -> TaskStatus:
        shell = code if code >= 0 else 128 - code
        reason, text = self._why or _why(code, lines, killed_for_memory)
        state = TaskState.failed if reason else TaskState.succeeded
        return TaskStatus(state, shell, reason, text, self._began, _now(), lines)


def _why(code: int, lines: Sequence[str], killed_for_memory: bool) -> tuple[str, str]:
    """Reason and message of an end that nobody asked for; empty where it is none to complain of."""
    if code == 0:
        return "", ""
    if code == -signal.SIGKILL and killed_for_memory:
        return "OutOfMemory", "It used more memory than its limit, and the system ended it."
    if any("MemoryError" in line or "bad_alloc" in line for line in lines[-3:]):
        return "OutOfMemory", f"It could not get more memory (exit code {code})."
    if code < 0:
        hint = " It was killed, perhaps by the system for want of memory." if code == -signal.SIGKILL else ""
        return "Signaled", f"It ended by signal {signal.Signals(-code).name}.{hint}"
    last = f": {lines[-1]}" if lines else "."
    return "Exited", f"It ended with exit code {code}{last}"


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _reap_others(child: int) -> None:
    """Where this is the first process of a container, orphans come to it."""
    if os.getpid() != 1:
        return
    with suppress(ChildProcessError):
        while (gone := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and gone.si_pid != child:
            os.waitpid(gone.si_pid, 0)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
