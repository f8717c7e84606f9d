"""When a notebook server is ended, as a table."""

from __future__ import annotations

import pytest

from modelyard_api.activity import Activity
from modelyard_hub.culling.policy import Decision, Limits, Verdict, decide

LIMITS = Limits(idle=3600, countdown=600, keep=7200, keep_limit=43200)
NOW = 1_000_000.0


def seen(idle: float, **changed: object) -> Activity:
    return Activity.model_validate({"now": NOW, "started": 0, "last": NOW - idle, **changed})


@pytest.mark.parametrize(
    ("activity", "counted", "expected"),
    [
        (seen(0), None, Decision(Verdict.WAIT, 3600)),
        (seen(3000), None, Decision(Verdict.WAIT, 600)),
        (seen(3600), None, Decision(Verdict.TELL, 600)),
        (seen(3900), 300, Decision(Verdict.WAIT, 300)),
        (seen(4200), 600, Decision(Verdict.END, 0)),
        # A cell that has been quiet for a day.
        (seen(86400, busy=["a.ipynb is computing"]), None, Decision(Verdict.WAIT, 3600)),
        (seen(86400, busy=["a.ipynb is computing"]), 600, Decision(Verdict.WAIT, 3600)),
        # Something happened while it was counted down.
        (seen(10), 590, Decision(Verdict.WAIT, 3590)),
        # Kept for two hours, and no longer than twelve after the last work.
        (seen(4000, keep_until=NOW + 7000), 400, Decision(Verdict.WAIT, 7000)),
        (seen(43000, keep_until=NOW + 7000), 400, Decision(Verdict.WAIT, 200)),
        (seen(43200, keep_until=NOW + 7000), None, Decision(Verdict.TELL, 600)),
        (seen(43900, keep_until=NOW + 7000), 700, Decision(Verdict.END, 0)),
    ],
)
def test_decisions(activity: Activity, counted: float | None, expected: Decision) -> None:
    assert decide(activity, LIMITS, counted) == expected
