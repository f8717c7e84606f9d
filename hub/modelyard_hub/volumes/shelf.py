"""What people do with volumes: who may, within which bounds. The API, the page and the clock go through it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from modelyard_api.endpoints import Identity
from modelyard_api.errors import Conflict, Forbidden, InvalidInput, NotFound
from modelyard_api.names import owner_name
from modelyard_api.quantities import show_bytes
from modelyard_api.volumes import (
    RecoverOrder,
    RestoreOrder,
    Restoring,
    SharedVolume,
    Snapshot,
    SnapshotPlan,
    Volume,
    VolumeCreate,
    VolumeSpec,
    VolumeStatus,
    check_name,
    is_home,
)
from modelyard_hub.auth import audience, owns, require_owner
from modelyard_hub.settings import Settings
from modelyard_hub.volumes.base import Disks

_REMEMBERED = 100_000
_SHARED_AT = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Bounds:
    """`largest` in bytes; `most` further volumes of an owner; `days` in the trash; `snapshots` of a volume beside those
    by the clock; `usual` plan of homes' snapshots."""

    largest: int
    most: int
    days: int
    smallest: int = 1 << 30
    snapshots: int = 20
    usual: SnapshotPlan | None = None
    shared: tuple[SharedVolume, ...] = ()

    @classmethod
    def from_settings(cls, settings: Settings) -> Bounds:
        """As the settings say."""
        return cls(
            largest=settings.volume_max,
            most=settings.volume_count,
            days=settings.volume_trash_days,
            snapshots=settings.volume_snapshot_count,
            usual=settings.volume_snapshots,
            shared=settings.shared_volumes,
        )


