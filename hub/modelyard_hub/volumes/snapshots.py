"""Snapshots as the cluster's VolumeSnapshots, and which of them the clock asks for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from modelyard_api.volumes import Snapshot, SnapshotPlan, Volume
from modelyard_hub.volumes.claims import OWNER, VOLUME, chance, moment

ID, PLANNED = "modelyard.dev/volume-id", "modelyard.dev/planned"
"""Labels: the volume's id, whatever has its name later; `true` where the clock asked for it."""


def manifest(volume: Volume, claim: str, kind: str, planned: bool) -> dict[str, Any]:
    """A snapshot of that claim; `kind`: the class, empty for the default one."""
    source: dict[str, Any] = {"source": {"persistentVolumeClaimName": claim}}
    return {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {
            "name": f"{volume.owner}-{volume.name}-{chance()}",
            "labels": {
                "app.kubernetes.io/name": "snapshot",
                "app.kubernetes.io/part-of": "modelyard",
                OWNER: volume.owner,
                VOLUME: volume.name,
                ID: volume.id,
                PLANNED: "true" if planned else "false",
            },
        },
        "spec": source | ({"volumeSnapshotClassName": kind} if kind else {}),
    }


def snapshot(found: Mapping[str, Any]) -> Snapshot:
    """As the API shows it."""
    meta, status = found["metadata"], found.get("status") or {}
    labels = meta.get("labels") or {}
    size = status.get("restoreSize")
    return Snapshot(
        name=meta["name"],
        id=meta["uid"],
        owner=labels.get(OWNER, ""),
        volume=labels.get(VOLUME, ""),
        volume_id=labels.get(ID, ""),
        made_at=moment(status.get("creationTime"))
        or moment(meta.get("creationTimestamp"))
        or datetime.fromtimestamp(0, UTC),
        planned=labels.get(PLANNED) == "true",
        ready=bool(status.get("readyToUse")),
        size=None if size is None else int(parse_quantity(size)),
        message=str((status.get("error") or {}).get("message") or ""),
    )


def due(volume: Volume, snapshots: Iterable[Snapshot], usual: SnapshotPlan | None, now: datetime) -> bool:
    """Whether the clock asks for one now: of a volume that has a disk, by its own plan, or a home's usual one."""
    plan = plan_of(volume, usual)
    if plan is None or volume.status.trashed is not None or volume.status.size is None:
        return False
    latest = max((s.made_at for s in _planned(volume, snapshots)), default=None)
    return latest is None or now - latest >= timedelta(hours=plan.every_hours)


def too_many(volume: Volume, snapshots: Collection[Snapshot], usual: SnapshotPlan | None) -> list[Snapshot]:
    """Those of the clock's that its plan does not keep. Without a plan all stay: nobody said that they may go."""
    plan = plan_of(volume, usual)
    if plan is None or volume.status.trashed is not None:
        return []
    ready = sorted((s for s in _planned(volume, snapshots) if s.ready), key=lambda s: s.made_at, reverse=True)
    return ready[plan.keep :]


def plan_of(volume: Volume, usual: SnapshotPlan | None) -> SnapshotPlan | None:
    """A volume's own plan; of homes, else the usual one."""
    return volume.spec.snapshots or (usual if volume.kind == "home" else None)


def _planned(volume: Volume, snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    return [s for s in snapshots if s.planned and s.volume_id == volume.id]
