"""What is to be done about runs: `plan_runs` and `settle`, pure. Carried out by `run_steps.py`, when: `run_loop.py`.

An attempt is one task, whose name follows from the run and the attempt's number. So whoever looks again after being
killed at any point sees whether it was ordered; an attempt is over when it is among `status.attempts`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from modelyard_api.errors import InvalidParameter
from modelyard_api.parameters import check
from modelyard_api.runs import (
    CANCELLED,
    CANNOT_SCORE,
    NEED_FAILED,
    Attempt,
    Run,
    RunReport,
    RunState,
    RunStatus,
    task_name,
    values_of,
)
from modelyard_api.tasks import TaskState
from modelyard_hub.runtimes.task import ObservedTask
from modelyard_hub.store.records import StoredRun

RUN_LABEL = "modelyard.dev/run"
LOST_AFTER = timedelta(seconds=20)
"""A task that was ordered and is not observed for so long is gone."""
FINAL = frozenset(
    {"InvalidParameters", "InvalidNotebook", "NoKernel", "NoInput", "NoSecret", "ResultMissing", CANNOT_SCORE}
)
"""Reasons that a further attempt would meet again."""


@dataclass(frozen=True)
class World:
    """What is wanted, oldest first, and what is seen. `needed`: runs that others need, by id. `missing`: since when the
    task of an attempt was not observed. `slots`: how many run at once, 0 any number; `limits`: how many of a group."""

    runs: Sequence[StoredRun]
    tasks: Mapping[str, ObservedTask]
    needed: Mapping[str, Run] = field(default_factory=dict)
    missing: Mapping[str, datetime] = field(default_factory=dict)
    slots: int = 0
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """Order the task of an attempt."""

    stored: StoredRun
    attempt: int
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Settle:
    """The attempt is over (`task` None: gone): read what it left, and write what it comes to."""

    stored: StoredRun
    attempt: int
    task: ObservedTask | None


@dataclass(frozen=True)
class Note:
    """Write what is observed."""

    stored: StoredRun
    status: RunStatus


@dataclass(frozen=True)
class Delete:
    """Stop a task, or forget one that ended."""

    name: str


@dataclass(frozen=True)
class Revoke:
    """The token of a run that has none at work."""

    stored: StoredRun


Action = Start | Settle | Note | Delete | Revoke


@dataclass(frozen=True)
class Plan:
    """`places` in the queue by run, from 1. `wake`: when there is something to do though nothing changes."""

    actions: tuple[Action, ...]
    places: Mapping[str, int]
    missing: Mapping[str, datetime]
    wake: datetime | None


def plan_runs(world: World, now: datetime) -> Plan:
    """What to do now, in this order: ends first, since they make room."""
    made = _Planner(world, now)
    for stored in world.runs:
        made.look(stored)
    made.start_what_has_room()
    made.forget()
    return Plan(tuple(made.actions), made.places, made.missing, made.wake)


class _Planner:
    def __init__(self, world: World, now: datetime) -> None:
        self.world, self.now = world, now
        self.actions: list[Action] = []
        self.missing: dict[str, datetime] = {}
        self.places: dict[str, int] = {}
        self.wake: datetime | None = None
        self._used = 0
        self._members: Counter[str] = Counter()
        self._ready: list[StoredRun] = []
        self._kept: set[str] = set()

    def look(self, stored: StoredRun) -> None:
        run, status = stored.run, stored.run.status
        if run.ended:
            self.actions.append(Revoke(stored))  # else it would not be among the open ones
            return
        attempt = status.attempt
        if attempt == 0 or attempt in {one.number for one in status.attempts}:
            if task_name(run.id, attempt + 1) not in self.world.tasks:
                self._waits(stored)
                return
            attempt += 1  # ordered, and not yet written down
        self._at_work(stored, attempt)

    def _at_work(self, stored: StoredRun, attempt: int) -> None:
        run, name = stored.run, task_name(stored.run.id, attempt)
        task = self.world.tasks.get(name)
        self._kept.add(name)
        if task is None:
            since = self.world.missing.get(name, self.now)
            if run.cancelling or self.now - since >= LOST_AFTER:
                self.actions.append(Settle(stored, attempt, None))
                return
            self.missing[name] = since
            self._count(run)
            self._wake(since + LOST_AFTER)
            return
        if task.state.ended:
            self.actions.append(Settle(stored, attempt, task))
            return
        self._count(run)
        if run.cancelling and not task.deleting:
            self.actions.append(Delete(name))
        now = observed(run.status, attempt, task)
        if now != run.status:
            self.actions.append(Note(stored, now))

    def _waits(self, stored: StoredRun) -> None:
        run = stored.run
        if run.cancelling:
            self._end(stored, RunState.cancelled, CANCELLED, "It was cancelled before it ran.")
            return
        if stored.token_id is not None and run.status.attempts:
            self.actions.append(Revoke(stored))
        if self._waits_for_others(stored):
            return
        if stored.not_before is not None and stored.not_before > self.now:
            self._wake(stored.not_before)
            return
        self._ready.append(stored)

    def _waits_for_others(self, stored: StoredRun) -> bool:
        """Whether it does, or does so in vain."""
        waits = ""
        for need in stored.run.spec.needs:
            needed = self.world.needed.get(need)
            if needed is None or (needed.ended and needed.status.state is not RunState.succeeded):
                said = "is not there" if needed is None else f"({needed.spec.called}) has {_ended(needed)}"
                self._end(stored, RunState.failed, NEED_FAILED, f"It needs run {need}, which {said}.")
                return True
            if not needed.ended:
                waits = waits or need
        if waits:
            self._note(stored, "Needs", f"It waits for run {waits}.")
        return bool(waits)

    def start_what_has_room(self) -> None:
        ready = sorted(self._ready, key=lambda s: (-s.run.spec.priority, s.number))
        room = len(ready) if self.world.slots == 0 else max(0, self.world.slots - self._used)
        waiting = 0
        for stored in ready:
            if self._is_full(stored.run):  # it waits for its group, and nobody for it
                limit = self.world.limits[stored.run.group or ""]
                self._note(stored, "GroupLimit", f"Not more than {limit} of its group run at once.")
                continue
            # Nobody goes first that needs less, else one in shards might wait for ever.
            if waiting == 0 and room >= (self._slots(stored.run) if self.world.slots else 1):
                room -= self._start(stored)
                continue
            waiting += 1
            self.places[stored.run.id] = waiting

    def _slots(self, run: Run) -> int:
        """How many it takes: a run in shards as many as these, but not more than there are."""
        return max(1, min(run.spec.shards, self.world.slots))

    def _count(self, run: Run) -> None:
        self._used += self._slots(run)
        if run.group is not None:
            self._members[run.group] += 1

    def _is_full(self, run: Run) -> bool:
        limit = self.world.limits.get(run.group or "", 0)
        return 0 < limit <= self._members[run.group or ""]

    def _start(self, stored: StoredRun) -> int:
        """How many slots it takes."""
        run = stored.run
        results = {id_: needed.status.results for id_, needed in self.world.needed.items()}
        try:
            values = values_of(run.spec, results)
            if run.spec.notebook is not None and run.spec.notebook.declared is not None:
                check(run.spec.notebook.declared, values)
        except KeyError as error:
            text = f"A run that it needs recorded no result {error}."
            self._end(stored, RunState.failed, "ResultMissing", text)
            return 0
        except InvalidParameter as error:
            self._end(stored, RunState.failed, "InvalidParameters", str(error))
            return 0
        attempt = run.status.attempt + 1
        self._kept.add(task_name(run.id, attempt))
        self.actions.append(Start(stored, attempt, values))
        self._members[run.group or ""] += 1
        return self._slots(run) if self.world.slots else 1

    def forget(self) -> None:
        for name, task in self.world.tasks.items():
            if RUN_LABEL in task.labels and name.startswith("run-") and name not in self._kept and not task.deleting:
                self.actions.append(Delete(name))

    def _end(self, stored: StoredRun, state: RunState, reason: str, message: str) -> None:
        change = {"state": state, "reason": reason, "message": message, "ended": self.now}
        self.actions.append(Note(stored, stored.run.status.model_copy(update=change)))

    def _note(self, stored: StoredRun, reason: str, message: str) -> None:
        status = stored.run.status
        if (status.reason, status.message) != (reason, message):
            self.actions.append(Note(stored, status.model_copy(update={"reason": reason, "message": message})))

    def _wake(self, at: datetime) -> None:
        self.wake = at if self.wake is None else min(self.wake, at)


def observed(status: RunStatus, attempt: int, task: ObservedTask) -> RunStatus:
    """The status of a run whose attempt is at work, or waits for the runtime."""
    running = task.state is TaskState.running
    change: dict[str, Any] = {
        "state": RunState.running if running else RunState.queued,
        "attempt": attempt,
        "reason": "" if running else task.reason or "Starting",
        "message": "" if running else task.message,
    }
    if task.deleting:
        change |= {"reason": "Stopping", "message": "It was told to end."}
    if running:
        change["started"] = task.started
    return status.model_copy(update=change)


@dataclass(frozen=True)
class Left:
    """What an attempt left: the reason, the message and the code of its task's end, and what its process told."""

    state: TaskState
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    started: datetime | None = None
    ended: datetime | None = None
    lines: tuple[str, ...] = ()
    report: RunReport = field(default_factory=RunReport)


