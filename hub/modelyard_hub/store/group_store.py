"""The store's face for groups of runs."""

from __future__ import annotations

import builtins
import hashlib
import json
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from modelyard_api.endpoints import EventKind
from modelyard_api.errors import Conflict
from modelyard_api.groups import Group, GroupWrite
from modelyard_api.runs import ResultOf, Run, RunSpec, RunState
from modelyard_hub.store import group_rows, history_rows, run_rows
from modelyard_hub.store.database import Database
from modelyard_hub.store.feed import Feed
from modelyard_hub.store.records import Actor, StoredEvent
from modelyard_hub.store.run_rows import Origin


@dataclass(frozen=True)
class Planned:
    """A member that is to run; `needs` and `results_of` (parameter to member and result) name members. `runs_as`: whose
    token it is given; by default the caller's."""

    member: str
    spec: RunSpec
    needs: tuple[str, ...] = ()
    results_of: Mapping[str, tuple[str, str]] | None = None
    runs_as: str | None = None


class GroupStore:
    """Sweeps and pipelines: their runs are made in one transaction, all or none. Raises as the store does."""

    def __init__(self, database: Database, feed: Feed, now: Callable[[], datetime]) -> None:
        self._database, self._feed, self._now = database, feed, now

    async def create(self, owner: str, wanted: GroupWrite, members: Sequence[Planned], actor: Actor) -> Group:
        """`members` in an order in which each comes after those that it needs. The group that there is already, where
        it was made of the same key. Conflict where the key stands for another one."""
        digest = _digest(wanted)

        def change(connection: Connection) -> tuple[Group, builtins.list[StoredEvent]]:
            key = wanted.idempotency_key
            known = None if key is None else group_rows.find_by_key(connection, owner, key)
            if known is not None:
                if known.digest not in (None, digest):  # None: of a version that kept none
                    raise Conflict(
                        f"the idempotency key {key!r} stands for group {known.id}, which is another one",
                        remedy="Use a key of its own for each group.",
                    )
                return group_rows.get(connection, known.id), []
            new = Group(
                id=secrets.token_hex(8),
                owner=owner,
                name=wanted.name,
                kind=wanted.kind,
                parallel=wanted.parallel,
                created_by=actor.who,
                created_at=self._now(),
            )
            if not group_rows.create(connection, new, key, digest):
                raise Conflict(f"the key {key!r} is being used just now", remedy="Ask once more.")
            events = self._submit(connection, new, members, {}, actor)
            detail = {"name": wanted.name, "members": len(members)}
            self._audit(connection, actor, f"{wanted.kind}.submit", new, detail)
            return group_rows.get(connection, new.id), events

        group, _ = await self._database.write(change, lambda done: self._feed.publish(done[1]))
        return group

    async def rerun(self, group_id: str, actor: Actor) -> Group:
        """New runs of the members that have not succeeded; what those need that have is taken from their runs.
        They run as the ones before, whoever asks: the work is that of who submitted it.

        NotFound; Conflict while a member has not ended, where all have succeeded, or where what one needs was removed.
        """

        def change(connection: Connection) -> tuple[Group, builtins.list[StoredEvent]]:
            group = group_rows.get(connection, group_id)
            runs = group_rows.newest(connection, group_id)
            if any(not run.ended for run in runs):
                raise Conflict(f"the group {group_id} has not ended", remedy="Wait until it has, or cancel it.")
            failed = [run for run in runs if run.status.state is not RunState.succeeded]
            if not failed:
                raise Conflict(f"all members of the group {group_id} have succeeded")
            names = group_rows.names(connection, group_id)
            done = {run.member or "": run.id for run in runs if run.status.state is RunState.succeeded}
            members = [_again(run, names) for run in failed]
            _check_there(members, done)
            events = self._submit(connection, group, members, done, actor)
            self._audit(connection, actor, f"{group.kind}.rerun", group, {"members": len(failed)})
            return group_rows.get(connection, group_id), events

        after, _ = await self._database.write(change, lambda done: self._feed.publish(done[1]))
        return after

    async def get(self, group_id: str) -> Group:
        """With its members; NotFound."""
        return await self._database.read(lambda c: group_rows.get(c, group_id))

    async def list(self, owners: Collection[str] | None = None, limit: int = 200) -> tuple[Group, ...]:
        """Newest first, without members; `owners` None: all."""
        return await self._database.read(lambda c: group_rows.list_(c, owners, limit))

    async def cancel(self, group_id: str, actor: Actor) -> Group:
        """None of its members is to run. NotFound."""

        def change(connection: Connection) -> tuple[Group, builtins.list[StoredEvent]]:
            group, now = group_rows.get(connection, group_id), self._now()
            events = []
            for run in group_rows.newest(connection, group_id):
                if not run.ended and not run.cancelling:
                    after = run_rows.mark_cancelling(connection, run.id, now)
                    events.append(history_rows.write_run_event(connection, EventKind.changed, after.run, now))
            self._audit(connection, actor, f"{group.kind}.cancel", group, {"members": len(events)})
            return group_rows.get(connection, group_id), events

        after, _ = await self._database.write(change, lambda done: self._feed.publish(done[1]))
        return after

    def _submit(
        self, connection: Connection, group: Group, members: Sequence[Planned], known: Mapping[str, str], actor: Actor
    ) -> builtins.list[StoredEvent]:
        """`known`: runs of members that have succeeded already."""
        ids, now, events = dict(known), self._now(), []
        for one in members:
            sources = (one.results_of or {}).items()
            document = one.spec.model_dump() | {
                "needs": tuple(ids[need] for need in one.needs),
                "results_of": {name: ResultOf(run=ids[member], result=result) for name, (member, result) in sources},
            }
            origin = Origin(one.runs_as or actor.who, group=group.id, member=one.member)
            stored, _ = run_rows.submit(connection, group.owner, RunSpec.model_validate(document), origin, now)
            ids[one.member] = stored.run.id
            events.append(history_rows.write_run_event(connection, EventKind.changed, stored.run, now))
        return events

    def _audit(
        self, connection: Connection, actor: Actor, action: str, group: Group, detail: Mapping[str, object]
    ) -> None:
        history_rows.write_audit(connection, actor, action, f"group/{group.owner}/{group.id}", detail, self._now())


def _again(run: Run, names: Mapping[str, str]) -> Planned:
    """The member of a run, to be run once more. Runs name runs, of which there are newer ones by now: the names of
    their members are what stays; "" for one that was removed."""
    spec = run.spec
    plain = RunSpec.model_validate(spec.model_dump() | {"needs": (), "results_of": {}})
    needs = tuple(names.get(need, "") for need in spec.needs)
    made = Planned(run.member or "", plain, needs, runs_as=run.created_by)
    return replace(made, results_of={p: (names.get(s.run, ""), s.result) for p, s in spec.results_of.items()})


def _check_there(members: Sequence[Planned], done: Collection[str]) -> None:
    """Conflict where a member needs one of which no run is left: what it was is not known any more."""
    there = {*done, *(one.member for one in members)}
    for one in members:
        if not {*one.needs, *(member for member, _ in (one.results_of or {}).values())} <= there:
            raise Conflict(
                f"a run that {one.member} needs was removed, so that it cannot run again by itself",
                remedy="Submit the whole once more.",
            )


def _digest(wanted: GroupWrite) -> str:
    """Of what a key stands for. The owner is not part of it, since keys are an owner's; nor is what has its default,
    so that a later version, which knows more members, comes to the same."""
    content = wanted.model_dump(mode="json", exclude={"idempotency_key", "owner"}, exclude_defaults=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
