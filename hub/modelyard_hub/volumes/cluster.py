"""Volumes as claims of a cluster, snapshots as its VolumeSnapshots."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime

from modelyard_api.errors import Conflict, ModelyardError, NotFound, StaleWrite, Unavailable
from modelyard_api.quantities import quantity
from modelyard_api.volumes import Mount, Restoring, Snapshot, Volume, VolumeSpec
from modelyard_hub.runtimes.kubernetes.client import Client, connect
from modelyard_hub.runtimes.kubernetes.kinds import CLAIM, JOB, POD, SNAPSHOT
from modelyard_hub.runtimes.kubernetes.options import KubernetesOptions
from modelyard_hub.settings import Settings
from modelyard_hub.volumes import claims, copies, snapshots
from modelyard_hub.volumes.base import mounted
from modelyard_hub.volumes.claims import OWNER, Object, Storage

_Around = tuple[dict[str, tuple[Mount, ...]], dict[str, tuple[Restoring, ...]]]
_Change = Callable[[Object], Awaitable[Volume]]
OURS = "app.kubernetes.io/part-of=modelyard"
_ATTEMPTS = 4
_NO_SNAPSHOTS = (
    "The cluster takes no snapshots: it has no VolumeSnapshots. An administrator installs the CSI snapshotter "
    "(kubernetes-csi/external-snapshotter) and a class of snapshots for the storage."
)


@dataclass(frozen=True)
class ClusterOptions:
    """`cluster`: how it is reached, and with which image folders are copied; `snapshot_class` empty: the default.
    `fresh`: seconds for which it is known well enough who has which volume to show it; never to delete one."""

    cluster: KubernetesOptions
    storage: Storage = field(default_factory=Storage)
    snapshot_class: str = ""
    fresh: float = 5.0

    @classmethod
    def from_settings(cls, settings: Settings) -> ClusterOptions:
        """The options that the hub side's settings ask for."""
        storage = Storage(settings.notebook_storage_class, settings.notebook_access_mode)
        return cls(KubernetesOptions.from_settings(settings), storage, settings.volume_snapshot_class)


