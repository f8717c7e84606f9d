"""What schedules have taken, files and what else triggers runs once, as rows: each function is one step inside a
transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, delete, insert, select

from modelyard_api.errors import NotFound
from modelyard_api.schedules import NewFile, Schedule
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


def begin_again(connection: Connection, schedule_id: int) -> None:
    """Forget which places were begun, so that what is there at the next look is not new."""
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
