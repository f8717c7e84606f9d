"""Volumes as claims: what their labels and annotations mean, and the documents that change them. Pure.

A claim is known by its uid. Its name says nothing: it ends in letters of chance, and nobody is given or loses a volume
because of a name.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from kubernetes.utils.quantity import parse_quantity

from modelyard_api.quantities import quantity
from modelyard_api.volumes import HOME, Mount, SnapshotPlan, Trashed, Volume, VolumeSpec, VolumeStatus, is_home
from modelyard_hub.volumes.base import etag

Object = Mapping[str, Any]
OWNER = "modelyard.dev/owner"
VOLUME = "modelyard.dev/volume"
TRASHED = "modelyard.dev/trashed"
"""Labels. The last is `true` on what is in the trash, which no server is given."""
USER = "modelyard.dev/user"
"""Annotation of homes: when the account was made that it belongs to. An account of the same name made later is another
one's."""
SERVER, PLAN = "modelyard.dev/server", "modelyard.dev/snapshots"
AT, UNTIL, BY, GONE = (f"modelyard.dev/trashed-{word}" for word in ("at", "until", "by", "gone"))
PURGED = "modelyard.dev/purged"
"""Annotation of what is being deleted, snapshots first: nobody takes it out of the trash any more."""
NONE = "-"
"""Value of SERVER of a volume that no server has."""
HOME_PATH = "/home/jovyan"
LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"


@dataclass(frozen=True)
class Storage:
    """How claims are made; `size` as Kubernetes writes it."""

    storage_class: str = ""
    access_mode: str = "ReadWriteOnce"


def chance(count: int = 6) -> str:
    """Letters that make a name the only one."""
    return "".join(secrets.choice(LETTERS) for _ in range(count))


def labels_of(owner: str, name: str) -> dict[str, str]:
    """Labels of a volume's claim."""
    return {
        "app.kubernetes.io/name": "volume",
        "app.kubernetes.io/part-of": "modelyard",
        "app.kubernetes.io/component": "volume",
        OWNER: owner,
        VOLUME: name,
    }


