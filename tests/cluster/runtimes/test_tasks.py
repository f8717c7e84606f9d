"""What the runtime promises of tasks beyond the contract, on a real cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.tasks import DRAINS, SHARDS, WAITS, begun, ended, forgotten, left_behind, until
from harness import images
from harness.cluster_yard import ClusterYard
from harness.wait import eventually, eventually_async
from modelyard_api.resources import MiB, Resources
from modelyard_api.tasks import TaskState, shard_output
from modelyard_hub.runtimes.kubernetes.rbac import RULES
from modelyard_hub.runtimes.outputs import open_output

NAME = "ada-run-1"


@pytest.fixture
def yard(task_yard: ClusterYard) -> ClusterYard:
    return task_yard


def the_pod(yard: ClusterYard) -> str:
    (pod,) = yard.objects("pods")
    return str(pod["metadata"]["name"])


def no_pods(yard: ClusterYard) -> Callable[[], bool]:
    return lambda: not yard.objects("pods")


async def test_its_pod_fits_a_namespace_with_the_restricted_standard(yard: ClusterYard) -> None:
    yard.cluster.kubectl(
        "label", "namespace", yard.namespace, "pod-security.kubernetes.io/enforce=restricted", "--overwrite"
    )
    assert (await ended(yard, yard.task("print('hello')"))).state is TaskState.succeeded


async def test_its_logs_and_its_end_outlive_its_pod(yard: ClusterYard) -> None:
    task = yard.task("print('one'); print('two'); raise SystemExit(3)")
    done = await ended(yard, task)
    yard.kubectl("delete", "pod", the_pod(yard), "--wait=true")
    assert (await yard.runtime.observe_tasks())[NAME] == done
    assert (await yard.runtime.logs(NAME, lines=1))[0].lines == ("two",)
    await yard.reopen()
    assert (await yard.runtime.observe_tasks())[NAME] == done
    assert (await yard.runtime.logs(NAME, lines=5))[0].lines == ("one", "two")
    assert yard.objects("pods") == []


async def test_an_end_that_nobody_saw_and_whose_pod_is_gone_is_known(yard: ClusterYard) -> None:
    task = yard.task("import time; print('begun'); time.sleep(2); raise MemoryError")
    await begun(yard, task)
    await yard.runtime.close()
    await left_behind(task)
    yard.kubectl("wait", f"job/{NAME}", "--for=condition=Failed", "--timeout=60s")
    yard.kubectl("delete", "pod", the_pod(yard), "--wait=true")
    await yard.reopen()
    done = await until(yard, NAME, lambda o: o.state.ended)
    assert (done.reason, done.exit_code) == ("OutOfMemory", 1)
    assert done.log_tail[-1] == "MemoryError"


async def test_a_pod_that_is_deleted_by_hand_is_not_started_again(yard: ClusterYard) -> None:
    task = yard.task(DRAINS)
    await begun(yard, task)
    yard.kubectl("delete", "pod", the_pod(yard), "--wait=true")
    done = await until(yard, NAME, lambda o: o.state.ended)
    assert (done.state, done.reason) == (TaskState.failed, "Stopped")
    assert done.log_tail == ("begun", "saved")
    assert await open_output(task.output).read("output/checkpoint") == b"7"
    assert yard.objects("pods") == []


async def test_a_job_that_is_deleted_by_hand_is_not_started_again(yard: ClusterYard) -> None:
    task = yard.task(DRAINS)
    await begun(yard, task)
    yard.kubectl("delete", "job", NAME, "--cascade=foreground")
    done = await until(yard, NAME, lambda o: o.state.ended)
    assert (done.state, done.reason) == (TaskState.failed, "Stopped")
    assert (await left_behind(task)).reason == "Stopped"
    await yard.runtime.run(task)
    assert yard.objects("jobs") == []


async def test_an_eviction_is_told_from_a_failure(yard: ClusterYard) -> None:
    task = yard.task(DRAINS)
    await begun(yard, task)
    pod = the_pod(yard)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": yard.namespace}}
    path = f"/api/v1/namespaces/{yard.namespace}/pods/{pod}/eviction"
    yard.kubectl("create", "--raw", path, "--filename=-", input=json.dumps(eviction))
    done = await until(yard, NAME, lambda o: o.state.ended)
    assert (done.state, done.reason) == (TaskState.failed, "Evicted")
    assert "evicted from its node" in done.message
    assert (await left_behind(task)).reason == "Stopped"
    eventually(no_pods(yard), what="its pod is gone")
    assert (await yard.runtime.logs(NAME, lines=5))[0].lines == ("begun", "saved")


async def test_an_image_that_is_not_there(yard: ClusterYard) -> None:
    task = yard.task("print('hello')", image="localhost/modelyard/nobody:test", timeout=1.0)
    await yard.runtime.run(task)
    waiting = await until(yard, NAME, lambda o: o.reason)
    assert (waiting.state, waiting.reason) == (TaskState.queued, "ErrImageNeverPull")
    assert "nobody:test" in waiting.message
    done = await until(yard, NAME, lambda o: o.state.ended)
    assert (done.state, done.reason) == (TaskState.failed, "ErrImageNeverPull")
    assert "could not begin in time" in done.message


async def test_one_that_fits_nowhere_is_queued_with_the_schedulers_words(yard: ClusterYard) -> None:
    await yard.runtime.run(yard.task("", resources=Resources(cpu=0.1, memory=128 * MiB, gpu=1)))
    waiting = await until(yard, NAME, lambda o: o.reason)
    assert (waiting.state, waiting.reason) == (TaskState.queued, "Unschedulable")
    assert "Insufficient nvidia.com/gpu" in waiting.message
    await yard.runtime.delete(NAME)
    await forgotten(yard, NAME)


async def test_one_above_a_quota_waits_and_runs_when_there_is_room(yard: ClusterYard) -> None:
    yard.kubectl("create", "quota", "team", "--hard=pods=0")
    eventually(lambda: yard.objects("resourcequotas")[0]["status"].get("used"), what="the quota counts")
    await yard.runtime.run(yard.task("print('hello')"))
    waiting = await until(yard, NAME, lambda o: o.reason)
    assert (waiting.state, waiting.reason) == (TaskState.queued, "QuotaExceeded")
    assert "requested: pods=1, used: pods=0, limited: pods=0" in waiting.message
    yard.kubectl("delete", "quota", "team")
    assert (await until(yard, NAME, lambda o: o.state.ended)).state is TaskState.succeeded


async def test_results_that_cannot_be_delivered_are_a_failure(yard: ClusterYard) -> None:
    task = yard.task("print('hello')", output=f"s3://nobodys-bucket/{yard.namespace}")
    done = await ended(yard, task)
    assert (done.state, done.reason) == (TaskState.failed, "UploadFailed"), done
    assert "NoSuchBucket" in done.message


async def test_nobody_sees_its_variables_in_its_pod(yard: ClusterYard) -> None:
    task = yard.task(WAITS, environment={"MODELYARD_TOKEN": "token-of-ada"})
    await begun(yard, task)
    for kind in ("pods", "jobs"):
        assert "token-of-ada" not in json.dumps(yard.objects(kind))


async def test_deleting_leaves_nothing_behind(yard: ClusterYard) -> None:
    await begun(yard, yard.task(DRAINS))
    await yard.runtime.delete(NAME)
    await forgotten(yard, NAME)
    assert yard.objects("jobs") == yard.objects("pods") == []
    assert NAME not in [o["metadata"]["name"] for o in yard.objects("secrets")]


NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "cells": [
        {
            "cell_type": "code",
            "id": "a",
            "metadata": {"tags": ["parameters"]},
            "source": "n = 1",
            "outputs": [],
            "execution_count": None,
        },
        {
            "cell_type": "code",
            "id": "b",
            "metadata": {},
            "source": "print('six times', n, 'is', 6 * n)",
            "outputs": [],
            "execution_count": None,
        },
    ],
}
PAPERMILL = 'papermill "$MODELYARD_FILES/input.ipynb" "$MODELYARD_OUTPUT/output.ipynb" -p n 7 --no-progress-bar'


@pytest.mark.timeout(1800)
async def test_a_notebook_is_executed_in_the_images_of_the_project(yard: ClusterYard, cluster: Any) -> None:
    for name in ("server", "notebook"):
        cluster.load_image(images.build(name))
    await yard.runtime.close()
    yard.use(replace(yard.options, image=images.tag("server"), task_image=images.tag("notebook")))
    await yard.runtime.open()
    task = yard.task(
        image="",
        command=("sh", "-c", PAPERMILL),
        files={"input.ipynb": json.dumps(NOTEBOOK)},
        resources=Resources(cpu=1, memory=1024 * MiB),
    )
    done = await ended(yard, task)
    assert done.state is TaskState.succeeded, done
    executed = await open_output(task.output).read("output/output.ipynb")
    assert b"six times 7 is 42" in (executed or b"")


async def test_the_account_of_the_rules_can_do_all(yard: ClusterYard, tmp_path: Path) -> None:
    await yard.runtime.close()
    rules: list[dict[str, Any]] = [
        {"apiGroups": [r.group], "resources": [r.resource], "verbs": list(r.verbs)} for r in RULES
    ]
    yard.use(replace(yard.options, kubeconfig=yard.account("hub", rules, tmp_path)))
    await yard.runtime.open()
    task = yard.task(DRAINS)
    await begun(yard, task)
    await yard.runtime.delete(NAME)
    await forgotten(yard, NAME)
    done = await ended(yard, replace(task, command=("python3", "-c", "print('again')"), output=f"{task.output}-2"))
    assert done.state is TaskState.succeeded
    assert (await yard.runtime.logs(NAME, lines=1))[0].lines == ("again",)


async def test_a_shard_whose_pod_is_deleted_goes_on_in_another_and_the_other_one_is_left_alone(
    yard: ClusterYard,
) -> None:
    task = yard.task(f"{SHARDS}if index == 0 or killed == '0': time.sleep(600)", shards=2)
    await yard.runtime.run(task)

    async def both() -> bool:
        return [log.lines for log in await yard.runtime.logs(NAME, lines=5)] == [("begun 0",), ("begun 1",)]

    await eventually_async(both, timeout=60, what="both run")
    (job,) = yard.objects("jobs")
    first, second = (f"{NAME}-{index}" for index in range(2))
    pods = {p["metadata"]["name"].rpartition("-")[0]: p["metadata"] for p in yard.objects("pods")}
    yard.kubectl("delete", "pod", pods[second]["name"], "--wait=false")

    def again() -> bool:
        return yard.objects("jobs")[0]["status"].get("completedIndexes") == "1"

    await asyncio.to_thread(eventually, again, timeout=90, what="its next pod has ended it")
    assert await open_output(shard_output(task.output, 1)).read("output/told") == b"1/2 1"
    (left,) = [p["metadata"] for p in yard.objects("pods") if p["metadata"]["name"].startswith(f"{first}-")]
    assert left["uid"] == pods[first]["uid"]
    assert (await yard.runtime.observe_tasks())[NAME].state is TaskState.running
    assert yard.objects("jobs")[0]["metadata"]["uid"] == job["metadata"]["uid"]
    await yard.runtime.delete(NAME)
    await forgotten(yard, NAME)
