"""Runs as rows: each function is one step inside a transaction."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from modelyard_api.errors import Conflict, NotFound
from modelyard_api.results import ResultFilter
from modelyard_api.runs import Run, RunSpec, RunState, RunStatus
from modelyard_hub.store import result_rows
from modelyard_hub.store.records import StoredRun
from modelyard_hub.store.tables import runs

OPEN = (RunState.queued.value, RunState.running.value)
THERE = runs.c.removing.is_(False)
"""For everybody but who removes it, a run that is to be removed is gone."""


@dataclass(frozen=True)
class Origin:
    """Who submitted a run, and by what."""

    created_by: str
    idempotency_key: str | None = None
    schedule: str | None = None
    due: datetime | None = None
    group: str | None = None
    member: str | None = None


@dataclass(frozen=True)
class RunQuery:
    """Which runs; `before`: only those that are older than that one. What is None does not limit."""

    owners: Collection[str] | None = None
    states: Collection[RunState] | None = None
    schedule: str | None = None
    group: str | None = None
    before: str | None = None
    results: Collection[ResultFilter] = ()
    limit: int = 200
    name: str | None = None


def find(connection: Connection, run_id: str) -> StoredRun | None:
    """The run, or None."""
    row = connection.execute(select(runs).where(runs.c.id == run_id, THERE)).one_or_none()
    return None if row is None else record(row)


def get(connection: Connection, run_id: str) -> StoredRun:
    """The run; NotFound."""
    found = find(connection, run_id)
    if found is None:
        raise NotFound(f"there is no run {run_id}")
    return found


def submit(connection: Connection, owner: str, spec: RunSpec, origin: Origin, now: datetime) -> tuple[StoredRun, bool]:
    """A new run and True; or the one that was made of the same key, or for the same due time, and False.

    Conflict where the same key stands for something else.
    """
    document = spec.model_dump(mode="json")
    known = _same(connection, owner, origin)
    if known is None:
        values = {
            "id": secrets.token_hex(8),
            "owner": owner,
            "created_at": now,
            "updated_at": now,
            "spec": document,
            "state": RunState.queued.value,
            "status": RunStatus().model_dump(mode="json"),
            "cancelling": False,
            **vars(origin),
        }
        try:
            with connection.begin_nested():
                connection.execute(insert(runs).values(**values))
            return get(connection, values["id"]), True
        except IntegrityError:  # another process was faster
            known = _same(connection, owner, origin)
            if known is None:
                raise
    if origin.idempotency_key is not None and known.run.spec.model_dump(mode="json") != document:
        raise Conflict(
            f"the idempotency key {origin.idempotency_key!r} stands for run {known.run.id}, which is another one",
            remedy="Use a key of its own for each run.",
        )
    return known, False


def keyed(connection: Connection, owner: str, key: str) -> StoredRun | None:
    """The run that an idempotency key stands for already."""
    return _same(connection, owner, Origin("", idempotency_key=key))


def never_ran(status: RunStatus) -> bool:
    """Whether it waits for its first attempt: one that waits for a further one is queued, too."""
    return status.state is RunState.queued and status.started is None and not status.attempts


def query(connection: Connection, wanted: RunQuery) -> tuple[StoredRun, ...]:
    """Newest first. NotFound where there is no run `before`."""
    found: Select[Any] = select(runs).where(THERE).order_by(runs.c.number.desc()).limit(wanted.limit)
    if wanted.owners is not None:
        found = found.where(runs.c.owner.in_(list(wanted.owners)))
    if wanted.states is not None:
        found = found.where(runs.c.state.in_([state.value for state in wanted.states]))
    if wanted.schedule is not None:
        found = found.where(runs.c.schedule == wanted.schedule)
    if wanted.name is not None:
        found = found.where(_called(wanted.name))
    if wanted.group is not None:
        found = found.where(runs.c.group == wanted.group)
    if wanted.before is not None:
        before = connection.execute(select(runs.c.number).where(runs.c.id == wanted.before)).scalar_one_or_none()
        if before is None:
            raise NotFound(f"there is no run {wanted.before}", remedy="List again from the newest one on.")
        found = found.where(runs.c.number < before)
    for one in wanted.results:
        found = found.where(result_rows.holds(one, connection.dialect.name))
    return tuple(record(row) for row in connection.execute(found))


def _called(name: str) -> ColumnElement[bool]:
    """As `RunSpec.called` says it."""
    spec, file = runs.c.spec, f"/{name}.ipynb"
    path = "/" + spec[("notebook", "path")].as_string()
    notebook = func.substr(path, func.length(path) - len(file) + 1) == file
    unnamed = or_(notebook, spec[("score", "model")].as_string() == name)
    return or_(spec["name"].as_string() == name, and_(spec["name"].as_string() == "", unnamed))


def open_(connection: Connection) -> tuple[StoredRun, ...]:
    """All that have not ended, and those whose token is still to be revoked; oldest first."""
    # Each by its index. One condition with OR, or IS NOT NULL, would read the whole table in SQLite.
    at_work = select(runs.c.number).where(runs.c.state.in_(OPEN))
    hold = select(runs.c.number).where(runs.c.token_id > "")
    wanted = select(runs).where(runs.c.number.in_(at_work.union(hold))).order_by(runs.c.number)
    return tuple(record(row) for row in connection.execute(wanted))


def by_ids(connection: Connection, ids: Collection[str]) -> tuple[StoredRun, ...]:
    """Those of them that there are."""
    wanted = select(runs).where(runs.c.id.in_(list(ids)), THERE)
    return tuple(record(row) for row in connection.execute(wanted))


def last_durations(connection: Connection, owner: str, called: str, limit: int) -> list[RunStatus]:
    """Statuses of the owner's newest runs of that name that succeeded."""
    found = select(runs.c.status, runs.c.spec).where(runs.c.owner == owner, runs.c.state == RunState.succeeded.value)
    kept = []
    for row in connection.execute(found.order_by(runs.c.number.desc()).limit(20 * limit)):
        if RunSpec.model_validate(row.spec).called == called:
            kept.append(RunStatus.model_validate(row.status))
            if len(kept) == limit:
                break
    return kept


