"""Volumes as folders of this machine."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

import psutil

from modelyard_api.errors import Conflict, NotFound, StaleWrite, Unavailable
from modelyard_api.volumes import HOME, Mount, Restoring, Snapshot, Trashed, Volume, VolumeSpec, VolumeStatus
from modelyard_hub.volumes.base import etag, mounted
from modelyard_hub.volumes.folders import Card, Folders
from modelyard_hub.volumes.sizes import Sizes

_NO_SNAPSHOTS = (
    "On one machine a volume is a folder, and nothing takes snapshots of it: `modelyard backup` saves all of them."
)
Holders = Callable[[], dict[str, tuple[Mount, ...]]]


class LocalDisks:
    """See `Disks`. Nothing bounds a folder's size here; how much it holds is counted in the background."""

    grows = False

    def __init__(self, home: Path, holders: Holders | None = None) -> None:
        """`holders`: whose notebook servers run, by owner; by default this machine's processes are looked at."""
        self._folders = Folders(home)
        self._sizes = Sizes()
        self._holders = holders or (lambda: running(home))

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """End counting."""
        await self._sizes.close()

    async def volumes(self, owners: Collection[str] | None) -> list[Volume]:
        """See `Disks.volumes`."""
        cards, held = await asyncio.gather(asyncio.to_thread(self._folders.cards), asyncio.to_thread(self._holders))
        return [self._shown(card, held) for card in cards if owners is None or card.owner in owners]

    async def create(self, owner: str, name: str, spec: VolumeSpec, snapshot: Snapshot | None = None) -> Volume:
        """See `Disks.create`."""
        if snapshot is not None:
            raise Unavailable(_NO_SNAPSHOTS, remedy="")
        made = Card(
            id=f"{owner}-{name}-{secrets.token_hex(4)}",
            owner=owner,
            name=name,
            made_at=datetime.now(UTC),
            spec=spec.model_copy(update={"size": None}),
        )
        await asyncio.to_thread(self._folders.make, made)
        return self._shown(made, {})

    async def write(self, volume: Volume, spec: VolumeSpec) -> Volume:
        """See `Disks.write`."""
        card = await self._same(volume)
        if card.name == HOME:
            raise Conflict("a home on this machine has nothing to change", remedy="Nothing bounds its size here.")
        changed = card.model_copy(update={"spec": spec.model_copy(update={"size": None})})
        await asyncio.to_thread(self._folders.write, changed)
        return self._shown(changed, {})

    async def trash(self, volume: Volume, now: datetime, until: datetime, by: str) -> Volume:
        """See `Disks.trash`."""
        card = await self._same(volume)
        await self._refuse_mounted(card)
        self._sizes.forget(self._folders.data(card))
        note = Trashed(at=now, until=until, by=by)
        return self._shown(await asyncio.to_thread(self._folders.trash, card, note), {})

    async def recover(self, volume: Volume, owner: str, name: str) -> Volume:
        """See `Disks.recover`. A home goes back to where homes are."""
        card = await self._same(volume)
        spec = card.spec.model_copy(update={"attached": False})
        back = card.model_copy(update={"owner": owner, "name": name, "trashed": None, "spec": spec})
        if name == HOME:
            await asyncio.to_thread(self._back, card, owner)
            found = self._folders.home(owner)
            assert found is not None
            return self._shown(found, {})
        await asyncio.to_thread(self._folders.write, back)
        return self._shown(back, {})

    async def purge(self, volume: Volume) -> None:
        """See `Disks.purge`."""
        card = await self._same(volume)
        if card.trashed is None:
            raise Conflict("it is not in the trash", remedy="Put it there first.")
        await asyncio.to_thread(self._folders.remove, card)

    async def no_snapshots(self) -> str:
        """See `Disks.no_snapshots`."""
        return _NO_SNAPSHOTS

    async def snapshots(self, owners: Collection[str] | None) -> list[Snapshot]:
        """None here."""
        return []

    async def snapshot(self, volume: Volume, *, planned: bool = False) -> Snapshot:
        """None here: Unavailable."""
        raise Unavailable(_NO_SNAPSHOTS, remedy="")

    async def drop(self, snapshot: Snapshot) -> None:
        """There is none."""

    async def copy(self, snapshot: Snapshot, volume: Volume, order: Restoring) -> None:
        """None here: Unavailable."""
        raise Unavailable(_NO_SNAPSHOTS, remedy="")

    def _back(self, card: Card, owner: str) -> None:
        place = self._folders.users / owner
        if place.exists():
            raise Conflict(f"{owner} has a home already", remedy="Recover it under another name.")
        os.rename(self._folders.data(card), place)
        self._folders.remove(card)

    async def _same(self, volume: Volume) -> Card:
        for card in await asyncio.to_thread(self._folders.cards):
            if card.id == volume.id:
                if self._shown(card, {}).etag != volume.etag:
                    raise StaleWrite(f"{volume.owner}/{volume.name} was changed meanwhile")
                return card
        raise NotFound(f"there is no volume {volume.owner}/{volume.name} any more")

    async def _refuse_mounted(self, card: Card) -> None:
        if held := (await asyncio.to_thread(self._holders)).get(card.owner):
            raise mounted(held)

    def _shown(self, card: Card, held: dict[str, tuple[Mount, ...]]) -> Volume:
        folder = self._folders.data(card)
        count = self._sizes.of(folder)
        home = self._folders.users / card.owner
        return Volume(
            owner=card.owner,
            name=card.name,
            id=card.id,
            kind="home" if card.name == HOME else "data",
            made_at=card.made_at,
            etag=etag(card.id, card.spec, trashed=card.trashed is not None),
            spec=card.spec,
            status=VolumeStatus(
                used=count.used if count else None,
                counted_at=count.at if count else None,
                mounted_by=() if card.trashed or not card.spec.attached else held.get(card.owner, ()),
                path=str(home if card.name == HOME else home / "volumes" / card.name),
                trashed=card.trashed,
            ),
        )


def running(home: Path) -> dict[str, tuple[Mount, ...]]:
    """What runs in whose home, such as a notebook server, by owner; not what that has started in turn.

    By where it runs: what a process was started with does not tell of one that was forked whose it is.
    """
    users = (home / "users").resolve()
    there: dict[int, tuple[int, str]] = {}
    for process in psutil.process_iter():
        try:
            place = Path(process.cwd())
            if place.is_relative_to(users) and place != users:
                there[process.pid] = (process.ppid(), place.relative_to(users).parts[0])
        except (psutil.Error, OSError):
            continue
    found: dict[str, tuple[Mount, ...]] = {}
    for pid, (parent, owner) in sorted(there.items()):
        if parent not in there:
            found[owner] = (*found.get(owner, ()), Mount(pod=f"process {pid}"))
    return found
