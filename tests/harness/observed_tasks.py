"""A small task, and its Job and pod as a cluster would show them."""

from __future__ import annotations

from typing import Any

from harness.observed_pods import conditions, container
from modelyard_api.resources import MiB, Resources
from modelyard_api.tasks import TaskState, TaskStatus
from modelyard_hub.runtimes.kubernetes.labels import task_labels
from modelyard_hub.runtimes.task import Task

BEGAN, OVER = "2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"


def small_task(**changes: Any) -> Task:
    """A task; the same one each time but for `changes`."""
    told: dict[str, Any] = {
        "name": "ada-run-7",
        "command": ("python", "-m", "modelyard.batch", "--name=$(USER)"),
        "output": "s3://runs/ada/7",
        "resources": Resources(cpu=2, memory=256 * MiB),
        "environment": {"MODELYARD_TOKEN": "secret"},
        "files": {"parameters.json": '{"n":1}'},
        "labels": {"modelyard.dev/owner": "ada", "modelyard.dev/run": "7"},
        "timeout": 3600.0,
    }
    return Task(**{**told, **changes})


def task_pod(phase: str, main: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A pod of the small task whose command's container is in the state `main`; `changes` go into its status."""
    status: dict[str, Any] = {
        "phase": phase,
        "startTime": BEGAN,
        "conditions": conditions(Ready="False", PodScheduled="True"),
        "initContainerStatuses": [container("deliver", state={"running": {}})],
        "containerStatuses": [container("task", state=main)],
    }
    return {
        "metadata": {
            "name": "ada-run-7-x",
            "namespace": "yard",
            "uid": "pod-1",
            "resourceVersion": "1",
            "creationTimestamp": BEGAN,
            "labels": task_labels(small_task()),
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "task", "resources": {"limits": {"memory": str(256 * MiB)}}}],
        },
        "status": {**status, **changes},
    }


def running_pod(**changes: Any) -> dict[str, Any]:
    """Its command runs."""
    return task_pod("Running", {"running": {"startedAt": BEGAN}}, **changes)


def ended_pod(code: int, said: str = "", why: str = "Error", **changes: Any) -> dict[str, Any]:
    """All of it has ended, the command's container with this exit code and message."""
    end = {"exitCode": code, "reason": why, "message": said, "startedAt": BEGAN, "finishedAt": OVER}
    return task_pod("Failed" if code else "Succeeded", {"terminated": end}, **changes)


def says(reason: str = "", code: int = 0, *lines: str) -> str:
    """What the runner of a command leaves as its container's message."""
    state = TaskState.failed if reason else TaskState.succeeded
    return TaskStatus(state, code, reason, f"It says {reason}.", BEGAN, OVER, lines).to_json()


def job_of(**condition: str) -> dict[str, Any]:
    """The Job of the small task, ended where a condition is given."""
    found = [{"status": "True", "lastTransitionTime": OVER, **condition}] if condition else []
    meta = {"name": "ada-run-7", "namespace": "yard", "uid": "job-1", "labels": task_labels(small_task())}
    return {"metadata": meta, "spec": {}, "status": {"startTime": BEGAN, "conditions": found}}
