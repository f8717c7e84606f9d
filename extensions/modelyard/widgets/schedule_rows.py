"""Schedules as RunsPanel shows them: pure, from what the API says of one to a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard.widgets.endpoint_view import cut
from modelyard_api.runs import RunSpec
from modelyard_api.schedules import Schedule

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
    missed = status.skipped[0] if status.skipped else None
    return {
        "key": one.key,
        "what": cut(_what(spec.run), 40),
        "cron": spec.cron or "",
        "zone": spec.time_zone,
        "words": cut(status.words, 80),
        "version": cut(spec.on_version or "", 60),
        "paused": spec.paused,
        "next": [round(time.timestamp()) for time in status.next],
        "last": status.last
        and {
            "id": status.last.id,
            "state": status.last.state,
            "due": None if status.last.due is None else round(status.last.due.timestamp()),
        },
        "missed": missed
        and {"due": round(missed.due.timestamp()), "count": missed.count, "message": cut(missed.message, 90)},
    }


def _what(run: RunSpec) -> str:
    if run.notebook is not None:
        return run.notebook.path.rsplit("/", 1)[-1]
    return f"scores with {run.score.model}" if run.score is not None else ""


def line(row: dict[str, Any]) -> str:
    """A row as text."""
    when = f"'{row['cron']}' {row['zone']}" if row["cron"] else f"on versions of {row['version'] or 'nothing'}"
    last = f", last run {row['last']['state']}" if row["last"] else ""
    return f"  {row['key']}: {when}{', paused' if row['paused'] else ''}{last}"
