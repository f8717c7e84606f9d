"""All tasks of the local runtime."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from modelyard_api.errors import Conflict, ModelyardError, Unavailable
from modelyard_hub.runtimes.local.options import LocalOptions
from modelyard_hub.runtimes.local.process import Identity
from modelyard_hub.runtimes.local.sharded import ShardedRun, adopted
from modelyard_hub.runtimes.local.task_files import TaskFiles, TaskRecord
from modelyard_hub.runtimes.local.task_run import TaskRun
from modelyard_hub.runtimes.task import ObservedTask, Task

log = logging.getLogger(__name__)


class Tasks:
    """Tasks by name, with their files below `root`. `tell` is called with the name of each that changed."""

    def __init__(self, root: Path, options: LocalOptions, tell: Callable[[str], None]) -> None:
        self._root, self._options, self._tell = root, options, tell
        self._runs: dict[str, TaskRun | ShardedRun] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._runs

    def take_up(self, path: Path, found: dict[str, Identity]) -> bool:
        """Go on with the task in a folder; False where there is none. `found` are running processes by nonce, from
        which the task's own is taken."""
        files = TaskFiles(path)
        record = files.read()
        if record is None:
            return False
        self._add(files, record, found)
        if record.deleting:
            self._leave(record.task.name)
        return True

    async def run(self, task: Task) -> None:
        """Record it, then start it. Raises Conflict, StorageFull, Unavailable."""
        known = self._runs.get(task.name)
        if known is not None:
            if known.observed.deleting:
                raise Unavailable(f"task {task.name} is still being deleted")
            if known.observed.digest != task.digest():
                raise Conflict(f"another task is named {task.name}", remedy="Delete it, or choose another name.")
            return
        files, record = TaskFiles(self._root / task.name), TaskRecord(task)
        await asyncio.to_thread(files.make, record)
        self._add(files, record, {})
        self._tell(task.name)

    async def delete(self, name: str) -> None:
        """Record that it should go, and see to it in the background."""
        run = self._runs[name]
        if run.observed.deleting:
            return
        run.record = replace(run.record, deleting=True)
        try:
            await asyncio.to_thread(run.files.write, run.record)
        except ModelyardError as error:
            # Deleting frees space, so a full disk must not keep it from happening.
            log.warning("recording that %s is deleted: %s", name, error)
        self._leave(name)

    def observe(self) -> Mapping[str, ObservedTask]:
        """All of them, as they are now."""
        return {name: run.observed for name, run in self._runs.items()}

    def logs(self, name: str, lines: int) -> tuple[tuple[str, ...], ...]:
        """The last lines of one, or of each of its shards."""
        run = self._runs[name]
        return run.logs(lines) if isinstance(run, ShardedRun) else (run.logs(lines),)

    async def close(self) -> None:
        """Let go of everything and leave the processes running."""
        await asyncio.gather(*(run.close() for run in self._runs.values()))
        self._runs.clear()

    def _add(self, files: TaskFiles, record: TaskRecord, found: dict[str, Identity]) -> None:
        name = record.task.name

        def tell() -> None:
            self._tell(name)

        if record.task.shards:
            self._runs[name] = ShardedRun(files, record, self._options, tell, found)
        else:
            self._runs[name] = TaskRun(files, record, self._options, tell, adopted(files, record, found))

    def _leave(self, name: str) -> None:
        def done() -> None:
            del self._runs[name]
            self._tell(name)

        self._runs[name].leave(done)
