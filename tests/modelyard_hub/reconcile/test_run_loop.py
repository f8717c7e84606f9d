"""Runs are carried out once, wherever the hub service is killed; by a real store, and tasks that take no time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.instant_tasks import InstantTasks, Killed, Plug, Wallet
from harness.runs import SMALL, spec
from modelyard_api.errors import Unavailable
from modelyard_api.runs import Run, RunSpec, RunState, ScoreWork, SecretUse
from modelyard_hub.backoff import Backoff
from modelyard_hub.reconcile.run_loop import Queue, RunController
from modelyard_hub.reconcile.run_steps import NoSecrets, RunOptions, RunSteps
from modelyard_hub.store.records import Actor
from modelyard_hub.store.store import Store

PASSES = 30
POINTS = range(1, 26)


@dataclass
class Place:
    """What stays when a hub service is killed."""

    folder: Path
    store: Store
    tasks: InstantTasks
    wallet: Wallet
    again: float = 0.0

    def controller(self, plug: Plug | None = None, slots: int = 0, tokens: Any = None) -> RunController:
        """A new hub service's."""
        plug = plug or Plug()
        store, tasks, wallet = (plug.pulled(part) for part in (self.store, self.tasks, tokens or self.wallet))
        at_once = Backoff(first=self.again)
        options = RunOptions(lambda path: str(self.folder / path), {"MODELYARD_URL": "http://yard.test"}, again=at_once)
        steps = RunSteps(store, tasks, wallet, NoSecrets(), options)
        return RunController(store, tasks, steps, Queue(), slots)

    async def until_ended(self, run: Run, plug: Plug | None = None) -> Run:
        """Pass after pass; a killed one is followed by another hub service's."""
        controller = self.controller(plug)
        for _ in range(PASSES):
            try:
                await controller.look_once()
            except Killed:
                controller = self.controller()
        return (await self.store.get_run(run.id)).run


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    await store.open()
    yield Place(tmp_path, store, InstantTasks(), Wallet())
    await store.close()


async def test_a_run_is_carried_out_and_nothing_of_it_is_left(place: Place) -> None:
    plug = Plug()
    run = await place.until_ended(await place.store.submit_run("ada", spec()), plug)
    assert (run.status.state, run.status.results, run.status.attempt) == (RunState.succeeded, {"attempt": 1}, 1)
    assert (place.tasks.tasks, place.wallet.good) == ({}, {})
    assert await place.store.open_runs() == ()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_any_point_each_attempt_is_ordered_once(place: Place, point: int, after: bool) -> None:
    place.tasks.failing = frozenset({1})
    submitted = await place.store.submit_run("ada", spec(retries=1, backoff=0))
    plug = Plug(point, after)
    run = await place.until_ended(submitted, plug)
    assert (run.status.state, run.status.results) == (RunState.succeeded, {"attempt": 2})
    assert [one.number for one in run.status.attempts] == [1, 2]
    assert place.tasks.ordered == [f"run-{run.id}-1", f"run-{run.id}-2"]
    assert place.tasks.tasks == {}
    assert place.wallet.good == {}, "also one that was made, and could not be written down"
    assert await place.store.open_runs() == ()
    assert plug.calls >= point, "there is such a point"


async def test_a_cancelled_one_is_told_to_end_and_ends(place: Place) -> None:
    place.tasks.endless = True
    run = await place.store.submit_run("ada", spec(retries=3))
    controller = place.controller()
    for _ in range(3):
        await controller.look_once()
    assert (await place.store.get_run(run.id)).run.status.state is RunState.running
    await place.store.cancel_run(run.id, Actor("ada"))
    ended = await place.until_ended(run)
    assert (ended.status.state, place.tasks.ordered) == (RunState.cancelled, [f"run-{run.id}-1"])
    assert (place.tasks.tasks, place.wallet.good) == ({}, {})


class Away(Wallet):
    """JupyterHub, while it is away."""

    async def make(self, user: str, note: str, lifetime: float) -> tuple[str, str]:
        raise Unavailable("JupyterHub does not answer")


