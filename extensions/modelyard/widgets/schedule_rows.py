"""Schedules as RunsPanel shows them: pure, from what the API says of one to a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard.widgets.endpoint_view import cut
from modelyard_api.runs import RunSpec
from modelyard_api.schedules import Schedule, ScheduleSpec, Trouble

PAGE = 5
"""Rows of a page: with them a message stays below 4 KB."""


def page_of(found: Sequence[Schedule], page: int) -> dict[str, Any]:
    """The page of that number, from 0, or the last one."""
    last = max(0, -(-len(found) // PAGE) - 1)
    page = min(page, last)
    rows = [row(one) for one in found[page * PAGE : (page + 1) * PAGE]]
    return {"tab": "schedules", "rows": rows, "more": page < last, "page": page}


def row(one: Schedule) -> dict[str, Any]:
    """A schedule in few words, as JSON; times in seconds since 1970."""
    spec, status = one.spec, one.status
    troubles = [_trouble(one) for one in status.troubles]
    missed = next((one for one in status.skipped if one.message not in [t.message for t in status.troubles]), None)
    return {
        "key": one.key,
        "what": cut(_what(spec.run), 40),
        "cron": spec.cron or "",
        "zone": spec.time_zone,
        "words": cut(status.words, 80),
        "triggers": [cut(said, 80) for said in _triggers(spec)],
        "paused": spec.paused,
        "next": [round(time.timestamp()) for time in status.next],
        "last": status.last
        and {
            "id": status.last.id,
            "state": status.last.state,
            "due": None if status.last.due is None else round(status.last.due.timestamp()),
        },
        "troubles": troubles,
        "missed": missed
        and {"due": round(missed.due.timestamp()), "count": missed.count, "message": cut(missed.message, 90)},
    }


def _trouble(one: Trouble) -> dict[str, Any]:
    return {"trigger": one.trigger, "since": round(one.since.timestamp()), "message": cut(one.message, 160)}


def _triggers(spec: ScheduleSpec) -> list[str]:
    """What starts its runs besides the clock."""
    found = [f"on each new version of {spec.on_version}"] if spec.on_version else []
    if spec.on_files is not None:
        found.append(f"for new files below {spec.on_files.location}")
    if spec.on_drift is not None:
        found.append(f"when the data of {spec.on_drift.model} drift")
    return found


def _what(run: RunSpec) -> str:
    if run.notebook is not None:
        return run.notebook.path.rsplit("/", 1)[-1]
    return f"scores with {run.score.model}" if run.score is not None else ""


def line(row: dict[str, Any]) -> str:
    """A row as text."""
    clock = [f"'{row['cron']}' {row['zone']}"] if row["cron"] else []
    when = ", ".join([*clock, *row["triggers"]]) or "when it is started"
    last = f", last run {row['last']['state']}" if row["last"] else ""
    troubles = "".join(f"; {one['message']}" for one in row["troubles"])
    return f"  {row['key']}: {when}{', paused' if row['paused'] else ''}{last}{troubles}"
