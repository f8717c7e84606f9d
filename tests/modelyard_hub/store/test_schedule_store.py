"""What every database must do with schedules: the same suite on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from harness.schedules import spec
from modelyard_api.errors import Conflict, NotFound, StaleWrite
from modelyard_api.runs import Attempt, RunState, RunStatus
from modelyard_api.schedules import KEPT, Schedule, Skipped
from modelyard_hub.reconcile.schedules import Clockwork
from modelyard_hub.store.records import Actor
from modelyard_hub.store.run_rows import RunQuery
from modelyard_hub.store.store import Store

ADA, BOB = Actor("ada", "10.0.0.7"), Actor("bob")
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


class Clock:
    """What time it is."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def pair(store_url: str, clock: Clock) -> AsyncIterator[tuple[Store, Store]]:
    """Two stores, as of two processes."""
    pair = Store(store_url, now=clock), Store(store_url, now=clock)
    await asyncio.gather(*(store.open() for store in pair))
    yield pair
    await asyncio.gather(*(store.close() for store in pair))


async def test_a_schedule_through_its_life(pair: tuple[Store, Store], clock: Clock) -> None:
    schedules = pair[0].schedules
    wanted = spec("30 2 * * *", time_zone="Europe/Berlin", run={"parameters": {"ñ": 1}}, catch_up="all", deadline=60)
    made = await schedules.create("ada", "nightly", wanted, ADA)
    assert (made.spec, made.generation, made.runs_as, made.created_by) == (wanted, 1, "ada", "ada")
    assert (made.created_at, made.status.cursor, made.status.last) == (NOON, NOON, None)
    assert await pair[1].schedules.get("ada", "nightly") == made
    with pytest.raises(Conflict, match="exists already"):
        await schedules.create("ada", "nightly", wanted, ADA)

    clock.now = at(1)
    assert await schedules.write("ada", "nightly", wanted, 1, ADA) == made
    described = await schedules.write("ada", "nightly", wanted.model_copy(update={"description": "x"}), 1, BOB)
    assert (described.generation, described.runs_as, described.created_by) == (2, "bob", "ada")
    assert described.status.cursor == NOON, "what is due does not change with a description"
    other = await schedules.write("ada", "nightly", wanted.model_copy(update={"cron": "@daily"}), 2, BOB)
    assert other.status.cursor == at(1)
    with pytest.raises(StaleWrite):
        await schedules.write("ada", "nightly", wanted, 2, ADA)

    await schedules.create("team", "weekly", spec(), BOB)
    assert [s.key for s in await schedules.list()] == ["ada/nightly", "team/weekly"]
    assert [s.key for s in await schedules.list({"team"})] == ["team/weekly"]
    await schedules.remove("ada", "nightly", ADA)
    for gone in (schedules.get("ada", "nightly"), schedules.remove("ada", "nightly", ADA)):
        with pytest.raises(NotFound):
            await gone
    actions = [entry.action for entry in await pair[0].list_audit({"ada"})]
    assert actions == ["schedule.delete", "schedule.write", "schedule.write", "schedule.create"]


async def test_what_was_due_in_a_pause_stays_away(pair: tuple[Store, Store], clock: Clock) -> None:
    schedules, work = pair[0].schedules, Clockwork(pair[0].schedules, pair[0], clock)
    made = await schedules.create("ada", "s", spec(paused=True), ADA)
    clock.now = at(5.5)
    assert await work.look() == []
    await schedules.write("ada", "s", made.spec.model_copy(update={"paused": False}), 1, ADA)
    assert await work.look() == []
    clock.now = at(6)
    assert [run.due for run in await work.look()] == [at(6)]
    assert (await schedules.get("ada", "s")).status.skipped == ()