class ClusterDisks:
    """See `Disks`."""

    grows = True

    def __init__(self, options: ClusterOptions) -> None:
        self._options = options
        self._client: Client | None = None
        self._looking = asyncio.Lock()
        self._looked: tuple[float, _Around] | None = None
        self._missing: tuple[float, str] | None = None

    async def open(self) -> None:
        """Make the client; nothing is asked of the cluster yet."""
        self._client = await connect(self._options.cluster)

    async def close(self) -> None:
        """End its connections."""
        if self._client is not None:
            await self._client.close()

    async def volumes(self, owners: Collection[str] | None) -> list[Volume]:
        """See `Disks.volumes`. Who mounts one is known of the pods that are Modelyard's."""
        found, (mounted, copied) = await asyncio.gather(self._claims(owners), self._around())
        return [_shown(claim, mounted, copied) for claim in found]

    async def create(self, owner: str, name: str, spec: VolumeSpec, snapshot: Snapshot | None = None) -> Volume:
        """See `Disks.create`."""
        storage = self._options.storage if snapshot is None else await self._storage(snapshot)
        manifest = claims.manifest(owner, spec, name, storage, snapshot.name if snapshot else None)
        return claims.volume(await self._api.create(CLAIM, manifest))

    async def write(self, volume: Volume, spec: VolumeSpec) -> Volume:
        """See `Disks.write`."""

        async def write(claim: Object) -> Volume:
            patch = claims.merge(claim, annotations=claims.annotations_of(spec))
            if spec.size is not None and spec.size != claims.requested(claim):
                patch["spec"] = {"resources": {"requests": {"storage": quantity(spec.size)}}}
            return claims.volume(await self._api.merge(CLAIM, claim["metadata"]["name"], patch))

        try:
            return await self._change(volume, write)
        except ModelyardError as error:
            if "must support resize" in error.detail:
                raise Conflict(
                    "the storage class of this volume does not let volumes grow",
                    remedy="Make a larger volume and copy the files, or ask an administrator for a class that expands.",
                ) from error
            raise

    async def trash(self, volume: Volume, now: datetime, until: datetime, by: str) -> Volume:
        """See `Disks.trash`."""

        async def trash(claim: Object) -> Volume:
            await self._refuse_mounted(claim)
            patch = claims.to_trash(claim, now, until, by)
            return claims.volume(await self._api.merge(CLAIM, claim["metadata"]["name"], patch))

        return await self._change(volume, trash)

    async def recover(self, volume: Volume, owner: str, name: str) -> Volume:
        """See `Disks.recover`."""

        async def recover(claim: Object) -> Volume:
            if claims.is_purged(claim):
                raise Conflict("it is being deleted already", remedy="Nothing brings it back.")
            patch = claims.from_trash(claim, owner, name)
            return claims.volume(await self._api.merge(CLAIM, claim["metadata"]["name"], patch))

        return await self._change(volume, recover)

    async def purge(self, volume: Volume) -> None:
        """See `Disks.purge`. It begins with a mark on the claim as it was looked at: one that somebody takes out of the
        trash before stays, with its snapshots, and from then on nobody does. The claim goes last, so that no snapshot
        is left whose volume nobody knows."""
        claim = await self._find(volume)
        if not claims.is_trashed(claim):
            raise Conflict("it is not in the trash", remedy="Put it there first.")
        await self._refuse_mounted(claim)
        claim = await self._api.merge(CLAIM, claim["metadata"]["name"], claims.to_purge(claim))
        for snapshot in await self.snapshots(None):  # one keeps the owner it was made for
            if snapshot.volume_id == volume.id:
                await self.drop(snapshot)
        # A pod that has ended keeps its claims too.
        jobs, _ = await self._api.list(JOB, f"{copies.SELECTOR},{snapshots.ID}={volume.id}")
        for job in jobs:
            await self._api.delete(JOB, job)
        await self._api.delete(CLAIM, claim, foreground=False, unchanged=True)

    async def no_snapshots(self) -> str:
        """See `Disks.no_snapshots`; asked once a minute."""
        if self._missing is None or time.monotonic() - self._missing[0] >= 12 * self._options.fresh:
            self._missing = (time.monotonic(), await self._why_no_snapshots())
        return self._missing[1]

    async def _why_no_snapshots(self) -> str:
        try:
            await self._api.list(SNAPSHOT, f"{snapshots.ID}=none")
        except NotFound:
            return _NO_SNAPSHOTS
        except Unavailable as error:
            return str(error)
        return ""

    async def snapshots(self, owners: Collection[str] | None) -> list[Snapshot]:
        """See `Disks.snapshots`; none where the cluster has none."""
        try:
            found, _ = await self._api.list(SNAPSHOT, _selector(owners))
        except NotFound:
            return []
        told = [snapshots.snapshot(one) for one in found if not one["metadata"].get("deletionTimestamp")]
        return sorted((one for one in told if one.volume_id), key=lambda one: one.made_at, reverse=True)

    async def snapshot(self, volume: Volume, *, planned: bool = False) -> Snapshot:
        """See `Disks.snapshot`."""
        claim = await self._find(volume)
        if (claim.get("status") or {}).get("phase") != "Bound":
            raise Conflict("there is nothing to snapshot: no server has had this volume yet")
        manifest = snapshots.manifest(volume, claim["metadata"]["name"], self._options.snapshot_class, planned)
        try:
            return snapshots.snapshot(await self._api.create(SNAPSHOT, manifest))
        except NotFound as error:
            raise Unavailable(_NO_SNAPSHOTS, remedy="") from error

    async def drop(self, snapshot: Snapshot) -> None:
        """See `Disks.drop`."""
        live = {"metadata": {"name": snapshot.name, "uid": snapshot.id}}
        try:
            await self._api.delete(SNAPSHOT, live, foreground=False)
        except NotFound:
            return

    async def copy(self, snapshot: Snapshot, volume: Volume, order: Restoring) -> None:
        """See `Disks.copy`."""
        claim = await self._find(volume)
        await self._refuse_mounted(claim)
        options = self._options.cluster
        pull = {"policy": options.image_pull_policy, "secrets": options.image_pull_secrets}
        image = options.task_image or options.image
        made = await self._api.create(JOB, copies.job(volume, claim["metadata"]["name"], order, image, pull))
        size = snapshot.size or claims.requested(claim)
        try:
            await self._api.create(CLAIM, copies.source(made, snapshot, size, await self._storage(snapshot)))
        except ModelyardError:
            await self._api.delete(JOB, made)
            raise
        finally:
            self._looked = None

    async def _storage(self, snapshot: Snapshot) -> Storage:
        """A snapshot is restored by the storage that it is of, whatever new volumes are made by now."""
        for claim in await self._claims([snapshot.owner]):
            if claim["metadata"]["uid"] == snapshot.volume_id and (kind := claim["spec"].get("storageClassName")):
                return replace(self._options.storage, storage_class=str(kind))
        return self._options.storage

    @property
    def _api(self) -> Client:
        if self._client is None:
            raise Unavailable("the volumes are not connected to the cluster yet")
        return self._client

    async def _claims(self, owners: Collection[str] | None) -> list[Object]:
        found, _ = await self._api.list(CLAIM, _selector(owners))
        return [claim for claim in found if claims.name_of(claim) is not None]

    async def _around(self) -> _Around:
        """Who has which claim, and what is copied: one look for all who ask within some seconds."""
        async with self._looking:
            if self._looked is None or time.monotonic() - self._looked[0] >= self._options.fresh:
                pods, jobs = await asyncio.gather(self._api.list(POD, OURS), self._api.list(JOB, copies.SELECTOR))
                found = claims.mounts(pods[0]), copies.restoring(jobs[0], pods[0])
                self._looked = (time.monotonic(), found)
            return self._looked[1]

    async def _find(self, volume: Volume) -> Object:
        for claim in await self._claims([volume.owner]):
            if claim["metadata"]["uid"] == volume.id:
                return claim
        raise NotFound(f"there is no volume {volume.owner}/{volume.name} any more")

    async def _change(self, volume: Volume, change: _Change) -> Volume:
        """`change` of the claim as it is now. What the cluster writes into it meanwhile, such as its size, is no
        reason to refuse; what people do is."""
        for attempt in range(_ATTEMPTS):
            claim = await self._find(volume)
            if claims.volume(claim).etag != volume.etag:
                raise StaleWrite(f"{volume.owner}/{volume.name} was changed meanwhile")
            try:
                return await change(claim)
            except Conflict as error:
                if attempt == _ATTEMPTS - 1 or "has been modified" not in error.detail:
                    raise
        raise AssertionError("unreachable")

    async def _refuse_mounted(self, claim: Object) -> None:
        """Of all pods of the namespace, whoever made them."""
        pods, _ = await self._api.list(POD, "")
        if held := claims.mounts(pods).get(claim["metadata"]["name"]):
            raise mounted(held)


def _shown(claim: Object, mounted_by: dict[str, tuple[Mount, ...]], copied: dict[str, tuple[Restoring, ...]]) -> Volume:
    found = claims.volume(claim, mounted_by.get(claim["metadata"]["name"], ()))
    if found.id not in copied:
        return found
    return found.model_copy(update={"status": found.status.model_copy(update={"restoring": copied[found.id]})})


def _selector(owners: Collection[str] | None) -> str:
    return OWNER if owners is None else f"{OWNER} in ({','.join(sorted(owners))})"
