"""Checkpoint files of a task on this machine: what should run, what was started for it, and what it says itself.

`<root>/<task>/task.json`, `environment.json`, `files/<name>`, `runner.log`, and `run/`, which is the task's own: its
log, its `status.json`, its results until they are delivered.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from modelyard_api.tasks import LOG, STATUS, TaskStatus
from modelyard_hub.runtimes.local.process import NONCE, Identity
from modelyard_hub.runtimes.local.state import write_atomic
from modelyard_hub.runtimes.task import Task, task_from_json, task_to_json

_RECORD = "task.json"


@dataclass(frozen=True)
class TaskRecord:
    """A task and its process. `nonce` is written before that exists and stands in its environment; `deleting`: it
    should stop and be forgotten."""

    task: Task
    nonce: str = ""
    pid: int | None = None
    started: str = ""
    deleting: bool = False

    @property
    def identity(self) -> Identity | None:
        """The process, where one was recorded."""
        return None if self.pid is None else Identity(self.pid, self.started)

    def of(self, identity: Identity) -> TaskRecord:
        """This record with the process that now runs it."""
        return replace(self, pid=identity.pid, started=identity.started)


class TaskFiles:
    """Files of one task. Methods raise StorageFull or Unavailable when they cannot write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run, self.files = path / "run", path / "files"
        self.environment, self.runner_log = path / "environment.json", path / "runner.log"
        self.log = self.run / LOG

    def make(self, record: TaskRecord) -> None:
        """Place what the command finds, then the record: a recorded task has its files."""
        for name, text in record.task.files.items():
            write_atomic(self.files / name, text)
        # The mark of the runner's own process must not be found in another one.
        variables = {**record.task.environment, NONCE: None}
        write_atomic(self.environment, json.dumps(variables))
        self.write(record)

    def write(self, record: TaskRecord) -> None:
        """Checkpoint."""
        told = {**vars(record), "task": task_to_json(record.task)}
        write_atomic(self.path / _RECORD, json.dumps(told, indent=1))

    def read(self) -> TaskRecord | None:
        """The recorded task; None where this is none. Raises ValueError, KeyError, TypeError for what nobody wrote."""
        try:
            told = json.loads((self.path / _RECORD).read_text())
        except FileNotFoundError:
            return None
        return TaskRecord(**{**told, "task": task_from_json(told["task"])})

    def status(self) -> TaskStatus | None:
        """What the task says of itself; None before it does."""
        try:
            return TaskStatus.from_json((self.run / STATUS).read_bytes())
        except (OSError, ValueError):
            return None

    def remove(self) -> None:
        """Remove everything, the record last."""
        for path in self.path.glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _RECORD:
                path.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
