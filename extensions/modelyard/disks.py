"""Volumes for `async` code: look, grow, snapshot, restore. `modelyard.disk` is the blocking face."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from modelyard.client import split_name
from modelyard.errors import InvalidInput, NotFound, StaleWrite, TimedOut
from modelyard.transport import Request
from modelyard_api.quantities import parse_bytes
from modelyard_api.volumes import Snapshot, SnapshotList, SnapshotPlan, VolumeList, VolumeSpec
from modelyard_api.volumes import Volume as Resource

if TYPE_CHECKING:
    from modelyard.client import AsyncClient

T = TypeVar("T")
_WRITE_ATTEMPTS = 8
_POLL = 0.5


@dataclass(frozen=True)
class Usage:
    """Bytes of a volume's disk."""

    total: int
    used: int
    free: int


class AsyncVolume:
    """A volume. Reading methods ask anew each time; changing ones repeat when somebody else wrote first."""

    def __init__(self, client: AsyncClient, resource: Resource) -> None:
        self._client = client
        self.last = resource
        """The volume as it was when last read."""

    @property
    def owner(self) -> str:
        """The user or group that it belongs to."""
        return self.last.owner

    @property
    def name(self) -> str:
        """Its name."""
        return self.last.name

    @property
    def path(self) -> str:
        """Below the REST API."""
        return f"/volumes/{self.owner}/{self.name}"

    async def read(self) -> Resource:
        """As it is now."""
        self.last = await self._client.get(self.path, Resource)
        return self.last

    def usage(self) -> Usage | None:
        """How full it is, where this process has it mounted; None elsewhere."""
        path = Path(self.last.status.path)
        if not self.last.status.path or not path.is_mount():
            return None
        found = shutil.disk_usage(path)
        return Usage(found.total, found.used, found.free)

    async def grow(self, size: int | str, *, wait: float = 0.0) -> Resource:
        """Make it `size`, bytes or such as "20Gi"; it cannot shrink (InvalidInput). A server may have it meanwhile.
        `wait`: seconds until it is that large (TimedOut then; it grows on)."""
        wanted = _size(size)
        await self._write(lambda spec: spec.model_copy(update={"size": wanted}))
        if wait <= 0:
            return self.last
        return await _until(
            self.read, lambda now: (now.status.size or 0) >= wanted, wait, f"{self._title} has not grown"
        )

    async def attach(self, server: str = "") -> Resource:
        """Have that server have it from its next start on; empty: the default one."""
        return await self._write(lambda spec: spec.model_copy(update={"server": server, "attached": True}))

    async def detach(self) -> Resource:
        """Have no server have it, from the next start on."""
        return await self._write(lambda spec: spec.model_copy(update={"attached": False}))

    async def plan(self, every_hours: int | None = 24, keep: int = 7) -> Resource:
        """Have a snapshot taken every so many hours, of which the latest `keep` are kept; None: no plan of its own."""
        plan = None if every_hours is None else SnapshotPlan(every_hours=every_hours, keep=keep)
        return await self._write(lambda spec: spec.model_copy(update={"snapshots": plan}))

    async def snapshots(self) -> list[Snapshot]:
        """Newest first."""
        return list((await self._client.get(f"{self.path}/snapshots", SnapshotList)).items)

    async def snapshot(self, *, wait: float = 120.0) -> Snapshot:
        """One of it as it is now; `wait`: seconds until it can be restored."""
        made = await self._client.fetch(Request("POST", f"{self.path}/snapshots"), Snapshot)
        if wait <= 0:
            return made

        async def look() -> Snapshot:
            return next(s for s in await self.snapshots() if s.name == made.name)

        return await _until(look, lambda now: now.ready, wait, f"the snapshot {made.name} is not ready")

    async def delete_snapshot(self, snapshot: Snapshot | str) -> None:
        """For ever."""
        await self._client.send(Request("DELETE", f"{self.path}/snapshots/{_name(snapshot)}"))

    async def restore(
        self,
        snapshot: Snapshot | str,
        volume: str,
        *,
        folder: str | None = None,
        into: str = "restored",
        wait: float = 600.0,
    ) -> AsyncVolume:
        """The files of a snapshot as a new volume of that name; with `folder`, that folder alone, put below `into` of
        the volume of that name, which nobody may have mounted (Conflict). `wait`: seconds until they are there.

        A new volume is filled when a server first has it.
        """
        body = {"snapshot": _name(snapshot), "volume": volume, "folder": folder, "into": into}
        made = await self._client.fetch(Request("POST", f"{self.path}/restore", body=body), Resource)
        target = AsyncVolume(self._client, made)
        if folder is None or wait <= 0:
            return target
        before = len(made.status.restoring)
        done = await _until(
            target.read,
            lambda now: len(now.status.restoring) >= before and now.status.restoring[-1].state != "running",
            wait,
            f"{folder} is not there yet",
        )
        last = done.status.restoring[-1]
        if last.state == "failed":
            raise InvalidInput(f"{folder} was not restored: {last.message}")
        return target

    async def trash(self) -> Resource:
        """Into the trash, from which `client.recover` brings it back. Conflict while a server has it."""
        self.last = await self._changing(
            lambda match: self._client.fetch(Request("DELETE", self.path, headers=match), Resource)
        )
        return self.last

    @property
    def _title(self) -> str:
        return f"{self.owner}/{self.name}"

    async def _write(self, change: Callable[[VolumeSpec], VolumeSpec]) -> Resource:
        async def write(match: dict[str, str]) -> Resource:
            body = {"spec": change(self.last.spec).model_dump(mode="json")}
            headers = {**match, "Content-Type": "application/merge-patch+json"}
            return await self._client.fetch(Request("PATCH", self.path, body=body, headers=headers), Resource)

        self.last = await self._changing(write)
        return self.last

    async def _changing(self, write: Callable[[dict[str, str]], Awaitable[T]]) -> T:
        for attempt in range(_WRITE_ATTEMPTS):
            now = await self.read()
            try:
                return await write({"If-Match": now.etag})
            except StaleWrite:
                if attempt == _WRITE_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")