async def test_a_run_has_what_the_schedule_says(pair: tuple[Store, Store], clock: Clock) -> None:
    store = pair[0]
    made = await store.schedules.create("team", "s", spec(run={"parameters": {"depth": 3}}), ADA)
    run = await store.schedules.start(made, at(1))
    assert run is not None
    assert (run.owner, run.created_by, run.schedule, run.due) == ("team", "ada", "team/s", at(1))
    assert run.spec == made.spec.run
    now = await store.schedules.get("team", "s")
    assert now.status.cursor == at(1)
    assert now.status.last is not None
    assert (now.status.last.id, now.status.last.due, now.status.last.state) == (run.id, at(1), "queued")
    (entry, _) = await store.list_audit({"team"})
    assert (entry.who, entry.action, entry.detail["schedule"]) == ("ada", "submit", "team/s")
    found = (await store.schedules.runs_of())["team/s"]
    assert (found.latest, found.open, found.waiting) == (at(1), 1, (run.id, at(1)))
    await store.write_run_status(run.id, RunStatus(state=RunState.succeeded))
    found = (await store.schedules.runs_of())["team/s"]
    assert (found.latest, found.open, found.waiting) == (at(1), 0, None)


async def test_what_is_decided_is_decided_once(pair: tuple[Store, Store]) -> None:
    schedules = pair[0].schedules
    made = await schedules.create("ada", "s", spec(overlap=True), ADA)
    why = Skipped(due=at(2), count=2, reason="Missed", message="nothing started it in time")
    assert await schedules.skip(made, why)
    assert not await schedules.skip(made, why)
    assert await schedules.start(made, at(2)) is None
    assert await schedules.start(made, at(3)) is not None
    assert (await schedules.get("ada", "s")).status.skipped == (why,)
    changed = await schedules.write("ada", "s", made.spec.model_copy(update={"description": "x"}), 1, ADA)
    assert await schedules.start(made, at(4)) is None, "it was changed since it was looked at"
    for minute in range(4, 4 + KEPT + 3):
        assert await schedules.skip(changed, Skipped(due=at(minute), reason="Missed", message="m"))
    kept = (await schedules.get("ada", "s")).status.skipped
    assert [s.due for s in kept] == [at(minute) for minute in reversed(range(7, 7 + KEPT))]


async def test_one_that_was_made_anew_is_another_one(pair: tuple[Store, Store], clock: Clock) -> None:
    schedules = pair[0].schedules
    old = await schedules.create("ada", "s", spec(), ADA)
    assert await schedules.start(old, at(1)) is not None
    await schedules.remove("ada", "s", ADA)
    clock.now = at(2)
    await schedules.create("ada", "s", spec(), ADA)
    assert await schedules.start(old, at(3)) is None


async def test_of_two_controllers_each_due_time_has_one_run(pair: tuple[Store, Store], clock: Clock) -> None:
    """Both look at once, again and again, while runs end at any time; what they tell fits together."""
    chance = random.Random(7)
    works = [Clockwork(store.schedules, store, clock) for store in pair]
    kinds = {"one": spec(), "all": spec(catch_up="all"), "over": spec(overlap=True, catch_up="all"),
             "skip": spec(catch_up="skip")}  # fmt: skip
    for name, wanted in kinds.items():
        await pair[0].schedules.create("ada", name, wanted, ADA)
    for step in range(1, 41):
        clock.now = at(step / 2)
        await asyncio.gather(*(work.look() for work in works for _ in range(2)))
        for name in kinds:
            running = await pair[0].list_runs(
                RunQuery(schedule=f"ada/{name}", states=(RunState.queued, RunState.running))
            )
            assert len(running) <= 1 or name == "over", f"{name}: they may not overlap"
            for run in running:
                if chance.random() < 0.4:
                    await pair[1].write_run_status(run.id, RunStatus(state=RunState.succeeded))
    for name in kinds:
        schedule = await pair[0].schedules.get("ada", name)
        runs = await pair[0].list_runs(RunQuery(schedule=schedule.key))
        due = [run.due for run in runs]
        assert len(set(due)) == len(due)
        skipped = sum(s.count for s in schedule.status.skipped)
        assert _undecided(schedule) + len(due) + skipped == 20, name
    assert len(await pair[0].list_runs(RunQuery(schedule="ada/over"))) == 20


