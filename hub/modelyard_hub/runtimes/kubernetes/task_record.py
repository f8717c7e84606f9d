"""The Secret of a task: what was ordered, what its command finds, how far it came, and the owner of all else. Pure."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from modelyard_api.tasks import TaskStatus
from modelyard_hub.runtimes.kubernetes.kinds import SECRET, Object
from modelyard_hub.runtimes.kubernetes.labels import ENDED, JOB_UID, task_labels
from modelyard_hub.runtimes.task import Task, task_from_json, task_to_json

TASK_TYPE = "modelyard.dev/task"
TASK, ENVIRONMENT = "task.json", "environment.json"


@dataclass(frozen=True)
class Progress:
    """What must not be forgotten: the Job that was made, so that none is made twice, and how it ended."""

    job: str = ""
    end: TaskStatus | None = None


def task_record(task: Task, namespace: str, progress: Progress | None = None) -> dict[str, Any]:
    """The Secret of a task."""
    progress = progress or Progress()
    told = {**task_to_json(task), "environment": None, "files": sorted(task.files)}
    data = {TASK: json.dumps(told, sort_keys=True), ENVIRONMENT: json.dumps(dict(task.environment)), **task.files}
    annotations = {JOB_UID: progress.job} if progress.job else {}
    if progress.end is not None:
        annotations[ENDED] = progress.end.to_json()
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.name,
        "metadata": {
            "name": task.name,
            "namespace": namespace,
            "labels": task_labels(task),
            "annotations": annotations,
        },
        "type": TASK_TYPE,
        "data": {k: base64.b64encode(v.encode()).decode() for k, v in data.items()},
    }


def read_task(secret: Object) -> Task | None:
    """The task of a Secret; None where somebody else wrote into it."""
    try:
        data = {k: base64.b64decode(v).decode() for k, v in (secret.get("data") or {}).items()}
        told = json.loads(data[TASK])
        files = {name: data[name] for name in told["files"]}
        return task_from_json({**told, "environment": json.loads(data[ENVIRONMENT]), "files": files})
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def read_progress(secret: Object) -> Progress:
    """How far it came."""
    notes = secret["metadata"].get("annotations") or {}
    end = None
    if text := notes.get(ENDED):
        try:
            end = TaskStatus.from_json(text)
        except ValueError:
            end = None
    return Progress(str(notes.get(JOB_UID, "")), end if end is not None and end.state.ended else None)
