"""Runs that drift starts: one for a scoring, none while it cools down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.runs import SMALL
from harness.schedules import spec
from modelyard_api.runs import Run, RunSpec, RunState, RunStatus, ScoreWork
from modelyard_api.schedules import OnDrift
from modelyard_hub.reconcile.drift_triggers import DriftTriggers
from modelyard_hub.store.records import Actor
from modelyard_hub.store.run_rows import RunQuery
from modelyard_hub.store.store import Store

ADA = Actor("ada")


@dataclass
class Place:
    """A store whose clock tests turn."""

    url: str
    now: datetime
    store: Store

    def triggers(self, store: Store | None = None) -> DriftTriggers:
        """A hub service's."""
        store = store or self.store
        return DriftTriggers(store.schedules, store, lambda: self.now)

    async def scored(self, owner: str = "ada", model: str = "models:/churn/3", **results: Any) -> Run:
        """A scoring ends now with these results."""
        work = ScoreWork(model=model, data="/in", output="/out")
        run = await self.store.submit_run(
            owner,
            RunSpec(kind="score", score=work, resources=SMALL),
            created_by=owner,
            idempotency_key=None,
            source="test",
        )
        status = RunStatus(state=RunState.succeeded, ended=self.now, results=results)
        await self.store.write_run_status(run.id, status)
        return run

    async def started(self) -> list[object]:
        """Parameters of the runs of the schedule, the oldest first."""
        await asyncio.gather(*(self.triggers().look() for _ in range(3)))
        return [r.spec.parameters for r in reversed(await self.store.list_runs(RunQuery(schedule="ada/retrain")))]

    async def end_all(self) -> None:
        """The schedule's runs succeed."""
        for run in await self.store.list_runs(RunQuery(schedule="ada/retrain")):
            await self.store.write_run_status(run.id, RunStatus(state=RunState.succeeded, ended=self.now))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = datetime(2026, 11, 27, 9, tzinfo=UTC)
    url = f"sqlite:///{tmp_path}/store.sqlite"
    around = Place(url, made, Store(url, now=lambda: around.now))
    await around.store.open()
    wanted = OnDrift(model="ada.churn", threshold=0.25, cool_down=3600, parameter="columns")
    schedule = spec(on_drift=wanted).model_copy(update={"cron": None})
    await around.store.schedules.create("ada", "retrain", schedule, ADA)
    yield around
    await around.store.close()


async def test_drift_above_the_threshold_starts_one_run_for_a_scoring(place: Place) -> None:
    place.now += timedelta(seconds=1)
    await place.scored(drift={"age": 0.25, "weight": 0.1})
    assert await place.started() == [], "not above it"
    place.now += timedelta(minutes=1)
    await place.scored(drift={"age": 0.3, "weight": 0.1, "island": 0.9})
    assert await place.started() == [{"columns": {"island": 0.9, "age": 0.3}}]
    (run,) = await place.store.list_runs(RunQuery(schedule="ada/retrain"))
    assert run.created_by == "ada"
    await place.end_all()
    place.now += timedelta(days=1)
    assert len(await place.started()) == 1, "it was answered"


async def test_none_while_it_cools_down_and_the_newest_scoring_after_that(place: Place) -> None:
    place.now += timedelta(seconds=1)
    await place.scored(drift={"age": 0.5})
    assert len(await place.started()) == 1
    await place.end_all()
    place.now += timedelta(minutes=30)
    await place.scored(drift={"age": 0.6})
    assert len(await place.started()) == 1
    place.now += timedelta(minutes=29)
    assert len(await place.started()) == 1
    place.now += timedelta(minutes=2)
    assert (await place.started())[1:] == [{"columns": {"age": 0.6}}]
    await place.end_all()
    place.now += timedelta(hours=2)
    await place.scored(drift={"age": 0.7})
    place.now += timedelta(minutes=1)
    await place.scored(drift={"age": 0.1})
    assert len(await place.started()) == 2, "the newest one says that all is well"


async def test_a_run_that_something_else_started_answers_it_too(place: Place) -> None:
    place.now += timedelta(minutes=1)
    await place.scored(drift={"age": 0.5})
    place.now += timedelta(minutes=1)
    schedule = await place.store.schedules.get("ada", "retrain")
    await place.store.schedules.start_now(schedule, schedule.spec.run, None, "clock")
    await place.end_all()
    place.now += timedelta(days=1)
    assert len(await place.started()) == 1


async def test_whose_scorings_count(place: Place) -> None:
    await place.scored(drift={"age": 0.9})
    place.now += timedelta(seconds=1)
    await place.scored(owner="bob", model="ada.churn", drift={"age": 0.9})
    await place.scored(model="models:/tips/1", drift={"age": 0.9})
    await place.scored(drift="no drift is told: the package has no statistics of its training rows")
    await place.scored()
    assert await place.started() == []
    await place.store.schedules.pause("ada", "retrain", True, ADA)
    place.now += timedelta(seconds=1)
    await place.scored(drift={"age": 0.9})
    assert await place.started() == []
    await place.store.schedules.pause("ada", "retrain", False, ADA)
    assert len(await place.started()) == 1


async def test_a_newest_scoring_that_measured_no_drift_is_told_until_one_does(place: Place) -> None:
    async def troubles() -> list[tuple[str, str, datetime]]:
        await place.started()
        found = (await place.store.schedules.get("ada", "retrain")).status.troubles
        return [(one.trigger, one.reason, one.since) for one in found]

    assert await troubles() == [], "no scoring yet is no trouble"
    place.now += timedelta(seconds=1)
    began = place.now
    first = await place.scored(drift="no drift is told: the package has no statistics of its training rows")
    assert await troubles() == [("drift", "DriftNotMeasured", began)]
    (told,) = (await place.store.schedules.get("ada", "retrain")).status.troubles
    assert f"run {first.id}, says: no drift is told: the package has no statistics" in told.message
    place.now += timedelta(seconds=1)
    await place.scored(drift="no drift is told: the package has no statistics of its training rows")
    assert await troubles() == [("drift", "DriftNotMeasured", began)], "since it began"
    place.now += timedelta(seconds=1)
    await place.scored(drift={"age": 0.1})
    assert await troubles() == []


async def test_two_hub_services_start_one(place: Place) -> None:
    other = Store(place.url, now=lambda: place.now)
    await other.open()
    place.now += timedelta(seconds=1)
    await place.scored(drift={"age": 0.9})
    looks = [place.triggers(store).look() for store in (place.store, other) for _ in range(4)]
    started = {run.id for found in await asyncio.gather(*looks) for run in found}
    assert len(started) == 1
    assert len(await place.started()) == 1
    await other.close()


async def test_drift_whose_run_is_removed_was_answered_all_the_same(place: Place) -> None:
    place.now += timedelta(seconds=1)
    await place.scored(drift={"age": 0.5})
    assert len(await place.started()) == 1
    await place.end_all()
    (run,) = await place.store.list_runs(RunQuery(schedule="ada/retrain"))
    await place.store.removal.mark(run.id, ADA)
    await place.store.removal.forget(run.id)
    place.now += timedelta(minutes=30)
    assert await place.started() == []
    await place.scored(drift={"age": 0.6})
    assert await place.started() == [], "it cools down"
    place.now += timedelta(minutes=31)
    assert await place.started() == [{"columns": {"age": 0.6}}]
