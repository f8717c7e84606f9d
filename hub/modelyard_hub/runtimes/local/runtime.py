"""`LocalRuntime`: the contract of `runtimes.base` on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import httpx

from modelyard_api.errors import Conflict, ModelyardError, NotFound, Unavailable
from modelyard_api.names import check_label
from modelyard_hub.runtimes.base import ObservedServer, ReplicaLog, Server
from modelyard_hub.runtimes.changes import Changes
from modelyard_hub.runtimes.local.options import LocalOptions
from modelyard_hub.runtimes.local.ports import Ports
from modelyard_hub.runtimes.local.process import Process, as_unavailable, find_by_root
from modelyard_hub.runtimes.local.state import ServerRecord, WorkloadFolder, folders
from modelyard_hub.runtimes.local.supervise import Surroundings
from modelyard_hub.runtimes.local.tasks import Tasks
from modelyard_hub.runtimes.local.workload import Workload
from modelyard_hub.runtimes.task import ObservedTask, Task

log = logging.getLogger(__name__)


class LocalRuntime:
    """Runs servers and tasks as processes with their state in `root` (see `workloads_folder`); one runtime at a time in
    a folder."""

    def __init__(self, root: Path, options: LocalOptions | None = None) -> None:
        self._root = root.absolute()
        self._options = options or LocalOptions()
        self._workloads: dict[str, Workload] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._removals: dict[str, asyncio.Task[None]] = {}
        self._changes = Changes()
        self._tasks = Tasks(self._root, self._options, self._changes.tell)
        self._lock_file: int | None = None
        self._around: Surroundings | None = None

    async def open(self) -> None:
        """Take up what an earlier process left running. Raises Unavailable when another one holds the folder."""
        await asyncio.to_thread(self._lock)
        # A proxy of the environment has no business between us and loopback.
        client = httpx.AsyncClient(trust_env=False)
        self._around = Surroundings(self._options, str(self._root), Ports(), client)
        found = await asyncio.to_thread(find_by_root, self._root)
        for folder in folders(self._root):
            try:
                if self._tasks.take_up(folder.path, found):
                    continue
                record, replicas = folder.read_server(), folder.read_replicas()
            except (ValueError, KeyError, TypeError):
                log.exception("reading the workload in %s", folder.path)
                continue
            if record is None:
                # Killed before the workload was recorded: nobody was promised that it runs.
                await asyncio.to_thread(folder.remove)
                continue
            workload = self._new(folder, record)
            workload.take_up(replicas, found)
            for replica in replicas:
                found.pop(replica.nonce, None)
        for stray in found.values():
            log.warning("process %s belongs to no recorded replica: ending it", stray.pid)
            process = Process(stray)
            process.signal(signal.SIGTERM)
            process.close()
        for name, workload in self._workloads.items():
            if workload.record.deleting:
                self._remove_when_empty(name)

    async def close(self) -> None:
        """Let go of everything and leave the workloads running."""
        for task in self._removals.values():
            task.cancel()
        await asyncio.gather(*self._removals.values(), return_exceptions=True)
        await asyncio.gather(self._tasks.close(), *(w.close() for w in self._workloads.values()))
        self._workloads.clear()
        self._changes.close()
        if self._around is not None:
            await self._around.client.aclose()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    async def apply(self, server: Server) -> None:
        """Record `server`, then make it run. Raises StorageFull, Unavailable."""
        check_label(server.name, "workload name")
        async with self._locked(server.name):
            workload = self._workloads.get(server.name)
            if server.name in self._tasks:
                raise Conflict(f"a task is named {server.name}", remedy="Delete it, or choose another name.")
            if workload is not None and workload.record.deleting:
                raise Unavailable(f"workload {server.name} is still being deleted")
            if workload is not None and workload.record.server.digest() == server.digest():
                return
            folder = WorkloadFolder(self._root / server.name)
            record = ServerRecord(server)
            await asyncio.to_thread(folder.write_server, record)
            if workload is None:
                workload = self._new(folder, record)
            workload.become(record)
        self._changes.tell(server.name)

    async def run(self, task: Task) -> None:
        """Record `task`, then run it once. Raises InvalidInput, Conflict, StorageFull, Unavailable."""
        task.check()
        async with self._locked(task.name):
            if task.name in self._workloads:
                raise Conflict(f"a server is named {task.name}", remedy="Delete it, or choose another name.")
            await self._tasks.run(task)

    async def delete(self, name: str) -> None:
        """Record that it should go, and see to it in the background; it is observed until it is gone."""
        async with self._locked(name):
            if name in self._tasks:
                await self._tasks.delete(name)
                return
            workload = self._workloads.get(name)
            if workload is None or workload.record.deleting:
                return
            record = replace(workload.record, deleting=True)
            try:
                await asyncio.to_thread(workload.folder.write_server, record)
            except ModelyardError as error:
                # Deleting frees space, so a full disk must not keep it from happening.
                log.warning("recording that %s is deleted: %s", name, error)
            workload.become(record)
            self._remove_when_empty(name)
        self._changes.tell(name)

    async def observe(self) -> Mapping[str, ObservedServer]:
        """All servers by name, those being stopped included."""
        return {name: workload.observe() for name, workload in self._workloads.items()}

    async def observe_tasks(self) -> Mapping[str, ObservedTask]:
        """All tasks by name, until they are deleted."""
        return self._tasks.observe()

    async def logs(self, name: str, *, lines: int) -> tuple[ReplicaLog, ...]:
        """The last `lines` log lines of each replica, of a task or each of its shards; NotFound for an unknown name."""
        if name in self._tasks:
            found = await asyncio.to_thread(self._tasks.logs, name, lines)
            return tuple(ReplicaLog(index, text) for index, text in enumerate(found))
        workload = self._workloads.get(name)
        if workload is None:
            raise NotFound(f"no workload {name!r} runs")
        return await asyncio.to_thread(workload.logs, lines)

    def changes(self) -> AsyncIterator[str]:
        """Names of workloads whose observed state changed, from this call on."""
        return self._changes.read()

    def _lock(self) -> None:
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_file = os.open(self._root / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if self._lock_file is not None:
                os.close(self._lock_file)
                self._lock_file = None
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise Unavailable(f"another hub service runs the workloads in {self._root}") from error
            raise as_unavailable(error, f"{self._root} cannot be used") from error

    def _new(self, folder: WorkloadFolder, record: ServerRecord) -> Workload:
        assert self._around is not None, "open() comes first"
        workload = Workload(folder, record, self._around, self._changes.tell)
        self._workloads[record.server.name] = workload
        return workload

    def _remove_when_empty(self, name: str) -> None:
        self._removals[name] = asyncio.create_task(self._remove(name), name=f"delete {name}")

    async def _remove(self, name: str) -> None:
        workload, feed = self._workloads[name], self._changes.read()
        while not workload.empty:
            await anext(feed)
            workload.converge()
        with contextlib.suppress(OSError):
            await asyncio.to_thread(workload.folder.remove)
        del self._workloads[name]
        del self._removals[name]
        self._changes.tell(name)

    @contextlib.asynccontextmanager
    async def _locked(self, name: str) -> AsyncIterator[None]:
        async with self._locks.setdefault(name, asyncio.Lock()):
            yield
