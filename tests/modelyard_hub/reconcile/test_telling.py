"""MLflow is told how runs ended: what, pure; and that it is told, whoever is killed and however long it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.instant_tasks import InstantTasks, Killed, Wallet
from harness.runs import SMALL, spec
from harness.wait import eventually_async
from modelyard_api.errors import InvalidInput, Unavailable
from modelyard_api.runs import Attempt, Run, RunSpec, RunState, RunStatus, ScoreWork
from modelyard_hub.reconcile.run_loop import Queue, RunController
from modelyard_hub.reconcile.run_steps import NoSecrets, RunOptions, RunSteps
from modelyard_hub.reconcile.telling import Ending, Teller, endings
from modelyard_hub.store.records import Actor
from modelyard_hub.store.store import Store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RUN, NEEDED = "1" * 16, "2" * 16
SCORE = RunSpec(kind="score", score=ScoreWork(model="models:/ada.churn/1", data="/in", output="/out"), resources=SMALL)


def a_run(wanted: RunSpec, *reasons: str, **status: Any) -> Run:
    """With an attempt for each reason, of ten seconds."""
    began = [NOW + timedelta(minutes=number) for number in range(len(reasons))]
    over = tuple(
        Attempt(number=n, reason=reason, message=f"{reason}!", started=at, ended=at + timedelta(seconds=10))
        for n, (reason, at) in enumerate(zip(reasons, began, strict=True), 1)
    )
    return Run(
        id=RUN, owner="ada", created_by="Ada L", created_at=NOW, spec=wanted, status=RunStatus(attempts=over, **status)
    )


def test_each_attempt_ended_as_it_did() -> None:
    results = {"auc": 0.5, "at": "x", "huge": 10**400}
    run = a_run(spec(parameters={"depth": 3}), "OutOfMemory", "", state=RunState.succeeded, results=results)
    first, second = endings(run, {})
    assert (first.status, first.attempt, first.metrics) == ("FAILED", 1, {})
    assert (first.tags["modelyard.reason"], "modelyard.message" in first.tags) == ("OutOfMemory", False)
    assert (second.status, second.attempt, second.metrics) == ("FINISHED", 2, {"auc": 0.5})
    assert second.tags == {"mlflow.user": "Ada L", "modelyard.run": RUN, "modelyard.attempt": "2"}
    assert (first.started, first.ended) == (1000 * int(NOW.timestamp()), 1000 * int(NOW.timestamp()) + 10_000)
    assert first.params == second.params == {"depth": "3"}


@pytest.mark.parametrize(
    ("reason", "state", "status", "told"),
    [
        ("Signaled", RunState.cancelled, "KILLED", "Cancelled"),
        ("Stopped", RunState.queued, "KILLED", "Stopped"),
        ("Lost", RunState.failed, "FAILED", "Lost"),
    ],
)
def test_what_ended_a_scoring_is_told(reason: str, state: RunState, status: str, told: str) -> None:
    ended = NOW + timedelta(seconds=10)
    status_of = {"state": state, "message": "It was cancelled.", "results": {"rows": float("nan")}, "ended": ended}
    (ending,) = endings(a_run(SCORE, reason, **status_of), {})
    assert (ending.status, ending.tags["modelyard.reason"], ending.metrics) == (status, told, {})
    assert ending.tags["modelyard.message"] == ("It was cancelled." if told == "Cancelled" else f"{reason}!")


def test_one_that_is_cancelled_before_its_next_attempt_failed_as_it_did() -> None:
    run = a_run(spec(retries=1), "OutOfMemory", state=RunState.cancelled, ended=NOW + timedelta(seconds=20))
    (ending,) = endings(run, {})
    assert (ending.status, ending.tags["modelyard.reason"]) == ("FAILED", "OutOfMemory")


def test_parameters_are_also_results_of_others_while_these_are_there() -> None:
    wanted = spec(parameters={"depth": 3}, needs=(NEEDED,), results_of={"lr": {"run": NEEDED, "result": "best"}})
    assert endings(a_run(wanted, ""), {NEEDED: {"best": 0.1}})[0].params == {"depth": "3", "lr": "0.1"}
    assert endings(a_run(wanted, ""), {})[0].params == {"depth": "3"}


class Told:
    """MLflow, as far as it takes part here: away, or killing who asks before or after it has taken it."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, int], str] = {}
        self.error: BaseException | None = None
        self.never = ""
        self.slow = asyncio.Event()
        self.slow.set()

    async def tell(self, experiment: str, endings: Sequence[Ending]) -> str:
        await self.slow.wait()
        if endings[-1].run == self.never:
            raise Unavailable("MLflow does not take it")
        if isinstance(self.error, Unavailable | InvalidInput):
            raise self.error
        self.runs |= {(one.run, one.attempt): f"{experiment} {one.status}" for one in endings}
        if self.error is not None:
            raise self.error
        return f"mlflow-{endings[-1].attempt}"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite", now=clock)
    await store.open()
    yield store
    await store.close()


async def ended(store: Store, folder: Path, wanted: RunSpec, failing: frozenset[int] = frozenset()) -> Run:
    """A run whose attempts, as many as it has retries, are over, by the real loop."""
    run = await store.submit_run("ada", wanted)
    tasks = InstantTasks(failing)
    steps = RunSteps(store, tasks, Wallet(), NoSecrets(), RunOptions(lambda path: str(folder / path)))
    controller = RunController(store, tasks, steps, Queue(), 0)
    for _ in range(20):
        await controller.look_once()
    return (await store.get_run(run.id)).run


