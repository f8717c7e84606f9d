"""What is done with volumes by the clock: the trash is emptied of what was kept long enough, snapshots are taken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from modelyard_api.errors import Conflict, ModelyardError
from modelyard_api.volumes import Volume
from modelyard_hub.volumes import plans
from modelyard_hub.volumes.shelf import Shelf

logger = logging.getLogger(__name__)
EVERY = 300.0
"""Seconds between looks."""
AT_ONCE = 20
"""Snapshots that one look takes: a storage with thousands of volumes is not asked for all in the same minute."""
Audit = Callable[[str, str], Awaitable[None]]


class Keeper:
    """Does what is due. `audit`: is told what was done, and to which volume."""

    def __init__(self, shelf: Shelf, audit: Audit, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._shelf, self._audit, self._now = shelf, audit, now

    async def run(self) -> None:
        """For ever. What fails is tried again with the next look."""
        while True:
            try:
                await self.look()
            except ModelyardError as error:
                logger.warning("looking after volumes: %s", error)
            except Exception:
                logger.exception("looking after volumes")
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Once."""
        now = self._now()
        volumes = await self._shelf.disks.volumes(None)
        for volume in volumes:
            if volume.status.trashed is not None and volume.status.trashed.until <= now:
                await self._each(volume, self._purge(volume))
        if await self._shelf.disks.no_snapshots():
            return
        taken, usual = await self._shelf.disks.snapshots(None), self._shelf.bounds.usual
        for volume in [v for v in volumes if plans.due(v, taken, usual, now)][:AT_ONCE]:
            await self._each(volume, self._snapshot(volume))
        for volume in volumes:
            for old in plans.too_many(volume, taken, usual):
                await self._each(volume, self._shelf.disks.drop(old))

    async def _purge(self, volume: Volume) -> None:
        try:
            await self._shelf.disks.purge(volume)
        except Conflict as error:
            logger.info("The volume %s stays in the trash: %s", volume.id, error)
            return
        await self._audit("volume.purge", f"volume/{volume.owner}/{volume.name}")

    async def _snapshot(self, volume: Volume) -> None:
        await self._shelf.disks.snapshot(volume, planned=True)

    async def _each(self, volume: Volume, work: Awaitable[None]) -> None:
        """One volume's trouble is not the others'."""
        try:
            await work
        except ModelyardError as error:
            logger.warning("looking after the volume %s/%s: %s", volume.owner, volume.name, error)
        except Exception:
            logger.exception("looking after the volume %s/%s", volume.owner, volume.name)
