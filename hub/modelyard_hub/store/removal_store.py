"""The part of the store's face that is about runs that go: each change one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from modelyard_api.endpoints import EventKind
from modelyard_api.runs import Run
from modelyard_hub.store import history_rows, removal_rows
from modelyard_hub.store.database import Database
from modelyard_hub.store.feed import Feed
from modelyard_hub.store.records import SYSTEM, Actor, StoredEvent, StoredRun


class RemovalStore:
    """A run is marked first, and gone for its readers; who removed its files forgets it. So whoever is killed in
    between, the next one sees what is left to do, and of two that do it at once neither does harm."""

    def __init__(self, database: Database, feed: Feed, now: Callable[[], datetime]) -> None:
        self._database, self._feed, self._now = database, feed, now

    async def mark(self, run_id: str, actor: Actor) -> Run:
        """A run that has ended is to go. NotFound; Conflict where it has not ended, or one that has not needs it."""
        (stored,) = await self._marked(lambda c: (removal_rows.mark(c, run_id),), actor)
        return stored.run

    async def mark_old(self, before: datetime, keep_last: int, limit: int) -> int:
        """How many runs that ended before then are marked now: at most `limit`, and not the last ones of a schedule."""
        return len(await self._marked(lambda c: removal_rows.mark_old(c, before, keep_last, limit), SYSTEM))

    async def marked(self, after: int, limit: int) -> tuple[StoredRun, ...]:
        """Those whose files are to be removed, by number from `after` on."""
        return await self._database.read(lambda c: removal_rows.marked(c, after, limit))

    async def forget(self, run_id: str) -> bool:
        """Its files are gone; False where somebody else has forgotten it."""
        return await self._database.write(lambda c: removal_rows.forget(c, run_id))

    async def snapshots(self, owner: str) -> frozenset[str]:
        """Digests of the owner's snapshots that runs or schedules still name."""
        return await self._database.read(lambda c: removal_rows.snapshots(c, owner))

    async def _marked(self, change: Callable[[Connection], Sequence[StoredRun]], actor: Actor) -> Sequence[StoredRun]:
        def work(connection: Connection) -> tuple[Sequence[StoredRun], list[StoredEvent]]:
            found, now = change(connection), self._now()
            for stored in found:
                subject = f"run/{stored.run.owner}/{stored.run.id}"
                detail = {"name": stored.run.spec.called}
                history_rows.write_audit(connection, actor, "remove", subject, detail, now)
            return found, [history_rows.write_run_event(connection, EventKind.deleted, s.run, now) for s in found]

        found, _ = await self._database.write(work, lambda done: self._feed.publish(done[1]))
        return found
