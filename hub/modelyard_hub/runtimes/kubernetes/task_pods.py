"""The Job of a task and its pod. Pure."""

from __future__ import annotations

import math
from typing import Any

from modelyard_api.errors import InvalidInput
from modelyard_api.locations import parse_s3
from modelyard_api.tasks import SHARD, SHARD_FAILURES, TRIES, shard_output
from modelyard_hub.runtimes.kubernetes.kinds import JOB, Object
from modelyard_hub.runtimes.kubernetes.labels import KUEUE_QUEUE, task_labels
from modelyard_hub.runtimes.kubernetes.manifests import owned_by
from modelyard_hub.runtimes.kubernetes.options import KubernetesOptions
from modelyard_hub.runtimes.kubernetes.pods import FILES_FOLDER, LOCKED_DOWN, TMP_SIZE, limits, pod_security
from modelyard_hub.runtimes.kubernetes.task_record import ENVIRONMENT
from modelyard_hub.runtimes.task import Task

INDEX = "batch.kubernetes.io/job-completion-index"
_FAILURES = "batch.kubernetes.io/job-index-failure-count"
_INDEX = "MODELYARD_SHARD_INDEX"
_KILLED = [0, *range(129, 160)]
"""Exit codes of a command that ended well, or by a signal."""
COMMAND, DELIVER = "task", "deliver"
"""The containers: the command's, and the one that alone sees the store and its keys."""
FOLDER = "/task"
_MESSAGE = "/dev/termination-log"
_DELIVER_RESOURCES = {
    "requests": {"cpu": "10m", "memory": "64Mi"},
    "limits": {"cpu": "1", "memory": "256Mi"},
}


def check_output(task: Task, options: KubernetesOptions) -> None:
    """InvalidInput where no pod could write the output."""
    if parse_s3(task.output) is not None:
        return
    root = options.artifacts.rstrip("/")
    if not options.artifacts_claim or not root or not f"{task.output}/".startswith(f"{root}/"):
        raise InvalidInput(
            f"no pod can write {task.output}",
            remedy="Name a place in S3, or a folder below MODELYARD_ARTIFACTS where a volume claim is mounted there.",
        )


def job(task: Task, record: Object, options: KubernetesOptions) -> dict[str, Any]:
    """The Job that `record` (the task's Secret, as it is in the cluster) owns. It is tried once."""
    queue = {KUEUE_QUEUE: options.task_queue} if options.task_queue else {}
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.name,
        "metadata": {**owned_by(record), "name": task.name, "labels": {**task_labels(task), **queue}},
        "spec": {**(_in_shards(task) if task.shards else _once()), "template": task_pod(task, options)},
    }


def _once() -> dict[str, Any]:
    return {
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                # By these the Job says why it failed, also when its pod is gone.
                {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"containerName": COMMAND, "operator": "NotIn", "values": [0]}},
            ]
        },
    }


def _in_shards(task: Task) -> dict[str, Any]:
    """An Indexed Job: a pod that was taken or killed is made anew, and one that failed by itself fails it."""
    return {
        "completionMode": "Indexed",
        "completions": task.shards,
        "parallelism": min(task.parallel or task.shards, task.shards),
        "backoffLimitPerIndex": TRIES - 1,
        "maxFailedIndexes": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "Count", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": COMMAND, "operator": "NotIn", "values": _KILLED},
                },
            ]
        },
    }


def _shard_variables(task: Task) -> list[dict[str, Any]]:
    if not task.shards:
        return []

    def of(name: str, annotation: str) -> dict[str, Any]:
        return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}}

    shard = {"name": SHARD, "value": f"$({_INDEX})/{task.shards}"}
    return [of(_INDEX, INDEX), shard, of(SHARD_FAILURES, _FAILURES)]


def task_pod(task: Task, options: KubernetesOptions) -> dict[str, Any]:
    """The template of its pod."""
    timing = options.timing
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": math.ceil(timing.drain_timeout + timing.deliver + timing.margin),
        "securityContext": pod_security(),
        "initContainers": [_deliver(task, options)],
        "containers": [_command(task, options)],
        "volumes": _volumes(task, options),
    }
    if task.timeout is not None:
        # The command's own limit is kept inside; this is for one that never starts, or cannot be ended.
        spare = timing.task_start + timing.drain_timeout + timing.deliver
        spec["activeDeadlineSeconds"] = math.ceil(task.timeout + spare)
    if options.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in options.image_pull_secrets]
    if task.resources.gpu:
        spec["tolerations"] = [{"key": options.gpu_resource, "operator": "Exists", "effect": "NoSchedule"}]
    # What is tried once is not moved to save a node.
    annotations = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    return {"metadata": {"labels": task_labels(task), "annotations": annotations}, "spec": spec}


