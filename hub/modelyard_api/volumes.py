"""Volumes: disks that outlive notebook servers, their snapshots, and the trash."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, model_validator

from modelyard_api.bounds import Strict
from modelyard_api.errors import InvalidName
from modelyard_api.names import Label
from modelyard_api.quantities import Bytes
from modelyard_api.resources import MiB

HOME = "home"
"""Name of the volume that the default server has as its home; a named server's is `home-<server>`."""
Size = Annotated[Bytes, Field(ge=MiB, description="Bytes, or such as `20Gi`.", examples=["20Gi"])]


def home_of(server: str) -> str:
    """Name of the home volume of a server; the default one's name is empty."""
    return f"{HOME}-{server}" if server else HOME


def is_home(name: str) -> bool:
    """Whether that name is kept for homes."""
    return name == HOME or name.startswith(f"{HOME}-")


def check_name(name: str) -> str:
    """`name`, if a volume that somebody makes may have it; InvalidName."""
    if is_home(name):
        raise InvalidName(f"{name!r} is kept for homes", remedy="Choose a name that does not begin with 'home'.")
    return name


class SnapshotPlan(Strict):
    """Snapshots by the clock: one every so many hours, of which the latest are kept."""

    every_hours: Annotated[int, Field(ge=1, le=24 * 366)] = 24
    keep: Annotated[int, Field(ge=1, le=366, description="How many of these; older ones are deleted.")] = 7


class VolumeSpec(Strict):
    """What is wanted. `size` is None where nothing bounds it."""

    size: Annotated[Size | None, Field(description="It can grow, never shrink.")] = None
    server: Annotated[str, Field(max_length=64, description="Server that has it; empty: the default one.")] = ""
    attached: Annotated[bool, Field(description="Whether that server has it, from its next start on.")] = True
    snapshots: SnapshotPlan | None = None


class Mount(Strict):
    """A pod, or a server of this machine, that has it now."""

    pod: str
    node: str = ""
    server: str | None = None


class Trashed(Strict):
    """Since when it is in the trash, until when it is kept, who put it there. `gone`: its owner's account is deleted,
    so that it is the administrators' to give."""

    at: datetime
    until: datetime
    by: str = ""
    gone: bool = False


class Restoring(Strict):
    """A folder that is copied out of a snapshot into this volume."""

    snapshot: str
    folder: str
    into: str
    state: Literal["running", "succeeded", "failed"]
    message: str = ""


class VolumeStatus(Strict):
    """What is observed. `size`: bytes that there are; `used`: bytes, counted at `counted_at`; `path`: where servers
    have it."""

    state: Literal["pending", "ready", "growing", "lost"] = "ready"
    message: str = ""
    size: int | None = None
    used: int | None = None
    counted_at: datetime | None = None
    mounted_by: tuple[Mount, ...] = ()
    path: str = ""
    trashed: Trashed | None = None
    restoring: tuple[Restoring, ...] = ()


class Volume(Strict):
    """A volume. `id` is its own for ever; its name is not: what is in the trash lets it go."""

    owner: str
    name: str
    id: str
    kind: Literal["home", "data", "shared"]
    made_at: datetime
    etag: str
    spec: VolumeSpec = VolumeSpec()
    status: VolumeStatus = VolumeStatus()


class VolumeList(Strict):
    """`snapshots_missing`: why there are no snapshots here; empty where there are."""

    items: tuple[Volume, ...]
    snapshots_missing: str = ""


class VolumeCreate(Strict):
    """A further volume; with `snapshot`, one with its files, at least of its size."""

    owner: Annotated[Label | None, Field(description="By default the caller.")] = None
    name: Label
    size: Size | None = None
    server: Annotated[str, Field(max_length=64)] = ""
    attached: bool = True
    snapshot: Annotated[str | None, Field(max_length=253, description="Name of one to begin with.")] = None


class Snapshot(Strict):
    """A volume as it was. `size`: bytes that a volume with its files needs. `planned`: made by the clock."""

    name: str
    id: str
    owner: str
    volume: str
    volume_id: str
    made_at: datetime
    planned: bool = False
    ready: bool = False
    size: int | None = None
    message: str = ""


class SnapshotList(Strict):
    """Newest first."""

    items: tuple[Snapshot, ...]


class RestoreOrder(Strict):
    """Files out of a snapshot: all of them as a new volume named `volume`, or `folder` alone into that volume, which
    is made where there is none and must not be mounted."""

    snapshot: Annotated[str, Field(max_length=253)]
    volume: Label
    folder: Annotated[str | None, Field(max_length=1024, examples=["work/churn"])] = None
    into: Annotated[
        str, Field(max_length=1024, description="Folder of the volume, made where it is missing; what is there stays.")
    ] = "restored"

    @model_validator(mode="after")
    def _inside(self) -> RestoreOrder:
        for field in ("folder", "into"):
            value = getattr(self, field)
            if value is not None and (value.startswith("/") or ".." in value.split("/") or "\0" in value):
                raise ValueError(f"`{field}` is a path inside the volume, without '..' and not beginning with '/'")
        return self


class RecoverOrder(Strict):
    """Out of the trash, by default as what it was. Only administrators give it to another owner."""

    name: Label | None = None
    owner: Label | None = None


class Usage(Strict):
    """How full a volume is, in bytes, as the server says that has it."""

    used: Annotated[int, Field(ge=0)]


class SharedVolume(Strict):
    """Data for the members of groups, declared by whoever runs the installation: a claim on Kubernetes, a folder on
    one machine."""

    name: Label
    claim: str = ""
    path: str = ""
    folder: Annotated[str, Field(description="Only this folder of it.")] = ""
    groups: Annotated[tuple[str, ...], Field(description="Who has it; none: everybody.")] = ()
    writable: bool = False
