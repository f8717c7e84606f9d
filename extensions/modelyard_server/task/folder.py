"""The folder of a running task, which `run` and `deliver` share."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from modelyard_api.tasks import LOG, LONGEST_LINE, OLDER_LOG, RESULTS, STATUS, TAIL_LINES, TaskStatus

_DELIVERED = "delivered.json"
_BLOCK = 64 * 1024


class TaskFolder:
    """`log`, `log.1`, `status.json` and `output/` as at a task's output, `work/` where it runs, `home/`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log, self.older_log = path / LOG, path / OLDER_LOG
        self.results, self.work, self.home = path / RESULTS, path / "work", path / "home"

    def make(self) -> None:
        """Make the folders that the command finds."""
        for folder in (self.results, self.work, self.home):
            folder.mkdir(parents=True, exist_ok=True)

    def status(self) -> TaskStatus | None:
        """How far the command is; None where it has not begun."""
        try:
            return TaskStatus.from_json((self.path / STATUS).read_bytes())
        except (OSError, ValueError):
            return None

    def write_status(self, status: TaskStatus) -> None:
        """Say how far it is, in one step."""
        self._write(STATUS, status.to_json())

    def write_last_status(self, status: TaskStatus) -> None:
        """Say how it ended. On a full disk, what it worked with makes room."""
        try:
            self.write_status(status)
        except OSError:
            shutil.rmtree(self.work, ignore_errors=True)
            self.write_status(status)

    def delivered(self) -> str | None:
        """Why what the command left could not be delivered, empty where it was; None before."""
        try:
            return str(json.loads((self.path / _DELIVERED).read_bytes())["error"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_delivered(self, error: str) -> None:
        """Say so."""
        self._write(_DELIVERED, json.dumps({"error": error}))

    def tail(self) -> tuple[str, ...]:
        """The last lines of the log."""
        found: list[str] = []
        for path in (self.log, self.older_log):
            if len(found) < TAIL_LINES:
                found = _lines(path) + found
        return last_lines(found)

    def _write(self, name: str, text: str) -> None:
        descriptor, pending = tempfile.mkstemp(dir=self.path, prefix=f".{name}.")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(pending, self.path / name)
        except BaseException:
            with suppress(OSError):
                os.unlink(pending)
            raise


def last_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """As many, and as long, as a status carries."""
    return tuple(line[:LONGEST_LINE] for line in lines[-TAIL_LINES:])


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - _BLOCK))
            data = file.read()
    except OSError:
        return []
    lines = data.decode(errors="replace").splitlines()
    return lines[1:] if end > _BLOCK else lines
