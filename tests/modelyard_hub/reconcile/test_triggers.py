"""Runs that new versions of a model start: one for each that is the newest, whoever looks, and whenever."""

from __future__ import annotations

import asyncio
from pathlib import Path

from harness.api import FolderRegistry
from harness.schedules import spec
from modelyard_api.runs import RunState, RunStatus
from modelyard_hub.reconcile.triggers import Triggers
from modelyard_hub.store.records import Actor
from modelyard_hub.store.run_rows import RunQuery
from modelyard_hub.store.store import Store

ADA = Actor("ada")


async def test_each_new_version_has_one_run(tmp_path: Path) -> None:
    url, registry = f"sqlite:///{tmp_path}/store.sqlite", FolderRegistry(tmp_path / "models")
    first, second = Store(url), Store(url)
    await asyncio.gather(first.open(), second.open())
    works = [Triggers(store.schedules, registry) for store in (first, second)]
    registry.add("ada.churn", "1")
    wanted = spec(on_version="ada.churn", version_parameter="version", since_version=1)
    wanted = wanted.model_copy(update={"cron": None})
    await first.schedules.create("ada", "check", wanted, ADA)
    await first.schedules.create("ada", "asleep", wanted.model_copy(update={"paused": True}), ADA)

    async def look() -> list[object]:
        await asyncio.gather(*(work.look() for work in works for _ in range(3)))
        return [r.spec.parameters for r in reversed(await first.list_runs(RunQuery(schedule="ada/check")))]

    assert await look() == []
    registry.add("ada.churn", "2", "3")
    assert await look() == [{"version": 3}]
    registry.add("ada.churn", "4")
    assert await look() == [{"version": 3}], "they may not overlap"
    (run,) = await first.list_runs(RunQuery(schedule="ada/check"))
    await first.write_run_status(run.id, RunStatus(state=RunState.failed))
    assert await look() == [{"version": 3}, {"version": 4}]
    for run in await first.list_runs(RunQuery(schedule="ada/check")):
        await first.write_run_status(run.id, RunStatus(state=RunState.succeeded))
    works[:] = [Triggers(store.schedules, registry) for store in (first, second)]  # they were started again
    assert await look() == [{"version": 3}, {"version": 4}]
    assert await first.list_runs(RunQuery(schedule="ada/asleep")) == ()
    await asyncio.gather(first.close(), second.close())
