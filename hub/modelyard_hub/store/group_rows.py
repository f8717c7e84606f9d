"""Groups of runs as rows: each function is one step inside a transaction."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select
from sqlalchemy.exc import IntegrityError

from modelyard_api.errors import NotFound
from modelyard_api.groups import Group, MemberStatus
from modelyard_api.runs import Run, RunState
from modelyard_hub.store.run_rows import OPEN, THERE, RunQuery, query
from modelyard_hub.store.tables import groups, runs


@dataclass(frozen=True)
class Known:
    """A group that was made of a key, and the digest of what was asked for."""

    id: str
    digest: str | None


def find_by_key(connection: Connection, owner: str, key: str) -> Known | None:
    """The group that was made of that key."""
    mine = (groups.c.owner == owner) & (groups.c.idempotency_key == key)
    row = connection.execute(select(groups.c.id, groups.c.digest).where(mine)).one_or_none()
    return None if row is None else Known(row.id, row.digest)


def create(connection: Connection, group: Group, key: str | None, digest: str) -> bool:
    """A new row; False where another process was faster with the same key."""
    values = group.model_dump(include={"id", "owner", "name", "kind", "parallel", "created_by", "created_at"})
    try:
        with connection.begin_nested():
            connection.execute(insert(groups).values(**values, idempotency_key=key, digest=digest))
    except IntegrityError:
        return False
    return True


def get(connection: Connection, group_id: str) -> Group:
    """With its members, in the order in which they were given; NotFound."""
    row = connection.execute(select(groups).where(groups.c.id == group_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no group {group_id}")
    called = names(connection, group_id)
    members = tuple(_member(run, called) for run in newest(connection, group_id))
    if not members:  # each of them is to go, and the group with the last one
        raise NotFound(f"there is no group {group_id}")
    counts: dict[RunState, int] = {}
    for one in members:
        counts[one.state] = counts.get(one.state, 0) + 1
    return _group(row, counts).model_copy(update={"members": members})


def list_(connection: Connection, owners: Collection[str] | None, limit: int) -> tuple[Group, ...]:
    """Newest first, with the counts of their members' states; `owners` None: all. Without those whose runs all are
    to go."""
    there = select(runs.c.id).where(runs.c.group == groups.c.id, THERE).exists()
    found = select(groups).where(there).order_by(groups.c.created_at.desc(), groups.c.id).limit(limit)
    if owners is not None:
        found = found.where(groups.c.owner.in_(list(owners)))
    rows = connection.execute(found).all()
    ids = [row.id for row in rows]
    latest = select(func.max(runs.c.number)).where(runs.c.group.in_(ids), THERE).group_by(runs.c.group, runs.c.member)
    states = select(runs.c.group, runs.c.state, func.count()).where(runs.c.number.in_(latest))
    counts: dict[str, dict[RunState, int]] = {}
    for group, state, count in connection.execute(states.group_by(runs.c.group, runs.c.state)):
        counts.setdefault(group, {})[RunState(state)] = count
    return tuple(_group(row, counts.get(row.id, {})) for row in rows)


def newest(connection: Connection, group_id: str) -> list[Run]:
    """The newest run of each member, in the order of their first ones."""
    found: dict[str, Run] = {}
    for stored in reversed(query(connection, RunQuery(group=group_id, limit=1_000_000))):
        found[stored.run.member or ""] = stored.run
    return list(found.values())


def limits(connection: Connection) -> dict[str, int]:
    """How many members may be at work at once, of the groups that have runs which have not ended."""
    unfinished = select(runs.c.group).where(runs.c.state.in_(OPEN), runs.c.group.is_not(None))
    found = select(groups.c.id, groups.c.parallel).where(groups.c.parallel > 0, groups.c.id.in_(unfinished))
    return {row.id: row.parallel for row in connection.execute(found)}


def names(connection: Connection, group_id: str) -> dict[str, str]:
    """Members by the ids of all their runs, also of those that are to go."""
    found = connection.execute(select(runs.c.id, runs.c.member).where(runs.c.group == group_id))
    return {row.id: row.member for row in found}


def _member(run: Run, names: dict[str, str]) -> MemberStatus:
    status = run.status
    return MemberStatus(
        member=run.member or "",
        run=run.id,
        state=status.state,
        reason=status.reason,
        message=status.message,
        parameters=run.spec.parameters,
        results=status.results,
        needs=tuple(names.get(need, need) for need in run.spec.needs),
        started=status.started,
        ended=status.ended,
    )


def _group(row: Row[Any], counts: dict[RunState, int]) -> Group:
    unfinished = counts.get(RunState.queued, 0) + counts.get(RunState.running, 0)
    good = set(counts) <= {RunState.succeeded}
    return Group(
        id=row.id,
        owner=row.owner,
        name=row.name,
        kind=row.kind,
        parallel=row.parallel,
        created_by=row.created_by,
        created_at=row.created_at,
        state="running" if unfinished else "succeeded" if good else "failed",
        counts=counts,
    )
