"""RunsPanel: runs of notebooks, unattended: how far each is, what it said last, its output notebook, cancel; their
schedules; sweeps and pipelines."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from modelyard.errors import InvalidInput, ModelyardError
from modelyard.loop import run
from modelyard.sync import client
from modelyard.timetable import AsyncSchedule
from modelyard.transport import Request
from modelyard.widgets import group_rows, run_rows, schedule_rows
from modelyard.widgets.looking import LookedAt, away, soon
from modelyard_api.groups import Group
from modelyard_api.runs import Run, RunList, RunLog, RunState

PAGE = 8
"""Rows of a page: with them a message stays below 4 KB."""
TABS = ("runs", "schedules", "groups")
_LINES = 300
_WATCHED = 50
"""Members of a group, of which is told how far they are."""
_LARGEST = 16 << 20
"""Bytes of an output notebook as a page; a browser shows larger ones badly."""


class RunsPanel(LookedAt, front_end="unattended"):
    """Your runs and those of your groups, newest first, live while the panel is in sight; in further tabs schedules,
    and sweeps and pipelines.

    `schedule` ("owner/name") or `group`: only runs of that schedule, sweep or pipeline. `tab`: the one that is shown
    first, "runs", "schedules" or "groups". Whatever the panel does, the REST API does as well: `GET /runs`. Trainings
    of this machine are in `RunsTable`.
    """

    reads = frozenset({"row", "details", "logs", "notebook", "group", "due"})

    def __init__(self, *, schedule: str | None = None, group: str | None = None, tab: str = "runs") -> None:
        self._query = {name: value for name, value in (("schedule", schedule), ("group", group)) if value}
        self._tab = _known(tab)
        self._before: list[str] = []
        self._page = 0
        self._reading = threading.RLock()
        super().__init__(view=self._seen({}))

    def refresh(self) -> bool:
        """Look now; whether that was possible."""
        with self._reading:
            shown = self._seen(self.view)
            self.tell(view=shown)
        return shown["problem"] is None

    def text(self) -> str:
        """A line for each row of the tab that is shown."""
        titles = {"runs": "Runs", "schedules": "Schedules", "groups": "Sweeps and pipelines"}
        lines = [titles[self._tab]] + ([f"  {self.view['problem']['detail']}"] if self.view["problem"] else [])
        line = {"runs": run_rows.line, "schedules": schedule_rows.line, "groups": group_rows.line}[self._tab]
        return "\n".join(lines + [line(row) for row in self.view["rows"]])

    def _seen(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """What is to be shown now: as it was last, with the reason, where that cannot be known."""
        look = {"runs": self._runs, "schedules": self._schedules, "groups": self._groups}[self._tab]
        try:
            return {**look(), **self._only(), "problem": None}
        except ModelyardError as error:
            known = before if before.get("tab") == self._tab else {}
            empty = {"tab": self._tab, "rows": [], "more": False, "page": 0}
            return {**empty, **self._only(), **known, "problem": away(error)}

    def _only(self) -> dict[str, str]:
        return {"only": next(iter(self._query), ""), "group": self._query.get("group", "")}

    def _runs(self) -> dict[str, Any]:
        older = {"before": self._before[-1]} if self._before else {}
        query = {**self._query, **older, "limit": PAGE + 1}
        found = run(soon(client().fetch(Request("GET", "/runs", query=query), RunList))).items
        now = datetime.now(UTC)
        rows = [run_rows.row(one, now) for one in found[:PAGE]]
        return {"tab": "runs", "rows": rows, "more": len(found) > PAGE, "page": len(self._before)}

    def _schedules(self) -> dict[str, Any]:
        return schedule_rows.page_of([one.resource for one in run(soon(client().schedules()))], self._page)

    def _groups(self) -> dict[str, Any]:
        found = run(soon(client().groups(limit=(self._page + 1) * group_rows.PAGE + 1)))
        return group_rows.page_of([one.resource for one in found], self._page)

    def on_tab(self, tab: str) -> None:
        """Show runs, schedules or groups, from the first page on."""
        with self._reading:
            self._tab, self._page = _known(tab), 0
            self._before.clear()
        self.refresh()

    def on_older(self) -> None:
        """The next page."""
        if self.view["rows"] and self._tab == "runs":
            self._before.append(self.view["rows"][-1]["id"])
        self._page += self.view["more"]
        self.refresh()

    def on_newer(self) -> None:
        """The page before."""
        del self._before[-1:]
        self._page = max(0, self._page - 1)
        self.refresh()

    def on_row(self, id: str) -> dict[str, Any]:
        """A run that need not be on the page: one of a schedule or a group."""
        return run_rows.row(run(client().get(f"/runs/{id}", Run)), datetime.now(UTC))

    def on_group(self, id: str, known: str = "") -> dict[str, Any] | None:
        """A sweep or a pipeline with its members; None where its `digest` is still `known`."""
        resource = run(client().get(f"/groups/{id}", Group))
        query = {"group": id, "state": "running", "limit": _WATCHED}
        live = run(client().fetch(Request("GET", "/runs", query=query), RunList)).items if _at_work(resource) else []
        found = group_rows.whole(resource, live, datetime.now(UTC))
        return None if found["digest"] == known else found

    def on_rerun(self, id: str) -> None:
        """Run again what has not succeeded of a group."""
        run(run(client().group(id)).rerun())
        self.refresh()

    def on_cancel_group(self, id: str) -> None:
        """Have all members end that have not."""
        run(run(client().group(id)).cancel())
        self.refresh()

    def on_due(self, cron: str, time_zone: str) -> dict[str, Any]:
        """What a cron line says before it is saved. Where it is wrong, `field` says which of the two."""
        try:
            found = run(client().due(cron, time_zone))
        except InvalidInput as error:
            field = str(error.extra.get("field", "cron"))
            return {"field": field, "said": str(error).removeprefix(f"spec.{field}: ")}
        return {"words": found.words, "next": [round(time.timestamp()) for time in found.next]}

    def on_edit(self, key: str, cron: str, time_zone: str) -> None:
        """Change when a schedule is due."""
        run(self._schedule(key).edit(cron=cron, time_zone=time_zone))
        self.refresh()

    def on_pause(self, key: str) -> None:
        """Have a schedule start nothing until it is resumed."""
        run(self._schedule(key).pause())
        self.refresh()

    def on_resume(self, key: str) -> None:
        """Have a schedule go on."""
        run(self._schedule(key).resume())
        self.refresh()

    def on_start(self, key: str) -> str:
        """A run of a schedule now; its id."""
        made = run(self._schedule(key).start())
        self.refresh()
        return made.id

    def on_delete(self, key: str) -> None:
        """Forget a schedule; its runs stay."""
        run(self._schedule(key).delete())
        self.refresh()

    def _schedule(self, key: str) -> AsyncSchedule:
        return run(client().find_schedule(key))

    def on_cancel(self, id: str) -> None:
        """Have it end: SIGTERM first; what it made so far is kept."""
        run(client().send(Request("DELETE", f"/runs/{id}")))
        self.refresh()

    def on_remove(self, id: str) -> None:
        """Delete a run that has ended, with all that it left."""
        run(run(client().run(id)).delete())
        self.refresh()

    def on_details(self, id: str) -> dict[str, Any]:
        """What is too much for a row."""
        return run_rows.details(run(client().get(f"/runs/{id}", Run)))

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


def _known(tab: str) -> str:
    if tab not in TABS:
        raise InvalidInput(f"there is no tab {tab!r}", remedy=f"There are: {', '.join(TABS)}.")
    return tab


def _at_work(group: Group) -> bool:
    return bool(group.counts.get(RunState.running))
