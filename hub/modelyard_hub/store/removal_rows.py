"""Runs that go, as rows: marked first, forgotten when their files are gone; each function one step of a transaction."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, or_, select, update

from modelyard_api.errors import Conflict
from modelyard_hub.store import run_rows
from modelyard_hub.store.records import StoredRun
from modelyard_hub.store.run_rows import OPEN, THERE
from modelyard_hub.store.tables import groups, runs, schedules

_ENDED = runs.c.state.not_in(OPEN)


def mark(connection: Connection, run_id: str) -> StoredRun:
    """The run, which from now on is gone for everybody else. NotFound; Conflict where it is at work, or waited for."""
    stored = run_rows.get(connection, run_id)
    if not stored.run.ended:
        raise Conflict(f"run {run_id} has not ended", remedy="Cancel it first, and remove it once it has ended.")
    needing = [id_ for id_, needs in _needs(connection).items() if run_id in needs]
    if needing:
        raise Conflict(f"run {needing[0]} needs run {run_id}, and has not ended", remedy="Wait for it, or cancel it.")
    _mark(connection, [run_id])
    return stored


def mark_old(connection: Connection, before: datetime, keep_last: int, limit: int) -> tuple[StoredRun, ...]:
    """Marks runs that ended before then, the oldest first, and tells which.

    Not the last ones of a schedule that there is, not those that one at work needs, and none whose group is at work.
    """
    needed = {need for needs in _needs(connection).values() for need in needs}
    at_work = select(runs.c.group).where(runs.c.state.in_(OPEN), runs.c.group.is_not(None))
    old: Select[Any] = select(runs).where(THERE, _ENDED, runs.c.updated_at < before, runs.c.token_id.is_(None))
    old = old.where(or_(runs.c.group.is_(None), runs.c.group.not_in(at_work)), runs.c.number.not_in(_last(keep_last)))
    found = connection.execute(old.order_by(runs.c.number).limit(limit + len(needed)))
    chosen = tuple(stored for row in found if (stored := run_rows.record(row)).run.id not in needed)[:limit]
    _mark(connection, [stored.run.id for stored in chosen])
    return chosen


def marked(connection: Connection, after: int, limit: int) -> tuple[StoredRun, ...]:
    """Those that are to go and hold no token any more, by number from `after` on."""
    wanted = (runs.c.removing.is_(True), runs.c.number > after, runs.c.token_id.is_(None))
    found = connection.execute(select(runs).where(*wanted).order_by(runs.c.number).limit(limit))
    return tuple(run_rows.record(row) for row in found)


def forget(connection: Connection, run_id: str) -> bool:
    """Away with it, and with its group where it was the last one of that; False where it is not marked, or gone."""
    mine = (runs.c.id == run_id) & runs.c.removing.is_(True)
    group = connection.execute(select(runs.c.group).where(mine)).scalar_one_or_none()
    if connection.execute(delete(runs).where(mine)).rowcount == 0:
        return False
    if group is not None:
        others = select(runs.c.id).where(runs.c.group == group).exists()
        connection.execute(delete(groups).where(groups.c.id == group, ~others))
    return True


def snapshots(connection: Connection, owner: str) -> frozenset[str]:
    """Digests of the owner's snapshots that a run or a schedule names; those of runs that are to go are not counted."""
    named = runs.c.spec["notebook"]["snapshot"].as_string()
    by_runs = connection.execute(select(named).where(runs.c.owner == owner, THERE).distinct()).scalars()
    planned = schedules.c.spec["run"]["notebook"]["snapshot"].as_string()
    by_schedules = connection.execute(select(planned).where(schedules.c.owner == owner)).scalars()
    return frozenset(digest for digest in (*by_runs, *by_schedules) if digest)


def _mark(connection: Connection, ids: Collection[str]) -> None:
    # Its key is free from now on: who sends it again wants a new run.
    change = update(runs).where(runs.c.id.in_(list(ids)), _ENDED)
    connection.execute(change.values(removing=True, idempotency_key=None))
    theirs = select(runs.c.group).where(runs.c.id.in_(list(ids)), runs.c.group.is_not(None))
    left = select(runs.c.id).where(runs.c.group == groups.c.id, THERE).exists()
    connection.execute(update(groups).where(groups.c.id.in_(theirs), ~left).values(idempotency_key=None))


def _needs(connection: Connection) -> dict[str, frozenset[str]]:
    """What those that have not ended need, by run."""
    found = connection.execute(select(runs.c.id, runs.c.spec).where(runs.c.state.in_(OPEN)))
    return {row.id: frozenset(row.spec.get("needs") or ()) for row in found}


def _last(keep: int) -> Select[Any]:
    """Numbers of the last `keep` runs of each schedule."""
    key = schedules.c.owner + "/" + schedules.c.name
    place = func.row_number().over(partition_by=runs.c.schedule, order_by=runs.c.number.desc()).label("place")
    ranked = select(runs.c.number, place).where(THERE, runs.c.schedule.in_(select(key))).subquery()
    return select(ranked.c.number).where(ranked.c.place <= keep)
