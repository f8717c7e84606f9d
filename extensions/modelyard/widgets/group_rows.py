"""Sweeps and pipelines as RunsPanel shows them: pure, from what the API says of one to JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from modelyard import grid
from modelyard.widgets.endpoint_view import cut
from modelyard_api.groups import Group, MemberStatus
from modelyard_api.runs import Run

PAGE = 12
"""Rows of a page: with them a message stays below 4 KB."""


def page_of(found: Sequence[Group], page: int) -> dict[str, Any]:
    """The page of that number, from 0; `found` has at least one more where there is a further one."""
    rows = [row(one) for one in found[page * PAGE : (page + 1) * PAGE]]
    return {"tab": "groups", "rows": rows, "more": len(found) > (page + 1) * PAGE, "page": page}


def row(one: Group) -> dict[str, Any]:
    """A group in few words."""
    return {
        "id": one.id,
        "name": cut(one.name, 40),
        "owner": one.owner,
        "kind": one.kind,
        "state": one.state,
        "counts": {state.value: count for state, count in one.counts.items()},
        "created": round(one.created_at.timestamp()),
    }


def line(row: Mapping[str, Any]) -> str:
    """A row as text."""
    counts = ", ".join(f"{count} {state}" for state, count in row["counts"].items())
    return f"  {row['id']}: {row['kind']} {row['name']} {counts}"


def whole(one: Group, live: Iterable[Run], now: datetime) -> dict[str, Any]:
    """All of it: its members with parameters, results and times; `live`: those at work, of which it says how far they
    are. `digest` is of the rest."""
    runs = {run.id: run for run in live}
    points = [member.parameters for member in one.members]
    known = dict.fromkeys(name for point in points for name in point)
    results = dict.fromkeys(name for member in one.members for name in member.results)
    found = {
        **row(one),
        "parallel": one.parallel,
        "parameters": grid.varied(points) or list(known),
        "results": list(results),
        "numbers": [name for name in results if any(_is_number(m.results.get(name)) for m in one.members)],
        "members": [_member(member, runs.get(member.run), now) for member in one.members],
    }
    return {**found, "digest": hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]}


def _member(one: MemberStatus, run: Run | None, now: datetime) -> dict[str, Any]:
    progress = None if run is None else run.status.progress
    took = None if one.started is None else ((one.ended or now) - one.started).total_seconds()
    return {
        "member": one.member,
        "run": one.run,
        "state": one.state.value,
        "said": cut(one.message, 160),
        "needs": list(one.needs),
        "parameters": {name: _value(value) for name, value in one.parameters.items()},
        "results": {name: _value(value) for name, value in one.results.items()},
        "seconds": None if took is None else round(took, 1),
        "cell": 0 if progress is None else progress.cell,
        "cells": 0 if progress is None else progress.cells,
        "expected": progress and progress.expected,
        "output": "" if progress is None else cut(progress.last_output.strip().rsplit("\n", 1)[-1], 80),
    }


def _value(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else cut(str(value), 60)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