async def volume(client: AsyncClient, name: str, owner: str | None = None) -> AsyncVolume:
    """See `AsyncClient.volume`."""
    owner, name = split_name(name, owner)
    if owner is None:
        owner = (await client.me()).owner
    try:
        return AsyncVolume(client, await client.get(f"/volumes/{owner}/{name}", Resource))
    except NotFound as error:
        known = ", ".join(sorted(f"{v.owner}/{v.name}" for v in await volumes(client))) or "none"
        raise NotFound(f"there is no volume {owner}/{name} that you can see", remedy=f"There are: {known}.") from error


async def volumes(client: AsyncClient) -> list[AsyncVolume]:
    """See `AsyncClient.volumes`."""
    found = (await client.get("/volumes", VolumeList)).items
    return [AsyncVolume(client, item) for item in found]


async def create(client: AsyncClient, name: str, size: int | str | None, server: str | None) -> AsyncVolume:
    """See `AsyncClient.create_volume`."""
    body = {
        "name": name,
        "size": None if size is None else _size(size),
        "server": server or "",
        "attached": server is not None,
    }
    return AsyncVolume(client, await client.fetch(Request("POST", "/volumes", body=body), Resource))


async def trashed(client: AsyncClient) -> list[Resource]:
    """See `AsyncClient.trash`."""
    return list((await client.get("/trash", VolumeList)).items)


async def recover(client: AsyncClient, volume: Resource | str, name: str | None) -> AsyncVolume:
    """See `AsyncClient.recover`."""
    key = volume if isinstance(volume, str) else volume.id
    found = await client.fetch(Request("POST", f"/trash/{key}/recover", body={"name": name}), Resource)
    return AsyncVolume(client, found)


async def _until(look: Callable[[], Awaitable[T]], holds: Callable[[T], bool], seconds: float, missing: str) -> T:
    deadline = time.monotonic() + seconds
    while not holds(found := await look()):
        if time.monotonic() > deadline:
            raise TimedOut(f"{missing} after {seconds:g} s", remedy="It goes on; look again later.")
        await asyncio.sleep(_POLL)
    return found


def _name(snapshot: Snapshot | str) -> str:
    return snapshot if isinstance(snapshot, str) else snapshot.name


def _size(size: int | str) -> int:
    try:
        return int(parse_bytes(size))
    except ValueError as error:
        raise InvalidInput(f"size: {error}") from error
