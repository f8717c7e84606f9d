"""What only the local runtime promises of tasks: processes and checkpoints."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace

import psutil
import pytest

from contracts.tasks import DRAINS, WAITS, begun, ended, forgotten, left_behind, until
from harness.local import LocalYard
from harness.wait import eventually
from modelyard_api.tasks import TaskState
from modelyard_hub.runtimes.local import stop_everything
from modelyard_hub.runtimes.local.process import find_parts, started
from modelyard_hub.runtimes.local.task_files import TaskFiles, TaskRecord
from modelyard_hub.runtimes.outputs import open_output

NAME = "ada-run-1"
LEAVES = """
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True).pid)
print("begun")
"""


def files(yard: LocalYard) -> TaskFiles:
    return TaskFiles(yard.root / NAME)


def record(yard: LocalYard) -> TaskRecord:
    found = files(yard).read()
    assert found is not None
    return found


async def test_one_whose_runner_is_killed_has_failed_and_nothing_of_it_runs_on(yard: LocalYard) -> None:
    task = yard.task(DRAINS)
    await begun(yard, task)
    pid = record(yard).pid
    assert pid is not None
    children = psutil.Process(pid).children(recursive=True)
    os.kill(pid, signal.SIGKILL)
    done = await until(yard, NAME, lambda o: o.state.ended)
    assert (done.state, done.reason, done.log_tail) == (TaskState.failed, "Killed", ("begun",))
    assert await left_behind(task) == files(yard).status()
    assert children
    assert not [c for c in children if started(c.pid)]


async def test_one_that_was_killed_while_nobody_watched_has_failed(yard: LocalYard) -> None:
    task = yard.task(WAITS)
    await begun(yard, task)
    pid = record(yard).pid
    assert pid is not None
    await yard.runtime.close()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: started(pid) is None, timeout=10)
    await yard.reopen()
    assert (await until(yard, NAME, lambda o: o.state.ended)).reason == "Killed"
    assert find_parts(str(yard.root)) == []
    assert (await left_behind(task)).reason == "Killed"


async def test_what_it_leaves_running_in_a_session_of_its_own_ends_too(yard: LocalYard) -> None:
    done = await ended(yard, yard.task(LEAVES))
    assert done.state is TaskState.succeeded
    # It is ended by then; the system may take a moment to forget it.
    eventually(lambda: started(int(done.log_tail[0])) is None, what="what it left has ended")


async def test_one_whose_pid_was_never_written_is_found_by_its_nonce(yard: LocalYard) -> None:
    before = await begun(yard, yard.task(WAITS))
    written = record(yard)
    await yard.runtime.close()
    files(yard).write(replace(written, pid=None, started=""))
    await yard.reopen()
    assert (await yard.runtime.observe_tasks())[NAME] == before
    await yard.runtime.delete(NAME)
    await forgotten(yard, NAME)
    assert started(written.pid or 0) is None


@pytest.mark.parametrize("nonce", ["", "of one that was never started"])
async def test_one_that_was_recorded_and_never_started_is_started(yard: LocalYard, nonce: str) -> None:
    await yard.runtime.close()
    files(yard).make(TaskRecord(yard.task("print('late')"), nonce=nonce))
    await yard.reopen()
    assert (await until(yard, NAME, lambda o: o.state.ended)).log_tail == ("late",)


async def test_a_half_done_deletion_goes_on_at_the_next_start(yard: LocalYard) -> None:
    await begun(yard, yard.task(WAITS))
    await yard.runtime.close()
    files(yard).write(replace(record(yard), deleting=True))
    await yard.reopen()
    assert (await yard.runtime.observe_tasks())[NAME].deleting
    await forgotten(yard, NAME)
    assert not files(yard).path.exists()
    assert find_parts(str(yard.root)) == []


async def test_stop_everything_ends_tasks_which_have_failed_then(yard: LocalYard) -> None:
    task = yard.task(DRAINS)
    await begun(yard, task)
    await yard.runtime.close()
    assert await asyncio.to_thread(stop_everything, yard.home, 5.0) == 1
    assert find_parts(str(yard.root)) == []
    await yard.reopen()
    done = (await yard.runtime.observe_tasks())[NAME]
    assert (done.state, done.reason) == (TaskState.failed, "Stopped")
    assert await open_output(task.output).read("output/checkpoint") == b"7"


async def test_a_runner_that_cannot_be_started_is_said_and_tried_again(yard: LocalYard) -> None:
    await yard.runtime.close()
    right = yard.options
    yard.options = replace(right, task=("/no/such/python",))
    await yard.reopen()
    await yard.runtime.run(yard.task("print('late')"))
    waiting = await until(yard, NAME, lambda o: o.reason)
    assert (waiting.state, waiting.reason) == (TaskState.queued, "Unavailable")
    assert "/no/such/python" in waiting.message
    yard.options = right
    await yard.reopen()
    assert (await until(yard, NAME, lambda o: o.state.ended)).state is TaskState.succeeded


async def test_its_files_are_private(yard: LocalYard) -> None:
    await ended(yard, yard.task("", environment={"MODELYARD_TOKEN": "t"}, files={"input.json": "{}"}))
    for path in files(yard).path.rglob("*.json"):
        assert path.stat().st_mode & 0o077 == 0, path