def _undecided(schedule: Schedule) -> int:
    assert schedule.status.cursor is not None
    return int((at(20) - schedule.status.cursor).total_seconds() // 60)


async def test_a_run_that_waits_too_long_is_cancelled(pair: tuple[Store, Store], clock: Clock) -> None:
    store = pair[0]
    await store.schedules.create("ada", "s", spec("0 * * * *", deadline=90), ADA)
    work = Clockwork(store.schedules, store, clock)
    clock.now = at(60)
    (run,) = await work.look()
    clock.now = at(62)
    await work.look()
    await work.look()
    assert (await store.get_run(run.id)).run.cancelling
    (skipped,) = (await store.schedules.get("ada", "s")).status.skipped
    assert (skipped.due, skipped.reason) == (at(60), "DeadlineExceeded")
    assert "waited in the queue" in skipped.message


async def test_a_run_that_started_in_time_is_not_too_late(pair: tuple[Store, Store], clock: Clock) -> None:
    """It failed, and waits for its next attempt: queued once more."""
    store = pair[0]
    await store.schedules.create("ada", "s", spec("0 * * * *", deadline=90, run={"retries": 1}), ADA)
    work = Clockwork(store.schedules, store, clock)
    clock.now = at(60)
    (run,) = await work.look()
    failed = Attempt(number=1, reason="Exited", ended=at(61))
    for status in (
        RunStatus(attempt=1, attempts=(failed,), started=at(60)),
        RunStatus(attempt=1, attempts=(failed,)),
        RunStatus(attempt=2, attempts=(failed,), started=at(60), reason="Starting"),
    ):
        assert await store.write_run_status(run.id, status)
        clock.now = at(62)
        await work.look()
        assert not (await store.get_run(run.id)).run.cancelling
    assert (await store.schedules.get("ada", "s")).status.skipped == ()


async def test_a_run_that_starts_after_the_look_goes_on(pair: tuple[Store, Store], clock: Clock) -> None:
    store = pair[0]
    await store.schedules.create("ada", "s", spec("0 * * * *", deadline=90), ADA)
    clock.now = at(60)
    (run,) = await Clockwork(store.schedules, store, clock).look()

    class StartsMeanwhile:
        """The store, and another process that starts the run between the look and the cancelling."""

        async def expire_run(self, run_id: str, actor: Actor) -> bool:
            assert await pair[1].write_run_status(run_id, RunStatus(state=RunState.running, attempt=1, started=at(62)))
            return await store.expire_run(run_id, actor)

    clock.now = at(62)
    await Clockwork(store.schedules, StartsMeanwhile(), clock).look()
    found = (await store.get_run(run.id)).run
    assert (found.status.state, found.cancelling) == (RunState.running, False)
    assert (await store.schedules.get("ada", "s")).status.skipped == ()
    assert [e.action for e in await store.list_audit({"ada"}) if e.subject == f"run/ada/{run.id}"] == ["submit"]


async def test_the_longest_names_and_keys(pair: tuple[Store, Store]) -> None:
    """PostgreSQL refuses what is longer than its column."""
    schedules = pair[0].schedules
    made = await schedules.create("o" * 63, "n" * 63, spec(overlap=True), ADA)
    keys = ("k" * 150, "k" * 149 + "x", "k")
    first = [await schedules.start_now(made, made.spec.run, key, "hook") for key in keys]
    again = [await pair[1].schedules.start_now(made, made.spec.run, key, "hook") for key in keys]
    assert [run.id for run in again] == [run.id for run in first]
    assert len({run.id for run in first}) == 3
    assert len({len(run.idempotency_key or "") for run in first}) == 1, "they are of one length"
    other = await schedules.create("o" * 63, "m" * 63, spec(overlap=True), ADA)
    assert (await schedules.start_now(other, other.spec.run, "k", "hook")).id != first[2].id
