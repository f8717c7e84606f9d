"""Controllers that are killed (SIGKILL) at any point, two at a time: each due time still has exactly one run."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from harness.schedules import spec
from harness.wait import eventually_async
from modelyard_api.schedules import Schedule
from modelyard_hub.store.records import Actor
from modelyard_hub.store.run_rows import RunQuery
from modelyard_hub.store.store import Store

MINUTES = 150
ADA = Actor("ada")
CONTROLLER = """
import asyncio, sys
from modelyard_hub.reconcile.schedules import Clockwork
from modelyard_hub.store.store import Store

async def main():
    store = Store(sys.argv[1])
    await store.open()
    work = Clockwork(store.schedules, store)
    print("looks", flush=True)
    while True:
        await work.look()
        print("looked", flush=True)

asyncio.run(main())
"""


def start(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", CONTROLLER, url], stdout=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


async def test_each_due_time_has_exactly_one_run(store_url: str) -> None:
    began = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=MINUTES)
    made = Store(store_url, now=lambda: began)
    await made.open()
    await made.schedules.create("ada", "all", spec(catch_up="all", overlap=True), ADA)
    await made.schedules.create("ada", "one", spec(catch_up="all"), ADA)
    await made.schedules.create("ada", "last", spec(), ADA)
    await made.close()

    store = Store(store_url)
    await store.open()
    running = [start(store_url), start(store_url)]
    try:
        await _kill_again_and_again(store, store_url, running)
        for process in running:  # and then they are left in peace
            assert process.stdout is not None
            while process.stdout.readline() != "looked\n":
                assert process.poll() is None, "it ended by itself"
        await _check_all(store)
    finally:
        for process in running:
            end(process)
        await store.close()


async def _kill_again_and_again(store: Store, store_url: str, running: list[subprocess.Popen[str]]) -> None:
    chance = random.Random(11)
    for turn in range(6):
        victim = running[0]
        assert victim.stdout is not None
        assert victim.stdout.readline() == "looks\n"
        if turn % 2:  # not only before it began
            known = len(await _due(store, "all"))
            await eventually_async(partial(_more, store, known), what="a run more")
        with pytest.raises(subprocess.TimeoutExpired):
            victim.wait(chance.uniform(0.0, 0.12))
        end(running.pop(0))
        _check(await store.schedules.get("ada", "all"), await _due(store, "all"))
        running.append(start(store_url))


async def _check_all(store: Store) -> None:
    due = await _due(store, "all")
    schedule = await store.schedules.get("ada", "all")
    _check(schedule, due)
    assert MINUTES <= len(due) <= MINUTES + 3
    assert len(await _due(store, "one")) == 1, "the first of them has not ended"
    assert len(await _due(store, "last")) == 1
    (skipped,) = (await store.schedules.get("ada", "last")).status.skipped[-1:]
    assert skipped.reason == "Superseded"


async def _more(store: Store, known: int) -> bool:
    return len(await _due(store, "all")) >= min(known + 1, MINUTES)


async def _due(store: Store, name: str) -> list[datetime]:
    runs = await store.list_runs(RunQuery(schedule=f"ada/{name}", limit=1000))
    return sorted(run.due for run in runs if run.due is not None)


def _check(schedule: Schedule, due: list[datetime]) -> None:
    """What is decided has its runs, one each, and what is not has none."""
    assert schedule.status.cursor is not None
    count = round((schedule.status.cursor - schedule.created_at).total_seconds() / 60)
    expected = [schedule.created_at + timedelta(minutes=minute) for minute in range(1, count + 1)]
    # Read after the schedule: more may be there by now, and none less.
    assert due[: len(expected)] == expected
    assert due == [schedule.created_at + timedelta(minutes=minute) for minute in range(1, len(due) + 1)]
