"""A workload that runs to its end: what should run, and what is seen of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from modelyard_api.errors import InvalidInput
from modelyard_api.locations import parse_s3
from modelyard_api.names import check_label
from modelyard_api.resources import MiB, Resources
from modelyard_api.tasks import TaskState, TaskStatus

RESERVED_FILES = ("task.json", "environment.json")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MOST = 700 * 1024
"""Bytes of a task as it is recorded: a cluster takes a mebibyte, encoded."""


@dataclass(frozen=True)
class Task:
    """A command that runs once, to its end, and what it leaves at `output` (see `modelyard_api.tasks`).

    `name` is a DNS label, unique over the runtime's workloads of both kinds. `output` is an absolute path or
    `s3://bucket/key`, of this task alone. `files` are small documents, in the folder `$MODELYARD_FILES` of the command;
    what it leaves in `$MODELYARD_OUTPUT` is its result. `image`: empty for the runtime's own; a runtime without images
    does not look at it. `timeout` in seconds from the start of the command; `shm` in bytes, part of its memory.

    It is tried once. Who ordered it knows whether it may be tried again: that is another task, with another output.

    With `shards` the command runs so many times, at most `parallel` of them at once (0: all), each with its own
    `$MODELYARD_SHARD`, its own results at `shard_output`, its own share of nothing else: size, time and files are those
    of each. It has succeeded when all have. A shard that is killed, or told to stop, is tried up to `TRIES` times while
    the others go on; one whose command ends with an exit code below 128 fails the task, and the others are ended.
    """

    name: str
    command: tuple[str, ...]
    output: str
    resources: Resources = field(default_factory=Resources)
    image: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    shm: int = 64 * MiB
    shards: int = 0
    parallel: int = 0

    def digest(self) -> str:
        """Digest of all of it: a task never changes."""
        return hashlib.sha256(json.dumps(task_to_json(self), sort_keys=True).encode()).hexdigest()

    def check(self) -> None:
        """Raises InvalidName, InvalidInput for what no runtime could run."""
        check_label(self.name, "task name")
        if not self.command:
            raise InvalidInput(f"task {self.name} has no command")
        if parse_s3(self.output) is None and not self.output.startswith("/"):
            raise InvalidInput(f"the output {self.output!r} is neither an absolute path nor s3://bucket/key")
        for name in self.files:
            if not _FILE_NAME.fullmatch(name) or name in RESERVED_FILES:
                raise InvalidInput(f"{name!r} is not a plain file name")
        if self.timeout is not None and self.timeout <= 0:
            raise InvalidInput(f"a timeout of {self.timeout:g} s leaves no time to run")
        if self.shards < 0 or self.parallel < 0:
            raise InvalidInput(f"there are no {self.shards} shards, {self.parallel} of them at once")
        size = len(json.dumps(task_to_json(self)))
        if size > _MOST:
            raise InvalidInput(
                f"the files and variables of task {self.name} have {size // 1024} KiB",
                remedy=f"Up to {_MOST // 1024} KiB go with a task; put what is larger where its command can fetch it.",
            )


@dataclass(frozen=True)
class ObservedTask:
    """How far a task is; `digest` is that of the one that was ordered, empty where nobody can read it any more.

    `reason` and `message` say why it failed or, while it is queued, why it does not run yet. `log_tail` are its last
    lines, where it ended. `deleting`: it was told to go, and is observed until it is gone. `unseen_since`: as for
    servers.
    """

    name: str
    digest: str
    state: TaskState = TaskState.queued
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    log_tail: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    deleting: bool = False
    unseen_since: datetime | None = None
    unseen_because: str = ""

    def told(self, status: TaskStatus) -> ObservedTask:
        """Itself, as far as the task itself says that it is."""
        return replace(
            self,
            state=status.state,
            exit_code=status.exit_code,
            reason=status.reason,
            message=status.message,
            started=moment(status.started),
            ended=moment(status.ended),
            log_tail=status.lines if status.state.ended else (),
        )


def task_to_json(task: Task) -> dict[str, Any]:
    """All of it, for a runtime's record."""
    sharded = {"shards": task.shards, "parallel": task.parallel} if task.shards else {}
    return {
        **sharded,
        "name": task.name,
        "command": list(task.command),
        "output": task.output,
        "resources": task.resources.model_dump(mode="json"),
        "image": task.image,
        "environment": dict(task.environment),
        "files": dict(task.files),
        "labels": dict(task.labels),
        "timeout": None if task.timeout is None else float(task.timeout),
        "shm": task.shm,
    }


def task_from_json(data: Mapping[str, Any]) -> Task:
    """The opposite. Raises KeyError, TypeError, ValueError for what no `task_to_json` wrote."""
    return Task(
        name=data["name"],
        command=tuple(data["command"]),
        output=data["output"],
        resources=Resources.model_validate(data["resources"]),
        image=data["image"],
        environment=data["environment"],
        files=data["files"],
        labels=data["labels"],
        timeout=data["timeout"],
        shm=data["shm"],
        shards=data.get("shards", 0),
        parallel=data.get("parallel", 0),
    )


def joined(ends: Sequence[TaskStatus | None]) -> TaskStatus | None:
    """How a task ended by how its shards did; None while nothing follows from that.

    One shard's failure is the whole's: the first that was not only told to stop."""
    failed = [(i, end) for i, end in enumerate(ends) if end is not None and end.state is TaskState.failed]
    guilty = [(i, end) for i, end in failed if end.reason != "Stopped"]
    known = [end for end in ends if end is not None]
    began = min((end.started for end in known if end.started), default="")
    ended = max((end.ended for end in known if end.ended), default="")
    if failed:
        index, end = min(guilty or failed, key=lambda one: one[1].ended)
        return replace(end, message=f"Shard {index} of {len(ends)}: {end.message}", started=began, ended=ended)
    if len(known) < len(ends):
        return None
    last = max(known, key=lambda end: end.ended)
    return TaskStatus(TaskState.succeeded, 0, started=began, ended=ended, lines=last.lines)


def moment(text: str) -> datetime | None:
    """An ISO 8601 text as a moment; None where it is none."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
