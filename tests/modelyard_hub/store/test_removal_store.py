"""Which runs are marked to go, and what is gone with them; on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from harness.runs import spec
from modelyard_api.errors import Conflict, NotFound
from modelyard_api.groups import Group
from modelyard_api.runs import Run, RunState, RunStatus
from modelyard_api.schedules import ScheduleSpec
from modelyard_hub.store import group_rows
from modelyard_hub.store.records import Actor
from modelyard_hub.store.run_rows import RunQuery
from modelyard_hub.store.store import Store

ADA = Actor("ada")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD = timedelta(days=90)


class Clock:
    def __init__(self) -> None:
        self.now = NOW - timedelta(days=200)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(store_url: str, clock: Clock) -> AsyncIterator[Store]:
    store = Store(store_url, now=clock)
    await store.open()
    yield store
    await store.close()


async def ended(store: Store, state: RunState = RunState.succeeded, **members: object) -> Run:
    given = {"schedule", "due", "group", "member", "idempotency_key"}
    about = {name: value for name, value in members.items() if name in given}
    run = await store.submit_run("ada", spec(**{n: v for n, v in members.items() if n not in given}), **about)  # type: ignore[arg-type]
    await store.write_run_status(run.id, RunStatus(state=state))
    return run


async def listed(store: Store) -> list[str]:
    return [run.id for run in await store.list_runs(RunQuery())][::-1]


async def test_the_old_ones_go_the_others_stay(store: Store, clock: Clock) -> None:
    old = [await ended(store, state) for state in (RunState.succeeded, RunState.failed, RunState.cancelled)]
    still = await store.submit_run("ada", spec())
    holds = await store.submit_run("ada", spec())
    await store.write_run_token(holds.id, "t1")
    await store.write_run_status(holds.id, RunStatus(state=RunState.failed))
    clock.now = NOW
    young = await ended(store)

    assert await store.removal.mark_old(NOW - OLD, 0, 2) == 2
    assert [s.run.id for s in await store.removal.marked(0, 10)] == [run.id for run in old[:2]], "the oldest first"
    assert await store.removal.mark_old(NOW - OLD, 0, 2) == 1
    assert await store.removal.mark_old(NOW - OLD, 0, 2) == 0
    assert await listed(store) == [still.id, holds.id, young.id]
    assert await store.runs_by_id([old[0].id]) == {}
    with pytest.raises(NotFound):
        await store.get_run(old[0].id)
    assert [e.subject for e in await store.list_audit() if e.action == "remove"][::-1] == [
        f"run/ada/{r.id}" for r in old
    ]
    assert (await store.removal.forget(old[0].id), await store.removal.forget(old[0].id)) == (True, False)
    assert await store.removal.forget(young.id) is False, "nobody marked it"
    assert len(await store.removal.marked(0, 10)) == 2


async def test_the_last_of_a_schedule_stay_as_long_as_it_is_there(store: Store, clock: Clock) -> None:
    await store.schedules.create("ada", "nightly", ScheduleSpec(cron="0 3 * * *", run=spec()), ADA)
    runs = [
        await ended(store, schedule=key, due=clock.now + timedelta(days=day))
        for key in ("ada/nightly", "ada/gone")
        for day in range(3)
    ]
    assert await store.removal.mark_old(NOW, 2, 10) == 4
    assert await listed(store) == [run.id for run in runs[1:3]]
    assert await store.removal.mark_old(NOW, 2, 10) == 0
    await store.schedules.remove("ada", "nightly", ADA)
    assert await store.removal.mark_old(NOW, 2, 10) == 2


async def test_what_is_needed_or_of_a_group_at_work_stays(store: Store) -> None:
    needed, member = await ended(store), await ended(store, group="g", member="a")
    waits = await store.submit_run("ada", spec(needs=(needed.id,)))
    other = await store.submit_run("ada", spec(), group="g", member="b")
    with pytest.raises(Conflict, match=f"run {waits.id} needs run {needed.id}"):
        await store.removal.mark(needed.id, ADA)
    with pytest.raises(Conflict, match="has not ended"):
        await store.removal.mark(waits.id, ADA)
    assert await store.removal.mark_old(NOW, 0, 1) == 0
    for run in (waits, other):
        await store.write_run_status(run.id, RunStatus(state=RunState.cancelled))
    assert await store.removal.mark_old(NOW, 0, 10) == 4
    assert member.id not in await listed(store)


async def test_a_group_goes_with_its_last_run(store: Store, clock: Clock) -> None:
    group = Group(id="g", owner="ada", name="g", kind="sweep", parallel=1, created_by="ada", created_at=clock(),
                  state="running", counts={})  # fmt: skip
    await store._database.write(lambda c: group_rows.create(c, group, None, "0" * 64))
    first, last = [await ended(store, group="g", member=name) for name in "ab"]
    await store.removal.mark(first.id, ADA)
    assert (await store.groups.list())[0].counts == {RunState.succeeded: 1}
    await store.removal.forget(first.id)
    assert len((await store.groups.get("g")).members) == 1
    await store.removal.mark(last.id, ADA)
    await store.removal.forget(last.id)
    assert await store.groups.list() == ()


async def test_its_key_is_free_again(store: Store) -> None:
    first = await ended(store, idempotency_key="k")
    await store.removal.mark(first.id, ADA)
    assert (await store.submit_run("ada", spec(), idempotency_key="k")).id != first.id


async def test_snapshots_that_something_names(store: Store) -> None:
    a, b, c = ("a" * 64, "b" * 64, "c" * 64)
    first = await ended(store, snapshot=a)
    await ended(store, snapshot=b)
    await store.schedules.create("ada", "nightly", ScheduleSpec(cron="0 3 * * *", run=spec(c)), ADA)
    assert await store.removal.snapshots("ada") == {a, b, c}
    await store.removal.mark(first.id, ADA)
    assert await store.removal.snapshots("ada") == {b, c}
    assert await store.removal.snapshots("bob") == frozenset()


async def test_questions_that_are_asked_often_read_no_whole_table(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")  # PostgreSQL reads a small table whole, whatever its indexes
    await store.open()
    asked: list[tuple[str, Any]] = []
    event.listen(
        store._database._engine, "before_cursor_execute", lambda _c, _u, sql, told, *_: asked.append((sql, told))
    )
    await store.open_runs()
    await store.run_limits()
    await store.list_runs(RunQuery(owners={"ada"}))
    await store.list_runs(RunQuery(schedule="ada/nightly"))
    await store.usual_seconds("ada", "train")
    await store.removal.marked(0, 10)
    questions = [(sql, told) for sql, told in asked if sql.startswith("SELECT")]
    assert len(questions) >= 6
    for sql, told in questions:
        plan = await store._database.read(
            lambda c, s=sql, t=told: str(c.exec_driver_sql(f"EXPLAIN QUERY PLAN {s}", t).all())
        )
        assert "SCAN runs" not in plan, (sql, plan)
    await store.close()
