"""A folder out of a snapshot into a volume, as a Job: its manifests, and what it says. Pure.

The snapshot is mounted as a claim of its own, which the Job owns: it goes with the Job, an hour after that has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, Literal

from modelyard_api.quantities import quantity
from modelyard_api.volumes import Restoring, Snapshot, Volume
from modelyard_hub.volumes.claims import OWNER, VOLUME, Storage, chance
from modelyard_hub.volumes.snapshots import ID

MANAGED = {"app.kubernetes.io/managed-by": "modelyard-volumes"}
SELECTOR = "app.kubernetes.io/managed-by=modelyard-volumes"
NOTES = {field: f"modelyard.dev/{field}" for field in ("snapshot", "folder", "into")}
ACCOUNT = 1000
KEPT, LONGEST = 3600, 6 * 3600
_SCRIPT = files(__package__).joinpath("copying.py").read_text(encoding="utf-8")


def job(volume: Volume, claim: str, order: Restoring, image: str, pull: Mapping[str, Any]) -> dict[str, Any]:
    """The Job. `claim`: of the volume; `pull`: what of a pod says how its image is got."""
    name = f"restore-{volume.owner}-{chance()}"
    # As a task's, for whom the chart's NetworkPolicy is.
    labels = {
        **MANAGED,
        "app.kubernetes.io/name": "restore",
        "app.kubernetes.io/part-of": "modelyard",
        "app.kubernetes.io/component": "task",
        OWNER: volume.owner,
        VOLUME: volume.name,
        ID: volume.id,
    }
    notes = {NOTES[field]: getattr(order, field) for field in NOTES}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels, "annotations": notes},
        "spec": {
            "backoffLimit": 1,
            "activeDeadlineSeconds": LONGEST,
            "ttlSecondsAfterFinished": KEPT,
            "template": {"metadata": {"labels": labels}, "spec": _pod(name, claim, order, image, pull)},
        },
    }


def _pod(name: str, claim: str, order: Restoring, image: str, pull: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": ACCOUNT,
            "runAsGroup": ACCOUNT,
            "fsGroup": ACCOUNT,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "imagePullSecrets": [{"name": secret} for secret in pull.get("secrets", ())],
        "containers": [
            {
                "name": "copy",
                "image": image,
                "imagePullPolicy": pull.get("policy", "IfNotPresent"),
                "command": ["python3", "-c", _SCRIPT],
                "env": [{"name": "FOLDER", "value": order.folder}, {"name": "INTO", "value": order.into}],
                "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "from", "mountPath": "/from", "readOnly": True},
                    {"name": "to", "mountPath": "/to"},
                ],
            }
        ],
        "volumes": [
            {"name": "from", "persistentVolumeClaim": {"claimName": name}},
            {"name": "to", "persistentVolumeClaim": {"claimName": claim}},
        ],
    }


def source(made: Mapping[str, Any], snapshot: Snapshot, size: int, storage: Storage) -> dict[str, Any]:
    """The claim of a snapshot's files, owned by the Job as it was `made`, of at least `size` bytes."""
    meta = made["metadata"]
    spec: dict[str, Any] = {
        "accessModes": [storage.access_mode],
        "resources": {"requests": {"storage": quantity(max(size, snapshot.size or 0))}},
        "dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": snapshot.name},
    }
    if storage.storage_class:
        spec["storageClassName"] = storage.storage_class
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": meta["name"], "labels": dict(MANAGED), "ownerReferences": [owner]},
        "spec": spec,
    }


def restoring(jobs: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Restoring, ...]]:
    """What is copied, or was within the hour, by the volume's id."""
    said = {name: text for pod in pods for name, text in _said(pod)}
    found: dict[str, tuple[Restoring, ...]] = {}
    for job in sorted(jobs, key=lambda job: job["metadata"].get("creationTimestamp") or ""):
        meta, notes = job["metadata"], job["metadata"].get("annotations") or {}
        state, message = _state(job, said.get(meta["name"], ""))
        one = Restoring(state=state, message=message, **{field: notes.get(key, "") for field, key in NOTES.items()})
        volume = (meta.get("labels") or {}).get(ID, "")
        found[volume] = (*found.get(volume, ()), one)
    return found


def _state(job: Mapping[str, Any], said: str) -> tuple[Literal["running", "succeeded", "failed"], str]:
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("status") == "True" and condition["type"] in ("Complete", "SuccessCriteriaMet"):
            return "succeeded", said
        if condition.get("status") == "True" and condition["type"] in ("Failed", "FailureTarget"):
            return "failed", said or str(condition.get("message") or "")
    return "running", ""


def _said(pod: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    name = (pod["metadata"].get("labels") or {}).get("job-name", "")
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        ended = (status.get("state") or {}).get("terminated") or {}
        if ended.get("message"):
            yield name, str(ended["message"])
