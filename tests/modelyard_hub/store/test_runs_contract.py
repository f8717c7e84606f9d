"""What every database must do with runs: the same suite on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import JsonValue

from harness.runs import SMALL, spec
from modelyard_api.errors import Conflict, InvalidInput, NotFound
from modelyard_api.results import parse_result
from modelyard_api.runs import NotebookWork, Progress, RunSpec, RunState, RunStatus, ScoreWork
from modelyard_hub.store.records import Actor
from modelyard_hub.store.run_rows import RunQuery
from modelyard_hub.store.store import Store

ADA = Actor("ada", "10.0.0.7")
DUE = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


async def test_a_submitted_run_is_read_back_whole(store: Store) -> None:
    written = spec(parameters={"depth": 3, "name": "ñ"}, retries=2, priority=5, timeout=60.0)
    run = await store.submit_run("ada", written, created_by="Ada L", group="g", member="depth=3")
    found = await store.get_run(run.id)
    assert found.run == run
    assert (run.spec, run.owner, run.created_by, run.group, run.member) == (written, "ada", "Ada L", "g", "depth=3")
    assert run.status == RunStatus()
    assert run.created_at.tzinfo is not None
    (entry,) = await store.list_audit()
    assert (entry.who, entry.action, entry.subject) == ("Ada L", "submit", f"run/ada/{run.id}")
    with pytest.raises(NotFound):
        await store.get_run("nothing")


async def test_of_two_submits_with_one_key_one_is_a_run(store_url: str) -> None:
    """By two stores at once, as of two processes."""
    first, second = Store(store_url), Store(store_url)
    await asyncio.gather(first.open(), second.open())
    try:
        made = await asyncio.gather(
            *(s.submit_run("ada", spec(), idempotency_key="k") for s in (first, second) for _ in range(8))
        )
        assert len({run.id for run in made}) == 1
        assert len(await first.list_runs()) == 1
        other = await second.submit_run("bob", spec(), idempotency_key="k")
        assert other.id != made[0].id
        with pytest.raises(Conflict, match=made[0].id):
            await second.submit_run("ada", spec(priority=1), idempotency_key="k")
    finally:
        await asyncio.gather(first.close(), second.close())


async def test_of_two_that_tell_of_a_run_one_does(store_url: str) -> None:
    now = DUE
    first, second = (Store(store_url, now=lambda: now) for _ in "12")
    await asyncio.gather(first.open(), second.open())
    try:
        runs = [await first.submit_run("ada", spec()) for _ in range(3)]
        for run in runs:
            await first.write_run_status(run.id, RunStatus(state=RunState.running))
        assert await first.telling.take(timedelta(minutes=1)) is None
        for run in runs:
            await first.write_run_status(run.id, RunStatus(state=RunState.succeeded), tell=True)
        taken = await asyncio.gather(*(s.telling.take(timedelta(minutes=1)) for s in (first, second) for _ in range(4)))
        assert sorted(one[0].id for one in taken if one) == sorted(run.id for run in runs)
        now += timedelta(minutes=1)
        again = await second.telling.take(timedelta(minutes=1))
        assert again is not None, "who took it was killed, or MLflow away"
        run, mark = again
        await second.telling.later(run.id, timedelta(minutes=2))
        assert run.id not in [one[0].id for _ in "12" if (one := await first.telling.take(timedelta(minutes=1)))]
        assert not await first.telling.told(run.id, mark - timedelta(minutes=1), "late")
        assert await second.telling.told(run.id, mark, "m")
        assert (await first.get_run(run.id)).run.status == RunStatus(state=RunState.succeeded, mlflow_run_id="m")
        assert not await second.telling.told(run.id, mark, "m")
        assert not await second.telling.told("nothing", mark, "m")
    finally:
        await asyncio.gather(first.close(), second.close())


async def test_of_a_run_that_goes_on_only_what_was_to_be_told_is_forgotten(store: Store) -> None:
    run = await store.submit_run("ada", spec(retries=2))
    for attempt in (1, 2):
        await store.write_run_status(run.id, RunStatus(attempt=attempt), tell=True)
        if attempt == 1:
            taken = await store.telling.take(timedelta(minutes=1))
            assert taken is not None
    assert await store.telling.take(timedelta(minutes=1)) is None, "somebody is telling of it: two would make two"
    assert not await store.telling.told(run.id, taken[1], "m"), "another attempt has ended since"
    again = await store.telling.take(timedelta(minutes=1))
    assert again is not None
    assert await store.telling.told(run.id, again[1], "m")
    assert (await store.get_run(run.id)).run.status == RunStatus(attempt=2), "its next attempt has one of its own"


async def test_a_due_time_of_a_schedule_has_one_run(store_url: str) -> None:
    first, second = Store(store_url), Store(store_url)
    await asyncio.gather(first.open(), second.open())
    try:
        made = await asyncio.gather(
            *(s.submit_run("ada", spec(), schedule="ada/nightly", due=DUE) for s in (first, second) for _ in range(8))
        )
        assert len({run.id for run in made}) == 1
        assert made[0].due == DUE
        later = await first.submit_run("ada", spec(), schedule="ada/nightly", due=DUE + timedelta(days=1))
        assert later.id != made[0].id
        assert [r.id for r in await first.list_runs(RunQuery(schedule="ada/nightly"))] == [later.id, made[0].id]
    finally:
        await asyncio.gather(first.close(), second.close())


async def test_lists_are_newest_first_and_limited(store: Store) -> None:
    ids = [(await store.submit_run(owner, spec(), group=group)).id for owner, group in
           (("ada", None), ("bob", "g"), ("ada", "g"), ("team", None))]  # fmt: skip

    async def listed(**query: object) -> list[int]:
        return [ids.index(run.id) for run in await store.list_runs(RunQuery(**query))]  # type: ignore[arg-type]

    assert await listed() == [3, 2, 1, 0]
    assert await listed(owners={"ada", "team"}) == [3, 2, 0]
    assert await listed(group="g") == [2, 1]
    assert await listed(before=ids[2]) == [1, 0]
    with pytest.raises(NotFound, match="there is no run ffff"):
        await listed(before="ffff")
    assert await listed(limit=1) == [3]
    await store.cancel_run(ids[0], ADA)
    await store.write_run_status(ids[0], RunStatus(state=RunState.cancelled))
    assert await listed(states=[RunState.cancelled]) == [0]


async def test_a_run_that_has_ended_stays_as_it_is(store: Store) -> None:
    run = await store.submit_run("ada", spec())
    status = RunStatus(state=RunState.running, attempt=1, progress=Progress(cell=2, cells=9))
    assert await store.write_run_status(run.id, status)
    assert (await store.get_run(run.id)).run.status == status
    assert await store.write_run_status(run.id, RunStatus(state=RunState.succeeded, results={"auc": 0.93}))
    assert not await store.write_run_status(run.id, status)
    assert not (await store.cancel_run(run.id, ADA)).cancelling
    assert (await store.get_run(run.id)).run.status.results == {"auc": 0.93}
    assert await store.open_runs() == ()


async def test_what_is_open_is_oldest_first_with_what_is_to_be_revoked(store: Store) -> None:
    first, second = [await store.submit_run("ada", spec()) for _ in range(2)]
    at = datetime(2026, 1, 1, tzinfo=UTC)
    await store.write_run_status(second.id, RunStatus(), not_before=at)
    assert await store.write_run_token(first.id, "a7")
    assert not await store.write_run_token(first.id, "a8"), "another one was faster"
    await store.write_run_status(first.id, RunStatus(state=RunState.failed))
    found = await store.open_runs()
    assert [(s.run.id, s.token_id, s.not_before) for s in found] == [(first.id, "a7", None), (second.id, None, at)]
    assert await store.write_run_token(first.id, None, "a7")
    assert [s.run.id for s in await store.open_runs()] == [second.id]


async def test_the_usual_time_is_the_median_of_the_last_ones(store: Store) -> None:
    assert await store.usual_seconds("ada", "train") is None
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for seconds in (10, 500, 20):
        run = await store.submit_run("ada", spec())
        ended = RunStatus(state=RunState.succeeded, started=start, ended=start + timedelta(seconds=seconds))
        await store.write_run_status(run.id, ended)
    assert await store.usual_seconds("ada", "train") == 20
    assert await store.usual_seconds("ada", "other") is None


async def test_events_tell_of_runs(store: Store) -> None:
    events = store.events()
    run = await store.submit_run("ada", spec())
    await store.write_run_status(run.id, RunStatus(state=RunState.running, attempt=1))
    await store.write_run_status(run.id, RunStatus(state=RunState.running, attempt=1, progress=Progress(cell=1)))
    await store.cancel_run(run.id, ADA)
    found = [await asyncio.wait_for(anext(events), 5) for _ in range(3)]
    assert {(e.resource, e.owner, e.name) for e in found} == {("run", "ada", run.id)}
    assert found[0].audience == {"ada"}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("auc>0.9", "bc"),
        ("auc >= 0.9", "abc"),
        ("auc<0.95", "a"),
        ("auc=0.9", "a"),
        ("auc!=0.9", "bc"),
        ("stage=final", "b"),
        ("stage!=final", "a"),
        ('stage="first try"', "a"),
        ("stage=first try", "a"),
        ("passed=true", "b"),
        ("passed!=true", "c"),
        ("rows=12", "b"),
        ("it's>0", "c"),
        ("nothing=1", ""),
        ("précision>0.9", "c"),
        ("a\\b=1", "c"),
        ("x\ty=3", "c"),
        ("größe=klein", "d"),
    ],
)
async def test_runs_are_found_by_what_they_recorded(store: Store, asked: str, found: str) -> None:
    odd: dict[str, JsonValue] = {"précision": 0.95, "a\\b": 1, "x\ty": 3}
    results: dict[str, dict[str, JsonValue]] = {
        "a": {"auc": 0.9, "stage": "first try", "passed": "true"},
        "b": {"auc": 0.95, "stage": "final", "passed": True, "rows": 12},
        "c": {"auc": 1, "passed": False, "rows": [12], "it's": 3} | odd,
        "d": {"auc": "nan", "stage": 7, "größe": "klein"},
        "e": {},
    }
    names = {}
    for name, told in results.items():
        run = await store.submit_run("ada", spec(name=name))
        names[run.id] = name
        await store.write_run_status(run.id, RunStatus(state=RunState.succeeded, results=told))
    listed = await store.list_runs(RunQuery(results=[parse_result(asked)]))
    assert "".join(names[run.id] for run in reversed(listed)) == found


@pytest.mark.parametrize(
    "asked",
    [
        *("auc", "auc>", ">0.9", "auc>high", "auc>true", "auc=[1]", 'a"b=1', "auc=null"),
        *("auc>1" + "0" * 400, "auc>" + "[" * 100_000),
    ],
)
def test_what_is_no_question_is_refused(asked: str) -> None:
    with pytest.raises(InvalidInput):
        parse_result(asked)


async def test_runs_are_found_by_what_people_call_them(store: Store) -> None:
    score = ScoreWork(model="churn", data="/in", output="/out")
    specs = [
        spec(),  # of the notebook train.ipynb
        spec(name="Train"),
        spec(name="train_1"),
        spec(notebook=NotebookWork(path="daily/train.ipynb", snapshot="0" * 64, kernel="python3")),
        spec(notebook=NotebookWork(path="retrain.ipynb", snapshot="0" * 64, kernel="python3")),
        RunSpec(kind="score", score=score, resources=SMALL),
        RunSpec(kind="score", score=score, resources=SMALL, name="train"),
    ]
    runs = [await store.submit_run("ada", one, created_by="ada") for one in specs]
    for name in ("train", "Train", "train_1", "trai_", "churn", "%"):
        found = await store.list_runs(RunQuery(name=name))
        assert [run.id for run in reversed(found)] == [run.id for run in runs if run.spec.called == name], name
