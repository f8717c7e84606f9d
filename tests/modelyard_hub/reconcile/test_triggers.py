"""Runs that new versions of a model start: one for each that is the newest, whoever looks, and whenever."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from harness.api import FolderRegistry
from harness.schedules import spec
from modelyard_api.errors import Unavailable
from modelyard_api.runs import Run, RunState, RunStatus
from modelyard_api.schedules import Schedule, Trouble
from modelyard_hub.reconcile.triggers import Triggers
from modelyard_hub.store.records import Actor
from modelyard_hub.store.run_rows import RunQuery
from modelyard_hub.store.store import Store
from modelyard_hub.store.tables import schedule_files

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
    (check,) = (one for one in await first.schedules.list() if one.name == "check")
    trouble = Trouble(trigger="version", reason="Unavailable", message="MLflow is away", since=datetime.now(UTC))
    assert await first.schedules.trouble(check, "version", trouble)
    await look()
    (check,) = (one for one in await first.schedules.list() if one.name == "check")
    assert not check.status.troubles, "it has passed, while a run waits for its turn"
    (run,) = await first.list_runs(RunQuery(schedule="ada/check"))
    await first.write_run_status(run.id, RunStatus(state=RunState.failed))
    assert await look() == [{"version": 3}, {"version": 4}]
    for run in await first.list_runs(RunQuery(schedule="ada/check")):
        await first.write_run_status(run.id, RunStatus(state=RunState.succeeded))
    works[:] = [Triggers(store.schedules, registry) for store in (first, second)]  # they were started again
    assert await look() == [{"version": 3}, {"version": 4}]
    assert await first.list_runs(RunQuery(schedule="ada/asleep")) == ()
    await asyncio.gather(first.close(), second.close())


async def test_a_version_whose_run_is_removed_is_not_new_again(tmp_path: Path) -> None:
    store, registry = Store(f"sqlite:///{tmp_path}/store.sqlite"), FolderRegistry(tmp_path / "models")
    await store.open()
    registry.add("ada.churn", "1")
    await store.schedules.create("ada", "check", spec(on_version="ada.churn").model_copy(update={"cron": None}), ADA)
    (run,) = await Triggers(store.schedules, registry).look()
    await store.write_run_status(run.id, RunStatus(state=RunState.succeeded))
    await store.removal.mark(run.id, ADA)
    assert await Triggers(store.schedules, registry).look() == [], "its key is free from then on"
    await store.removal.forget(run.id)
    assert await Triggers(store.schedules, registry).look() == []
    assert await store.list_runs() == ()
    registry.add("ada.churn", "2")
    assert len(await Triggers(store.schedules, registry).look()) == 1
    await store.close()


async def test_a_version_that_had_its_run_before_such_were_kept(tmp_path: Path) -> None:
    store, registry = Store(f"sqlite:///{tmp_path}/store.sqlite"), FolderRegistry(tmp_path / "models")
    await store.open()
    registry.add("ada.churn", "1")
    await store.schedules.create("ada", "check", spec(on_version="ada.churn").model_copy(update={"cron": None}), ADA)
    (run,) = await Triggers(store.schedules, registry).look()
    await store._database.write(lambda c: c.execute(delete(schedule_files)))
    await store.write_run_status(run.id, RunStatus(state=RunState.succeeded))
    assert [again.id for again in await Triggers(store.schedules, registry).look()] == [run.id]
    await store.removal.mark(run.id, ADA)
    assert await Triggers(store.schedules, registry).look() == []
    await store.close()


async def test_two_schedules_of_one_model_have_each_their_run(tmp_path: Path) -> None:
    made = datetime.now(UTC)
    store, registry = Store(f"sqlite:///{tmp_path}/store.sqlite", now=lambda: made), FolderRegistry(tmp_path / "models")
    await store.open()
    registry.add("ada.churn", "1")
    wanted = spec(on_version="ada.churn").model_copy(update={"cron": None})
    for name in ("check", "report"):  # in one second
        await store.schedules.create("ada", name, wanted, ADA)
    started = await Triggers(store.schedules, registry).look()
    assert sorted(run.schedule or "" for run in started) == ["ada/check", "ada/report"]
    await store.close()


class Troubled(FolderRegistry):
    """A registry that answers for some models with an error of ours, for others with one that nobody foresaw."""

    async def newest(self, model: str) -> int:
        if model == "ada.away":
            raise Unavailable("MLflow answered 500, so the model version cannot be looked up")
        if model == "ada.broken":
            raise ValueError("invalid literal for int()")
        return await super().newest(model)


async def test_one_schedules_trouble_is_not_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    registry = Troubled(tmp_path / "models")
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    await store.open()
    for name in ("aa", "away", "broken", "good", "taken", "zz"):
        registry.add(f"ada.{name}", "1")
        wanted = spec(on_version=f"ada.{name}").model_copy(update={"cron": None})
        await store.schedules.create("ada", name, wanted, ADA)

    class Refuses:
        """The schedules, of which one cannot be started, for a reason that nobody foresaw."""

        list, trouble = store.schedules.list, store.schedules.trouble

        async def start_once(self, schedule: Schedule, *rest: Any) -> Run | None:
            if schedule.name == "taken":
                raise RuntimeError("value too long for type character varying(255)")
            return await store.schedules.start_once(schedule, *rest)

    started = await Triggers(Refuses(), registry).look()
    assert [run.schedule for run in started] == ["ada/aa", "ada/good", "ada/zz"]
    said = [(record.levelname, record.getMessage()) for record in caplog.records if record.levelname != "INFO"]
    assert [(level, words.split(": ")[:2]) for level, words in said] == [
        ("WARNING", ["schedule ada/away", "looking for the newest version of ada.away"]),
        ("ERROR", ["schedule ada/broken", "looking for the newest version of ada.broken"]),
        ("ERROR", ["schedule ada/taken", "starting a run for version 1 of ada.taken"]),
    ]
    troubles = {one.name: [t.message for t in one.status.troubles] for one in await store.schedules.list()}
    assert [name for name, found in troubles.items() if found] == ["away"]
    assert troubles["away"][0].startswith("looking for the newest version of ada.away: MLflow answered 500")
    await store.close()
