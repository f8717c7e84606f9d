"""What is planned for runs, as tables; and what an attempt comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harness.runs import spec
from modelyard_api.resources import MiB
from modelyard_api.runs import Attempt, Declared, ResultOf, Run, RunReport, RunState, RunStatus, ScoreWork, task_name
from modelyard_api.tasks import TaskState
from modelyard_hub.reconcile.runs import (
    LOST_AFTER,
    RUN_LABEL,
    Delete,
    Left,
    Note,
    Plan,
    Revoke,
    Settle,
    Start,
    World,
    plan_runs,
    settle,
)
from modelyard_hub.runtimes.task import ObservedTask
from modelyard_hub.store.records import StoredRun

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OVER = Attempt(number=1, reason="CellFailed")


def stored(number: int, status: RunStatus | None = None, **members: Any) -> StoredRun:
    outer = {k: members.pop(k) for k in ("not_before", "token_id") if k in members}
    group = members.pop("group", None)
    cancelling = members.pop("cancelling", False)
    run = Run(
        id=f"{number:016x}",
        owner="ada",
        created_by="ada",
        created_at=NOW,
        cancelling=cancelling,
        group=group,
        spec=spec(**members),
        status=status or RunStatus(),
    )
    return StoredRun(run, number, **outer)


def task(number: int, attempt: int = 1, state: TaskState = TaskState.running, **members: Any) -> ObservedTask:
    id_ = f"{number:016x}"
    return ObservedTask(task_name(id_, attempt), "d", state, labels={RUN_LABEL: id_}, **members)


def plan(*runs: StoredRun, tasks: tuple[ObservedTask, ...] = (), **members: Any) -> Plan:
    return plan_runs(World(runs, {t.name: t for t in tasks}, **members), NOW)


def said(found: Plan) -> list[str]:
    """The actions in short."""

    def short(action: object) -> str:
        match action:
            case Start(one, attempt, _):
                return f"start {one.number}/{attempt}"
            case Settle(one, attempt, seen):
                return f"settle {one.number}/{attempt}{'' if seen else ' lost'}"
            case Note(one, status):
                return f"note {one.number} {status.state} {status.reason}".strip()
            case Delete(name):
                return f"delete {int(name.split('-')[1], 16)}/{name.split('-')[2]}"
            case Revoke(one):
                return f"revoke {one.number}"
        raise AssertionError(action)

    return [short(action) for action in found.actions]


BEGUN = RunStatus(attempt=1, reason="Starting")
RUNNING = RunStatus(state=RunState.running, attempt=1)
BETWEEN = RunStatus(attempt=1, attempts=(OVER,), reason="CellFailed")


@pytest.mark.parametrize(
    ("runs", "tasks", "expected"),
    [
        ([stored(1)], [], ["start 1/1"]),
        ([stored(1)], [task(1)], ["note 1 running"]),  # killed before it was written down
        ([stored(1, BEGUN)], [task(1, state=TaskState.queued)], []),
        (
            [stored(1, BEGUN)],
            [task(1, state=TaskState.queued, reason="Unschedulable")],
            ["note 1 queued Unschedulable"],
        ),
        ([stored(1, RUNNING)], [task(1)], []),
        ([stored(1, RUNNING)], [task(1, state=TaskState.succeeded)], ["settle 1/1"]),
        ([stored(1)], [task(1, state=TaskState.failed)], ["settle 1/1"]),
        ([stored(1, BETWEEN)], [], ["start 1/2"]),
        ([stored(1, BETWEEN)], [task(1, state=TaskState.failed)], ["start 1/2", "delete 1/1"]),
        ([stored(1, BETWEEN)], [task(1, 2)], ["note 1 running"]),
        ([stored(1, BETWEEN, token_id="t")], [], ["revoke 1", "start 1/2"]),
        ([stored(1, cancelling=True)], [], ["note 1 cancelled Cancelled"]),
        ([stored(1, RUNNING, cancelling=True)], [task(1)], ["delete 1/1"]),
        ([stored(1, RUNNING, cancelling=True)], [task(1, deleting=True)], ["note 1 running Stopping"]),
        ([stored(1, RUNNING, cancelling=True)], [], ["settle 1/1 lost"]),
        ([stored(1, cancelling=True)], [task(1)], ["delete 1/1", "note 1 running"]),
        ([stored(1, RunStatus(state=RunState.failed), token_id="t")], [], ["revoke 1"]),
        ([], [task(7, state=TaskState.succeeded)], ["delete 7/1"]),
        ([], [task(7, deleting=True)], []),
        ([], [ObservedTask("score-1", "d")], []),  # no run's
    ],
)
def test_what_is_done(runs: list[StoredRun], tasks: list[ObservedTask], expected: list[str]) -> None:
    assert said(plan(*runs, tasks=tuple(tasks))) == expected


def test_slots_are_for_the_highest_priority_then_the_oldest() -> None:
    waiting = [stored(2), stored(3, priority=5), stored(4), stored(5, priority=5)]
    found = plan(stored(1, RUNNING), *waiting, tasks=(task(1),), slots=2)
    assert said(found) == ["start 3/1"]
    assert found.places == {f"{n:016x}": place for n, place in ((5, 1), (2, 2), (4, 3))}
    assert len(said(plan(*waiting, slots=0))) == 4


def test_what_ended_makes_room_at_once() -> None:
    found = plan(stored(1, RUNNING), stored(2), tasks=(task(1, state=TaskState.succeeded),), slots=1)
    assert said(found) == ["settle 1/1", "start 2/1"]


def test_the_next_attempt_waits_and_wakes() -> None:
    later = NOW + timedelta(seconds=9)
    found = plan(stored(1, BETWEEN, not_before=later))
    assert (said(found), found.wake) == ([], later)
    assert said(plan(stored(1, BETWEEN, not_before=NOW))) == ["start 1/2"]


def test_a_task_that_is_not_seen_is_lost_after_a_while() -> None:
    name = task_name(f"{1:016x}", 1)
    first = plan(stored(1, RUNNING), stored(2), slots=1)
    assert (said(first), first.missing) == ([], {name: NOW})
    assert first.wake == NOW + LOST_AFTER
    since = {name: NOW - LOST_AFTER}
    assert said(plan(stored(1, RUNNING), missing=since)) == ["settle 1/1 lost"]


def _needed(state: RunState, **results: Any) -> Mapping[str, Run]:
    run = stored(9, RunStatus(state=state, results=results)).run
    return {run.id: run}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (RunState.queued, "note 1 queued Needs"),
        (RunState.running, "note 1 queued Needs"),
        (RunState.succeeded, "start 1/1"),
        (RunState.failed, "note 1 failed NeedFailed"),
        (RunState.cancelled, "note 1 failed NeedFailed"),
        (None, "note 1 failed NeedFailed"),
    ],
)
def test_a_run_starts_when_all_that_it_needs_have_succeeded(state: RunState | None, expected: str) -> None:
    needed = {} if state is None else _needed(state)
    assert said(plan(stored(1, needs=(f"{9:016x}",)), needed=needed)) == [expected]


def test_one_that_failed_counts_before_one_that_is_waited_for() -> None:
    needed = {**_needed(RunState.failed), f"{8:016x}": stored(8).run}
    found = plan(stored(1, needs=(f"{8:016x}", f"{9:016x}")), needed=needed)
    assert said(found) == ["note 1 failed NeedFailed"]


def test_results_of_others_become_parameters() -> None:
    source = {"auc": ResultOf(run=f"{9:016x}", result="best")}
    run = stored(1, needs=(f"{9:016x}",), results_of=source, parameters={"depth": 3})
    (start,) = plan(run, needed=_needed(RunState.succeeded, best=0.93)).actions
    assert isinstance(start, Start)
    assert start.parameters == {"depth": 3, "auc": 0.93}
    assert said(plan(run, needed=_needed(RunState.succeeded))) == ["note 1 failed ResultMissing"]
    typed = stored(1, needs=run.run.spec.needs, results_of=source, declared=(Declared(name="auc", default="1"),))
    mistyped = plan(typed, needed=_needed(RunState.succeeded, best="high"))
    assert said(mistyped) == ["note 1 failed InvalidParameters"]


def test_a_success_has_the_last_word_also_of_who_cancelled_too_late() -> None:
    left = Left(TaskState.succeeded, started=NOW, ended=NOW, report=RunReport(results={"auc": 1}, mlflow_run_id="m"))
    status, again = settle(stored(1, RUNNING, cancelling=True).run, 1, left, NOW)
    assert (status.state, status.results, status.mlflow_run_id, again) == (RunState.succeeded, {"auc": 1}, "m", None)
    assert [one.number for one in status.attempts] == [1]


def test_a_failure_is_tried_again_later_each_time() -> None:
    left = Left(TaskState.failed, "Exited", "It ended with exit code 1.", 1)
    first, again = settle(stored(1, RUNNING, retries=2, backoff=10.0).run, 1, left, NOW)
    assert (first.state, first.reason, again) == (RunState.queued, "Exited", NOW + timedelta(seconds=10))
    second, again = settle(stored(1, first, retries=2, backoff=10.0).run, 2, left, NOW)
    assert again == NOW + timedelta(seconds=20)
    third, again = settle(stored(1, second, retries=2, backoff=10.0).run, 3, left, NOW)
    assert (third.state, again, [one.number for one in third.attempts]) == (RunState.failed, None, [1, 2, 3])


@pytest.mark.parametrize("reason", ["InvalidParameters", "NoKernel", "InvalidNotebook"])
def test_what_would_be_met_again_is_not_tried_again(reason: str) -> None:
    left = Left(TaskState.failed, "Exited", report=RunReport(reason=reason, message="why"))
    status, again = settle(stored(1, RUNNING, retries=5).run, 1, left, NOW)
    assert (status.state, status.reason, status.message, again) == (RunState.failed, reason, "why", None)


def test_a_cancelled_one_is_not_tried_again() -> None:
    left = Left(TaskState.failed, "Stopped", "It was told to end before it had finished.")
    status, again = settle(stored(1, RUNNING, retries=5, cancelling=True).run, 1, left, NOW)
    assert (status.state, status.reason, again) == (RunState.cancelled, "Cancelled", None)


def test_out_of_memory_says_peak_and_limit() -> None:
    left = Left(TaskState.failed, "OutOfMemory", "It used more.", report=RunReport(peak_memory=250 * MiB))
    status, _ = settle(stored(1, RUNNING).run, 1, left, NOW)
    assert status.message == "It used more. Its limit is 256 MiB. Its peak was 250 MiB."


def test_one_that_is_gone_without_a_word_says_so() -> None:
    status, _ = settle(stored(1, RUNNING).run, 1, Left(TaskState.failed), NOW)
    assert (status.state, status.reason) == (RunState.failed, "Lost")


def test_of_a_group_no_more_run_at_once_than_it_allows() -> None:
    members = [stored(number, group="g") for number in range(1, 5)]
    others = [stored(number, group="h") for number in range(5, 7)]
    found = plan(*members, stored(7), *others, limits={"g": 2})
    assert said(found) == [
        *("start 1/1", "start 2/1", "note 3 queued GroupLimit", "note 4 queued GroupLimit"),
        *("start 5/1", "start 6/1", "start 7/1"),
    ]
    assert found.places == {}
    running = [stored(1, RUNNING, group="g"), stored(2, BEGUN, group="g")]
    assert said(plan(*running, *members[2:], tasks=(task(1),), limits={"g": 2}, missing={}))[-2:] == [
        "note 3 queued GroupLimit",
        "note 4 queued GroupLimit",
    ]
    assert said(plan(running[0], members[2], members[3], tasks=(task(1),), limits={"g": 2}))[0] == "start 3/1"
    assert said(plan(*members, stored(7), slots=3, limits={"g": 2}))[-1] == "start 7/1"


def in_shards(number: int, shards: int, **members: Any) -> StoredRun:
    made = stored(number, **members)
    work = ScoreWork(model="churn", data="/in", output="/out", shards=shards)
    wanted = made.run.spec.model_copy(update={"kind": "score", "notebook": None, "score": work})
    return replace(made, run=made.run.model_copy(update={"spec": wanted}))


def test_a_run_in_shards_takes_as_many_slots_and_waits_until_there_are_so_many() -> None:
    runs = (stored(1), in_shards(2, 3), stored(3))
    made = plan(*runs, slots=4)
    assert [a.stored.number for a in made.actions if isinstance(a, Start)] == [1, 2]
    assert made.places == {runs[2].run.id: 1}
    made = plan(*runs, slots=3)
    assert [a.stored.number for a in made.actions if isinstance(a, Start)] == [1]
    assert made.places == {runs[1].run.id: 1, runs[2].run.id: 2}, "nobody goes first that needs less"
    made = plan(in_shards(1, 50), stored(2), slots=2)
    assert [a.stored.number for a in made.actions if isinstance(a, Start)] == [1], "not more than there are"
    made = plan(in_shards(1, 3), stored(2), tasks=(task(1),), slots=3)
    assert not [a for a in made.actions if isinstance(a, Start)]
    made = plan(in_shards(1, 50), in_shards(2, 50))
    assert len([a for a in made.actions if isinstance(a, Start)]) == 2, "a cluster decides itself"
