"""A runtime whose tasks run in no time: each look at them, they are a step further. And a part that is killed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modelyard_api.errors import Conflict
from modelyard_api.runs import PROGRESS, RunReport
from modelyard_api.tasks import RESULTS, STATUS, TaskState, TaskStatus
from modelyard_hub.runtimes.base import ObservedServer, ReplicaLog
from modelyard_hub.runtimes.task import ObservedTask, Task

_NEXT = {TaskState.queued: TaskState.running, TaskState.running: TaskState.succeeded}


class Killed(BaseException):
    """The process is gone, at that very point."""


@dataclass
class Plug:
    """Pulled at the call of that number, before or after it has had its effect; 0 never."""

    at: int = 0
    after: bool = False
    calls: int = 0

    def pulled(self, part: Any) -> Any:
        """`part`, whose calls count."""
        return _Pluggable(part, self)


class _Pluggable:
    def __init__(self, part: Any, plug: Plug) -> None:
        self._part, self._plug = part, plug

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            self._plug.calls += 1
            now = self._plug.calls == self._plug.at
            if now and not self._plug.after:
                raise Killed
            done = await method(*arguments, **named)
            if now:
                raise Killed
            return done

        return call


@dataclass
class InstantTasks:
    """`failing`: attempts whose command fails; `endless`: none ends by itself. `ordered`: names, in order, each
    time that one was newly recorded."""

    failing: frozenset[int] = frozenset()
    endless: bool = False
    tasks: dict[str, tuple[Task, ObservedTask]] = field(default_factory=dict)
    ordered: list[str] = field(default_factory=list)

    async def run(self, task: Task) -> None:
        task.check()
        if task.name in self.tasks:
            if self.tasks[task.name][0].digest() != task.digest():
                raise Conflict(f"another task is named {task.name}")
            return
        self.ordered.append(task.name)
        self.tasks[task.name] = (task, ObservedTask(task.name, task.digest(), labels=task.labels))

    async def delete(self, name: str) -> None:
        self.tasks.pop(name, None)

    async def observe_tasks(self) -> Mapping[str, ObservedTask]:
        seen = {name: observed for name, (_, observed) in self.tasks.items()}
        for name, (task, observed) in self.tasks.items():
            self.tasks[name] = (task, self._further(task, observed))
        return seen

    async def observe(self) -> Mapping[str, ObservedServer]:
        return {}

    async def logs(self, name: str, *, lines: int) -> tuple[ReplicaLog, ...]:
        return ()

    async def changes(self) -> AsyncIterator[str]:
        return
        yield

    def _further(self, task: Task, observed: ObservedTask) -> ObservedTask:
        state = _NEXT.get(observed.state, observed.state)
        attempt = json.loads(task.files["run.json"])["attempt"]
        reason = ""
        if self.endless and state.ended:
            return observed
        if state is TaskState.succeeded and attempt in self.failing:
            state, reason = TaskState.failed, "Exited"
        if state.ended:
            status = TaskStatus(state, 1 if reason else 0, reason, started="2026-01-01T00:00:00+00:00")
            output = Path(task.output)
            (output / RESULTS / PROGRESS).parent.mkdir(parents=True, exist_ok=True)
            (output / RESULTS / PROGRESS).write_text(RunReport(results={"attempt": attempt}).model_dump_json())
            (output / STATUS).write_text(status.to_json())
        return replace(observed, state=state, reason=reason)


@dataclass
class Wallet:
    """Makes tokens and knows which are still good."""

    good: dict[str, tuple[str, str]] = field(default_factory=dict)
    made: int = 0
    lifetimes: list[float] = field(default_factory=list)

    async def make(self, user: str, note: str, lifetime: float) -> tuple[str, str]:
        self.made += 1
        self.lifetimes.append(lifetime)
        self.good[f"t{self.made}"] = (user, note)
        return f"t{self.made}", f"secret-{self.made}"

    async def revoke(self, user: str, token_id: str) -> None:
        self.good.pop(token_id, None)

    async def revoke_all(self, user: str, note: str) -> None:
        self.good = {key: told for key, told in self.good.items() if told != (user, note)}
