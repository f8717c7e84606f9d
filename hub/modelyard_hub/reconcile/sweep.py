"""Runs that go, with what they left: those that somebody removes, and those that were kept long enough."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from modelyard_api.errors import ModelyardError
from modelyard_api.runs import RUNS, SNAPSHOT, Run, run_folder, snapshot_folder, snapshots_folder
from modelyard_hub.artifacts import Artifacts
from modelyard_hub.backoff import Backoff
from modelyard_hub.guarded import keep_on
from modelyard_hub.store.store import Store

log = logging.getLogger(__name__)
EVERY = 600.0
"""Seconds between looks for what is old."""
STEP = 100
"""Runs that are taken from the store at a time."""
UNUSED_EVERY = timedelta(hours=6)
"""Between looks for snapshots that nothing names: all of them are listed."""
UNUSED_FOR = timedelta(days=1)
"""A snapshot that nothing names is kept so long: whoever uploaded it may be about to submit its run."""


@dataclass(frozen=True)
class Keep:
    """How long runs are kept after their end (`age` None: for ever), and how many of a schedule at least."""

    age: timedelta | None
    last: int = 0


class Sweeper:
    """Removes files first and the record last, so that nothing is left that nobody knows of, whenever it is killed.

    Two that sweep at once do the same things twice, which is fine: each step may be done again.
    """

    def __init__(
        self, store: Store, files: Artifacts, keep: Keep, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store, self._files, self._keep, self._now = store, files, keep, now
        self._news = asyncio.Event()
        self._looked = datetime.min.replace(tzinfo=UTC)
        self._backoff = Backoff(first=1.0, cap=60.0)

    async def run(self) -> None:
        """Until cancelled. What fails is logged and tried again, later each time."""
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_on("reading of removed runs", self._watch, self._backoff), name="sweep: store")
            group.create_task(keep_on("removing runs", self._work, self._backoff), name="sweep: work")

    async def _watch(self) -> None:
        events = self._store.events()
        self._news.set()
        async for event in events:
            if event.resource == "run" and event.kind == "deleted":
                self._news.set()

    async def _work(self) -> None:
        self._news.clear()
        await self.look()
        if self._now() - self._looked >= UNUSED_EVERY:
            await self.drop_unused()
            self._looked = self._now()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), EVERY)

    async def look(self) -> int:
        """One pass over all that is to go; how many runs went. Unavailable where some could not be removed now."""
        if self._keep.age is not None:
            before = self._now() - self._keep.age
            while await self._store.removal.mark_old(before, self._keep.last, STEP) == STEP:
                pass  # a step at a time, so that others get their turn
        gone, after, trouble = 0, 0, list[ModelyardError]()
        while found := await self._store.removal.marked(after, STEP):
            for stored in found:
                after = stored.number
                try:
                    gone += await self._remove(stored.run)
                except ModelyardError as error:  # one store's trouble is not the others'
                    trouble.append(error)
        if trouble:
            raise trouble[0]
        return gone

    async def drop_unused(self) -> None:
        """Snapshots that nothing names: of runs that went soon, or were never submitted."""
        for owner in await self._files.folders(self._files.place(RUNS)):
            named = await self._store.removal.snapshots(owner)
            for digest in await self._files.folders(self._files.place(snapshots_folder(owner))):
                if digest not in named:
                    await self._drop_snapshot(owner, digest)

    async def _remove(self, run: Run) -> bool:
        await self._files.remove(self._files.place(run_folder(run.owner, run.id)))
        if run.spec.notebook is not None:
            await self._drop_snapshot(run.owner, run.spec.notebook.snapshot)
        forgotten = await self._store.removal.forget(run.id)
        if forgotten:
            log.info("run %s of %s is removed", run.id, run.owner)
        return forgotten

    async def _drop_snapshot(self, owner: str, digest: str) -> None:
        """Unless something names it, or somebody has just uploaded it again."""
        place = self._files.place(snapshot_folder(owner, digest))
        if not await self._is_old(place) or digest in await self._store.removal.snapshots(owner):
            return
        # Once more: it may have been uploaded again, and its run submitted, since.
        if await self._is_old(place):
            await self._files.remove(place)

    async def _is_old(self, place: str) -> bool:
        # The folder itself where the file never came to be: a hub service that is killed while it writes leaves that.
        about = await self._files.stat(place, SNAPSHOT) or await self._files.stat(place, "")
        return about is not None and self._now() - about.changed >= UNUSED_FOR