def _deliver(task: Task, options: KubernetesOptions) -> dict[str, Any]:
    """Brings what the command leaves to the output; starts before it and ends after it."""
    mounts: list[dict[str, Any]] = [
        {"name": "task", "mountPath": FOLDER},
        {"name": "deliver-tmp", "mountPath": "/tmp"},
    ]
    if parse_s3(task.output) is None:
        mounts.append({"name": "artifacts", "mountPath": options.artifacts})
    container: dict[str, Any] = {
        "name": DELIVER,
        "image": options.image,
        "imagePullPolicy": options.image_pull_policy,
        "restartPolicy": "Always",
        "command": [
            *(*options.task, "deliver", "--folder", FOLDER, "--output", _output(task)),
            *("--every", f"{options.timing.deliver_every:g}"),
        ],
        "env": [{"name": "HOME", "value": "/tmp"}, *_shard_variables(task)],
        "resources": _DELIVER_RESOURCES,
        "securityContext": LOCKED_DOWN,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
    if options.artifacts_secret:
        container["envFrom"] = [{"secretRef": {"name": options.artifacts_secret}}]
    return container


def _command(task: Task, options: KubernetesOptions) -> dict[str, Any]:
    timing = options.timing
    run = [*options.task, "run", "--folder", FOLDER, "--environment", f"{FILES_FOLDER}/{ENVIRONMENT}"]
    run += ["--files", FILES_FOLDER, "--home", "--tee", "--say", _MESSAGE, "--grace", f"{timing.drain_timeout:g}"]
    run += ["--patience", f"{timing.deliver_patience:g}"]
    if task.timeout is not None:
        run += ["--timeout", f"{task.timeout:g}"]
    threads = str(max(1, round(task.resources.cpu)))
    return {
        "name": COMMAND,
        "image": task.image or options.task_image or options.image,
        "imagePullPolicy": options.image_pull_policy,
        "command": [*run, "--", *map(_literal, task.command)],
        # The task's own variables are in its Secret: whoever may look at pods does not see them.
        "env": [
            {"name": "OMP_NUM_THREADS", "value": threads},
            {"name": "PYTHONUNBUFFERED", "value": "1"},
            *_shard_variables(task),
        ],
        "resources": limits(task.resources, options, gpu=True),
        "securityContext": LOCKED_DOWN,
        # How it ended is then part of the pod's status, also where it could not say so itself.
        "terminationMessagePath": _MESSAGE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "task", "mountPath": FOLDER},
            {"name": "shm", "mountPath": "/dev/shm"},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "files", "mountPath": FILES_FOLDER, "readOnly": True},
        ],
    }


def _volumes(task: Task, options: KubernetesOptions) -> list[dict[str, Any]]:
    # Shared memory counts as the container's own, so it must leave room for the rest of it.
    shm = str(min(task.shm, task.resources.memory // 2))
    volumes: list[dict[str, Any]] = [
        {"name": "task", "emptyDir": {"sizeLimit": str(options.task_scratch)}},
        {"name": "tmp", "emptyDir": {"sizeLimit": TMP_SIZE}},
        {"name": "deliver-tmp", "emptyDir": {"sizeLimit": TMP_SIZE}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": shm}},
        {"name": "files", "secret": {"secretName": task.name}},
    ]
    if parse_s3(task.output) is None:
        volumes.append({"name": "artifacts", "persistentVolumeClaim": {"claimName": options.artifacts_claim}})
    return volumes


def _output(task: Task) -> str:
    """Where its results go; of a shard, by the number that its pod is told."""
    return shard_output(_literal(task.output), f"$({_INDEX})") if task.shards else _literal(task.output)


def _literal(text: str) -> str:
    """Kubernetes would put in the value of a variable where `$(NAME)` stands."""
    return text.replace("$(", "$$(")
