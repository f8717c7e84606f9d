"""Snapshots as the cluster's VolumeSnapshots. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from modelyard_api.volumes import Snapshot, Volume
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
