"""The pod of a replica, as its Deployment makes it. Pure."""

from __future__ import annotations

import math
from typing import Any

from modelyard_api.names import grpc_port
from modelyard_api.resources import Resources
from modelyard_hub.runtimes.base import Server
from modelyard_hub.runtimes.environment import ACCESS_FILE, Place, server_environment
from modelyard_hub.runtimes.kubernetes.labels import TEMPLATE, object_labels, selector
from modelyard_hub.runtimes.kubernetes.options import KubernetesOptions

PORT = 8080
CONTAINER = "server"
FETCH = "fetch"
MOUNT = "/package"
PACKAGE = f"{MOUNT}/model"
"""A folder below the mount: fetching makes it, whole or not at all."""
FILES_FOLDER = "/etc/modelyard"
USER = 1000
TMP_SIZE = "1Gi"
_KILL_GRACE = 5
LOCKED_DOWN = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
}


def pod_template(server: Server, options: KubernetesOptions) -> dict[str, Any]:
    """The template; equal for servers of equal template digest."""
    timing = options.timing
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": timing.grace,
        "securityContext": pod_security(),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector(server)},
                "matchLabelKeys": ["pod-template-hash"],
            }
        ],
        "initContainers": [_fetch(server, options)],
        "containers": [_server(server, options)],
        "volumes": _volumes(server, options),
    }
    if options.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in options.image_pull_secrets]
    if options.priority_class:
        spec["priorityClassName"] = options.priority_class
    if server.resources.gpu:
        spec["tolerations"] = [{"key": options.gpu_resource, "operator": "Exists", "effect": "NoSchedule"}]
    return {
        "metadata": {"labels": object_labels(server), "annotations": {TEMPLATE: server.template_digest()}},
        "spec": spec,
    }


def pod_security() -> dict[str, Any]:
    """What Kubernetes' restricted standard asks of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _fetch(server: Server, options: KubernetesOptions) -> dict[str, Any]:
    """Fetches the package; only it sees the artifact store and its keys."""
    mounts = [{"name": "package", "mountPath": MOUNT}, {"name": "tmp", "mountPath": "/tmp"}]
    if options.artifacts_claim:
        mounts.append({"name": "artifacts", "mountPath": options.artifacts, "readOnly": True})  # type: ignore[dict-item]
    container: dict[str, Any] = {
        "name": FETCH,
        "image": options.image_for(server.package.flavor),
        "imagePullPolicy": options.image_pull_policy,
        "command": [*options.fetch, server.package.location, PACKAGE],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "resources": limits(server.resources, options, gpu=False),
        "securityContext": LOCKED_DOWN,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
    if options.artifacts_secret:
        container["envFrom"] = [{"secretRef": {"name": options.artifacts_secret}}]
    return container


def _server(server: Server, options: KubernetesOptions) -> dict[str, Any]:
    mounts: list[dict[str, Any]] = [
        {"name": "package", "mountPath": MOUNT, "readOnly": True},
        {"name": "shm", "mountPath": "/dev/shm"},
        {"name": "tmp", "mountPath": "/tmp"},
        # The whole folder: a file that is mounted by itself never changes.
        {"name": "files", "mountPath": FILES_FOLDER, "readOnly": True},
    ]
    ports = [{"name": "http", "containerPort": PORT, "protocol": "TCP"}]
    if options.grpc:
        ports.append({"name": "grpc", "containerPort": grpc_port(PORT), "protocol": "TCP"})
    container = {
        "name": CONTAINER,
        "image": options.image_for(server.package.flavor),
        "imagePullPolicy": options.image_pull_policy,
        "env": _environment(server, options),
        "ports": ports,
        "resources": limits(server.resources, options, gpu=True),
        "securityContext": LOCKED_DOWN,
        "lifecycle": {"preStop": {"sleep": {"seconds": math.ceil(options.timing.notice)}}},
        # The last lines of a crash are then part of the pod's status: nobody has to ask for them.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
        **_probes(options),
    }
    if options.command:
        container["command"] = list(options.command)
    if options.timing.notice <= 0:
        del container["lifecycle"]
    return container


def _environment(server: Server, options: KubernetesOptions) -> list[dict[str, str]]:
    place = Place(
        package=PACKAGE,
        host="0.0.0.0",
        port=PORT,
        access=f"{FILES_FOLDER}/{ACCESS_FILE}",
        max_body=options.max_body,
        start_timeout=options.timing.start_timeout,
        drain_timeout=options.timing.drain_timeout,
        watch=options.watch,
        grpc=options.grpc,
    )
    variables = {"HOME": "/tmp", **server_environment(server, place)}
    # Kubernetes would put in the value of a variable where `$(NAME)` stands.
    return [{"name": k, "value": v.replace("$(", "$$(")} for k, v in sorted(variables.items())]


def _probes(options: KubernetesOptions) -> dict[str, Any]:
    timing = options.timing

    def ask(path: str, period: int, failures: int, **more: Any) -> dict[str, Any]:
        return {
            "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
            "periodSeconds": period,
            "timeoutSeconds": timing.probe_timeout,
            "failureThreshold": failures,
            **more,
        }

    starts = max(1, math.ceil(timing.start_timeout / timing.starting_poll))
    # One that answers no more has nothing to drain.
    kill = {"terminationGracePeriodSeconds": _KILL_GRACE}
    return {
        "startupProbe": ask("/v2/health/ready", timing.starting_poll, starts, **kill),
        "readinessProbe": ask("/v2/health/ready", timing.ready_poll, 2),
        "livenessProbe": ask("/v2/health/live", timing.live_poll, 3, **kill),
    }


def limits(resources: Resources, options: KubernetesOptions, *, gpu: bool) -> dict[str, Any]:
    """What a container may use, and what it is sure of."""
    most = {"cpu": cpu(resources.cpu), "memory": str(resources.memory)}
    if gpu and resources.gpu:
        most[options.gpu_resource] = str(resources.gpu)
    return {"requests": {**most, "cpu": cpu(resources.cpu * options.cpu_share)}, "limits": most}


def _volumes(server: Server, options: KubernetesOptions) -> list[dict[str, Any]]:
    # Shared memory counts as the container's own, so it must leave room for the rest of it.
    shm = str(min(options.shm, server.resources.memory // 2))
    volumes: list[dict[str, Any]] = [
        {"name": "package", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {"sizeLimit": TMP_SIZE}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": shm}},
        {"name": "files", "secret": {"secretName": server.name}},
    ]
    if options.artifacts_claim:
        # Read-only as a volume too, or each pod's start would change the owner of every file in it.
        claim = {"claimName": options.artifacts_claim, "readOnly": True}
        volumes.append({"name": "artifacts", "persistentVolumeClaim": claim})
    return volumes


def cpu(cores: float) -> str:
    """Cores as the API writes them: whole ones plainly, else thousandths."""
    milli = max(1, round(cores * 1000))
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"
