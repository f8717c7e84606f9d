"""What starts runs of schedules besides the clock: new versions of models."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

from modelyard_api.errors import Conflict, ModelyardError
from modelyard_api.runs import Run, RunSpec
from modelyard_api.schedules import Schedule, Trouble
from modelyard_hub.backoff import Backoff
from modelyard_hub.guarded import keep_on

log = logging.getLogger(__name__)
EVERY = 10.0
"""Seconds between looks."""


class Schedules(Protocol):
    """What this asks of the store; of two that do it at once with one key, one makes a run."""

    async def list(self) -> tuple[Schedule, ...]: ...

    async def start_once(self, schedule: Schedule, spec: RunSpec, key: str, source: str) -> Run | None: ...

    async def trouble(self, schedule: Schedule, trigger: str, what: Trouble | None) -> bool: ...


class Versions(Protocol):
    """What this asks of the registry."""

    async def newest(self, model: str) -> int: ...


class Triggers:
    """Starts a run for a model's newest version, once: a version that has one, by whichever process, has its key."""

    def __init__(self, schedules: Schedules, versions: Versions) -> None:
        self._schedules, self._versions = schedules, versions
        self._told: dict[tuple[str, str], int] = {}

    async def run(self) -> None:
        """For ever. What fails is tried again with the next look."""
        await keep_on("looking for new versions", self.look, Backoff(first=EVERY), every=EVERY)

    async def look(self) -> list[Run]:
        """Once; the runs of what is new. One that may not overlap with one at work is started with a later look."""
        started, newest = list[Run](), dict[str, int]()
        for schedule in await self._schedules.list():
            model = schedule.spec.on_version
            if model is None or schedule.spec.paused:
                continue
            doing = f"looking for the newest version of {model}"
            try:
                if model not in newest:
                    newest[model] = await self._versions.newest(model)
                doing = f"starting a run for version {newest[model]} of {model}"
                with suppress(Conflict):  # a run of it has not ended
                    if (run := await self._start(schedule, newest[model])) is not None:
                        started.append(run)
                await self._schedules.trouble(schedule, "version", None)
            except ModelyardError as error:
                await self._tell(schedule, doing, error)
            except Exception:  # one schedule's trouble is not the others'
                log.exception("schedule %s: %s", schedule.key, doing)
        return started

    async def _tell(self, schedule: Schedule, doing: str, error: ModelyardError) -> None:
        """As what keeps the schedule from starting runs, while it lasts."""
        message, now = f"{doing}: {error}"[:1000], datetime.now(UTC)
        trouble = Trouble(trigger="version", reason=type(error).__name__, message=message, since=now)
        if await self._schedules.trouble(schedule, "version", trouble):
            log.warning("schedule %s: %s", schedule.key, message)

    async def _start(self, schedule: Schedule, version: int) -> Run | None:
        """The run for a version; None where it is not new."""
        if version <= max(schedule.spec.since_version or 0, self._told.get((schedule.key, _key(schedule)), 0)):
            return None
        key = f"{_key(schedule)}/{version}"
        run = await self._schedules.start_once(schedule, spec_for(schedule, version), key, "version")
        self._told[schedule.key, _key(schedule)] = version
        if run is not None:
            log.info("schedule %s: run %s for version %s", schedule.key, run.id, version)
        return run


def spec_for(schedule: Schedule, version: int) -> RunSpec:
    """What runs for a version: with its number, where a parameter takes it."""
    run, name = schedule.spec.run, schedule.spec.version_parameter
    return run if name is None else run.model_copy(update={"parameters": {**run.parameters, name: version}})


def _key(schedule: Schedule) -> str:
    """A schedule that was made anew is another one."""
    return f"version/{schedule.spec.on_version}/{schedule.created_at.timestamp():.0f}"
