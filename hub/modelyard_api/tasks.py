"""What a task leaves at its output, so that its end can be read when its process, its pod and its node are gone.

`<output>/log` (and `log.1`, the older half of a long one), `<output>/output/…` (what the command left in the folder
`$MODELYARD_OUTPUT`), and `<output>/status.json`, a `TaskStatus`. The status is written last: where it says that the
task ended, all the rest is there. Light: only the standard library.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

LOG = "log"
OLDER_LOG = "log.1"
RESULTS = "output"
LIVE = "live"
"""Folder of results that are brought every few seconds too, while the command runs."""
STATUS = "status.json"
SHARD, SHARD_FAILURES = "MODELYARD_SHARD", "MODELYARD_SHARD_FAILURES"
"""Variables of a shard's command: which of how many (`2/8`, counted from 0), and how often it was killed before."""
TRIES = 3
"""How often a shard is tried that is killed each time."""
TAIL_LINES = 20
"""How many last lines a status carries."""
LONGEST_LINE = 400
"""Characters of each."""


class TaskState(StrEnum):
    """Where a task is in its life; it ends in one of the last two, and never leaves it."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self in (TaskState.succeeded, TaskState.failed)


def shard_output(output: str, index: int | str) -> str:
    """Where a shard of a task leaves what a task leaves."""
    return f"{output}/shards/{index}"


@dataclass(frozen=True)
class TaskStatus:
    """How far a task is. `reason` is a word and `message` a sentence, where it failed. `started`, `ended`: ISO 8601.
    `exit_code` as a shell says it: 128 + N after signal N. `lines`: the last ones of its log."""

    state: TaskState
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    started: str = ""
    ended: str = ""
    lines: tuple[str, ...] = ()

    @property
    def again(self) -> bool:
        """Whether it failed by no fault of its own, as far as that can be said: it was killed, or told to stop."""
        killed = self.exit_code is None or self.exit_code >= 128 or self.reason == "Stopped"
        return self.state is TaskState.failed and killed and self.reason != "DeadlineExceeded"

    def to_json(self) -> str:
        """As a document."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> TaskStatus:
        """The opposite. ValueError for what is none."""
        return cls.of(json.loads(text))

    @classmethod
    def of(cls, told: Any) -> TaskStatus:
        """From the document's content. ValueError where it is none."""
        try:
            code = told["exit_code"]
            return cls(
                state=TaskState(told["state"]),
                exit_code=None if code is None else int(code),
                reason=str(told["reason"]),
                message=str(told["message"]),
                started=str(told["started"]),
                ended=str(told["ended"]),
                lines=tuple(map(str, told["lines"])),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is no status of a task: {error!r}") from error
