"""RunsPanel: runs of notebooks, unattended: how far each is, what it said last, its output notebook, cancel."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from modelyard import display
from modelyard.client import Request
from modelyard.errors import InvalidInput, ModelyardError
from modelyard.loop import run
from modelyard.sync import client
from modelyard.widgets.endpoint_view import cut
from modelyard.widgets.looking import LookedAt, away, soon
from modelyard_api.runs import Run, RunList, RunLog, RunState

PAGE = 8
"""Rows of a page: with them a message stays below 4 KB."""
_LINES = 300
_LARGEST = 16 << 20
"""Bytes of an output notebook as a page; a browser shows larger ones badly."""


class RunsPanel(LookedAt, front_end="unattended"):
    """Your runs and those of your groups, newest first, live while the panel is in sight.

    `schedule` ("owner/name") or `group`: only runs of that schedule, sweep or pipeline. Whatever the panel does, the
    REST API does as well: `GET /runs`. Trainings of this machine are in `RunsTable`.
    """

    def __init__(self, *, schedule: str | None = None, group: str | None = None) -> None:
        self._query = {name: value for name, value in (("schedule", schedule), ("group", group)) if value}
        self._before: list[str] = []
        self._reading = threading.RLock()
        super().__init__(view=self._seen({}))

    def refresh(self) -> bool:
        """Look now; whether that was possible."""
        with self._reading:
            shown = self._seen(self.view)
            self.tell(view=shown)
        return shown["problem"] is None

    def text(self) -> str:
        """A line for each run."""
        lines = ["Runs"] + ([f"  {self.view['problem']['detail']}"] if self.view["problem"] else [])
        for row in self.view["rows"]:
            cells = f", cell {row['cell']} of {row['cells']}" if row["cells"] else ""
            took = f" ({display.duration(row['elapsed'])})" if row["elapsed"] is not None else ""
            lines.append(f"  {row['id']}: {row['name']} {row['state']}{cells}{took} {row['said']}".rstrip())
        return "\n".join(lines)

    def _seen(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """What is to be shown now: as it was last, with the reason, where that cannot be known."""
        older = {"before": self._before[-1]} if self._before else {}
        try:
            query = {**self._query, **older, "limit": PAGE + 1}
            found = run(soon(client().fetch(Request("GET", "/runs", query=query), RunList))).items
        except ModelyardError as error:
            return {"rows": [], "more": False, "page": 0, **before, "problem": away(error)}
        now = datetime.now(UTC)
        rows = [row(one, now) for one in found[:PAGE]]
        return {"rows": rows, "more": len(found) > PAGE, "page": len(self._before), "problem": None}

    def on_older(self) -> None:
        """The next page."""
        if self.view["rows"]:
            self._before.append(self.view["rows"][-1]["id"])
        self.refresh()

    def on_newer(self) -> None:
        """The page before."""
        del self._before[-1:]
        self.refresh()

    def on_cancel(self, id: str) -> None:
        """Have it end: SIGTERM first; what it made so far is kept."""
        run(client().send(Request("DELETE", f"/runs/{id}")))
        self.refresh()

    def on_details(self, id: str) -> dict[str, Any]:
        """What is too much for a row."""
        return details(run(client().get(f"/runs/{id}", Run)))

    def on_logs(self, id: str) -> str:
        """The last lines of its last attempt."""
        request = Request("GET", f"/runs/{id}/logs", query={"lines": _LINES})
        return "\n".join(run(client().fetch(request, RunLog)).lines)

    def on_notebook(self, id: str) -> str:
        """Its output notebook as far as it is: a page, sanitized by the hub service."""
        request = Request("GET", f"/runs/{id}/notebook", query={"format": "html"})
        page = run(client().send(request)).content
        if len(page) > _LARGEST:
            raise InvalidInput(
                f"the output notebook is a page of {len(page) >> 20} MiB, too large to be shown here",
                remedy=f"GET /runs/{id}/notebook gives it as a file.",
            )
        return page.decode()


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
        "output": cut(progress.last_output.strip().rsplit("\n", 1)[-1], 80),
        "elapsed": None if took is None else round(took, 1),
        "expected": None if progress.expected is None else round(progress.expected, 1),
        "created": round(one.created_at.timestamp()),
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
        "Attempts": str(status.attempt) if status.attempt > 1 else "",
        "Message": status.message,
        "MLflow run": status.mlflow_run_id,
    }
    return {
        "facts": [[name, value] for name, value in facts.items() if value],
        "parameters": [[name, cut(repr(value), 200)] for name, value in list(one.spec.parameters.items())[:100]],
        "results": [[name, cut(repr(value), 200)] for name, value in list(status.results.items())[:100]],
        "failure": failure,
    }
