"""Runs that drift starts: one for a scoring, none while it cools down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness import postgres
from harness.instant_tasks import Killed, Plug
from harness.runs import SMALL
from harness.schedules import spec
from modelyard_api.runs import Run, RunSpec, RunState, RunStatus, ScoreWork
from modelyard_api.schedules import OnDrift, Schedule
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

    def triggers(self, store: Store | None = None, plug: Plug | None = None) -> DriftTriggers:
        """A hub service's, which may be killed."""
        store, plug = store or self.store, plug or Plug()
        return DriftTriggers(plug.pulled(store.schedules), plug.pulled(store), lambda: self.now)

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


BOTH = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
async def place(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """On SQLite, where nothing else is asked for."""
    made = datetime(2026, 11, 27, 9, tzinfo=UTC)
    url = f"sqlite:///{tmp_path}/store.sqlite"
    if getattr(request, "param", "sqlite") == "postgresql":
        server: postgres.Postgres = request.getfixturevalue("postgres_server")
        url = server.database()
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


@dataclass
class Meeting:
    """A store's schedules, asked by somebody who sees what was answered last at the very moment when others do."""

    schedules: Any
    barrier: asyncio.Barrier

    async def newest(self, schedule: Schedule, source: str) -> datetime:
        found: datetime = await self.schedules.newest(schedule, source)
        await self.barrier.wait()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.schedules, name)


async def unguarded(place: Place) -> None:
    """Neither a time to cool down nor a run that has not ended keeps two looks apart."""
    alike = spec(on_drift=OnDrift(model="ada.churn", cool_down=0), overlap=True).model_copy(update={"cron": None})
    await place.store.schedules.write("ada", "retrain", alike, 1, ADA)


@BOTH
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_any_point_a_scoring_starts_one_run(place: Place, after: bool) -> None:
    await unguarded(place)
    for turn in range(1, 6):  # list, list_runs, newest, start_once, trouble
        place.now += timedelta(hours=2)
        await place.scored(drift={"age": 0.9})
        with pytest.raises(Killed):
            await place.triggers(plug=Plug(turn, after)).look()
        assert len(await place.started()) == turn


@BOTH
async def test_two_hub_services_start_one(place: Place) -> None:
    await unguarded(place)
    other = Store(place.url, now=lambda: place.now)
    await other.open()
    for turn in range(1, 6):
        place.now += timedelta(hours=2)
        await place.scored(drift={"age": 0.9})
        barrier = asyncio.Barrier(2)
        both = [
            DriftTriggers(Meeting(store.schedules, barrier), store, lambda: place.now) for store in (place.store, other)
        ]
        ended = await asyncio.gather(*(one.look() for one in both))
        assert len({run.id for found in ended for run in found}) == 1
        assert len(await place.started()) == turn
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
