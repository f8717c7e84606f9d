"""The controller: what to look at when, and never to stop looking."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from modelyard_api.errors import ModelyardError
from modelyard_hub.backoff import Backoff
from modelyard_hub.guarded import keep_on
from modelyard_hub.reconcile.endpoints import EndpointReconciler, owner_of
from modelyard_hub.reconcile.needs import AccessSource, DesiredState, Key, Router
from modelyard_hub.reconcile.queue import WorkQueue
from modelyard_hub.runtimes.base import Runtime

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ControllerOptions:
    """`resync`: seconds between full passes. `look_again`: seconds between looks at an endpoint that waits for the
    router or for a workload to end, in case nobody tells; they grow to its cap while nothing comes."""

    base_url: str = ""
    resync: float = 30.0
    workers: int = 4
    look_again: Backoff = field(default_factory=lambda: Backoff(first=0.5, cap=5.0, jitter=0.1))


class Controller:
    """Keeps the world as the store wants it, level-triggered: a change only says where to look first.

    `runtime` is open before `run`, and closed by who opened it.
    """

    def __init__(
        self,
        store: DesiredState,
        runtime: Runtime,
        router: Router,
        access: AccessSource,
        options: ControllerOptions | None = None,
    ) -> None:
        self._store, self._runtime, self._router = store, runtime, router
        self._options = options or ControllerOptions()
        self._endpoints = EndpointReconciler(store, runtime, router, access, self._options.base_url)
        self._queue: WorkQueue[Key] = WorkQueue()
        self._looks: dict[Key, int] = {}
        self._owners: dict[str, Key] = {}
        self._backoff = Backoff(first=0.5, cap=30.0)

    async def run(self) -> None:
        """Until cancelled. A part of it that fails is logged and started again, later each time."""
        try:
            async with asyncio.TaskGroup() as group:
                await keep_on("restoring the routes", self._restore, self._backoff, once=True)
                group.create_task(
                    keep_on("reading the store's events", self._watch_store, self._backoff), name="watch store"
                )
                group.create_task(
                    keep_on("reading the runtime's changes", self._watch_runtime, self._backoff), name="watch run"
                )
                group.create_task(keep_on("asking the router", self._watch_router, self._backoff), name="watch router")
                group.create_task(keep_on("looking at everything", self._resync, self._backoff), name="resync")
                for number in range(self._options.workers):
                    group.create_task(
                        keep_on("working on endpoints", self._work, self._backoff), name=f"worker {number}"
                    )
        finally:
            self._queue.close()

    async def _restore(self) -> None:
        kept = await self._store.load_routes()
        observed = await self._runtime.observe()
        running = {r.address for server in observed.values() for r in server.replicas if r.address}
        self._router.restore(kept, running)

    async def _watch_store(self) -> None:
        events = self._store.events()
        await self._look_at_everything()  # what happened before the reader, or while it was behind
        async for event in events:
            if event.resource == "endpoint":
                self._look((event.owner, event.name))

    async def _watch_runtime(self) -> None:
        changes = self._runtime.changes()
        async for name in changes:
            observed = (await self._runtime.observe()).get(name)
            key = owner_of(observed) if observed is not None else self._owners.pop(name, None)
            if key is not None:
                if observed is not None:
                    self._owners[name] = key
                self._look(key)

    async def _watch_router(self) -> None:
        async for key in self._router.confirmed():
            self._look(key)

    async def _resync(self) -> None:
        await self._look_at_everything()
        await asyncio.sleep(self._options.resync)

    async def _look_at_everything(self) -> None:
        """All endpoints of the store, and those that only the runtime or the router still knows."""
        for server in (await self._runtime.observe()).values():
            if key := owner_of(server):
                self._owners[server.name] = key
        for key in await self._endpoints.restless():
            self._look(key)

    def _look(self, key: Key) -> None:
        self._looks.pop(key, None)
        self._queue.add(key)

    async def _work(self) -> None:
        key = await self._queue.get()
        try:
            settled = await self._endpoints.step(key)
        except ModelyardError as error:
            self._owners |= dict.fromkeys(self._endpoints.failed(key), key)
            delay = self._queue.retry(key)
            log.warning("endpoint %s/%s: %s; again in %.1f s", *key, error, delay)
        except Exception:
            delay = self._queue.retry(key)
            log.exception("endpoint %s/%s; again in %.1f s", *key, delay)
        else:
            self._queue.forgive(key)
            self._look_again(key, settled)
        finally:
            self._queue.done(key)

    def _look_again(self, key: Key, settled: bool) -> None:
        if settled:
            self._looks.pop(key, None)
            return
        self._looks[key] = self._looks.get(key, 0) + 1
        self._queue.add_later(key, self._options.look_again.delay(self._looks[key]))
