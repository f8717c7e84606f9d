"""The life of a task in shards on this machine: so many processes at once, each a `TaskRun` of its own.

`<task>/shards/<index>/<try>/` is one try of a shard, as another task would have it. So what was tried, and how it
ended, is read from there by whoever takes it up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from modelyard_api.errors import ModelyardError
from modelyard_api.tasks import SHARD, SHARD_FAILURES, TRIES, TaskState, TaskStatus, shard_output
from modelyard_hub.runtimes.local.options import LocalOptions
from modelyard_hub.runtimes.local.process import Identity, Process
from modelyard_hub.runtimes.local.task_files import TaskFiles, TaskRecord
from modelyard_hub.runtimes.local.task_run import TaskRun
from modelyard_hub.runtimes.task import ObservedTask, Task, joined, moment

log = logging.getLogger(__name__)


def adopted(files: TaskFiles, record: TaskRecord, found: dict[str, Identity]) -> Process | None:
    """The process of a record that runs on. `found`: by nonce, from which it is taken."""
    identity = found.pop(record.nonce, None) or record.identity
    process = None if identity is None else Process(identity)
    if process is not None and not process.alive():
        process.close()
        return None
    return process


class ShardedRun:
    """Runs the shards of `record`'s task; used as a `TaskRun` is. `found`: processes that may be of them."""

    def __init__(
        self,
        files: TaskFiles,
        record: TaskRecord,
        options: LocalOptions,
        changed: Callable[[], None],
        found: dict[str, Identity] | None = None,
    ) -> None:
        self.files, self.record = files, record
        self._options, self._changed = options, changed
        task = record.task
        self.observed = ObservedTask(task.name, task.digest(), labels=task.labels, deleting=record.deleting)
        self._shards: dict[int, TaskRun] = {}
        self._ends: dict[int, TaskStatus] = {}
        self._news = asyncio.Event()
        self._leaving: asyncio.Task[None] | None = None
        for index in range(task.shards):
            self._take_up(index, found if found is not None else {})
        self._note_ends()
        self._look()
        self._news.set()
        self._living = asyncio.create_task(self._live(), name=f"shards of {task.name}")

    def leave(self, done: Callable[[], None]) -> None:
        """End it, for good, in the background; `done` is called when nothing is left."""
        if self._leaving is None:
            self.observed = replace(self.observed, deleting=True)
            self._leaving = asyncio.create_task(self._leave(done), name=f"end shards of {self.record.task.name}")
            self._changed()

    async def close(self) -> None:
        """Stop watching and leave the processes running."""
        for task in (self._living, self._leaving):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(*(shard.close() for shard in self._shards.values()))

    def logs(self, lines: int) -> tuple[tuple[str, ...], ...]:
        """The last lines of each shard."""
        return tuple(
            self._shards[index].logs(lines) if index in self._shards else () for index in range(self.record.task.shards)
        )

    def _take_up(self, index: int, found: dict[str, Identity]) -> None:
        """Its newest try, if it was ever tried."""
        folder = self._folder(index)
        tries = sorted((int(path.name) for path in folder.glob("*") if path.name.isdigit()), reverse=True)
        for number in tries:
            files = TaskFiles(folder / str(number))
            record = files.read()
            if record is not None:
                self._add(index, files, record, adopted(files, record, found))
                return

    def _add(self, index: int, files: TaskFiles, record: TaskRecord, process: Process | None) -> None:
        root = str(self.files.path.parent)
        self._shards[index] = TaskRun(files, record, self._options, self._news.set, process, root=root)

    async def _live(self) -> None:
        """Until it has ended; only cancellation ends it earlier."""
        failures = 0
        while not self.observed.state.ended:
            await self._news.wait()
            self._news.clear()
            try:
                await self._step()
                failures = 0
            except ModelyardError as error:  # such as a full disk, for the files of a further shard
                failures += 1
                self._show(replace(self.observed, reason=type(error).__name__, message=str(error)))
            except Exception:
                failures += 1
                log.exception("running the shards of %s", self.record.task.name)
            if failures:
                await asyncio.sleep(self._options.timing.backoff.delay(failures))
                self._news.set()

    async def _step(self) -> None:
        task = self.record.task
        self._note_ends()
        again = [i for i, run in self._shards.items() if run.observed.state.ended and i not in self._ends]
        if any(end.state is TaskState.failed for end in self._ends.values()):
            await self._end_the_others()
        else:
            room = (task.parallel or task.shards) - (len(self._shards) - len(self._ends) - len(again))
            waiting = [*again, *(index for index in range(task.shards) if index not in self._shards)]
            for index in waiting[: max(0, room)]:
                await self._try(index)
        self._look()

    def _note_ends(self) -> None:
        """Of shards that are not tried again."""
        for index, run in self._shards.items():
            end = _status(run.observed)
            if end.state.ended and not (end.again and int(run.files.path.name) < TRIES):
                self._ends.setdefault(index, end)

    def _look(self) -> None:
        """What all of them come to."""
        working = [run.observed for index, run in self._shards.items() if index not in self._ends]
        whole = joined([self._ends.get(index) for index in range(self.record.task.shards)])
        if whole is not None and not (working and whole.state is TaskState.failed):
            self._show(self.observed.told(whole))
            return
        running = [one.started for one in working if one.state is TaskState.running and one.started]
        if running or self._ends:
            began = [end.started for end in self._ends.values() if end.started]
            first = min([*running, *(moment(text) or running[0] for text in began if running)], default=None)
            now = replace(self.observed, state=TaskState.running, reason="", message="")
            self._show(replace(now, started=first or self.observed.started))

    async def _try(self, index: int) -> None:
        before = self._shards.get(index)
        number = 1 if before is None else int(before.files.path.name) + 1
        files = TaskFiles(self._folder(index) / str(number))
        record = TaskRecord(_shard_of(self.record.task, index, number))
        await asyncio.to_thread(files.make, record)
        if before is not None:
            await before.close()
        self._add(index, files, record, None)

    async def _end_the_others(self) -> None:
        """They have what they delivered so far; nobody waits for the rest."""
        ending = [i for i, run in self._shards.items() if i not in self._ends]
        gone = [asyncio.Event() for _ in ending]
        for index, event in zip(ending, gone, strict=True):
            self._shards[index].leave(event.set)
        for event in gone:
            await event.wait()
        for index in ending:
            del self._shards[index]

    async def _leave(self, done: Callable[[], None]) -> None:
        self._living.cancel()
        await asyncio.gather(self._living, return_exceptions=True)
        gone = {index: asyncio.Event() for index in self._shards}
        for index, shard in self._shards.items():
            shard.leave(gone[index].set)
        for event in gone.values():
            await event.wait()
        self._shards.clear()
        await asyncio.to_thread(self.files.remove)
        done()

    def _show(self, now: ObservedTask) -> None:
        if now != self.observed:
            self.observed = now
            self._changed()

    def _folder(self, index: int) -> Path:
        return self.files.path / "shards" / str(index)


def _shard_of(task: Task, index: int, number: int) -> Task:
    """A try of a shard, as a task of its own."""
    told = {SHARD: f"{index}/{task.shards}", SHARD_FAILURES: str(number - 1)}
    return replace(
        task,
        name=f"{task.name[:55]}-{index}",
        output=shard_output(task.output, index),
        environment={**task.environment, **told},
        shards=0,
        parallel=0,
    )


def _status(observed: ObservedTask) -> TaskStatus:
    return TaskStatus(
        observed.state,
        observed.exit_code,
        observed.reason,
        observed.message,
        observed.started.isoformat() if observed.started else "",
        observed.ended.isoformat() if observed.ended else "",
        observed.log_tail,
    )
