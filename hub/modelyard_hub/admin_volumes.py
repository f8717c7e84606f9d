"""What an administrator of this machine does with volumes, over the public API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard_api.quantities import show_bytes
from modelyard_api.volumes import Snapshot, SnapshotList, Volume, VolumeList
from modelyard_hub.admin import Admin

Rows = list[dict[str, Any]]


class VolumesAdmin(Admin):
    """Each method returns rows to print."""

    def listed(self) -> Rows:
        """All that are in use."""
        return [_row(one) for one in VolumeList.model_validate_json(self._api("GET", "/volumes").content).items]

    def create(self, owner: str, name: str, size: int | None, server: str) -> Rows:
        """A further one."""
        return self._volume("POST", "/volumes", json={"owner": owner, "name": name, "size": size, "server": server})

    def grow(self, owner: str, name: str, size: int) -> Rows:
        """Have it be of `size` bytes."""
        body = {"spec": {"size": size}}
        return self._volume("PATCH", f"/volumes/{owner}/{name}", json=body, headers=self._match(owner, name))

    def snapshots(self, owner: str, name: str) -> Rows:
        """Newest first."""
        answer = self._api("GET", f"/volumes/{owner}/{name}/snapshots")
        return [_snapshot(one) for one in SnapshotList.model_validate_json(answer.content).items]

    def snapshot(self, owner: str, name: str) -> Rows:
        """One more."""
        answer = self._api("POST", f"/volumes/{owner}/{name}/snapshots")
        return [_snapshot(Snapshot.model_validate_json(answer.content))]

    def restore(self, owner: str, name: str, order: Mapping[str, Any]) -> Rows:
        """See `RestoreOrder`; the volume that gets the files."""
        return self._volume("POST", f"/volumes/{owner}/{name}/restore", json=dict(order))

    def trash(self, owner: str, name: str) -> Rows:
        """Put it there."""
        return self._volume("DELETE", f"/volumes/{owner}/{name}", headers=self._match(owner, name))

    def trashed(self) -> Rows:
        """All that are there."""
        found = VolumeList.model_validate_json(self._api("GET", "/trash").content).items
        return [_put(one) for one in found]

    def recover(self, key: str, order: Mapping[str, Any]) -> Rows:
        """Take it out."""
        return self._volume("POST", f"/trash/{key}/recover", json=dict(order))

    def _volume(self, method: str, path: str, **arguments: Any) -> Rows:
        return [_row(Volume.model_validate_json(self._api(method, path, **arguments).content))]

    def _match(self, owner: str, name: str) -> dict[str, str]:
        return {"If-Match": str(self._api("GET", f"/volumes/{owner}/{name}").headers["etag"])}


def _row(volume: Volume) -> dict[str, Any]:
    status = volume.status
    size = status.size or volume.spec.size
    wanted = volume.spec.size if status.size and (volume.spec.size or 0) > status.size else None
    said = [status.message, *(f"{one.folder}: {one.state} {one.message}".strip() for one in status.restoring)]
    return {
        "owner": volume.owner,
        "volume": volume.name,
        "kind": volume.kind,
        "size": _bytes(size) + (f" → {_bytes(wanted)}" if wanted else ""),
        "used": _bytes(status.used),
        "state": status.state,
        "mounted by": ", ".join(mount.pod for mount in status.mounted_by),
        "says": "; ".join(text for text in said if text),
    }


def _snapshot(one: Snapshot) -> dict[str, Any]:
    return {
        "snapshot": one.name,
        "volume": f"{one.owner}/{one.volume}",
        "made": one.made_at.isoformat(timespec="seconds"),
        "size": _bytes(one.size),
        "state": "ready" if one.ready else (one.message or "being taken"),
        "by": "the clock" if one.planned else "hand",
    }


def _put(volume: Volume) -> dict[str, Any]:
    put = volume.status.trashed
    return {
        "id": volume.id,
        "owner": volume.owner,
        "volume": volume.name,
        "size": _bytes(volume.status.size or volume.status.used),
        "kept until": put.until.date().isoformat() if put else "",
        "by": put.by if put else "",
        "account": "deleted" if put and put.gone else "",
    }


def _bytes(count: int | None) -> str:
    return "" if count is None else show_bytes(count)
