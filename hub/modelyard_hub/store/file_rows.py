"""What schedules have taken, files and what else triggers runs once, as rows: each function is one step inside a
transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, delete, insert, select

from modelyard_api.errors import NotFound
from modelyard_api.schedules import NewFile, OnFiles, Schedule
from modelyard_hub.store.tables import schedule_files, schedules

_TOGETHER = 500
T = TypeVar("T")


def number(connection: Connection, schedule: Schedule) -> int:
    """The row of the schedule; NotFound where it is another one by now."""
    mine = (schedules.c.owner == schedule.owner) & (schedules.c.name == schedule.name)
    found = select(schedules.c.id).where(mine & (schedules.c.created_at == schedule.created_at))
    row = connection.execute(found).one_or_none()
    if row is None:
        raise NotFound(f"there is no schedule {schedule.key}")
    return int(row.id)


def taken(connection: Connection, schedule_id: int, digests: Collection[str]) -> set[str]:
    """Those of the digests that are there already."""
    found: set[str] = set()
    for some in _batches(list(digests)):
        mine = (schedule_files.c.schedule_id == schedule_id) & schedule_files.c.digest.in_(some)
        found |= set(connection.execute(select(schedule_files.c.digest).where(mine)).scalars())
    return found


def take(connection: Connection, schedule_id: int, files: Sequence[NewFile], run: str | None, now: datetime) -> None:
    """Keep that they are taken. IntegrityError where one was."""
    for some in _batches(files):
        rows = [
            {"schedule_id": schedule_id, "digest": f.digest, "location": f.location, "run": run, "at": now}
            for f in some
        ]
        connection.execute(insert(schedule_files), rows)


def watch(connection: Connection, schedule_id: int, wanted: OnFiles, now: datetime) -> None:
    """Keep since when that place is watched, unless it is kept already."""
    mark = _since(wanted)
    if not taken(connection, schedule_id, [mark.digest]):
        take(connection, schedule_id, [mark], None, now)


def watched_since(connection: Connection, schedule_id: int, wanted: OnFiles) -> datetime | None:
    """Since when that place is watched; None for a schedule that is older than this is kept."""
    mine = (schedule_files.c.schedule_id == schedule_id) & (schedule_files.c.digest == _since(wanted).digest)
    return connection.execute(select(schedule_files.c.at).where(mine)).scalar_one_or_none()


def _since(wanted: OnFiles) -> NewFile:
    text = "\0".join(("since", wanted.location, wanted.pattern, str(wanted.changed)))
    return NewFile(digest=hashlib.sha256(text.encode()).hexdigest(), location="")


def had_runs(connection: Connection, schedule_id: int, beginning: str) -> list[str]:
    """Locations of files that had a run, the first one first, of those whose location begins so."""
    mine = (schedule_files.c.schedule_id == schedule_id) & schedule_files.c.run.is_not(None)
    mine &= schedule_files.c.location.startswith(beginning, autoescape=True)
    found = select(schedule_files.c.location).where(mine).order_by(schedule_files.c.at, schedule_files.c.digest)
    return list(connection.execute(found).scalars())


def begin_again(connection: Connection, schedule_id: int) -> None:
    """Forget which places were begun and since when, so that what is there now is not new."""
    mine = (schedule_files.c.schedule_id == schedule_id) & (schedule_files.c.location == "")
    connection.execute(delete(schedule_files).where(mine))


def last(connection: Connection, schedule_id: int, location: str) -> datetime | None:
    """When something was last taken from there."""
    mine = (schedule_files.c.schedule_id == schedule_id) & (schedule_files.c.location == location)
    newest = select(schedule_files.c.at).where(mine).order_by(schedule_files.c.at.desc()).limit(1)
    return connection.execute(newest).scalar_one_or_none()


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _TOGETHER):
        yield items[start : start + _TOGETHER]
