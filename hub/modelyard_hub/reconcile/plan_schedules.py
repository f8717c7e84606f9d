"""Which runs schedules start now. Pure: what is desired and what there is, to what is to be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelyard_api.errors import InvalidInput
from modelyard_api.schedules import CatchUp, Schedule, Skipped
from modelyard_hub.cron import due_after
from modelyard_hub.store.records import RunsOf

ON_TIME = timedelta(seconds=60)
"""A run that starts so late still starts in time: the service was busy, or was started again."""
AT_ONCE = 1000
"""Due times of a schedule that one pass looks at; a line that is due each minute has half a million in a year."""


@dataclass(frozen=True)
class Start:
    """A run for a due time."""

    schedule: Schedule
    due: datetime


@dataclass(frozen=True)
class Skip:
    """No run for due times up to that of `what`."""

    schedule: Schedule
    what: Skipped


@dataclass(frozen=True)
class Expire:
    """A run that waits in the queue is too late."""

    schedule: Schedule
    run_id: str
    what: Skipped


Action = Start | Skip | Expire


def plan_schedules(schedules: Sequence[Schedule], runs: Mapping[str, RunsOf], now: datetime) -> list[Action]:
    """What is to be done now, in order. `runs` by the schedules' keys."""
    actions: list[Action] = []
    for schedule in schedules:
        if not schedule.spec.paused:
            actions += _plan(schedule, runs.get(schedule.key, RunsOf()), now)
    return actions


def _plan(schedule: Schedule, runs: RunsOf, now: datetime) -> list[Action]:
    spec, actions = schedule.spec, list[Action]()
    if runs.waiting is not None and _too_late(schedule, runs.waiting[1], now):
        run_id, queued = runs.waiting
        actions.append(Expire(schedule, run_id, _deadline(schedule, [queued], "its run waited in the queue")))
    due = _due(schedule, runs, now)
    waits = not spec.overlap and runs.open > 0
    late = [moment for moment in due if _too_late(schedule, moment, now)]
    if late:
        why = "the run before had not ended" if waits else "nothing started it"
        actions.append(Skip(schedule, _deadline(schedule, late, why)))
    rest = due[len(late) :]
    if spec.catch_up is CatchUp.skip:
        missed = rest if waits else [moment for moment in rest if now - moment > ON_TIME]
        if missed:
            reason = ("Overlap", "the run before had not ended") if waits else ("Missed", "nothing started it in time")
            actions.append(Skip(schedule, _skipped(missed, *reason)))
        rest = rest[len(missed) :]
    elif spec.catch_up is CatchUp.last and len(rest) > 1:
        actions.append(Skip(schedule, _skipped(rest[:-1], "Superseded", "a later due time came before it could start")))
        rest = rest[-1:] if len(due) < AT_ONCE else []
    if not waits:
        actions += [Start(schedule, moment) for moment in (rest if spec.overlap else rest[:1])]
    return actions


def _due(schedule: Schedule, runs: RunsOf, now: datetime) -> list[datetime]:
    """Due times that nothing is decided about, oldest first."""
    since = max(moment for moment in (schedule.status.cursor, runs.latest, schedule.created_at) if moment is not None)
    found: list[datetime] = []
    if schedule.spec.cron is None:
        return found
    try:
        for moment in due_after(schedule.spec.cron, schedule.spec.time_zone, since):
            if moment > now or len(found) == AT_ONCE:
                break
            found.append(moment)
    except InvalidInput:  # of a time zone that a new release of the data has no more; others go on
        return []
    return found


def _too_late(schedule: Schedule, due: datetime, now: datetime) -> bool:
    deadline = schedule.spec.deadline
    return deadline is not None and (now - due).total_seconds() > deadline


def _deadline(schedule: Schedule, due: Sequence[datetime], why: str) -> Skipped:
    return _skipped(due, "DeadlineExceeded", f"it could not start within {schedule.spec.deadline:g} s: {why}")


def _skipped(due: Sequence[datetime], reason: str, message: str) -> Skipped:
    return Skipped(due=due[-1], count=len(due), reason=reason, message=message)
