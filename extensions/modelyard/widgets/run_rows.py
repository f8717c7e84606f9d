"""Runs as RunsPanel shows them: pure, from what the API says of one to JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from modelyard import display
from modelyard.widgets.endpoint_view import cut
from modelyard_api.runs import Run, RunState


def line(row: Mapping[str, Any]) -> str:
    """A row as text."""
    cells = f", cell {row['cell']} of {row['cells']}" if row["cells"] else ""
    took = f" ({display.duration(row['elapsed'])})" if row["elapsed"] is not None else ""
    return f"  {row['id']}: {row['name']} {row['state']}{cells}{took} {row['said']}".rstrip()


def row(one: Run, now: datetime) -> dict[str, Any]:
    """A run in few words, as JSON; times in seconds."""
    status, progress = one.status, one.status.progress
    took = None if status.started is None else ((status.ended or now) - status.started).total_seconds()
    return {
        "id": one.id,
        "name": cut(one.spec.called, 40),
        "owner": one.owner,
        "state": "cancelling" if one.cancelling and not one.ended else status.state.value,
        "live": not one.ended,
        "said": cut(_said(one), 120),
        "cell": progress.cell,
        "cells": progress.cells,
        "share": None if not progress.total else round(min(1.0, (progress.rows or 0) / progress.total), 3),
        "output": cut(progress.last_output.strip().rsplit("\n", 1)[-1], 120),
        "elapsed": None if took is None else round(took, 1),
        "expected": None if progress.expected is None else round(progress.expected, 1),
        "created": round(one.created_at.timestamp()),
        "group": one.group or "",
        "member": cut(one.member or "", 40),
    }


def _said(one: Run) -> str:
    """Why it waits, or how it ended."""
    status = one.status
    words = [f"{status.place}. in the queue"] if status.state is RunState.queued and status.place else []
    if status.attempt > 1:
        words.append(f"attempt {status.attempt}")
    if status.message and status.state is not RunState.running:
        words.append(status.message)
    return ", ".join(words)


def details(one: Run) -> dict[str, Any]:
    """What was asked for, what it recorded, how it failed; JSON."""
    status = one.status
    failure = status.failure and status.failure.model_dump()
    if failure:
        failure = {**failure, "source": cut(failure["source"], 4000), "traceback": failure["traceback"][-8000:]}
    facts = {
        "Run": one.id,
        "Owner": one.owner if one.owner == one.created_by else f"{one.owner}, submitted by {one.created_by}",
        "Schedule": one.schedule or "",
        "Group": one.group or "",
        "Profile": one.spec.profile,
        "Secrets": ", ".join(use.secret + (f" as {use.env}" if use.env else "") for use in one.spec.secrets),
        "Attempts": str(status.attempt) if status.attempt > 1 else "",
        "Message": status.message,
        "MLflow run": status.mlflow_run_id,
    }
    return {
        "facts": [[name, value] for name, value in facts.items() if value],
        "parameters": [[name, cut(repr(value), 200)] for name, value in list(one.spec.parameters.items())[:100]],
        "results": [[name, cut(repr(value), 200)] for name, value in list(status.results.items())[:100]],
        "failure": failure,
        "tail": "\n".join(status.log_tail)[-4000:],
    }