class Shelf:
    """Volumes as callers may see and change them."""

    def __init__(self, disks: Disks, bounds: Bounds) -> None:
        self.disks, self.bounds = disks, bounds
        self._naming = asyncio.Lock()
        self._used: dict[tuple[str, str], tuple[int, datetime]] = {}

    async def seen(self, identity: Identity, *, trash: bool = False) -> list[Volume]:
        """What the caller sees: in use, and the shared ones of their groups; or what of theirs is in the trash."""
        return (await self.all(identity))[trash]

    async def all(self, identity: Identity) -> tuple[list[Volume], list[Volume]]:
        """Both."""
        found = [self._told(v) for v in await self.disks.volumes(None if identity.admin else audience(identity))]
        live = [v for v in found if v.status.trashed is None]
        put = [v for v in found if v.status.trashed and (identity.admin or not v.status.trashed.gone)]
        live.sort(key=lambda v: (v.kind != "home", v.owner, v.name))
        put.sort(key=lambda v: (v.owner, v.name, v.made_at))
        return live + self._shared(identity), put

    async def get(self, identity: Identity, owner: str, name: str) -> Volume:
        """One in use; NotFound where there is none that the caller sees."""
        if owns(identity, owner):
            found = [v for v in await self.disks.volumes([owner]) if v.name == name and v.status.trashed is None]
            if found:
                return self._told(min(found, key=lambda v: v.made_at))
        raise NotFound(f"there is no volume {owner}/{name}", remedy="GET /volumes lists those that you see.")

    def told(self, identity: Identity, owner: str, name: str, used: int) -> None:
        """What a server says of a volume that it has, in bytes."""
        require_owner(identity, owner, name)
        self._used.pop((owner, name), None)
        self._used[owner, name] = (used, datetime.now(UTC))
        while len(self._used) > _REMEMBERED:
            self._used.pop(next(iter(self._used)))

    async def create(self, identity: Identity, order: VolumeCreate) -> Volume:
        """A further volume. Conflict where the name is taken, InvalidInput for a size out of bounds."""
        owner = order.owner or identity.owner
        require_owner(identity, owner, order.name)
        check_name(order.name)
        if owner != identity.owner and owner in identity.groups:
            raise InvalidInput(
                f"a volume belongs to one user, and {owner!r} is a group",
                remedy="Make one of your own; data for groups is shared by an administrator (docs/volumes.md).",
            )
        source = await self._source(identity, order.snapshot) if order.snapshot else None
        size = order.size or (source.size if source else None) or self.bounds.smallest
        if source is not None and source.size is not None and size < source.size:
            raise InvalidInput(
                f"{show_bytes(size)} are too small for the snapshot's files",
                remedy=f"Ask for {show_bytes(source.size)} or more.",
            )
        self._check_size(identity, size)
        async with self._naming:
            there = [v for v in await self.disks.volumes([owner]) if v.status.trashed is None]
            if any(v.name == order.name for v in there):
                raise Conflict(f"there is a volume {owner}/{order.name} already", remedy="Choose another name.")
            if not identity.admin and sum(v.kind == "data" for v in there) >= self.bounds.most:
                raise Conflict(
                    f"{owner} has {self.bounds.most} volumes already, which is the most",
                    remedy="Put one into the trash, or ask an administrator for MODELYARD_VOLUME_COUNT.",
                )
            return await self.disks.create(
                owner, order.name, VolumeSpec(size=size, server=order.server, attached=order.attached), source
            )

    async def write(self, identity: Identity, volume: Volume, spec: VolumeSpec) -> Volume:
        """What is wanted of it, anew: it grows, never shrinks."""
        require_owner(identity, volume.owner, volume.name)
        self._check_growth(identity, volume, spec)
        if volume.kind == "home" and (spec.server, spec.attached) != (volume.spec.server, volume.spec.attached):
            raise InvalidInput("a home belongs to its server", remedy="Leave `server` and `attached` as they are.")
        return volume if spec == volume.spec else await self.disks.write(volume, spec)

    async def trash(self, identity: Identity, volume: Volume) -> Volume:
        """Into the trash. Conflict while somebody has it."""
        require_owner(identity, volume.owner, volume.name)
        now = datetime.now(UTC)
        return await self.disks.trash(volume, now, now + timedelta(days=self.bounds.days), identity.username)

    async def trashed(self, identity: Identity, key: str) -> Volume:
        """One in the trash, by its id; NotFound."""
        for volume in await self.seen(identity, trash=True):
            if volume.id == key:
                return volume
        raise NotFound(f"there is nothing in the trash with the id {key}")

    async def recover(self, identity: Identity, volume: Volume, order: RecoverOrder) -> Volume:
        """Out of the trash, by default as what it was; Conflict where that name is taken. A home is one again only
        under its own name; under another it is a further volume."""
        owner, name = order.owner or volume.owner, order.name or volume.name
        if not identity.admin and owner != volume.owner:
            raise Forbidden("only administrators give a volume to another owner")
        require_owner(identity, volume.owner, volume.name)
        if is_home(name) and name != volume.name:
            check_name(name)
        async with self._naming:
            there = [v for v in await self.disks.volumes([owner]) if v.status.trashed is None and v.name == name]
            if there:
                remedy = "Recover it under another name: it is a further volume then."
                raise Conflict(f"there is a volume {owner}/{name} already", remedy=remedy)
            back = await self.disks.recover(volume, owner, name)
        if is_home(name):
            return back
        return await self.disks.write(back, back.spec.model_copy(update={"attached": True}))

    async def purge(self, identity: Identity, volume: Volume) -> None:
        """For ever, before its time."""
        require_owner(identity, volume.owner, volume.name)
        await self.disks.purge(volume)

    async def snapshots(self, volume: Volume) -> list[Snapshot]:
        """Of this volume, whoever had it then, and whatever had its name before; newest first."""
        return [s for s in await self.disks.snapshots(None) if s.volume_id == volume.id]

    async def snapshot(self, identity: Identity, volume: Volume) -> Snapshot:
        """One more; Conflict where it has as many as one may take."""
        require_owner(identity, volume.owner, volume.name)
        taken = sum(not s.planned for s in await self.snapshots(volume))
        if taken >= self.bounds.snapshots and not identity.admin:
            raise Conflict(
                f"{volume.owner}/{volume.name} has {taken} snapshots already, which is the most",
                remedy="Delete one, or ask an administrator for MODELYARD_VOLUME_SNAPSHOT_COUNT.",
            )
        return await self.disks.snapshot(volume)

    async def snapshot_of(self, volume: Volume, name: str) -> Snapshot:
        """One of them; NotFound."""
        for snapshot in await self.snapshots(volume):
            if snapshot.name == name:
                return snapshot
        raise NotFound(f"{volume.owner}/{volume.name} has no snapshot {name}")

    async def restore(self, identity: Identity, volume: Volume, order: RestoreOrder) -> Volume:
        """Files of a snapshot of `volume`: all as a new volume, or a folder of them into one, see `RestoreOrder`."""
        snapshot = await self.snapshot_of(volume, order.snapshot)
        if not snapshot.ready:
            raise Conflict(f"the snapshot {snapshot.name} is not ready", remedy=snapshot.message or "Wait a moment.")
        owner = volume.owner
        if order.folder is None:
            create = VolumeCreate(owner=owner, name=order.volume, snapshot=snapshot.name)
            return await self.create(identity, create)
        try:
            target = await self.get(identity, owner, order.volume)
        except NotFound:
            size = max(volume.status.size or 0, snapshot.size or 0) or None
            target = await self.create(identity, VolumeCreate(owner=owner, name=order.volume, size=size))
        copied = Restoring(snapshot=snapshot.name, folder=order.folder, into=order.into, state="running")
        await self.disks.copy(snapshot, target, copied)
        status = target.status.model_copy(update={"restoring": (*target.status.restoring, copied)})
        return target.model_copy(update={"status": status})

    async def _source(self, identity: Identity, name: str) -> Snapshot:
        live, put = await self.all(identity)
        visible = {v.id for v in (*live, *put)}
        for snapshot in await self.disks.snapshots(None if identity.admin else audience(identity)):
            if snapshot.name == name and snapshot.volume_id in visible:
                if not snapshot.ready:
                    raise Conflict(f"the snapshot {name} is not ready", remedy=snapshot.message or "Wait a moment.")
                return snapshot
        raise NotFound(f"there is no snapshot {name} that you can see")

    def _check_growth(self, identity: Identity, volume: Volume, spec: VolumeSpec) -> None:
        if spec.size == volume.spec.size:
            return
        if not self.disks.grows:
            raise Conflict(
                "a volume on this machine is a folder: nothing bounds its size", remedy="There is nothing to grow."
            )
        there = max(volume.spec.size or 0, volume.status.size or 0)
        if spec.size is None or spec.size < there:
            asked = "none" if spec.size is None else show_bytes(spec.size)
            raise InvalidInput(
                f"a volume cannot shrink: it has {show_bytes(there)}, asked for is {asked}",
                remedy="Make a smaller volume and copy the files.",
            )
        self._check_size(identity, spec.size)

    def _check_size(self, identity: Identity, size: int) -> None:
        if size > self.bounds.largest and not identity.admin:
            raise InvalidInput(
                f"{show_bytes(size)} are more than a volume may have, {show_bytes(self.bounds.largest)}",
                remedy="Ask for less, or an administrator for MODELYARD_VOLUME_MAX.",
            )

    def _told(self, volume: Volume) -> Volume:
        used, at = self._used.get((volume.owner, volume.name), (None, volume.made_at))
        if used is None or at < volume.made_at or volume.status.used is not None or volume.status.trashed:
            return volume
        return volume.model_copy(update={"status": volume.status.model_copy(update={"used": used, "counted_at": at})})

    def _shared(self, identity: Identity) -> list[Volume]:
        def mine(groups: Collection[str]) -> bool:
            return identity.admin or not groups or not {owner_name(g) for g in groups}.isdisjoint(identity.groups)

        return [
            Volume(
                owner=", ".join(one.groups) or "everybody",
                name=one.name,
                id=f"shared:{one.name}",
                kind="shared",
                made_at=_SHARED_AT,
                etag='"shared"',
                status=VolumeStatus(path=f"~/shared/{one.name}", message="" if one.writable else "Read-only."),
            )
            for one in self.bounds.shared
            if mine(one.groups)
        ]