async def test_of_each_attempt_it_is_told_once_the_run_is_settled(store: Store, tmp_path: Path) -> None:
    run = await ended(store, tmp_path, spec(retries=1, backoff=0), frozenset({1}))
    told = Told()
    assert await Teller(store, told).look() == 1
    assert told.runs == {(run.id, 1): "ada/train FAILED", (run.id, 2): "ada/train FINISHED"}
    assert (await store.get_run(run.id)).run.status.mlflow_run_id == "mlflow-2"
    assert await Teller(store, told).look() == 0


async def test_while_it_is_away_runs_end_and_it_is_told_later(store: Store, tmp_path: Path, clock: Clock) -> None:
    told = Told()
    told.error = Unavailable("MLflow does not answer")
    run = await ended(store, tmp_path, spec())
    assert run.status.state is RunState.succeeded
    with pytest.raises(Unavailable):
        await Teller(store, told).look()
    told.error = None
    assert await Teller(store, told).look() == 0, "somebody else may be telling it just now"
    clock.now += timedelta(seconds=61)
    assert await Teller(store, told).look() == 1
    assert told.runs == {(run.id, 1): "ada/train FINISHED"}


async def test_one_that_it_does_not_take_keeps_no_other_one_waiting(store: Store, tmp_path: Path, clock: Clock) -> None:
    told = Told()
    told.never = (await ended(store, tmp_path, spec())).id
    clock.now += timedelta(seconds=1)
    run = await ended(store, tmp_path, spec())
    with pytest.raises(Unavailable):
        await Teller(store, told).look()
    assert told.runs == {(run.id, 1): "ada/train FINISHED"}
    told.never = ""
    clock.now += timedelta(seconds=6)
    assert await Teller(store, told).look() == 1


async def test_one_that_is_cancelled_before_its_next_attempt_has_its_last_ones(store: Store, tmp_path: Path) -> None:
    run = await ended(store, tmp_path, spec(retries=1, backoff=1000), frozenset({1}))
    told = Told()
    assert await Teller(store, told).look() == 1
    assert (await store.get_run(run.id)).run.status.mlflow_run_id == ""
    await store.cancel_run(run.id, Actor("ada"))
    steps = RunSteps(store, InstantTasks(), Wallet(), NoSecrets(), RunOptions(lambda path: str(tmp_path / path)))
    await RunController(store, InstantTasks(), steps, Queue(), 0).look_once()
    assert await Teller(store, told).look() == 1
    assert (await store.get_run(run.id)).run.status.mlflow_run_id == "mlflow-1"
    assert told.runs == {(run.id, 1): "ada/train FAILED"}


async def test_killed_once_mlflow_knows_it_is_told_again(store: Store, tmp_path: Path, clock: Clock) -> None:
    run, told = await ended(store, tmp_path, spec()), Told()
    told.error = Killed()
    with suppress(Killed):
        await Teller(store, told).look()
    told.error = None
    clock.now += timedelta(seconds=61)
    assert await Teller(store, told).look() == 1
    assert (await store.get_run(run.id)).run.status.mlflow_run_id == "mlflow-1"


async def test_what_mlflow_refuses_is_said_and_not_told_again(
    store: Store, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    run, told = await ended(store, tmp_path, spec()), Told()
    told.error = InvalidInput("MLflow refuses experiments/create")
    assert await Teller(store, told).look() == 1
    assert f"MLflow is not told of run {run.id}: MLflow refuses" in caplog.text
    clock.now += timedelta(seconds=61)
    assert await Teller(store, told).look() == 0


async def test_it_looks_when_a_run_ends(store: Store, tmp_path: Path) -> None:
    told = Told()
    work = asyncio.create_task(Teller(store, told).run())
    run = await ended(store, tmp_path, spec())
    await eventually_async(lambda: _is(told, run), timeout=20, what="MLflow is told")
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work


async def _is(told: Told, run: Run) -> bool:
    return (run.id, 1) in told.runs


async def test_a_cancelled_scoring_in_shards_has_one(store: Store, tmp_path: Path) -> None:
    wanted = SCORE.model_copy(update={"score": SCORE.score and SCORE.score.model_copy(update={"shards": 4})})
    run, tasks, told = await store.submit_run("ada", wanted), InstantTasks(endless=True), Told()
    steps = RunSteps(store, tasks, Wallet(), NoSecrets(), RunOptions(lambda path: str(tmp_path / path)))
    controller = RunController(store, tasks, steps, Queue(), 0)
    for _ in range(4):
        await controller.look_once()
    assert await Teller(store, told).look() == 0, "it is at work"
    await store.cancel_run(run.id, Actor("ada"))
    for _ in range(4):
        await controller.look_once()
    assert await Teller(store, told).look() == 1
    assert list(told.runs.values()) == [f"ada/{run.spec.called} KILLED"]


async def test_one_that_never_ran_has_no_run_in_mlflow(store: Store) -> None:
    run = await store.submit_run("ada", spec())
    await store.cancel_run(run.id, Actor("ada"))
    assert await store.telling.take(timedelta(seconds=60)) is None
