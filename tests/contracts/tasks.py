"""What every `Runtime` promises of tasks. An implementation's test module subclasses `TaskContract` and gives the
fixture `yard`: a runtime whose tasks find `python3`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import pytest

from harness.wait import eventually_async
from modelyard_api.errors import Conflict, InvalidInput, NotFound
from modelyard_api.resources import MiB, Resources
from modelyard_api.tasks import TaskState, TaskStatus, shard_output
from modelyard_hub.runtimes.base import Runtime, Server
from modelyard_hub.runtimes.outputs import open_output, read_end, read_log, read_status
from modelyard_hub.runtimes.task import ObservedTask, Task

WAITS = "import time; print('begun'); time.sleep(600)"
DRAINS = """
import os, signal, sys, time
def end(*_):
    open(os.environ["MODELYARD_OUTPUT"] + "/checkpoint", "w").write("7")
    print("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("begun")
time.sleep(600)
"""
EATS = """
import os, time
open(os.environ["MODELYARD_OUTPUT"] + "/half", "w").write("1")
print("begun")
kept = []
while True:
    kept.append(bytearray(os.urandom(1024)) * 4096)
    time.sleep(0.02)
"""
TELLS = """
import json, os
told = {"environment": dict(os.environ), "files": {}}
for name in os.listdir(os.environ["MODELYARD_FILES"]):
    if name[0] != ".": told["files"][name] = open(os.environ["MODELYARD_FILES"] + "/" + name).read()
os.makedirs(os.environ["MODELYARD_OUTPUT"] + "/deep")
json.dump(told, open(os.environ["MODELYARD_OUTPUT"] + "/deep/told.json", "w"))
print("told")
"""


SHARDS = """
import os, time
index = int(os.environ["MODELYARD_SHARD"].partition("/")[0])
killed = os.environ["MODELYARD_SHARD_FAILURES"]
with open(os.environ["MODELYARD_OUTPUT"] + "/told", "w") as file:
    file.write(os.environ["MODELYARD_SHARD"] + " " + killed)
print("begun", index)
"""
"""What each shard does first; further lines may follow."""


class TaskYard(Protocol):
    """A runtime under test."""

    runtime: Runtime
    patience: float

    async def reopen(self) -> Runtime:
        """Close the runtime and open another one on the same state."""

    def server(self, **changes: Any) -> Server:
        """A small server."""

    def task(self, code: str = "", **changes: Any) -> Task:
        """A small task that runs `code` in Python; the same one each time but for `changes`."""


async def until(yard: TaskYard, name: str, holds: Callable[[ObservedTask], object]) -> ObservedTask:
    """Wait until what is observed of a task fulfils the condition."""

    async def look() -> ObservedTask:
        observed = (await yard.runtime.observe_tasks()).get(name)
        assert observed is not None, f"{name} is not observed"
        assert holds(observed), observed
        return observed

    return await eventually_async(look, timeout=yard.patience, interval=0.02)


async def ended(yard: TaskYard, task: Task) -> ObservedTask:
    """Run it to its end."""
    await yard.runtime.run(task)
    return await until(yard, task.name, lambda o: o.state.ended)


async def begun(yard: TaskYard, task: Task) -> ObservedTask:
    """Run it until it has said so."""
    await yard.runtime.run(task)

    async def look() -> object:
        return "begun" in (await yard.runtime.logs(task.name, lines=10))[0].lines

    await eventually_async(look, timeout=yard.patience, interval=0.05, what="its first line")
    return await until(yard, task.name, lambda o: o.state is TaskState.running)


async def forgotten(yard: TaskYard, name: str) -> None:
    """Wait until a task is no longer observed."""

    async def look() -> bool:
        return name not in await yard.runtime.observe_tasks()

    await eventually_async(look, timeout=yard.patience, interval=0.02, what=f"{name} is gone")


async def left_behind(task: Task) -> TaskStatus:
    """The status at its output, once it says that it ended."""

    async def look() -> TaskStatus | None:
        found = await read_status(open_output(task.output))
        return found if found is not None and found.state.ended else None

    return await eventually_async(look, timeout=60.0, what="its status is at its output")


class TaskContract:
    async def test_a_task_runs_with_what_it_was_told_and_leaves_its_log_and_results(self, yard: TaskYard) -> None:
        environment = {"COLOUR": "$(HOME) green", "AWS_REGION": "of its owner"}
        task = yard.task(TELLS, environment=environment, files={"input.json": '{"n": 1}'})
        done = await ended(yard, task)
        assert (done.state, done.exit_code, done.reason) == (TaskState.succeeded, 0, ""), done
        assert done.digest == task.digest()
        assert done.labels == task.labels
        assert done.log_tail == ("told",)
        assert done.started is not None
        assert done.ended is not None
        assert done.started <= done.ended
        assert (await yard.runtime.logs(task.name, lines=5))[0].lines == ("told",)
        output = open_output(task.output)
        told = json.loads(await output.read("output/deep/told.json") or b"")
        assert told["files"]["input.json"] == '{"n": 1}'
        assert told["environment"]["COLOUR"] == environment["COLOUR"]
        keys = {k: v for k, v in told["environment"].items() if k.startswith("AWS_")}
        assert keys == {"AWS_REGION": "of its owner"}, "none of the store's"
        assert "MODELYARD_SECRET" not in told["environment"]
        assert await read_log(output, 5) == ("told",)
        assert (await left_behind(task)).state is TaskState.succeeded

    async def test_running_it_again_does_nothing_and_another_one_of_its_name_is_refused(self, yard: TaskYard) -> None:
        task = yard.task("print('once')")
        done = await ended(yard, task)
        await yard.runtime.run(task)
        assert (await yard.runtime.observe_tasks())[task.name] == done
        with pytest.raises(Conflict, match="named"):
            await yard.runtime.run(replace(task, environment={"A": "1"}))
        with pytest.raises(Conflict, match="named"):
            await yard.runtime.apply(yard.server(name=task.name))
        assert (await yard.runtime.logs(task.name, lines=5))[0].lines == ("once",)

    @pytest.mark.parametrize(
        "change",
        [{"name": "Not a label"}, {"command": ()}, {"output": "relative"}, {"files": {"../x": ""}}, {"timeout": 0.0},
         {"files": {"big": "x" * 800_000}}],
        ids=lambda change: next(iter(change)),
    )  # fmt: skip
    async def test_what_cannot_run_is_refused(self, yard: TaskYard, change: dict[str, Any]) -> None:
        with pytest.raises(InvalidInput):
            await yard.runtime.run(yard.task("", **change))
        assert await yard.runtime.observe_tasks() == {}

    async def test_a_command_that_fails_is_named_with_its_last_lines(self, yard: TaskYard) -> None:
        task = yard.task("print('no such table: sales'); raise SystemExit(3)")
        done = await ended(yard, task)
        assert (done.state, done.exit_code, done.reason) == (TaskState.failed, 3, "Exited"), done
        assert "no such table: sales" in done.message
        assert done.log_tail == ("no such table: sales",)
        assert (await left_behind(task)).exit_code == 3

    async def test_a_crash_is_named_by_its_signal(self, yard: TaskYard) -> None:
        done = await ended(yard, yard.task("import os; os.kill(os.getpid(), 11)"))
        assert (done.state, done.exit_code, done.reason) == (TaskState.failed, 139, "Signaled"), done
        assert "SIGSEGV" in done.message

    async def test_more_memory_than_its_limit_is_named(self, yard: TaskYard) -> None:
        task = yard.task(EATS, resources=Resources(cpu=0.5, memory=128 * MiB))
        done = await ended(yard, task)
        assert (done.state, done.reason) == (TaskState.failed, "OutOfMemory"), done
        assert "limit" in done.message
        assert "begun" in done.log_tail
        assert (await left_behind(task)).state is TaskState.failed
        assert await open_output(task.output).read("output/half") == b"1", "what was there is delivered all the same"

    async def test_a_command_that_takes_too_long_is_ended_and_may_finish_its_sentence(self, yard: TaskYard) -> None:
        task = yard.task(DRAINS, timeout=2.0)
        done = await ended(yard, task)
        assert (done.state, done.reason) == (TaskState.failed, "DeadlineExceeded"), done
        assert "2 s" in done.message
        assert done.log_tail == ("begun", "saved")
        assert await open_output(task.output).read("output/checkpoint") == b"7"

    async def test_a_command_that_is_not_there(self, yard: TaskYard) -> None:
        done = await ended(yard, yard.task(command=("/no/such/program", "x")))
        assert (done.state, done.exit_code, done.reason) == (TaskState.failed, 127, "StartError"), done
        assert "/no/such/program" in done.message

    async def test_logs_are_there_while_it_runs(self, yard: TaskYard) -> None:
        task = yard.task(WAITS)
        running = await begun(yard, task)
        assert running.started is not None
        assert running.ended is None

        async def look() -> bool:
            return await read_log(open_output(task.output), 5) == ("begun",)

        await eventually_async(look, timeout=yard.patience, what="its log is at its output")
        with pytest.raises(NotFound):
            await yard.runtime.logs("nobody", lines=1)

    async def test_deleting_lets_it_finish_its_sentence_and_leaves_only_its_output(self, yard: TaskYard) -> None:
        task = yard.task(DRAINS)
        await begun(yard, task)
        await yard.runtime.delete(task.name)
        assert (await yard.runtime.observe_tasks())[task.name].deleting
        await yard.runtime.delete(task.name)
        await forgotten(yard, task.name)
        with pytest.raises(NotFound):
            await yard.runtime.logs(task.name, lines=1)
        assert await read_log(open_output(task.output), 5) == ("begun", "saved")
        assert await open_output(task.output).read("output/checkpoint") == b"7"
        assert (await left_behind(task)).reason == "Stopped"
        await yard.runtime.run(replace(task, output=f"{task.output}-2"))
        await until(yard, task.name, lambda o: o.state is TaskState.running)

    async def test_one_that_will_not_end_is_ended(self, yard: TaskYard) -> None:
        stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('begun'); time.sleep(600)"
        task = yard.task(stubborn)
        await begun(yard, task)
        await yard.runtime.delete(task.name)
        await forgotten(yard, task.name)
        assert (await left_behind(task)).exit_code == 137

    async def test_a_running_task_is_taken_up_by_the_next_runtime(self, yard: TaskYard) -> None:
        task = yard.task(DRAINS)
        before = await begun(yard, task)
        await yard.reopen()
        assert (await yard.runtime.observe_tasks())[task.name] == before
        await yard.runtime.run(task)
        await yard.runtime.delete(task.name)
        await forgotten(yard, task.name)
        assert await read_log(open_output(task.output), 5) == ("begun", "saved")

    async def test_an_end_that_nobody_watched_is_known(self, yard: TaskYard) -> None:
        task = yard.task("import time; print('begun'); time.sleep(2); print('over'); raise SystemExit(4)")
        await begun(yard, task)
        await yard.runtime.close()
        await left_behind(task)
        await yard.reopen()
        done = await until(yard, task.name, lambda o: o.state.ended)
        assert (done.state, done.exit_code, done.reason) == (TaskState.failed, 4, "Exited"), done
        assert (await yard.runtime.logs(task.name, lines=5))[0].lines == ("begun", "over")
        await yard.reopen()
        assert (await yard.runtime.observe_tasks())[task.name] == done

    async def test_shards_have_numbers_and_outputs_of_their_own_and_not_more_than_so_many_run(
        self, yard: TaskYard
    ) -> None:
        task = yard.task(f"{SHARDS}time.sleep(1.5)", shards=3, parallel=2)
        done = await ended(yard, task)
        assert (done.state, done.exit_code, done.digest) == (TaskState.succeeded, 0, task.digest()), done
        logs = await yard.runtime.logs(task.name, lines=5)
        assert [(log.replica, log.lines) for log in logs] == [(i, (f"begun {i}",)) for i in range(3)]
        times = []
        for index in range(3):
            output = open_output(shard_output(task.output, index))
            assert await output.read("output/told") == f"{index}/3 0".encode()
            said = await read_status(output)
            assert said is not None
            times.append((said.started, said.ended))
        assert max(sum(a <= begin < b for a, b in times) for begin, _ in times) <= 2, times
        said = await read_end(task.output, 3)
        assert said is not None
        assert said.state is TaskState.succeeded
        await yard.reopen()
        assert (await yard.runtime.observe_tasks())[task.name].state is TaskState.succeeded

    async def test_a_shard_that_is_killed_is_tried_again_and_the_others_are_not(self, yard: TaskYard) -> None:
        task = yard.task(f"{SHARDS}if index == 1 and killed == '0': os.kill(os.getpid(), 9)", shards=2)
        done = await ended(yard, task)
        assert done.state is TaskState.succeeded, done
        told = [await open_output(shard_output(task.output, index)).read("output/told") for index in range(2)]
        assert told == [b"0/2 0", b"1/2 1"]

    async def test_a_shard_that_fails_by_itself_is_named_and_the_others_are_ended(self, yard: TaskYard) -> None:
        task = yard.task(f"{SHARDS}if index == 1: print('bad row'); raise SystemExit(3)\ntime.sleep(600)", shards=2)
        done = await ended(yard, task)
        assert (done.state, done.exit_code, done.reason) == (TaskState.failed, 3, "Exited"), done
        assert done.message.startswith("Shard 1 of 2: ")
        assert "bad row" in done.message
        other = await left_behind(replace(task, output=shard_output(task.output, 0)))
        assert other.reason == "Stopped"

    async def test_shards_are_taken_up_by_the_next_runtime_and_deleted_with_the_task(self, yard: TaskYard) -> None:
        task = yard.task(f"{SHARDS}time.sleep(600)", shards=2)
        await yard.runtime.run(task)

        async def both() -> bool:
            logs = await yard.runtime.logs(task.name, lines=5)
            return [log.lines for log in logs] == [("begun 0",), ("begun 1",)]

        await eventually_async(both, timeout=yard.patience, interval=0.05, what="both run")
        before = await until(yard, task.name, lambda o: o.state is TaskState.running)
        await yard.reopen()
        assert (await yard.runtime.observe_tasks())[task.name] == before
        await yard.runtime.run(task)
        await yard.runtime.delete(task.name)
        await forgotten(yard, task.name)
        for index in range(2):
            assert (await left_behind(replace(task, output=shard_output(task.output, index)))).reason == "Stopped"

    async def test_servers_and_tasks_are_observed_apart(self, yard: TaskYard) -> None:
        await yard.runtime.apply(yard.server())
        await yard.runtime.run(yard.task("print('hello')"))
        assert set(await yard.runtime.observe()) == {yard.server().name}
        assert set(await yard.runtime.observe_tasks()) == {yard.task().name}
        with pytest.raises(Conflict):
            await yard.runtime.run(yard.task("", name=yard.server().name))

    async def test_changes_name_the_task_until_it_ended(self, yard: TaskYard) -> None:
        changes = yard.runtime.changes()
        task = yard.task("print('hello')")
        await yard.runtime.run(task)
        while not (await yard.runtime.observe_tasks())[task.name].state.ended:
            assert await asyncio.wait_for(anext(changes), yard.patience) == task.name
