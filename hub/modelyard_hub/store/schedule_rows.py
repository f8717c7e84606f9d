"""Schedules as rows: each function is one step inside a transaction."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from modelyard_api.errors import Conflict, NotFound, StaleWrite
from modelyard_api.runs import RunStatus
from modelyard_api.schedules import KEPT, LastRun, Schedule, ScheduleSpec, ScheduleStatus, Skipped, Trouble
from modelyard_hub.store.records import Actor, RunsOf
from modelyard_hub.store.run_rows import OPEN, THERE, never_ran
from modelyard_hub.store.tables import runs, schedules


def subject(owner: str, name: str) -> str:
    """What the audit calls a schedule."""
    return f"schedule/{owner}/{name}"


def get(connection: Connection, owner: str, name: str) -> Schedule:
    """The schedule; NotFound."""
    mine = (schedules.c.owner == owner) & (schedules.c.name == name)
    row = connection.execute(select(schedules).where(mine)).one_or_none()
    if row is None:
        raise NotFound(f"there is no schedule {owner}/{name}")
    return _schedule(row, _last(connection, f"{owner}/{name}"))


def list_(connection: Connection, owners: Collection[str] | None) -> tuple[Schedule, ...]:
    """By owner and name; `owners` None: all."""
    query = select(schedules).order_by(schedules.c.owner, schedules.c.name)
    if owners is not None:
        query = query.where(schedules.c.owner.in_(list(owners)))
    return tuple(_schedule(row, _last(connection, f"{row.owner}/{row.name}")) for row in connection.execute(query))


def create(connection: Connection, key: tuple[str, str], spec: ScheduleSpec, actor: Actor, now: datetime) -> Schedule:
    """A new one, of which nothing is due before now; Conflict when the name is taken."""
    who = {"created_by": actor.who, "runs_as": actor.who, "created_at": now, "updated_at": now}
    values = {"owner": key[0], "name": key[1], "generation": 1, "spec": spec.model_dump(mode="json"), **who}
    try:
        with connection.begin_nested():
            connection.execute(insert(schedules).values(**values, cursor=now, skipped=[]))
    except IntegrityError as error:
        raise Conflict(
            f"the schedule {'/'.join(key)} exists already", remedy="Change it, with If-Match, or use another name."
        ) from error
    return get(connection, *key)


def write(connection: Connection, before: Schedule, spec: ScheduleSpec, actor: Actor, now: datetime) -> Schedule:
    """Another spec; StaleWrite. With other times, or after a pause, nothing is due before now."""
    values: dict[str, Any] = {"spec": spec.model_dump(mode="json"), "runs_as": actor.who, "updated_at": now}
    values["troubles"] = []  # those of another spec
    times = (before.spec.cron, before.spec.time_zone, before.spec.paused)
    if times != (spec.cron, spec.time_zone, spec.paused):
        values["cursor"] = now
    changed = connection.execute(
        update(schedules).where(_mine(before)).values(**values, generation=before.generation + 1)
    )
    if changed.rowcount == 0:
        raise StaleWrite(f"the schedule {before.key} was changed meanwhile")
    return get(connection, before.owner, before.name)


def remove(connection: Connection, schedule: Schedule) -> None:
    """StaleWrite when it was changed meanwhile."""
    if connection.execute(delete(schedules).where(_mine(schedule))).rowcount == 0:
        raise StaleWrite(f"the schedule {schedule.key} was changed meanwhile")


def advance(connection: Connection, schedule: Schedule, due: datetime) -> bool:
    """All up to `due` is decided; False where it was already, or the schedule is another one by now.

    Of two that do it at once one waits for the other here, and then is told False.
    """
    mine = _mine(schedule) & (schedules.c.cursor < due)
    return connection.execute(update(schedules).where(mine).values(cursor=due)).rowcount == 1


def lock(connection: Connection, schedule: Schedule) -> None:
    """Of two that start a run at once, one waits for the other here. NotFound where the schedule is gone."""
    mine = (schedules.c.owner == schedule.owner) & (schedules.c.name == schedule.name)
    if connection.execute(update(schedules).where(mine).values(cursor=schedules.c.cursor)).rowcount == 0:
        raise NotFound(f"there is no schedule {schedule.key}")


def note(connection: Connection, schedule: Schedule, what: Skipped) -> None:
    """Keep that due times have no run."""
    mine = (schedules.c.owner == schedule.owner) & (schedules.c.name == schedule.name)
    kept = connection.execute(select(schedules.c.skipped).where(mine)).scalar_one_or_none()
    if kept is not None:
        after = [what.model_dump(mode="json"), *kept][:KEPT]
        connection.execute(update(schedules).where(mine).values(skipped=after))


def trouble(connection: Connection, schedule: Schedule, trigger: str, what: Trouble | None) -> bool:
    """Keep what is wrong with a trigger, or that nothing is; False where that is known, or the schedule is another one
    by now. What stays the same is so since it began."""
    mine = _mine(schedule)
    kept = connection.execute(select(schedules.c.troubles).where(mine).with_for_update()).scalar_one_or_none()
    if kept is None:
        return False
    before = [one for one in kept if one["trigger"] == trigger]
    if [(one["reason"], one["message"]) for one in before] == ([(what.reason, what.message)] if what else []):
        return False
    after = [one for one in kept if one["trigger"] != trigger]
    if what is not None:
        since = [one["since"] for one in before if one["reason"] == what.reason]
        after.append(what.model_dump(mode="json") | ({"since": since[0]} if since else {}))
    connection.execute(update(schedules).where(mine).values(troubles=after))
    return True


def is_running(connection: Connection, key: str) -> bool:
    """Whether a run of the schedule has not ended."""
    mine = (runs.c.schedule == key) & runs.c.state.in_(OPEN)
    return connection.execute(select(runs.c.id).where(mine).limit(1)).first() is not None


def newest_run(connection: Connection, key: str) -> datetime | None:
    """When the newest run of the schedule that there is was made."""
    found = select(runs.c.created_at).where(runs.c.schedule == key).order_by(runs.c.number.desc()).limit(1)
    return connection.execute(found).scalar_one_or_none()


def runs_of(connection: Connection) -> dict[str, RunsOf]:
    """What there is of each schedule's runs."""
    latest = select(runs.c.schedule, func.max(runs.c.due).label("due")).where(runs.c.schedule.is_not(None))
    found = {row.schedule: row.due for row in connection.execute(latest.group_by(runs.c.schedule))}
    columns = (runs.c.schedule, runs.c.id, runs.c.due, runs.c.state, runs.c.status, runs.c.cancelling)
    waiting: dict[str, tuple[str, datetime]] = {}
    count: dict[str, int] = {}
    still = select(*columns).where(runs.c.schedule.is_not(None), runs.c.state.in_(OPEN)).order_by(runs.c.number)
    for row in connection.execute(still):
        count[row.schedule] = count.get(row.schedule, 0) + 1
        if row.due is not None and not row.cancelling and never_ran(RunStatus.model_validate(row.status)):
            waiting.setdefault(row.schedule, (row.id, row.due))
    return {key: RunsOf(due, count.get(key, 0), waiting.get(key)) for key, due in found.items()}


def _mine(schedule: Schedule) -> Any:
    key = (schedules.c.owner == schedule.owner) & (schedules.c.name == schedule.name)
    return key & (schedules.c.generation == schedule.generation) & (schedules.c.created_at == schedule.created_at)


def _last(connection: Connection, key: str) -> LastRun | None:
    query = select(runs.c.id, runs.c.due, runs.c.state).where(runs.c.schedule == key, THERE)
    row = connection.execute(query.order_by(runs.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else LastRun(id=row.id, due=row.due, state=row.state)


def _schedule(row: Row[Any], last: LastRun | None) -> Schedule:
    skipped = tuple(Skipped.model_validate(one) for one in row.skipped)
    troubles = tuple(Trouble.model_validate(one) for one in row.troubles)
    return Schedule(
        owner=row.owner,
        name=row.name,
        generation=row.generation,
        runs_as=row.runs_as,
        created_by=row.created_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        spec=ScheduleSpec.model_validate(row.spec),
        status=ScheduleStatus(last=last, skipped=skipped, troubles=troubles, cursor=row.cursor),
    )
