"""MLflow is told how attempts of runs ended, whatever ended them: `endings` says what, pure; `Teller` tells it.

The processes of runs tell what they can. One that is killed leaves its run in MLflow unfinished; one that is killed
early, or did not reach MLflow, leaves none, and the shards of a scoring leave it to this.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from modelyard_api.errors import InvalidInput, Unavailable
from modelyard_api.runs import CANCELLED, Attempt, Run, RunState, values_of
from modelyard_api.tracked import TRACKED_ATTEMPT, TRACKED_RUN, numbers
from modelyard_hub.backoff import Backoff
from modelyard_hub.guarded import keep_on
from modelyard_hub.store.store import Store

log = logging.getLogger(__name__)
_EVERY = 30.0
_PATIENCE = 30.0
"""Seconds for one run."""
_KILLED = timedelta(seconds=2 * _PATIENCE)
"""Until somebody else tells of a run that is not told by then."""
_AGAIN = timedelta(seconds=5)
"""Until a run is told again that MLflow did not take."""
_ENOUGH = 3
"""As many runs that MLflow does not take: then it is away, and asked later."""
_LONGEST = 1000


@dataclass(frozen=True)
class Ending:
    """How an attempt of a run ended, in MLflow's words; times are milliseconds since 1970."""

    run: str
    attempt: int
    name: str
    status: str
    started: int
    ended: int
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def failed(self) -> bool:
        return self.status != "FINISHED"


class Tracking(Protocol):
    """What this asks of MLflow: see `MlflowRuns`."""

    async def tell(self, experiment: str, endings: Sequence[Ending]) -> str: ...


def endings(run: Run, results: Mapping[str, Mapping[str, Any]]) -> tuple[Ending, ...]:
    """Of all attempts that are over, the last one last. `results`: of the runs that it needs, by id."""
    with suppress(KeyError):  # the run that it took a result of is gone, or made none
        return tuple(_ending(run, attempt, values_of(run.spec, results)) for attempt in run.status.attempts)
    return tuple(_ending(run, attempt, run.spec.parameters) for attempt in run.status.attempts)


def _ending(run: Run, attempt: Attempt, values: Mapping[str, Any]) -> Ending:
    last = attempt.number == run.status.attempts[-1].number
    # One that is cancelled while it waits for its next attempt ends later than its last one.
    cancelled = last and run.status.state is RunState.cancelled and run.status.ended == attempt.ended
    reason, message = (CANCELLED, run.status.message) if cancelled else (attempt.reason, attempt.message)
    tags = {"mlflow.user": run.created_by, TRACKED_RUN: run.id, TRACKED_ATTEMPT: str(attempt.number)}
    if reason:
        tags["modelyard.reason"] = reason
    if message and run.spec.score is not None:  # what a notebook raised is its owner's
        tags["modelyard.message"] = message[:_LONGEST]
    ended = attempt.ended or run.created_at
    return Ending(
        run=run.id,
        attempt=attempt.number,
        name=f"{run.spec.called} {run.id}",
        status="FINISHED" if not reason else "KILLED" if reason in (CANCELLED, "Stopped") else "FAILED",
        started=int(1000 * (attempt.started or ended).timestamp()),
        ended=int(1000 * ended.timestamp()),
        params={name: str(value) for name, value in values.items()},
        metrics=numbers(run.status.results if last else {}),
        tags=tags,
    )


class Teller:
    """Tells MLflow of each run with an attempt that has ended, until MLflow has taken it; nobody waits for that."""

    def __init__(self, store: Store, tracking: Tracking) -> None:
        self._store, self._tracking = store, tracking
        self._news = asyncio.Event()
        self._backoff = Backoff(first=1.0, cap=30.0)

    async def run(self) -> None:
        """Until cancelled. What fails is logged and tried again, later each time."""
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_on("reading of runs that end", self._watch, self._backoff), name="telling: store")
            group.create_task(keep_on("telling MLflow of runs", self._work, self._backoff), name="telling: work")

    async def _watch(self) -> None:
        events = self._store.events()
        self._news.set()
        async for event in events:
            if event.resource == "run":
                self._news.set()

    async def _work(self) -> None:
        self._news.clear()
        await self.look()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), _EVERY)

    async def look(self) -> int:
        """One pass; of how many runs MLflow was told. Unavailable while it is away: one run that it does not take
        keeps no other one waiting."""
        told = 0
        failed: list[Unavailable] = []
        while len(failed) < _ENOUGH and (taken := await self._store.telling.take(_KILLED)) is not None:
            run, mark = taken
            try:
                await self._store.telling.told(run.id, mark, await self._tell(run))
                told += 1
            except Unavailable as error:
                failed.append(error)
                await self._store.telling.later(run.id, _AGAIN)
        if failed:
            raise failed[-1]
        return told

    async def _tell(self, run: Run) -> str:
        needed = await self._store.runs_by_id(set(run.spec.needs))
        mine = endings(run, {id_: one.status.results for id_, one in needed.items()})
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._tracking.tell(f"{run.owner}/{run.spec.called}", mine)
        except TimeoutError as error:
            raise Unavailable("MLflow does not answer in time, and is told later how runs ended") from error
        except InvalidInput as error:  # as it would be the next time
            log.warning("MLflow is not told of run %s: %s", run.id, error)
            return ""
