"""The store's face for schedules."""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from modelyard_api.endpoints import EventKind
from modelyard_api.errors import Conflict, StaleWrite
from modelyard_api.runs import Run, RunSpec
from modelyard_api.schedules import CatchUp, NewFile, Schedule, ScheduleSpec, Skipped, Trouble
from modelyard_hub.store import file_rows, history_rows, run_rows, schedule_rows
from modelyard_hub.store.database import Database
from modelyard_hub.store.feed import Feed
from modelyard_hub.store.records import Actor, RunsOf, StoredEvent
from modelyard_hub.store.run_rows import Origin

_SOURCE = "schedule"
_NEVER = datetime.fromtimestamp(0, UTC)


class ScheduleStore:
    """Schedules, and the runs that they start: each change one transaction. Raises as the store does."""

    def __init__(self, database: Database, feed: Feed, now: Callable[[], datetime]) -> None:
        self._database, self._feed, self._now = database, feed, now

    async def get(self, owner: str, name: str) -> Schedule:
        """NotFound. The next times are not filled in."""
        return await self._database.read(lambda c: schedule_rows.get(c, owner, name))

    async def list(self, owners: Collection[str] | None = None) -> tuple[Schedule, ...]:
        """By owner and name; `owners` None: all."""
        return await self._database.read(lambda c: schedule_rows.list_(c, owners))

    async def create(self, owner: str, name: str, spec: ScheduleSpec, actor: Actor) -> Schedule:
        """Conflict when the name is taken."""

        def change(connection: Connection) -> Schedule:
            made = schedule_rows.create(connection, (owner, name), spec, actor, self._now())
            _watch(connection, made, self._now())
            self._audit(connection, actor, "schedule.create", made)
            return made

        return await self._database.write(change)

    async def write(self, owner: str, name: str, spec: ScheduleSpec, expected: int, actor: Actor) -> Schedule:
        """Another spec in place of the one with that generation; NotFound, StaleWrite."""

        def change(connection: Connection) -> Schedule:
            before = schedule_rows.get(connection, owner, name)
            if before.generation != expected:
                raise StaleWrite(f"the schedule {before.key} is at generation {before.generation}, not {expected}")
            if before.spec == spec and before.runs_as == actor.who:
                return before
            after = schedule_rows.write(connection, before, spec, actor, self._now())
            _watch(connection, after, self._now(), before)
            self._audit(connection, actor, "schedule.write", after)
            return after

        return await self._database.write(change)

    async def pause(self, owner: str, name: str, paused: bool, actor: Actor) -> Schedule:
        """Pause it, or go on; its runs run as before. NotFound."""

        def change(connection: Connection) -> Schedule:
            before = schedule_rows.get(connection, owner, name)
            if before.spec.paused == paused:
                return before
            spec = before.spec.model_copy(update={"paused": paused})
            after = schedule_rows.write(connection, before, spec, Actor(before.runs_as), self._now())
            _watch(connection, after, self._now(), before)
            self._audit(connection, actor, "schedule.pause" if paused else "schedule.resume", after)
            return after

        return await self._database.write(change)

    async def remove(self, owner: str, name: str, actor: Actor) -> None:
        """NotFound. Runs that it started go on."""

        def change(connection: Connection) -> None:
            before = schedule_rows.get(connection, owner, name)
            schedule_rows.remove(connection, before)
            self._audit(connection, actor, "schedule.delete", before)

        await self._database.write(change)

    async def runs_of(self) -> Mapping[str, RunsOf]:
        """What there is of each schedule's runs, by the schedules' keys."""
        return await self._database.read(schedule_rows.runs_of)

    async def start(self, schedule: Schedule, due: datetime) -> Run | None:
        """The run of a due time. None where it is decided already, by this process or another one, the schedule was
        changed meanwhile, or a run of it that may not overlap has not ended."""

        def change(connection: Connection) -> tuple[Run | None, builtins.list[StoredEvent]]:
            if not schedule.spec.overlap and schedule_rows.is_running(connection, schedule.key):
                return None, []
            if not schedule_rows.advance(connection, schedule, due):
                return None, []
            if not schedule.spec.overlap and schedule_rows.is_running(connection, schedule.key):
                raise _StartedMeanwhile
            now = self._now()
            origin = Origin(schedule.runs_as, schedule=schedule.key, due=due)
            stored, new = run_rows.submit(connection, schedule.owner, schedule.spec.run, origin, now)
            if not new:
                return None, []
            run, actor = stored.run, Actor(schedule.runs_as, _SOURCE)
            detail = {"name": run.spec.called, "kind": run.spec.kind, "schedule": schedule.key, "due": due.isoformat()}
            history_rows.write_audit(connection, actor, "submit", f"run/{run.owner}/{run.id}", detail, now)
            return run, [history_rows.write_run_event(connection, EventKind.changed, run, now)]

        try:
            run, _ = await self._database.write(change, lambda done: self._feed.publish(done[1]))
        except _StartedMeanwhile:
            return None
        return run

    async def start_now(self, schedule: Schedule, spec: RunSpec, key: str | None, source: str) -> Run:
        """A run besides the due times; the one that there is already for the same `key`.

        Conflict where runs may not overlap, and one has not ended."""

        def change(connection: Connection) -> tuple[Run, builtins.list[StoredEvent]]:
            name = None if key is None else _composed(schedule, key)
            if name is None or run_rows.keyed(connection, schedule.owner, name) is None:
                _alone(connection, schedule)
            return _submit(connection, schedule, spec, name, Actor(schedule.runs_as, source), self._now())

        run, _ = await self._database.write(change, lambda done: self._feed.publish(done[1]))
        return run

    async def start_once(
        self, schedule: Schedule, spec: RunSpec, key: str, source: str, apart: timedelta | None = None
    ) -> Run | None:
        """A run that something triggers, once for a `key`, also when that run is removed; None where it is.

        Conflict where runs may not overlap, and one has not ended, or the newest is not `apart` by so much; NotFound.
        """

        def change(connection: Connection) -> tuple[Run | None, builtins.list[StoredEvent]]:
            schedule_rows.lock(connection, schedule)
            number, now, name = file_rows.number(connection, schedule), self._now(), _composed(schedule, key)
            once = NewFile(digest=hashlib.sha256(name.encode()).hexdigest(), location=source)
            before = run_rows.keyed(connection, schedule.owner, name)
            run, events = None if before is None else before.run, list[StoredEvent]()
            if file_rows.taken(connection, number, [once.digest]):
                return run, events
            if run is None:  # else it was started before this was kept here
                _alone(connection, schedule)
                if apart is not None and _newest(connection, schedule, number, source) > now - apart:
                    raise Conflict(f"the newest run of the schedule {schedule.key} is not long ago")
                run, events = _submit(connection, schedule, spec, name, Actor(schedule.runs_as, source), now)
            file_rows.take(connection, number, [once], run.id, now)
            return run, events

        run, _ = await self._database.write(change, lambda done: self._feed.publish(done[1]))
        return run

    async def newest(self, schedule: Schedule, source: str) -> datetime:
        """When its newest run was made, or the newest that `source` started, which may be removed; without any it is
        long ago. NotFound."""
        return await self._database.read(lambda c: _newest(c, schedule, file_rows.number(c, schedule), source))

    async def begin_files(self, schedule: Schedule, mark: NewFile, there: Sequence[NewFile]) -> bool:
        """Keep that these are no new ones, unless the files of that `mark` were begun before: False. NotFound."""

        def change(connection: Connection) -> bool:
            schedule_rows.lock(connection, schedule)
            number = file_rows.number(connection, schedule)
            if file_rows.taken(connection, number, [mark.digest]):
                return False
            known = file_rows.taken(connection, number, [file.digest for file in there])
            fresh = [mark, *(file for file in there if file.digest not in known)]
            file_rows.take(connection, number, fresh, None, self._now())
            return True

        return await self._database.write(change)

    async def new_files(self, schedule: Schedule, mark: NewFile, files: Sequence[NewFile]) -> frozenset[str] | None:
        """The digests of those that no run has; None where the files of that mark were never begun. NotFound."""

        def look(connection: Connection) -> frozenset[str] | None:
            number = file_rows.number(connection, schedule)
            known = file_rows.taken(connection, number, [mark.digest, *(file.digest for file in files)])
            return None if mark.digest not in known else frozenset(f.digest for f in files) - known

        return await self._database.read(look)

    async def watched_since(self, schedule: Schedule) -> datetime:
        """Since when the place of its files is watched, pauses or not. NotFound."""

        def look(connection: Connection) -> datetime:
            wanted, number = schedule.spec.on_files, file_rows.number(connection, schedule)
            return (wanted and file_rows.watched_since(connection, number, wanted)) or schedule.updated_at

        return await self._database.read(look)

    async def start_for_files(
        self,
        schedule: Schedule,
        files: Sequence[NewFile],
        spec: Callable[[Sequence[NewFile], Sequence[str]], RunSpec],
        beginning: str | None = None,
    ) -> Run | None:
        """A run for those of the files that none has, and the note that it has them, in one transaction. `spec` makes
        it of them, and of the locations that had one before and begin with `beginning`, the first one first. None
        where all have one. Conflict where runs may not overlap, and one has not ended; NotFound."""

        def change(connection: Connection) -> tuple[Run | None, builtins.list[StoredEvent]]:
            _alone(connection, schedule)
            number, now = file_rows.number(connection, schedule), self._now()
            known = file_rows.taken(connection, number, [file.digest for file in files])
            mine = [file for file in files if file.digest not in known]
            if not mine:
                return None, []
            before = [] if beginning is None else file_rows.had_runs(connection, number, beginning)
            made = spec(mine, before)
            run, events = _submit(connection, schedule, made, None, Actor(schedule.runs_as, "files"), now)
            file_rows.take(connection, number, mine, run.id, now)
            return run, events

        run, _ = await self._database.write(change, lambda done: self._feed.publish(done[1]))
        return run

    async def skip(self, schedule: Schedule, what: Skipped) -> bool:
        """No run for the due times up to that one, and a note that says so; False where that was decided already."""

        def change(connection: Connection) -> bool:
            if not schedule_rows.advance(connection, schedule, what.due):
                return False
            schedule_rows.note(connection, schedule, what)
            return True

        return await self._database.write(change)

    async def note(self, schedule: Schedule, what: Skipped) -> None:
        """A due time has no run after all."""
        await self._database.write(lambda c: schedule_rows.note(c, schedule, what))

    async def trouble(self, schedule: Schedule, trigger: str, what: Trouble | None) -> bool:
        """What keeps a trigger from starting runs now, or nothing; whether that is news."""
        if what is None and all(one.trigger != trigger for one in schedule.status.troubles):
            return False
        return await self._database.write(lambda c: schedule_rows.trouble(c, schedule, trigger, what))

    def _audit(self, connection: Connection, actor: Actor, action: str, schedule: Schedule) -> None:
        detail = {"cron": schedule.spec.cron, "time_zone": schedule.spec.time_zone, "paused": schedule.spec.paused}
        subject = schedule_rows.subject(schedule.owner, schedule.name)
        history_rows.write_audit(connection, actor, action, subject, detail, self._now())


