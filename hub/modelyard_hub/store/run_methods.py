"""The part of the store's face that is about runs."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection

from modelyard_api.endpoints import EventKind
from modelyard_api.runs import Run, RunSpec, RunStatus
from modelyard_hub.store import group_rows, history_rows, run_rows
from modelyard_hub.store.database import Database
from modelyard_hub.store.feed import Feed
from modelyard_hub.store.records import Actor, StoredEvent, StoredRun
from modelyard_hub.store.run_rows import Origin, RunQuery


class RunMethods:
    """Runs, each change one transaction. Raises as the store does."""

    _database: Database
    _feed: Feed
    _now: Callable[[], datetime]

    async def submit_run(
        self,
        owner: str,
        spec: RunSpec,
        *,
        created_by: str | None = None,
        idempotency_key: str | None = None,
        schedule: str | None = None,
        due: datetime | None = None,
        group: str | None = None,
        member: str | None = None,
        source: str = "",
    ) -> Run:
        """A queued run; the one that there is already for the same `idempotency_key` of the owner, or for the same
        `schedule` (owner/name) and `due`. Conflict where the key stands for another spec.

        `created_by`: JupyterHub's name of the user that it runs as; by default the owner's. `source`: an address.
        """
        who = created_by or owner
        origin = Origin(who, idempotency_key, schedule, due, group, member)

        def change(connection: Connection) -> tuple[StoredRun, builtins.list[StoredEvent]]:
            now = self._now()
            stored, new = run_rows.submit(connection, owner, spec, origin, now)
            if not new:
                return stored, []
            detail = {"name": spec.called, "kind": spec.kind}
            self._audit_run(connection, Actor(who, source), "submit", stored.run, detail)
            return stored, [history_rows.write_run_event(connection, EventKind.changed, stored.run, now)]

        stored, _ = await self._database.write(change, lambda done: self._feed.publish(done[1]))
        return stored.run

    async def get_run(self, run_id: str) -> StoredRun:
        """NotFound."""
        return await self._database.read(lambda c: run_rows.get(c, run_id))

    async def list_runs(self, query: RunQuery | None = None) -> tuple[Run, ...]:
        """Newest first."""
        wanted = query or RunQuery()
        return tuple(stored.run for stored in await self._database.read(lambda c: run_rows.query(c, wanted)))

    async def open_runs(self) -> tuple[StoredRun, ...]:
        """All that have not ended, and those whose token is still to be revoked; oldest first."""
        return await self._database.read(run_rows.open_)

    async def run_limits(self) -> Mapping[str, int]:
        """How many runs of a group may be at work at once, by the group's id; of those that have runs to come."""
        return await self._database.read(group_rows.limits)

    async def runs_by_id(self, ids: Collection[str]) -> dict[str, Run]:
        """Those of them that there are."""
        if not ids:
            return {}
        found = await self._database.read(lambda c: run_rows.by_ids(c, ids))
        return {stored.run.id: stored.run for stored in found}

    async def usual_seconds(self, owner: str, called: str) -> float | None:
        """How long the owner's last runs of that name took: the median; None where there was none."""
        statuses = await self._database.read(lambda c: run_rows.last_durations(c, owner, called, 5))
        took = sorted((s.ended - s.started).total_seconds() for s in statuses if s.started and s.ended)
        return took[len(took) // 2] if took else None

    async def cancel_run(self, run_id: str, actor: Actor) -> Run:
        """Desired: not to run. Nothing changes of one that has ended, or is cancelled already. NotFound."""

        def change(connection: Connection) -> tuple[StoredRun, builtins.list[StoredEvent]]:
            before = run_rows.get(connection, run_id)
            if before.run.ended or before.run.cancelling:
                return before, []
            now = self._now()
            after = run_rows.mark_cancelling(connection, run_id, now)
            self._audit_run(connection, actor, "cancel", after.run, {})
            return after, [history_rows.write_run_event(connection, EventKind.changed, after.run, now)]

        stored, _ = await self._database.write(change, lambda done: self._feed.publish(done[1]))
        return stored.run

    async def expire_run(self, run_id: str, actor: Actor) -> bool:
        """Cancel a run that has not started; False where it has by now, or is cancelled, ended or gone."""

        def change(connection: Connection) -> tuple[bool, builtins.list[StoredEvent]]:
            before = run_rows.lock(connection, run_id)
            if before is None or before.run.cancelling or not run_rows.never_ran(before.run.status):
                return False, []
            now = self._now()
            after = run_rows.mark_cancelling(connection, run_id, now)
            self._audit_run(connection, actor, "cancel", after.run, {})
            return True, [history_rows.write_run_event(connection, EventKind.changed, after.run, now)]

        done, _ = await self._database.write(change, lambda done: self._feed.publish(done[1]))
        return done

    async def write_run_status(
        self, run_id: str, status: RunStatus, not_before: datetime | None = None, *, tell: bool = False
    ) -> bool:
        """What is observed of a run; `not_before`: its next attempt; `tell`: an attempt is over, and MLflow is to be
        told. False where it has ended, and stays as it was."""

        def change(connection: Connection) -> tuple[bool, builtins.list[StoredEvent]]:
            now = self._now()
            before = run_rows.find(connection, run_id)
            if before is None or not run_rows.write_status(connection, run_id, status, not_before, now, tell):
                return False, []
            if (before.run.status.state, before.run.status.attempt) == (status.state, status.attempt):
                return True, []  # progress is not told one by one
            return True, [history_rows.write_run_event(connection, EventKind.changed, before.run, now)]

        written, _ = await self._database.write(change, lambda done: self._feed.publish(done[1]))
        return written

    async def write_run_token(self, run_id: str, token_id: str | None, before: str | None = None) -> bool:
        """Keep the id of the token that a run was given, until it is revoked; False where it is not `before`."""
        return await self._database.write(lambda c: run_rows.write_token(c, run_id, token_id, before))

    def _audit_run(self, connection: Connection, actor: Actor, action: str, run: Run, detail: dict[str, str]) -> None:
        history_rows.write_audit(connection, actor, action, f"run/{run.owner}/{run.id}", detail, self._now())
