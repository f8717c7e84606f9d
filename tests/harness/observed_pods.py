"""A small server, and pods of it as a cluster would show them."""

from __future__ import annotations

from typing import Any

from modelyard_api.resources import MiB, Resources
from modelyard_hub.backoff import Backoff
from modelyard_hub.runtimes.base import Package, Server
from modelyard_hub.runtimes.kubernetes import Timing
from modelyard_hub.runtimes.kubernetes.labels import object_labels

QUICK = Timing(request=2.0, watch=1.0, silence=0.5, backoff=Backoff(first=0.02, cap=0.1))


def small_server(**changes: Any) -> Server:
    """A server as the reconciler orders it; the same one each time but for `changes`."""
    told: dict[str, Any] = {
        "name": "ada-churn-r1",
        "endpoint": "churn",
        "package": Package("/artifacts/7", "ada.churn", "7"),
        "resources": Resources(cpu=0.5, memory=256 * MiB),
        "files": {"access.json": '{"owner":"ada"}'},
        "labels": {
            "modelyard.dev/owner": "ada",
            "modelyard.dev/endpoint": "churn",
            "modelyard.dev/revision": "1",
        },
    }
    return Server(**{**told, **changes})


def pod(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A pod of the small server: scheduled, its container running, not ready; `changes` go into its status."""
    status: dict[str, Any] = {
        "phase": "Running",
        "podIP": f"10.0.0.{number + 1}",
        "conditions": conditions(Ready="False", ContainersReady="False", PodScheduled="True"),
        "initContainerStatuses": [container("fetch", state={"terminated": {"exitCode": 0}})],
        "containerStatuses": [container("server", state={"running": {}})],
    }
    return {
        "metadata": {
            "name": f"ada-churn-r1-{number}",
            "namespace": "yard",
            "uid": f"pod-{number}",
            "resourceVersion": "1",
            "creationTimestamp": f"2026-01-01T00:00:{number:02d}Z",
            "labels": object_labels(small_server()),
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "server", "resources": {"limits": {"memory": str(256 * MiB)}}}],
        },
        "status": {**status, **changes},
    }


def ready_pod(number: int = 0) -> dict[str, Any]:
    """A pod that is ready for calls."""
    return pod(number, conditions=conditions(Ready="True", ContainersReady="True", PodScheduled="True"))


def crashed_pod(code: int, restarts: int = 1, **end: Any) -> dict[str, Any]:
    """A pod whose server ended and waits to be started again."""
    last = {"terminated": {"exitCode": code, "reason": "Error", **end}}
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    return pod(containerStatuses=[container("server", restartCount=restarts, state=state, lastState=last)])


def container(name: str, **changes: Any) -> dict[str, Any]:
    """What a pod says of a container."""
    return {"name": name, "restartCount": 0, **changes}


def conditions(**statuses: str) -> list[dict[str, Any]]:
    """Conditions by type."""
    return [{"type": k, "status": v, "lastTransitionTime": "2026-01-01T00:01:00Z"} for k, v in statuses.items()]
