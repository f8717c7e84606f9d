"""Schedules carried out: every second, what is due."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from modelyard_api.errors import ModelyardError
from modelyard_api.runs import Run
from modelyard_api.schedules import Schedule, Skipped
from modelyard_hub.backoff import Backoff
from modelyard_hub.guarded import keep_on
from modelyard_hub.reconcile.plan_schedules import Action, Expire, Skip, Start, plan_schedules
from modelyard_hub.store.records import Actor, RunsOf

log = logging.getLogger(__name__)
EVERY = 1.0
"""Seconds between looks."""


class Schedules(Protocol):
    """What this asks of the store; two that do it at once make one run for a due time."""

    async def list(self) -> tuple[Schedule, ...]: ...

    async def runs_of(self) -> Mapping[str, RunsOf]: ...

    async def start(self, schedule: Schedule, due: datetime) -> Run | None: ...

    async def skip(self, schedule: Schedule, what: Skipped) -> bool: ...

    async def note(self, schedule: Schedule, what: Skipped) -> None: ...


class Runs(Protocol):
    """What this asks of the store about runs."""

    async def expire_run(self, run_id: str, actor: Actor) -> bool: ...


class Clockwork:
    """Starts what is due. Killed between any two steps it forgets nothing: the next look, by whichever process,
    begins with what the store says."""

    def __init__(
        self, schedules: Schedules, runs: Runs, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._schedules, self._runs, self._now = schedules, runs, now

    async def run(self) -> None:
        """For ever. What fails is tried again with the next look."""
        await keep_on("looking after schedules", self.look, Backoff(first=EVERY), every=EVERY)

    async def look(self) -> list[Run]:
        """Once; the runs that it started."""
        known = [schedule for schedule in await self._schedules.list() if not schedule.spec.paused]
        if not known:
            return []
        started = []
        for action in plan_schedules(known, await self._schedules.runs_of(), self._now()):
            try:
                run = await self._do(action)
            except ModelyardError as error:
                log.warning("schedule %s: %s", action.schedule.key, error)
            except Exception:  # one schedule's trouble is not the others'
                log.exception("schedule %s", action.schedule.key)
            else:
                started += [run] if run is not None else []
        return started

    async def _do(self, action: Action) -> Run | None:
        key = action.schedule.key
        match action:
            case Start(schedule, due):
                run = await self._schedules.start(schedule, due)
                if run is not None:
                    log.info("schedule %s: run %s for %s", key, run.id, due.isoformat())
                return run
            case Skip(schedule, what):
                if await self._schedules.skip(schedule, what):
                    log.info("schedule %s: no run for %s (%s): %s", key, what.due, what.reason, what.message)
            case Expire(schedule, run_id, what):
                if await self._runs.expire_run(run_id, Actor("system", "schedule")):  # else it started since the look
                    await self._schedules.note(schedule, what)
                    log.info("schedule %s: run %s is cancelled: %s", key, run_id, what.message)
        return None