async def test_while_jupyterhub_is_away_a_run_waits(place: Place) -> None:
    run = await place.store.submit_run("ada", spec())
    controller = place.controller(tokens=Away())
    for _ in range(3):
        await controller.look_once()
    assert (await place.store.get_run(run.id)).run.status.state is RunState.queued
    assert (await place.until_ended(run)).status.state is RunState.succeeded


class NoneForEve(Wallet):
    """JupyterHub, which fails where one user is concerned."""

    async def make(self, user: str, note: str, lifetime: float) -> tuple[str, str]:
        if user == "eve":
            raise Unavailable("JupyterHub answered 500")
        return await super().make(user, note, lifetime)


async def test_one_whose_start_fails_lets_the_others_pass_and_says_why(place: Place) -> None:
    place.again = 60.0
    eves = await place.store.submit_run("eve", spec())
    adas = await place.store.submit_run("ada", spec())
    controller = place.controller(slots=1, tokens=NoneForEve())
    before = datetime.now(UTC)
    for _ in range(6):
        await controller.look_once()
    assert (await place.store.get_run(adas.id)).run.status.state is RunState.succeeded
    held = await place.store.get_run(eves.id)
    assert (held.run.status.state, held.run.status.reason) == (RunState.queued, "StartFailed")
    assert "JupyterHub answered 500" in held.run.status.message
    assert held.not_before is not None
    assert held.not_before > before + timedelta(seconds=30)


async def test_a_token_outlives_any_queue_of_the_cluster(place: Place) -> None:
    await place.store.submit_run("ada", spec(timeout=60))
    await place.controller().look_once()
    assert place.wallet.lifetimes == [30 * 86400.0]


async def test_of_two_hub_services_one_orders_it(place: Place) -> None:
    runs = [await place.store.submit_run("ada", spec()) for _ in range(5)]
    first, second = place.controller(), place.controller()
    for _ in range(6):
        await first.look_once()
        await second.look_once()
    assert sorted(place.tasks.ordered) == sorted(f"run-{run.id}-1" for run in runs)
    assert place.wallet.good == {}


async def test_a_secret_that_is_not_there_ends_it_before_it_starts(place: Place) -> None:
    wants = spec(secrets=(SecretUse(secret="db", env="DB_URL"),))
    run = await place.until_ended(await place.store.submit_run("ada", wants))
    assert (run.status.state, run.status.reason, place.tasks.ordered) == (RunState.failed, "NoSecret", [])


async def test_a_scoring_of_a_file_that_never_came_ends_before_it_starts(place: Place) -> None:
    """One of a schedule that was stored before such were refused."""
    work = ScoreWork(model="churn", data="/in/{file}", output="/out/{stem}")
    wanted = RunSpec(kind="score", score=work, resources=SMALL, retries=3)
    due = datetime(2026, 11, 27, tzinfo=UTC)
    run = await place.until_ended(await place.store.submit_run("ada", wanted, schedule="ada/old", due=due))
    assert (run.status.state, run.status.reason) == (RunState.failed, "CannotScore")
    assert run.status.message.startswith("It takes {file} or {stem}, which only new files fill in")
    assert (place.tasks.ordered, place.wallet.good) == ([], {})


async def test_its_process_is_told_what_it_needs_and_the_store_no_token(place: Place) -> None:
    run = await place.store.submit_run("ada", spec(environment={"COLOUR": "green", "MODELYARD_TOKEN": "mine"}))
    await place.controller().look_once()
    (task, _) = place.tasks.tasks[f"run-{run.id}-1"]
    assert task.environment["COLOUR"] == "green"
    assert task.environment["MODELYARD_TOKEN"] == "secret-1"
    assert task.environment["MODELYARD_RUN"] == run.id
    assert "secret-1" not in (await place.store.get_run(run.id)).run.model_dump_json()
    assert "secret-1" not in task.files["run.json"]