def settle(run: Run, attempt: int, left: Left, now: datetime) -> tuple[RunStatus, datetime | None]:
    """What a run comes to after an attempt, and when the next attempt may start, if there is one."""
    spec, before, report = run.spec, run.status, left.report
    succeeded = left.state is TaskState.succeeded
    reason, message = ("", "") if succeeded else _why(run, left)
    over = Attempt(
        number=attempt,
        reason=reason,
        message=message,
        exit_code=left.exit_code,
        started=left.started,
        ended=left.ended or now,
    )
    status = before.model_copy(
        update={
            "attempt": attempt,
            "attempts": (*before.attempts, over),
            "reason": reason,
            "message": message,
            "progress": report.progress,
            "results": report.results,
            "failure": report.failure,
            "log_tail": left.lines,
            "started": left.started or before.started,
            "mlflow_run_id": report.mlflow_run_id or before.mlflow_run_id,
            "peak_memory": report.peak_memory or before.peak_memory,
        }
    )
    if succeeded:
        return status.model_copy(update={"state": RunState.succeeded, "ended": over.ended}), None
    if run.cancelling:
        change = {"state": RunState.cancelled, "reason": CANCELLED, "message": "It was cancelled.", "ended": over.ended}
        return status.model_copy(update=change), None
    if attempt <= spec.retries and reason not in FINAL:
        wait = min(spec.backoff * 2 ** (attempt - 1), 86400.0)
        text = f"Attempt {attempt} failed ({reason}: {message}); the next one is in {wait:g} s."
        return status.model_copy(update={"state": RunState.queued, "message": text}), now + timedelta(seconds=wait)
    return status.model_copy(update={"state": RunState.failed, "ended": over.ended}), None


def _why(run: Run, left: Left) -> tuple[str, str]:
    """Reason and message: the process's own, where it had the last word."""
    report = left.report
    if report.reason and left.reason in ("", "Exited"):
        return report.reason, report.message
    if left.reason != "OutOfMemory":
        return left.reason or "Lost", left.message or "Its task is gone, and left no word."
    words = [left.message]
    if run.spec.resources is not None and "limit of" not in left.message:
        words.append(f"Its limit is {run.spec.resources.memory >> 20} MiB.")
    if report.peak_memory:
        words.append(f"Its peak was {report.peak_memory >> 20} MiB.")
    return "OutOfMemory", " ".join(words)


def _ended(run: Run) -> str:
    return {RunState.failed: "failed", RunState.cancelled: "been cancelled"}.get(run.status.state, "ended")
