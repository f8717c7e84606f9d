"""The objects of a task, compared with a whole document."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.observed_tasks import small_task
from modelyard_api.errors import InvalidInput
from modelyard_api.resources import MiB, Resources
from modelyard_hub.runtimes.kubernetes import KubernetesOptions
from modelyard_hub.runtimes.kubernetes.task_pods import check_output, job
from modelyard_hub.runtimes.kubernetes.task_record import task_record
from modelyard_hub.runtimes.task import Task

OPTIONS = KubernetesOptions(
    image="registry/server:1",
    task_image="registry/notebook:1",
    image_pull_secrets=("pull",),
    artifacts_secret="s3",
)


def made(task: Task, options: KubernetesOptions = OPTIONS) -> dict[str, Any]:
    root = task_record(task, "yard")
    return job(task, {**root, "metadata": {**root["metadata"], "uid": "1234"}}, options)


def pod(task: Task, options: KubernetesOptions = OPTIONS) -> Any:
    return made(task, options)["spec"]["template"]["spec"]


def test_a_task_is_these_objects() -> None:
    secret, expected = yaml.safe_load_all((Path(__file__).parent / "task.yaml").read_text())
    assert task_record(small_task(), "yard") == secret
    assert made(small_task()) == expected
    told = json.loads(base64.b64decode(secret["data"]["task.json"]))
    assert told["output"] == "s3://runs/ada/7"


def test_no_variable_of_the_task_and_no_key_of_the_store_is_in_the_wrong_place() -> None:
    assert "secret" not in json.dumps(made(small_task(environment={"TOKEN": "secret-7"}))["spec"]).replace(
        '"secret": {"secretName"', ""
    ).replace('"secretRef"', "")
    (command,) = pod(small_task())["containers"]
    assert "envFrom" not in command


def test_one_with_a_gpu_and_its_own_image() -> None:
    task = small_task(image="mine:2", resources=Resources(cpu=1, memory=64 * MiB, gpu=2), shm=1024 * MiB)
    spec = pod(task)
    (command,) = spec["containers"]
    assert command["image"] == "mine:2"
    assert command["resources"]["limits"]["nvidia.com/gpu"] == command["resources"]["requests"]["nvidia.com/gpu"] == "2"
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": str(32 * MiB)}} in spec["volumes"]
    assert spec["initContainers"][0]["image"] == "registry/server:1"


def test_without_a_timeout_nothing_ends_it() -> None:
    spec = pod(small_task(timeout=None))
    assert "activeDeadlineSeconds" not in spec
    assert "--timeout" not in spec["containers"][0]["command"]


def test_an_output_on_a_volume_is_mounted_where_it_is_delivered_from_alone() -> None:
    options = KubernetesOptions(image="i", artifacts="/srv/artifacts", artifacts_claim="models")
    task = small_task(output="/srv/artifacts/runs/7")
    check_output(task, options)
    spec = pod(task, options)
    assert {"name": "artifacts", "persistentVolumeClaim": {"claimName": "models"}} in spec["volumes"]
    assert {"name": "artifacts", "mountPath": "/srv/artifacts"} in spec["initContainers"][0]["volumeMounts"]
    assert "artifacts" not in [m["name"] for m in spec["containers"][0]["volumeMounts"]]


@pytest.mark.parametrize("output", ["/elsewhere/7", "/srv/artifacts-2/7"])
def test_an_output_that_no_pod_can_write_is_refused(output: str) -> None:
    options = KubernetesOptions(image="i", artifacts="/srv/artifacts", artifacts_claim="models")
    with pytest.raises(InvalidInput, match="no pod can write"):
        check_output(small_task(output=output), options)
    with pytest.raises(InvalidInput, match="no pod can write"):
        check_output(small_task(output="/srv/artifacts/7"), KubernetesOptions(image="i"))


def test_kueue_is_told_the_queue_of_a_job() -> None:
    options = replace(OPTIONS, task_queue="team")
    labels = made(small_task(), options)["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/queue-name"] == "team"
    assert "kueue.x-k8s.io/queue-name" not in made(small_task())["metadata"]["labels"]


def test_one_in_shards_is_an_indexed_job() -> None:
    found = made(small_task(shards=8, parallel=3, output="s3://runs/$(HOME)/7"))["spec"]
    assert (found["completionMode"], found["completions"], found["parallelism"]) == ("Indexed", 8, 3)
    assert (found["backoffLimitPerIndex"], found["maxFailedIndexes"]) == (2, 0)
    assert "backoffLimit" not in found, "each shard is counted by itself"
    count, fail = found["podFailurePolicy"]["rules"]
    assert (count["action"], count["onPodConditions"][0]["type"]) == ("Count", "DisruptionTarget")
    assert fail["action"] == "FailJob"
    assert {0, 137, 143} <= set(fail["onExitCodes"]["values"])
    assert not {1, 3, 124, 127} & set(fail["onExitCodes"]["values"])
    spec = found["template"]["spec"]
    for container in (spec["initContainers"][0], spec["containers"][0]):
        names = [one["name"] for one in container["env"]]
        assert names.index("MODELYARD_SHARD_INDEX") < names.index("MODELYARD_SHARD"), (
            "only what stands before is put in"
        )
        (shard,) = [one["value"] for one in container["env"] if one["name"] == "MODELYARD_SHARD"]
        assert shard == "$(MODELYARD_SHARD_INDEX)/8"
    deliver = spec["initContainers"][0]["command"]
    assert deliver[deliver.index("--output") + 1] == "s3://runs/$$(HOME)/7/shards/$(MODELYARD_SHARD_INDEX)"
    assert made(small_task(shards=2))["spec"]["parallelism"] == 2
