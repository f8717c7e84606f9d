"""Which runs start: tables of what is desired, what there is, and what is done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harness.schedules import spec
from modelyard_api.schedules import Schedule, ScheduleStatus
from modelyard_hub.reconcile.plan_schedules import AT_ONCE, Expire, RunsOf, Skip, Start, plan_schedules

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def schedule(cursor: datetime = NOON, created: datetime = NOON, **members: Any) -> Schedule:
    return Schedule(
        owner="ada",
        name="nightly",
        generation=1,
        runs_as="ada",
        created_by="ada",
        created_at=created,
        updated_at=created,
        spec=spec(**members),
        status=ScheduleStatus(cursor=cursor),
    )


def planned(one: Schedule, now: float, runs: RunsOf | None = None) -> list[tuple[Any, ...]]:
    """Actions as minutes after noon: ("start", 1), ("skip", last, count, reason)."""
    shown: list[tuple[Any, ...]] = []
    for action in plan_schedules([one], {one.key: runs} if runs else {}, at(now)):
        match action:
            case Start(_, due):
                shown.append(("start", (due - NOON).total_seconds() / 60))
            case Skip(_, what):
                shown.append(("skip", (what.due - NOON).total_seconds() / 60, what.count, what.reason))
            case Expire(_, run_id, what):
                shown.append(("expire", run_id, what.reason))
    return shown


OPEN = RunsOf(latest=NOON, open=1)


@pytest.mark.parametrize(
    ("members", "now", "runs", "expected"),
    [
        ({}, 0.9, None, []),
        ({}, 1.0, None, [("start", 1)]),
        ({}, 1.5, RunsOf(at(1), open=1), []),
        ({}, 1.5, RunsOf(at(1)), []),
        ({"paused": True}, 5, None, []),
        # after five minutes without a service
        ({}, 5.2, None, [("skip", 4, 4, "Superseded"), ("start", 5)]),
        ({"catch_up": "skip"}, 5.2, None, [("skip", 4, 4, "Missed"), ("start", 5)]),
        ({"catch_up": "skip", "cron": "0 * * * *"}, 65, None, [("skip", 60, 1, "Missed")]),
        ({"catch_up": "last", "cron": "0 * * * *"}, 65, None, [("start", 60)]),
        ({"catch_up": "all"}, 3.2, None, [("start", 1)]),
        ({"catch_up": "all", "overlap": True}, 3.2, None, [("start", 1), ("start", 2), ("start", 3)]),
        # while the run before goes on
        ({}, 2.2, OPEN, [("skip", 1, 1, "Superseded")]),
        ({}, 1.2, OPEN, []),
        ({"catch_up": "skip"}, 1.2, OPEN, [("skip", 1, 1, "Overlap")]),
        ({"catch_up": "all"}, 5.2, OPEN, []),
        ({"overlap": True}, 1.2, OPEN, [("start", 1)]),
        # deadlines
        ({"deadline": 90}, 1.2, OPEN, []),
        ({"deadline": 90}, 3, OPEN, [("skip", 1, 1, "DeadlineExceeded"), ("skip", 2, 1, "Superseded")]),
        ({"deadline": 30, "catch_up": "all"}, 3.4, None, [("skip", 2, 2, "DeadlineExceeded"), ("start", 3)]),
        ({"deadline": 30}, 1.6, None, [("skip", 1, 1, "DeadlineExceeded")]),
        (
            {"deadline": 90, "cron": "0 * * * *"},
            62,
            RunsOf(at(60), open=1, waiting=("r1", at(60))),
            [("expire", "r1", "DeadlineExceeded")],
        ),
        ({"deadline": 90, "cron": "0 * * * *"}, 61, RunsOf(at(60), open=1, waiting=("r1", at(60))), []),
    ],
)
def test_what_is_done(members: dict[str, Any], now: float, runs: RunsOf | None, expected: list[Any]) -> None:
    assert planned(schedule(**members), now, runs) == expected


def test_what_is_decided_stays_so_whichever_way_it_is_known() -> None:
    assert planned(schedule(cursor=at(1)), 1.5) == []
    assert planned(schedule(), 1.5, RunsOf(latest=at(1))) == []
    assert planned(schedule(created=at(1)), 1.5) == []


def test_why_is_said() -> None:
    late = schedule(deadline=30)
    (skip,) = plan_schedules([late], {late.key: RunsOf(NOON, open=1)}, at(1.6))
    assert isinstance(skip, Skip)
    assert skip.what.message == "it could not start within 30 s: the run before had not ended"


def test_a_year_of_minutes_is_gone_through_in_bounded_steps() -> None:
    long_ago = NOON - timedelta(days=365)
    one = schedule(cursor=long_ago, created=long_ago)
    steps, skipped = 0, 0
    while True:
        actions = plan_schedules([one], {}, NOON)
        steps += 1
        for action in actions:
            if isinstance(action, Skip):
                assert action.what.count <= AT_ONCE
                skipped += action.what.count
                one = schedule(cursor=action.what.due, created=long_ago)
        starts = [action for action in actions if isinstance(action, Start)]
        if starts:
            break
    assert [start.due for start in starts] == [NOON]
    assert skipped == 365 * 24 * 60 - 1
    assert steps < 600


def test_a_zone_that_is_gone_is_not_the_others_trouble() -> None:
    odd = schedule().model_copy(update={"name": "odd", "spec": spec(time_zone="Europe/Atlantis")})
    assert [a.schedule.name for a in plan_schedules([odd, schedule()], {}, at(1))] == ["nightly"]
