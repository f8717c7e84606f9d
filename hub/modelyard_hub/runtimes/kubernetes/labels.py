"""Labels and annotations of the runtime's objects. Pure."""

from __future__ import annotations

from modelyard_hub.runtimes.base import Server
from modelyard_hub.runtimes.task import Task

MANAGED_BY = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/component"
INSTANCE = "app.kubernetes.io/instance"
TEMPLATE = "modelyard.dev/template"
FILES = "modelyard.dev/files"
JOB_UID = "modelyard.dev/job"
ENDED = "modelyard.dev/ended"
KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"

OURS = {MANAGED_BY: "modelyard", COMPONENT: "model-server"}
TASKS = {MANAGED_BY: "modelyard", COMPONENT: "task"}
SELECTOR = f"{MANAGED_BY}=modelyard,{COMPONENT} in (model-server,task)"
"""What the runtime lists and watches by."""


def object_labels(server: Server) -> dict[str, str]:
    """Labels of all objects of a server, its pods included."""
    named = {"app.kubernetes.io/name": "model-server", "app.kubernetes.io/part-of": "modelyard"}
    return {**server.labels, **named, **OURS, INSTANCE: server.name}


def task_labels(task: Task) -> dict[str, str]:
    """Labels of all objects of a task, its pod included."""
    named = {"app.kubernetes.io/name": "task", "app.kubernetes.io/part-of": "modelyard"}
    return {**task.labels, **named, **TASKS, INSTANCE: task.name}


def selector(server: Server) -> dict[str, str]:
    """By what its Deployment and Service know their pods; a Deployment's can never change."""
    return {**OURS, INSTANCE: server.name}
