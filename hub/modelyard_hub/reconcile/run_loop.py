"""When to look at runs: on every change of the store and of the runtime, by the clock, and after what failed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from modelyard_api.errors import ModelyardError
from modelyard_hub.backoff import Backoff
from modelyard_hub.guarded import keep_on
from modelyard_hub.reconcile.run_steps import RunSteps
from modelyard_hub.reconcile.runs import Action, Delete, Note, Plan, Revoke, Settle, World, plan_runs
from modelyard_hub.runtimes.base import Runtime
from modelyard_hub.store.store import Store

log = logging.getLogger(__name__)
_TOGETHER = 4
_FIRST = (Settle, Note, Delete, Revoke)


class Queue:
    """Places in the queue, as of the last look."""

    def __init__(self) -> None:
        self.places: Mapping[str, int] = {}


class RunController:
    """Keeps runs as the store wants them, level-triggered: one pass after another, each over all that are open."""

    def __init__(self, store: Store, runtime: Runtime, steps: RunSteps, queue: Queue, slots: int) -> None:
        self._store, self._runtime, self._steps, self._queue, self._slots = store, runtime, steps, queue, slots
        self._news = asyncio.Event()
        self._missing: Mapping[str, datetime] = {}
        self._failures = 0
        self._backoff = Backoff(first=0.5, cap=30.0)

    async def run(self, resync: float = 30.0) -> None:
        """Until cancelled. A part of it that fails is logged and started again, later each time."""
        self._news.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(
                keep_on("reading the store's events", self._watch_store, self._backoff), name="runs: store"
            )
            group.create_task(
                keep_on("reading the runtime's changes", self._watch_runtime, self._backoff), name="runs: runtime"
            )
            group.create_task(keep_on("looking at runs", lambda: self._look(resync), self._backoff), name="runs: look")

    async def _watch_store(self) -> None:
        events = self._store.events()
        self._news.set()
        async for event in events:
            if event.resource == "run":
                self._news.set()

    async def _watch_runtime(self) -> None:
        changes = self._runtime.changes()
        self._news.set()
        async for name in changes:
            if name.startswith("run-"):
                self._news.set()

    async def _look(self, resync: float) -> None:
        pause = resync
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), pause)
            self._news.clear()
            plan = await self.look_once()
            pause = resync
            if plan.wake is not None:
                pause = min(pause, max(0.0, (plan.wake - datetime.now(UTC)).total_seconds()))
            if self._failures:
                pause = min(pause, self._backoff.delay(self._failures))

    async def look_once(self) -> Plan:
        """One pass."""
        # First what runs: a task that is seen is then also seen to be wanted.
        tasks = await self._runtime.observe_tasks()
        runs = await self._store.open_runs()
        needed = await self._store.runs_by_id({need for stored in runs for need in stored.run.spec.needs})
        limits = await self._store.run_limits()
        plan = plan_runs(World(runs, tasks, needed, self._missing, self._slots, limits), datetime.now(UTC))
        self._missing, self._queue.places = plan.missing, plan.places
        first = [action for action in plan.actions if isinstance(action, _FIRST)]
        rest = [action for action in plan.actions if not isinstance(action, _FIRST)]
        done = await self._all(first) + await self._all(rest)
        self._failures = 0 if all(done) else self._failures + 1
        return plan

    async def _all(self, actions: Sequence[Action]) -> list[bool]:
        gate = asyncio.Semaphore(_TOGETHER)

        async def one(action: Action) -> bool:
            async with gate:
                try:
                    await self._steps.carry_out(action)
                except ModelyardError as error:
                    log.warning("%s: %s", _named(action), error)
                    return False
                except Exception:
                    log.exception("%s", _named(action))
                    return False
                return True

        return list(await asyncio.gather(*(one(action) for action in actions)))


def _named(action: Action) -> str:
    subject = action.name if isinstance(action, Delete) else f"run {action.stored.run.id}"
    return f"{type(action).__name__.lower()} {subject}"
