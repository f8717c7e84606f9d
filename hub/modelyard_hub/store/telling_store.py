"""The part of the store's face that is about what MLflow is still to be told: each change one transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from modelyard_api.endpoints import EventKind
from modelyard_api.runs import Run
from modelyard_hub.store import history_rows, run_rows
from modelyard_hub.store.database import Database
from modelyard_hub.store.feed import Feed
from modelyard_hub.store.records import StoredEvent
from modelyard_hub.store.run_rows import THERE
from modelyard_hub.store.tables import runs


class TellingStore:
    """An attempt's end is noted with its run's status. Who tells takes the run for a while: of two at once one does,
    and after one that was killed, or that MLflow did not answer, the next one."""

    def __init__(self, database: Database, feed: Feed, now: Callable[[], datetime]) -> None:
        self._database, self._feed, self._now = database, feed, now

    async def take(self, patience: timedelta) -> tuple[Run, datetime] | None:
        """The run that has waited longest, which is the caller's for so long, and when its last attempt ended that is
        to be told; None where none waits."""

        def change(connection: Connection) -> tuple[Run, datetime] | None:
            now = self._now()
            free = runs.c.telling_until.is_(None) | (runs.c.telling_until <= now)
            # Of two at once, each has one of its own.
            waits = select(runs).where(THERE, runs.c.tell_at <= now, free).order_by(runs.c.tell_at).limit(1)
            row = connection.execute(waits.with_for_update(skip_locked=True)).one_or_none()
            if row is None:
                return None
            connection.execute(update(runs).where(runs.c.id == row.id).values(telling_until=now + patience))
            return run_rows.record(row).run, row.tell_at

        return await self._database.write(change)

    async def later(self, run_id: str, pause: timedelta) -> None:
        """It could not be told: it is taken again after that."""

        def change(connection: Connection) -> None:
            mine = update(runs).where(runs.c.id == run_id)
            connection.execute(mine.values(telling_until=self._now() + pause))

        await self._database.write(change)

    async def told(self, run_id: str, mark: datetime, mlflow_run_id: str) -> bool:
        """MLflow knows all that there was to tell when the run was taken with that mark; False where more came since,
        or the run is gone. Of one that has ended the id of its run in MLflow is kept: of others, that of the attempt at
        work comes."""

        def change(connection: Connection) -> tuple[bool, list[StoredEvent]]:
            before = run_rows.lock(connection, run_id)
            mine = update(runs).where(runs.c.id == run_id, THERE)
            if before is None or connection.execute(mine.values(telling_until=None)).rowcount == 0:
                return False, []
            if connection.execute(mine.where(runs.c.tell_at == mark).values(tell_at=None)).rowcount == 0:
                return False, []
            run = before.run
            if not run.ended or mlflow_run_id in ("", run.status.mlflow_run_id):
                return True, []
            status = run.status.model_copy(update={"mlflow_run_id": mlflow_run_id}).model_dump(mode="json")
            connection.execute(update(runs).where(runs.c.id == run_id).values(status=status))
            return True, [history_rows.write_run_event(connection, EventKind.changed, run, self._now())]

        done, _ = await self._database.write(change, lambda done: self._feed.publish(done[1]))
        return done