def manifest(
    owner: str,
    spec: VolumeSpec,
    name: str,
    storage: Storage,
    source: str | None = None,
    more: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The claim of a new volume. `source`: the VolumeSnapshot whose files it begins with; `more`: annotations."""
    wanted: dict[str, Any] = {
        "accessModes": [storage.access_mode],
        "resources": {"requests": {"storage": quantity(spec.size or 0)}},
    }
    if storage.storage_class:
        wanted["storageClassName"] = storage.storage_class
    if source is not None:
        wanted["dataSource"] = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": source}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": f"{name}-{owner}-{chance()}" if is_home(name) else f"{owner}-{name}-{chance()}",
            "labels": labels_of(owner, name),
            "annotations": {k: v for k, v in {**annotations_of(spec), **(more or {})}.items() if v is not None},
        },
        "spec": wanted,
    }


def annotations_of(spec: VolumeSpec) -> dict[str, str | None]:
    """What of a spec is kept in annotations; None takes one away."""
    plan = spec.snapshots.model_dump_json() if spec.snapshots else None
    return {SERVER: spec.server if spec.attached else NONE, PLAN: plan}


def name_of(claim: Object) -> str | None:
    """Name of the volume; None where the claim is none of ours. Homes of earlier releases have no label for it."""
    meta = claim["metadata"]
    labels = meta.get("labels") or {}
    if OWNER not in labels:
        return None
    if VOLUME in labels:
        return str(labels[VOLUME])
    return HOME if meta["name"] == f"home-{labels[OWNER]}" else None


def is_trashed(claim: Object) -> bool:
    """Whether it is in the trash, or on its way out of the world."""
    meta = claim["metadata"]
    return (meta.get("labels") or {}).get(TRASHED) == "true" or bool(meta.get("deletionTimestamp"))


def to_trash(claim: Object, now: datetime, until: datetime, by: str, *, gone: bool = False) -> dict[str, Any]:
    """The merge patch of exactly this claim, as it is now."""
    notes = {AT: now.isoformat(timespec="seconds"), UNTIL: until.isoformat(timespec="seconds"), BY: by}
    return merge(claim, labels={TRASHED: "true"}, annotations={**notes, GONE: "true" if gone else None})


def to_purge(claim: Object) -> dict[str, Any]:
    """The merge patch with which its deletion begins. Its time is up from then on, so that what was begun is ended."""
    return merge(claim, annotations={PURGED: "true", UNTIL: datetime.now(UTC).isoformat(timespec="seconds")})


def is_purged(claim: Object) -> bool:
    """Whether its deletion has begun."""
    meta = claim["metadata"]
    return bool(meta.get("deletionTimestamp")) or (meta.get("annotations") or {}).get(PURGED) == "true"


def from_trash(claim: Object, owner: str, name: str) -> dict[str, Any]:
    """The merge patch that makes it a volume of `owner` again. It is a home of nobody: it may be another one's now."""
    notes: dict[str, str | None] = {**dict.fromkeys((AT, UNTIL, BY, GONE, USER), None), SERVER: NONE}
    return merge(claim, labels={TRASHED: None, OWNER: owner, VOLUME: name}, annotations=notes)


def merge(claim: Object, **metadata: Mapping[str, str | None]) -> dict[str, Any]:
    """A merge patch that the API server takes only while the object is this one, unchanged."""
    meta = claim["metadata"]
    same = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
    return {"metadata": {**same, **{key: dict(value) for key, value in metadata.items()}}}


def mounts(pods: Iterable[Object]) -> dict[str, tuple[Mount, ...]]:
    """Who has which claim, by the claim's name: pods that have not ended."""
    found: dict[str, tuple[Mount, ...]] = {}
    for pod in pods:
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            continue
        meta, spec = pod["metadata"], pod.get("spec") or {}
        server = (meta.get("annotations") or {}).get("hub.jupyter.org/servername")
        mount = Mount(pod=meta["name"], node=spec.get("nodeName") or "", server=server)
        for volume in spec.get("volumes") or ():
            name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if name:
                found[name] = (*found.get(name, ()), mount)
    return found


def volume(claim: Object, mounted_by: tuple[Mount, ...] = ()) -> Volume:
    """As the API shows it. Of claims for which `name_of` says a name."""
    meta, name = claim["metadata"], name_of(claim)
    assert name is not None
    labels = meta.get("labels") or {}
    spec = _spec(claim)
    home = is_home(name)
    return Volume(
        owner=labels[OWNER],
        name=name,
        id=meta["uid"],
        kind="home" if home else "data",
        made_at=moment(meta.get("creationTimestamp")) or datetime.fromtimestamp(0, UTC),
        etag=etag(meta["uid"], spec, trashed=is_trashed(claim)),
        spec=spec,
        status=_status(claim, spec, mounted_by, path_of(name)),
    )


def path_of(name: str) -> str:
    """Where servers have it."""
    return HOME_PATH if is_home(name) else f"{HOME_PATH}/volumes/{name}"


def requested(claim: Object) -> int:
    """Bytes that are asked for."""
    return _bytes(((claim.get("spec") or {}).get("resources") or {}).get("requests")) or 0


def _spec(claim: Object) -> VolumeSpec:
    server = (claim["metadata"].get("annotations") or {}).get(SERVER, "")
    return VolumeSpec(
        size=requested(claim) or None,
        server="" if server == NONE else server,
        attached=server != NONE,
        snapshots=plan_of(claim),
    )


def plan_of(claim: Object) -> SnapshotPlan | None:
    """Its own plan of snapshots; None where it has none, or none that means anything."""
    text = (claim["metadata"].get("annotations") or {}).get(PLAN)
    try:
        return SnapshotPlan.model_validate(json.loads(text)) if text else None
    except ValueError:
        return None


def _status(claim: Object, spec: VolumeSpec, mounted_by: tuple[Mount, ...], path: str) -> VolumeStatus:
    status = claim.get("status") or {}
    size = _bytes(status.get("capacity"))
    state, message = _state(status, spec.size or 0, size)
    return VolumeStatus(
        state=state,
        message=message,
        size=size,
        mounted_by=mounted_by,
        path=path,
        trashed=trashed(claim),
    )


def _state(status: Object, wanted: int, size: int | None) -> tuple[Literal["pending", "ready", "growing", "lost"], str]:
    phase = status.get("phase")
    if phase == "Lost":
        return "lost", "Its disk is gone: an administrator has to look."
    if phase != "Bound" or size is None:
        return "pending", "It is made when a server first has it."
    if size >= wanted:
        return "ready", ""
    failed = (status.get("allocatedResourceStatuses") or {}).get("storage") or ""
    if failed.endswith("Infeasible"):
        return "growing", "The storage cannot make it that large: an administrator has to look."
    waiting = [c["type"] for c in status.get("conditions") or () if c.get("status") == "True"]
    if "FileSystemResizePending" in waiting:
        return "growing", "Its disk has grown; its file system grows while a server has it."
    return "growing", "It is growing."


def trashed(claim: Object) -> Trashed | None:
    """Since when, until when; None where it is not in the trash. What says no time is kept for ever."""
    if not is_trashed(claim):
        return None
    notes = claim["metadata"].get("annotations") or {}
    at = moment(notes.get(AT)) or moment(claim["metadata"].get("deletionTimestamp")) or datetime.max.replace(tzinfo=UTC)
    until = moment(notes.get(UNTIL)) or datetime.max.replace(tzinfo=UTC)
    return Trashed(at=at, until=until, by=notes.get(BY, ""), gone=notes.get(GONE) == "true")


def moment(text: str | None) -> datetime | None:
    """Of what Kubernetes writes, or we; None where it is no time with a zone."""
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _bytes(resources: Object | None) -> int | None:
    storage = (resources or {}).get("storage")
    return None if storage is None else int(parse_quantity(storage))
