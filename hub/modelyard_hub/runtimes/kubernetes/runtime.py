"""`KubernetesRuntime`: the contract of `runtimes.base` on a cluster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar

from modelyard_api.errors import Conflict, InvalidInput, NotFound, Unavailable
from modelyard_api.names import check_label
from modelyard_api.tasks import shard_output
from modelyard_hub.runtimes.base import ObservedServer, ReplicaLog, Server
from modelyard_hub.runtimes.changes import Changes
from modelyard_hub.runtimes.kubernetes.client import Client, connect
from modelyard_hub.runtimes.kubernetes.keeper import Keeper
from modelyard_hub.runtimes.kubernetes.kinds import SECRET, Object
from modelyard_hub.runtimes.kubernetes.options import KubernetesOptions
from modelyard_hub.runtimes.kubernetes.pods import CONTAINER, FETCH
from modelyard_hub.runtimes.kubernetes.record import TYPE, read, record
from modelyard_hub.runtimes.kubernetes.replicas import crashed, deleting
from modelyard_hub.runtimes.kubernetes.task_pods import COMMAND, check_output
from modelyard_hub.runtimes.kubernetes.task_record import TASK_TYPE, read_task, task_record
from modelyard_hub.runtimes.kubernetes.task_view import newest_pods, the_pod
from modelyard_hub.runtimes.kubernetes.view import View
from modelyard_hub.runtimes.outputs import open_output, read_log
from modelyard_hub.runtimes.task import ObservedTask, Task

log = logging.getLogger(__name__)
_TRIES = 3
T = TypeVar("T")


class KubernetesRuntime:
    """Runs servers as Deployments and tasks as Jobs in one namespace. It keeps nothing but what the cluster has:
    another process may take over at any moment."""

    def __init__(self, options: KubernetesOptions) -> None:
        self._options = options
        self._changes = Changes()
        self._stack = AsyncExitStack()
        self._parts: tuple[Client, Keeper, View] | None = None

    async def open(self) -> None:
        """See what runs. Raises ModelyardError where the cluster does not answer or does not allow it."""
        async with AsyncExitStack() as stack:
            client = await connect(self._options)
            stack.push_async_callback(client.close)
            keeper = Keeper(client, self._options)
            view = View(client, self._options, keeper.touch, self._changes.tell)
            await view.list()
            stack.callback(keeper.close)
            stack.callback(view.close)
            for kind, watcher in view.watchers.items():
                self._start(stack, f"watch {kind.plural}", partial(watcher.run, self._options.timing))
            self._start(stack, "keep workloads", partial(keeper.run, view))
            self._parts = client, keeper, view
            self._stack = stack.pop_all()

    async def close(self) -> None:
        """Let go of everything and leave the workloads running."""
        self._changes.close()
        await self._stack.aclose()
        self._parts = None

    async def apply(self, server: Server) -> None:
        """Write the record, then what it owns. Raises QuotaExceeded, ClusterForbidden, InvalidInput, Unavailable."""
        check_label(server.name, "workload name")
        client, keeper, view = self._open()
        async with keeper.lock(server.name), _told_again(view, server.name):
            known = view.record(server.name)
            _of_type(known, TYPE)
            before = None if known is None else read(known)
            if known is not None and deleting(known):
                raise Unavailable(f"workload {server.name} is still being deleted")
            if known is None:
                await self._not_taken(client, server.name, TYPE)
            if known is None or before != server:
                known = await self._retried(lambda: client.apply(SECRET, record(server, client.namespace)))
                view.put(SECRET, known)
            written: Object = known
            await self._retried(lambda: keeper.converge(view, server, written))
            if before is not None and dict(before.files) != dict(server.files):
                await keeper.nudge(view, server)

    async def run(self, task: Task) -> None:
        """Write the record, then the Job. Raises what `apply` does, and Conflict where the name is another one's."""
        task.check()
        check_output(task, self._options)
        client, keeper, view = self._open()
        async with keeper.lock(task.name), _told_again(view, task.name):
            known = view.record(task.name)
            _of_type(known, TASK_TYPE)
            if known is None:
                await self._not_taken(client, task.name, TASK_TYPE)
                known = await self._retried(lambda: client.apply(SECRET, task_record(task, client.namespace)))
                view.put(SECRET, known)
            elif deleting(known):
                raise Unavailable(f"task {task.name} is still being deleted")
            elif read_task(known) != task:
                raise Conflict(f"another task is named {task.name}", remedy="Delete it, or choose another name.")
            written: Object = known
            await self._retried(lambda: keeper.tasks.keep(view, task, written))
        keeper.touch(task.name)

    async def delete(self, name: str) -> None:
        """Delete the record and, with it, what it owns; `observe` shows it until it is gone."""
        client, keeper, view = self._open()
        async with keeper.lock(name), _told_again(view, name):
            known = view.record(name)
            if known is None or deleting(known):
                return
            try:
                answer = await client.delete(SECRET, known)
            except NotFound:
                return  # the watch will say so
            if "uid" in (answer.get("metadata") or {}):
                view.put(SECRET, answer)

    async def observe(self) -> Mapping[str, ObservedServer]:
        """All servers by name, as last seen; the cluster is not asked."""
        return self._open()[2].observe()

    async def observe_tasks(self) -> Mapping[str, ObservedTask]:
        """All tasks by name, likewise."""
        return self._open()[2].observe_tasks()

    async def logs(self, name: str, *, lines: int) -> tuple[ReplicaLog, ...]:
        """The last lines of each replica, with those of its crash before; NotFound for an unknown name."""
        client, _, view = self._open()
        known = view.record(name)
        if known is None:
            raise NotFound(f"no workload {name!r} runs")
        if known["type"] == TASK_TYPE:
            return await self._task_logs(client, view, known, lines)
        pods = sorted(view.pods(name).items())
        found = await asyncio.gather(*(self._log(client, pod, lines) for _, pod in pods))
        return tuple(ReplicaLog(index, text) for (index, _), text in zip(pods, found, strict=True))

    def changes(self) -> AsyncIterator[str]:
        """Names of workloads whose observed state changed, from this call on."""
        return self._changes.read()

    def _open(self) -> tuple[Client, Keeper, View]:
        assert self._parts is not None, "open() comes first"
        return self._parts

    async def _not_taken(self, client: Client, name: str, kind: str) -> None:
        try:
            found = await client.get(SECRET, name)
        except NotFound:
            return
        if found.get("type") not in (TYPE, TASK_TYPE):
            raise Conflict(f"a Secret {name} is there that is not Modelyard's", remedy="Rename or delete it.")
        _of_type(found, kind)
        if deleting(found):
            raise Unavailable(f"workload {name} is still being deleted")

    async def _task_logs(self, client: Client, view: View, known: Object, lines: int) -> tuple[ReplicaLog, ...]:
        """Of its pod, or of each shard's, as long as it has one; else of the output."""
        task, pods = read_task(known), view.pods_of(known["metadata"]["name"])
        if task is None or not task.shards:
            output = None if task is None else task.output
            return (ReplicaLog(0, await self._task_log(client, the_pod(pods), output, lines)),)
        mine = newest_pods(pods, task.shards)
        logs = (
            self._task_log(client, mine.get(index), shard_output(task.output, index), lines)
            for index in range(task.shards)
        )
        return tuple(ReplicaLog(index, found) for index, found in enumerate(await asyncio.gather(*logs)))

    async def _task_log(self, client: Client, pod: Object | None, output: str | None, lines: int) -> tuple[str, ...]:
        if pod is not None:
            found = await self._log_of(client, pod["metadata"]["name"], COMMAND, lines, previous=False)
            if found:
                return found
        return () if output is None else await read_log(open_output(output), lines)

    async def _log(self, client: Client, pod: Object, lines: int) -> tuple[str, ...]:
        name = pod["metadata"]["name"]
        found: tuple[str, ...] = ()
        wanted = [(CONTAINER, True)] if crashed(pod) else []
        for container, previous in [*wanted, (CONTAINER, False)]:
            found += await self._log_of(client, name, container, lines, previous=previous)
        return (found or await self._log_of(client, name, FETCH, lines, previous=False))[-lines:]

    @staticmethod
    async def _log_of(client: Client, pod: str, container: str, lines: int, *, previous: bool) -> tuple[str, ...]:
        try:
            return await client.log(pod, container, lines, previous=previous)
        except (NotFound, InvalidInput):
            return ()  # not started yet, or gone meanwhile

    async def _retried(self, call: Callable[[], Awaitable[T]]) -> T:
        """Once more after a conflict: somebody else wrote at the same moment. Says since when a cluster is away."""
        for attempt in range(_TRIES):
            try:
                return await call()
            except Conflict:
                if attempt == _TRIES - 1:
                    raise
            except Unavailable as error:
                since = self._open()[2].away_since()
                if type(error) is Unavailable and since is not None:
                    detail = f"{error.detail}; it is away since {since:%H:%M:%S} UTC"
                    raise Unavailable(detail, remedy=error.remedy) from error
                raise
        raise AssertionError("unreachable")

    @staticmethod
    def _start(stack: AsyncExitStack, what: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        task = asyncio.create_task(work(), name=what)
        task.add_done_callback(_say_why)
        stack.push_async_callback(_end, task)


def _of_type(found: Object | None, kind: str) -> None:
    """Conflict where a workload of the other kind has the name."""
    if found is not None and found.get("type") != kind:
        what = "task" if kind == TYPE else "server"
        name = found["metadata"]["name"]
        raise Conflict(f"a {what} is named {name}", remedy="Delete it, or choose another name.")


@asynccontextmanager
async def _told_again(view: View, name: str) -> AsyncIterator[None]:
    """Have the workload told as changed once a cluster is back that was away."""
    try:
        yield
    except Unavailable as error:
        if type(error) is Unavailable:
            view.missed(name)
        raise


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _say_why(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("%s ended", task.get_name(), exc_info=error)