def _alone(connection: Connection, schedule: Schedule) -> None:
    """Nobody else starts a run of it until this transaction ends. Conflict, NotFound."""
    schedule_rows.lock(connection, schedule)
    if not schedule.spec.overlap and schedule_rows.is_running(connection, schedule.key):
        raise Conflict(
            f"a run of the schedule {schedule.key} has not ended",
            remedy="Wait until it has, or let its runs overlap.",
        )


def _watch(connection: Connection, schedule: Schedule, now: datetime, before: Schedule | None = None) -> None:
    """What comes from now on is new, where another place is watched than before, or changed files count from now on,
    or a schedule that catches up with nothing goes on after a pause."""
    spec, old = schedule.spec, None if before is None else before.spec
    if spec.on_files is None:
        return
    number = file_rows.number(connection, schedule)
    if before is not None and old is not None and old.on_files is not None:
        skips = old.paused and not spec.paused and spec.catch_up is CatchUp.skip
        if skips or old.on_files.changed != spec.on_files.changed:
            file_rows.begin_again(connection, number)
        elif old.on_files == spec.on_files:
            now = before.updated_at  # of one that is older than this is kept
    file_rows.watch(connection, number, spec.on_files, now)


def _newest(connection: Connection, schedule: Schedule, number: int, source: str) -> datetime:
    """When it last started a run: any that there is, or one by `source`, which may be removed."""
    times = schedule_rows.newest_run(connection, schedule.key), file_rows.last(connection, number, source)
    return max((time for time in times if time is not None), default=_NEVER)


def _submit(
    connection: Connection, schedule: Schedule, spec: RunSpec, key: str | None, actor: Actor, now: datetime
) -> tuple[Run, list[StoredEvent]]:
    """The run, or the one that there is already for the same key, and what is to be told."""
    origin = Origin(schedule.runs_as, idempotency_key=key, schedule=schedule.key)
    stored, new = run_rows.submit(connection, schedule.owner, spec, origin, now)
    if not new:
        return stored.run, []
    detail = {"name": spec.called, "kind": spec.kind, "schedule": schedule.key}
    subject = f"run/{schedule.owner}/{stored.run.id}"
    history_rows.write_audit(connection, actor, "submit", subject, detail, now)
    return stored.run, [history_rows.write_run_event(connection, EventKind.changed, stored.run, now)]


def _composed(schedule: Schedule, key: str) -> str:
    """The key of a run: of one length, since the parts together may be longer than the column."""
    return f"schedule/{hashlib.sha256(f'{schedule.key}/{key}'.encode()).hexdigest()}"


class _StartedMeanwhile(Exception):
    """Another process started a run between our look and our turn; nothing of this transaction stays."""
