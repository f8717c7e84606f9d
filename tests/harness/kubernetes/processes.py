"""Processes by name, recorded in a file: any other can end and start them again, also once their starter is gone."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.wait import eventually


class Processes:
    """The processes of one cluster; `folder` holds their record and their output."""

    def __init__(self, folder: Path) -> None:
        self._record = folder / "processes.json"
        self._logs = folder / "logs"

    def start(self, name: str, command: Sequence[str | Path] = ()) -> None:
        """Start `command`, or the one that it was started with before; it outlives this process."""
        with self._entries() as entries:
            line = [str(part) for part in command] or entries[name]["command"]
            self._logs.mkdir(parents=True, exist_ok=True)
            # Not with subprocess, which warns of those that outlive it.
            out = (os.POSIX_SPAWN_OPEN, 1, str(self._log(name)), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), out, (os.POSIX_SPAWN_DUP2, 1, 2)]
            pid = os.posix_spawnp(line[0], line, os.environ, file_actions=actions, setsid=True)
            entries.pop(name, None)  # the record keeps the order of starting
            entries[name] = {"pid": pid, "started": started(pid), "command": line}

    def stop(self, name: str, grace: float = 10.0) -> None:
        """End it, at the latest after `grace` seconds."""
        with self._entries() as entries:
            if name in entries:
                self._end(entries[name], grace)

    def kill(self, names: Sequence[str] = ()) -> None:
        """End these, or all that are recorded, at once, whoever started them: the last one first."""
        with self._entries() as entries:
            for name in reversed(list(entries)):
                if not names or name in names:
                    self._end(entries[name], 10.0, signal.SIGKILL)

    def check(self) -> None:
        """AssertionError with the output of one that ended by itself."""
        with self._entries() as entries:
            for name, entry in entries.items():
                assert self._runs(entry), f"{name} ended:\n{self.tail(name)}"

    def tail(self, name: str, size: int = 3000) -> str:
        """The end of its output."""
        with contextlib.suppress(FileNotFoundError):
            return self._log(name).read_bytes()[-size:].decode(errors="replace")
        return ""

    def _end(self, entry: dict[str, Any], grace: float, *signals: signal.Signals) -> None:
        end(entry["pid"], entry["started"], grace, *signals)
        with contextlib.suppress(ChildProcessError):  # somebody else's
            os.waitpid(entry["pid"], os.WNOHANG)

    def _runs(self, entry: dict[str, Any]) -> bool:
        return entry["started"] is not None and started(entry["pid"]) == entry["started"]

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    @contextlib.contextmanager
    def _entries(self) -> Iterator[dict[str, Any]]:
        self._record.parent.mkdir(parents=True, exist_ok=True)
        with self._record.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = json.loads(self._record.read_text()) if self._record.exists() else {}
            try:
                yield entries
            finally:
                pending = self._record.with_suffix(".new")
                pending.write_text(json.dumps(entries))
                pending.replace(self._record)


def started(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; with its id that names it for good. None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def end(pid: int, start: str | None, grace: float, *signals: signal.Signals) -> None:
    """End the process that started at `start`, if it still runs; `grace` in seconds after each signal."""
    for number in signals or (signal.SIGTERM, signal.SIGKILL):
        if start is None or started(pid) != start:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        with contextlib.suppress(AssertionError):
            eventually(lambda: started(pid) != start, timeout=grace)
