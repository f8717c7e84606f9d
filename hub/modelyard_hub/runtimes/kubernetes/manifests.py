"""The objects of a workload, as they should be. Pure."""

from __future__ import annotations

from typing import Any

from modelyard_hub.runtimes.base import Server
from modelyard_hub.runtimes.kubernetes.kinds import AUTOSCALER, BUDGET, DEPLOYMENT, SECRET, SERVICE, Kind, Object
from modelyard_hub.runtimes.kubernetes.labels import object_labels, selector
from modelyard_hub.runtimes.kubernetes.options import KubernetesOptions
from modelyard_hub.runtimes.kubernetes.pods import PORT, pod_template

MANAGER = "modelyard"


def scales(server: Server) -> bool:
    """Whether the cluster chooses the number of replicas."""
    return server.max_replicas > server.replicas


def objects(
    server: Server, record: Object, live: Object | None, options: KubernetesOptions
) -> list[tuple[Kind, dict[str, Any]]]:
    """All that `record` (the server's Secret, as it is in the cluster) owns, in the order in which to make it.

    `live` is the Deployment as it is, None where there is none."""
    made = [(SERVICE, service(server)), (BUDGET, budget(server))]
    if scales(server):
        made.append((AUTOSCALER, autoscaler(server, options)))
    made.append((DEPLOYMENT, deployment(server, options, replicas(server, live))))
    for kind, manifest in made:
        manifest["apiVersion"], manifest["kind"] = kind.api_version, kind.name
        manifest["metadata"] = _metadata(server, record)
    made[0][1]["metadata"]["name"] = service_name(server.name)
    return made


def service_name(workload: str) -> str:
    """A Service's name begins with a letter, and an owner's need not."""
    return workload if workload[0].isalpha() else f"m{workload}"


def deployment(server: Server, options: KubernetesOptions, replicas: int | None) -> dict[str, Any]:
    """`replicas` None leaves their number to the autoscaler."""
    spec: dict[str, Any] = {
        "revisionHistoryLimit": 1,
        "selector": {"matchLabels": selector(server)},
        # A new replica is ready before an old one leaves.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": pod_template(server, options),
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"spec": spec}


def service(server: Server) -> dict[str, Any]:
    """For callers inside the cluster; the router goes to the pods themselves."""
    port = {"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}
    return {"spec": {"type": "ClusterIP", "selector": selector(server), "ports": [port]}}


def budget(server: Server) -> dict[str, Any]:
    """One at a time may be moved, also the only one: a node that could never be drained helps nobody."""
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": selector(server)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return {"spec": spec}


def autoscaler(server: Server, options: KubernetesOptions) -> dict[str, Any]:
    """Between min and max replicas by CPU."""
    # Kubernetes counts in percent of what a pod is sure of, not of its limit.
    target = {"type": "Utilization", "averageUtilization": round(options.autoscale_cpu / options.cpu_share)}
    spec = {
        "scaleTargetRef": {"apiVersion": DEPLOYMENT.api_version, "kind": DEPLOYMENT.name, "name": server.name},
        "minReplicas": server.replicas,
        "maxReplicas": server.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return {"spec": spec}


def replicas(server: Server, live: Object | None) -> int | None:
    """What to say of a Deployment's replicas.

    Where the autoscaler chooses, nothing: it would be set back at each apply. But a field that we set once and then
    leave out goes back to its default, 1; so while it is still ours we say what it is, until the autoscaler's first
    change takes it over.
    """
    if not scales(server):
        return server.replicas
    if live is None:
        return server.replicas
    if not _replicas_are_ours(live):
        return None
    now = int(live.get("spec", {}).get("replicas", server.replicas))
    return min(max(now, server.replicas), server.max_replicas)


def _replicas_are_ours(live: Object) -> bool:
    return any(
        entry.get("manager") == MANAGER
        and entry.get("operation") == "Apply"
        and "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
        for entry in live.get("metadata", {}).get("managedFields") or ()
    )


def _metadata(server: Server, record: Object) -> dict[str, Any]:
    return {**owned_by(record), "name": server.name, "labels": object_labels(server)}


def owned_by(record: Object) -> dict[str, Any]:
    """The part of an object's metadata by which it goes with its workload's record."""
    meta = record["metadata"]
    owner = {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.name,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {"namespace": meta["namespace"], "ownerReferences": [owner]}
