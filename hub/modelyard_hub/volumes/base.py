"""What keeps volumes: a cluster, or this machine. One contract suite holds both to it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from modelyard_api.errors import Conflict
from modelyard_api.volumes import Mount, Restoring, Snapshot, Volume, VolumeSpec


def etag(key: str, spec: VolumeSpec, *, trashed: bool) -> str:
    """Of what is wanted only: it does not change with the status."""
    return f'"{hashlib.sha256(f"{key} {spec.model_dump_json()} {trashed}".encode()).hexdigest()[:16]}"'


def mounted(held: Collection[Mount]) -> Conflict:
    """Somebody has it."""
    who = ", ".join(f"{one.pod} on {one.node}" if one.node else one.pod for one in held)
    return Conflict(f"it is mounted by {who}", remedy="Stop that server first.")


class Disks(Protocol):
    """Volumes, by their ids: what has a volume's name later is another one. All raise ModelyardError.

    A volume that was read before is changed only while it is as it was then in what is wanted: StaleWrite, or NotFound.
    """

    grows: bool
    """Whether volumes have a size that is kept to."""

    async def open(self) -> None:
        """Connect; nothing is made or changed."""

    async def close(self) -> None:
        """Let go; volumes stay."""

    async def volumes(self, owners: Collection[str] | None) -> list[Volume]:
        """Of these owners (None: of all), those in the trash too."""

    async def create(self, owner: str, name: str, spec: VolumeSpec, snapshot: Snapshot | None = None) -> Volume:
        """A new one, with a snapshot's files."""

    async def write(self, volume: Volume, spec: VolumeSpec) -> Volume:
        """What is wanted, anew."""

    async def trash(self, volume: Volume, now: datetime, until: datetime, by: str) -> Volume:
        """No server is given it any more. Conflict while somebody has it."""

    async def recover(self, volume: Volume, owner: str, name: str) -> Volume:
        """Out of the trash; it belongs to no server until that is written."""

    async def purge(self, volume: Volume) -> None:
        """Delete it, with its snapshots, for ever: only out of the trash, and not while somebody has it: Conflict."""

    async def no_snapshots(self) -> str:
        """Why there are none here, with what would help; empty where there are."""

    async def snapshots(self, owners: Collection[str] | None) -> list[Snapshot]:
        """Of these owners' volumes (None: of all), newest first."""

    async def snapshot(self, volume: Volume, *, planned: bool = False) -> Snapshot:
        """One of a volume as it is now; Unavailable where there are none."""

    async def drop(self, snapshot: Snapshot) -> None:
        """Delete a snapshot."""

    async def copy(self, snapshot: Snapshot, volume: Volume, order: Restoring) -> None:
        """Begin to copy a folder out of a snapshot. Conflict while somebody has the volume."""