def mark_cancelling(connection: Connection, run_id: str, now: datetime) -> StoredRun:
    """Desired: not to run; nothing changes of one that has ended. NotFound."""
    where = (runs.c.id == run_id) & runs.c.state.in_(OPEN)
    connection.execute(update(runs).where(where).values(cancelling=True, updated_at=now))
    return get(connection, run_id)


def lock(connection: Connection, run_id: str) -> StoredRun | None:
    """The run as it is until this transaction ends: who writes its status meanwhile waits. None where it is gone."""
    row = connection.execute(select(runs).where(runs.c.id == run_id).with_for_update()).one_or_none()
    return None if row is None else record(row)


def write_status(
    connection: Connection, run_id: str, status: RunStatus, not_before: datetime | None, now: datetime, tell: bool
) -> bool:
    """Put what is observed in place of what was; False where the run has ended, and stays as it was."""
    values = {"state": status.state.value, "status": status.model_dump(mode="json"), "not_before": not_before}
    values |= {"tell_at": now} if tell else {}
    where = (runs.c.id == run_id) & runs.c.state.in_(OPEN)
    return connection.execute(update(runs).where(where).values(**values, updated_at=now)).rowcount == 1


def write_token(connection: Connection, run_id: str, token_id: str | None, before: str | None) -> bool:
    """Keep the id (not the secret) of the token that a run was given; False where it has another than `before`."""
    where = (runs.c.id == run_id) & runs.c.token_id.is_not_distinct_from(before)
    return connection.execute(update(runs).where(where).values(token_id=token_id)).rowcount == 1


def _same(connection: Connection, owner: str, origin: Origin) -> StoredRun | None:
    conditions = []
    if origin.idempotency_key is not None:
        conditions.append((runs.c.owner == owner) & (runs.c.idempotency_key == origin.idempotency_key))
    if origin.schedule is not None and origin.due is not None:
        conditions.append((runs.c.schedule == origin.schedule) & (runs.c.due == origin.due))
    if not conditions:
        return None
    row = connection.execute(select(runs).where(or_(*conditions)).limit(1)).one_or_none()
    return None if row is None else record(row)


def record(row: Row[Any]) -> StoredRun:
    """What a row holds."""
    run = Run(
        id=row.id,
        owner=row.owner,
        created_by=row.created_by,
        created_at=row.created_at,
        idempotency_key=row.idempotency_key,
        schedule=row.schedule,
        due=row.due,
        group=row.group,
        member=row.member,
        cancelling=row.cancelling,
        spec=RunSpec.model_validate(row.spec),
        status=RunStatus.model_validate(row.status),
    )
    return StoredRun(run, row.number, row.not_before, row.token_id)
