"""What starts runs of schedules besides the clock: drift that scorings of a model have found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from modelyard_api.errors import Conflict, InvalidInput, ModelyardError
from modelyard_api.runs import Run, RunSpec, RunState
from modelyard_api.schedules import OnDrift, Schedule, Trouble
from modelyard_api.scoring import parse_model
from modelyard_hub.backoff import Backoff
from modelyard_hub.guarded import keep_on
from modelyard_hub.store.run_rows import RunQuery

log = logging.getLogger(__name__)
EVERY = 10.0
"""Seconds between looks."""
_NEVER = datetime.fromtimestamp(0, UTC)
_LOOKED_AT = 500
"""Runs of an owner among which the newest scoring is looked for."""


class Schedules(Protocol):
    """What this asks of the store; of two that do it at once with one key, one makes a run."""

    async def list(self) -> tuple[Schedule, ...]: ...

    async def newest(self, schedule: Schedule, source: str) -> datetime: ...

    async def start_once(
        self, schedule: Schedule, spec: RunSpec, key: str, source: str, apart: timedelta | None = None
    ) -> Run | None: ...

    async def trouble(self, schedule: Schedule, trigger: str, what: Trouble | None) -> bool: ...


class Runs(Protocol):
    """What this asks of the store about runs."""

    async def list_runs(self, query: RunQuery) -> tuple[Run, ...]: ...


class DriftTriggers:
    """Starts a run for drift, once for a scoring. It keeps nothing: what was answered is in the store."""

    def __init__(
        self, schedules: Schedules, runs: Runs, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._schedules, self._runs, self._now = schedules, runs, now

    async def run(self) -> None:
        """For ever. What fails is tried again with the next look."""
        await keep_on("looking for drift", self.look, Backoff(first=EVERY), every=EVERY)

    async def look(self) -> list[Run]:
        """Once; the runs that it started."""
        started, ended = list[Run](), dict[str, tuple[Run, ...]]()
        for schedule in await self._schedules.list():
            if schedule.spec.on_drift is None or schedule.spec.paused:
                continue
            try:
                if schedule.owner not in ended:
                    wanted = RunQuery(owners=[schedule.owner], states=[RunState.succeeded], limit=_LOOKED_AT)
                    ended[schedule.owner] = await self._runs.list_runs(wanted)
                run = await self._look_at(schedule, schedule.spec.on_drift, ended[schedule.owner])
            except Exception:  # one schedule's trouble is not the others'
                log.exception("schedule %s: looking for drift", schedule.key)
            else:
                started += [run] if run is not None else []
        return started

    async def _look_at(self, schedule: Schedule, wanted: OnDrift, ended: Sequence[Run]) -> Run | None:
        """The run that it starts; what keeps it from that is told as the schedule's."""
        run, trouble = None, self._unmeasured(schedule, wanted, ended)
        try:
            run = await self._start(schedule, wanted, ended)
        except Conflict:
            pass  # a run of it has not ended
        except ModelyardError as error:
            trouble = self._trouble(type(error).__name__, str(error))
        if await self._schedules.trouble(schedule, "drift", trouble) and trouble is not None:
            log.warning("schedule %s: looking for drift of %s: %s", schedule.key, wanted.model, trouble.message)
        return run

    def _unmeasured(self, schedule: Schedule, wanted: OnDrift, ended: Sequence[Run]) -> Trouble | None:
        """Where the newest scoring cannot say whether there is drift."""
        scoring = newest_scoring(ended, wanted.model)
        if scoring is None or (scoring.status.ended or _NEVER) <= schedule.created_at:
            return None
        told = scoring.status.results.get("drift")
        if not told or not isinstance(told, str):
            return None
        return self._trouble(
            "DriftNotMeasured", f"The newest scoring of {wanted.model}, run {scoring.id}, says: {told}"
        )

    def _trouble(self, reason: str, message: str) -> Trouble:
        return Trouble(trigger="drift", reason=reason, message=message[:1000], since=self._now())

    async def _start(self, schedule: Schedule, wanted: OnDrift, ended: Sequence[Run]) -> Run | None:
        scoring = newest_scoring(ended, wanted.model)
        if scoring is None or scoring.status.ended is None:
            return None
        worst = drifted(scoring, wanted.threshold)
        if not worst or scoring.status.ended <= schedule.created_at:
            return None
        newest, apart = await self._schedules.newest(schedule, "drift"), timedelta(seconds=wanted.cool_down)
        if scoring.status.ended <= newest or self._now() < newest + apart:
            return None
        key = f"drift/{scoring.id}/{schedule.created_at.timestamp():.0f}"
        run = await self._schedules.start_once(schedule, spec_for(schedule, worst), key, "drift", apart)
        if run is not None:
            told = (schedule.key, run.id, scoring.id, wanted.threshold, worst)
            log.info("schedule %s: run %s for drift in scoring %s, indexes above %s: %s", *told)
        return run


def newest_scoring(ended: Sequence[Run], model: str) -> Run | None:
    """Of that model, the one that ended last."""
    found = [run for run in ended if run.spec.score is not None and run.status.ended and _scores(run, model)]
    return max(found, key=lambda run: run.status.ended or run.created_at, default=None)


def drifted(scoring: Run, threshold: float) -> dict[str, float]:
    """Columns above the threshold, the worst first; none where the scoring measured no drift."""
    told = scoring.status.results.get("drift")
    if not isinstance(told, Mapping):
        return {}
    found = {str(name): float(psi) for name, psi in told.items() if isinstance(psi, (int, float)) and psi > threshold}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def spec_for(schedule: Schedule, worst: Mapping[str, float]) -> RunSpec:
    """What runs for drift: with the columns, where a parameter takes them."""
    run, wanted = schedule.spec.run, schedule.spec.on_drift
    if wanted is None or wanted.parameter is None:
        return run
    return run.model_copy(update={"parameters": {**run.parameters, wanted.parameter: dict(worst)}})


def _scores(run: Run, model: str) -> bool:
    assert run.spec.score is not None, "it was chosen by that"
    try:
        return parse_model(run.spec.score.model, run.owner).name == model
    except InvalidInput:
        return False
