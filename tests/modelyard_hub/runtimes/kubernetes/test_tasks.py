"""Tasks against a cluster that answers, refuses, and is changed by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.fake_cluster import FakeCluster, refuse
from harness.observed_pods import small_server
from harness.observed_tasks import ended_pod, job_of, running_pod, says, small_task
from harness.wait import eventually_async
from modelyard_api.errors import Conflict, InvalidInput, NotFound, QuotaExceeded, Unavailable
from modelyard_api.tasks import TaskState, TaskStatus
from modelyard_hub.runtimes.kubernetes import KubernetesOptions, KubernetesRuntime
from modelyard_hub.runtimes.kubernetes.task_record import read_progress
from modelyard_hub.runtimes.task import ObservedTask

NAME, POD = "ada-run-7", "ada-run-7-x"
QUOTA = (
    'Error creating: pods "ada-run-7-x" is forbidden: exceeded quota: team, requested: pods=1, used: pods=5, '
    "limited: pods=5"
)


@pytest.fixture
def options(options: KubernetesOptions, tmp_path: Path) -> KubernetesOptions:
    return replace(options, artifacts=str(tmp_path), artifacts_claim="models")


@pytest.fixture
def task(tmp_path: Path) -> Any:
    return small_task(output=str(tmp_path / "out"))


async def until(around: Any, holds: Callable[[ObservedTask], object]) -> ObservedTask:
    async def look() -> ObservedTask:
        found = (await around.runtime.observe_tasks())[NAME]
        assert holds(found), found
        return found  # type: ignore[no-any-return]

    return await eventually_async(look, timeout=10.0, interval=0.01)


async def recorded(cluster: FakeCluster) -> TaskStatus:
    async def look() -> TaskStatus | None:
        return read_progress(cluster.objects["secrets", NAME]).end

    return await eventually_async(look, timeout=10.0, interval=0.01, what="its end is recorded")


def writes(cluster: FakeCluster) -> list[str]:
    return [r for r in cluster.requests if r.split()[0] not in ("GET", "WATCH")]


async def job_is(cluster: FakeCluster, **condition: str) -> None:
    """Its Job has ended."""
    status = job_of(**condition)["status"]
    await cluster.change("jobs", NAME, lambda o: o.update(status=status))


@pytest.fixture
def again(around: Any, options: KubernetesOptions) -> Callable[[], Any]:
    """Another process takes over."""

    async def take_over() -> None:
        await around.runtime.close()
        around.runtime = KubernetesRuntime(options)
        await around.runtime.open()

    return take_over


async def test_a_task_is_followed_to_its_end_which_is_kept(around: Any, task: Any, again: Any) -> None:
    await around.runtime.run(task)
    assert (await until(around, lambda o: True)).state is TaskState.queued
    await around.cluster.put("pods", running_pod())
    await until(around, lambda o: o.state is TaskState.running)
    await around.cluster.put("pods", ended_pod(3, says("Exited", 3, "last words")))
    done = await until(around, lambda o: o.state.ended)
    assert (done.exit_code, done.reason, done.log_tail) == (3, "Exited", ("last words",))
    await recorded(around.cluster)
    await around.cluster.remove("pods", POD)
    await around.cluster.remove("jobs", NAME)
    assert await until(around, lambda o: True) == done
    await again()
    assert (await around.runtime.observe_tasks())[NAME] == done
    before = writes(around.cluster)
    await around.runtime.run(task)
    assert writes(around.cluster) == before
    assert ("jobs", NAME) not in around.cluster.objects, "what has run is not run again"


async def test_its_job_is_made_once_whatever_happens_in_between(around: Any, task: Any, again: Any) -> None:
    around.cluster.faults["PATCH jobs"] = [refuse(500, "etcd is away")]
    with pytest.raises(Unavailable):
        await around.runtime.run(task)
    await again()
    await eventually_async(lambda: _there(around.cluster), timeout=10.0, what="its Job")
    await around.cluster.put("pods", running_pod())
    await until(around, lambda o: o.state is TaskState.running)
    uid = around.cluster.objects["jobs", NAME]["metadata"]["uid"]
    assert read_progress(around.cluster.objects["secrets", NAME]).job == uid
    await around.runtime.run(task)
    assert [r for r in around.cluster.requests if r == "PATCH jobs"] == ["PATCH jobs"] * 2


async def _there(cluster: FakeCluster) -> object:
    return ("jobs", NAME) in cluster.objects and read_progress(cluster.objects["secrets", NAME]).job


async def test_a_job_that_was_deleted_by_hand_is_not_run_again(around: Any, task: Any) -> None:
    await around.runtime.run(task)
    await around.cluster.put("pods", running_pod())
    await until(around, lambda o: o.state is TaskState.running)
    await around.cluster.remove("jobs", NAME)
    await around.cluster.remove("pods", POD)
    done = await until(around, lambda o: o.state.ended)
    assert (done.state, done.reason) == (TaskState.failed, "Deleted")
    assert ("jobs", NAME) not in around.cluster.objects


async def test_the_end_of_a_pod_that_nobody_saw_end_is_read_at_the_output(
    around: Any, task: Any, again: Any, tmp_path: Path
) -> None:
    await around.runtime.run(task)
    await around.runtime.close()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "status.json").write_text(says("OutOfMemory", 137, "so much"))
    (tmp_path / "out" / "log").write_text("one\ntwo\nso much\n")
    await job_is(around.cluster, type="Failed", message="Container task for pod x failed with exit code 137 matching")
    await again()
    done = await until(around, lambda o: o.state.ended)
    assert (done.reason, done.exit_code, done.log_tail) == ("OutOfMemory", 137, ("so much",))
    (entry,) = await around.runtime.logs(NAME, lines=2)
    assert entry.lines == ("two", "so much")


async def test_without_a_status_the_job_says_how_it_ended(around: Any, task: Any, again: Any) -> None:
    await around.runtime.run(task)
    await around.runtime.close()
    await job_is(around.cluster, type="Failed", message="Container task for pod x failed with exit code 4 matching")
    await again()
    assert (await until(around, lambda o: o.state.ended)).exit_code == 4


async def test_a_quota_that_is_used_up_is_said_until_there_is_a_pod(around: Any, task: Any) -> None:
    await around.runtime.run(task)
    uid = around.cluster.objects["jobs", NAME]["metadata"]["uid"]
    event = {"reason": "FailedCreate", "message": QUOTA, "involvedObject": {"uid": uid}}
    await around.cluster.put("events", {"metadata": {"name": "e1", "namespace": "yard"}, **event})
    said = await until(around, lambda o: o.reason)
    assert (said.state, said.reason) == (TaskState.queued, "QuotaExceeded")
    assert "used: pods=5" in said.message
    await around.cluster.put("pods", running_pod())
    assert (await until(around, lambda o: o.state is TaskState.running)).reason == ""


async def test_a_quota_of_jobs_is_the_callers_to_see(around: Any, task: Any) -> None:
    words = 'jobs.batch "x" is forbidden: exceeded quota: team, requested: count/jobs.batch=1, used: 5, limited: 5'
    around.cluster.faults["PATCH jobs"] = [refuse(403, words)]
    with pytest.raises(QuotaExceeded):
        await around.runtime.run(task)
    assert (await until(around, lambda o: True)).digest == task.digest()
    await eventually_async(lambda: _there(around.cluster), timeout=10.0, what="it is tried again")
    await until(around, lambda o: not o.reason)


async def test_names_are_of_one_workload(around: Any, task: Any) -> None:
    await around.runtime.run(task)
    with pytest.raises(Conflict, match="another task"):
        await around.runtime.run(replace(task, timeout=1.0))
    with pytest.raises(Conflict, match="a task is named"):
        await around.runtime.apply(small_server(name=NAME))
    await around.runtime.apply(small_server())
    with pytest.raises(Conflict, match="a server is named"):
        await around.runtime.run(replace(task, name=small_server().name))
    assert set(await around.runtime.observe()) == {small_server().name}
    assert set(await around.runtime.observe_tasks()) == {NAME}


async def test_deleting_takes_the_record_and_waits_for_the_rest(around: Any, task: Any) -> None:
    await around.runtime.run(task)
    await around.cluster.put("pods", running_pod())
    await until(around, lambda o: o.state is TaskState.running)
    await around.runtime.delete(NAME)
    assert (await around.runtime.observe_tasks())[NAME].deleting
    with pytest.raises(Unavailable, match="still being deleted"):
        await around.runtime.run(task)
    for plural, name in (("pods", POD), ("jobs", NAME), ("secrets", NAME)):
        await around.cluster.remove(plural, name)

    async def gone() -> bool:
        return not await around.runtime.observe_tasks()

    await eventually_async(gone, timeout=5.0)
    assert [r for r in around.cluster.requests if r.startswith("DELETE")] == ["DELETE secrets"]
    with pytest.raises(NotFound):
        await around.runtime.logs(NAME, lines=1)


async def test_an_output_that_no_pod_can_write_is_refused_at_once(around: Any, task: Any) -> None:
    with pytest.raises(InvalidInput, match="no pod can write"):
        await around.runtime.run(replace(task, output="/elsewhere"))
    assert ("secrets", NAME) not in around.cluster.objects
