"""What is kept of an object that was seen: with a thousand endpoints, the rest is most of the memory. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard_hub.runtimes.kubernetes.kinds import DEPLOYMENT, POD, SECRET, Kind, Object
from modelyard_hub.runtimes.kubernetes.manifests import MANAGER

_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "ownerReferences",
)
_OF_POD = ("nodeName", "containers")


def slim(kind: Kind, found: Object) -> Object:
    """The object without who set which field when, and a pod without what its Deployment says anyway."""
    meta: Mapping[str, Any] = found["metadata"]
    kept = {key: meta[key] for key in _METADATA if key in meta}
    if kind is DEPLOYMENT and "managedFields" in meta:
        kept["managedFields"] = [_replicas(entry) for entry in meta["managedFields"] if entry.get("manager") == MANAGER]
    if kind is SECRET and "annotations" in meta:
        kept["annotations"] = meta["annotations"]  # how far a task is
    made = {**found, "metadata": kept}
    if kind is POD and "spec" in found:
        made["spec"] = _pod_spec(found["spec"])
    return made


def _replicas(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Whether it holds `spec.replicas`, and nothing else of it."""
    spec = (entry.get("fieldsV1") or {}).get("f:spec") or {}
    fields = {"f:spec": {key: spec[key] for key in ("f:replicas",) if key in spec}}
    return {"manager": entry["manager"], "operation": entry.get("operation"), "fieldsV1": fields}


def _pod_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: spec[key] for key in _OF_POD if key in spec}
    kept["containers"] = [
        {key: container[key] for key in ("name", "resources") if key in container} for container in spec["containers"]
    ]
    return kept
