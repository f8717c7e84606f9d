"""`yard.sweep`, `yard.pipeline` and what they return: the blocking face of `AsyncGroup`, with tables and plots."""

from __future__ import annotations

import html
import queue
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modelyard import display, grid, loop
from modelyard.errors import InvalidInput, NotFound
from modelyard.grouped import AsyncGroup
from modelyard.submitting import Run
from modelyard.unattended import AsyncRun
from modelyard_api.groups import Group as Resource
from modelyard_api.groups import MemberStatus
from modelyard_api.runs import RunState

if TYPE_CHECKING:
    import pandas as pd

_VEGA_LITE = "application/vnd.vegalite.v5+json"


class Group:
    """A sweep or a pipeline. It tells its state as it was when it was last read: `refresh()`."""

    def __init__(self, remote: AsyncGroup) -> None:
        self._remote = remote

    @property
    def remote(self) -> AsyncGroup:
        """The same for `async` code."""
        return self._remote

    @property
    def id(self) -> str:
        """Its id, for `yard.group(id)` at any later time."""
        return self._remote.id

    @property
    def state(self) -> str:
        """`running`, until all members have ended; then `succeeded` where all have, else `failed`."""
        return self.refresh()._remote.resource.state

    @property
    def members(self) -> tuple[MemberStatus, ...]:
        """The newest run of each member: its state, parameters and results."""
        return self._remote.resource.members

    def refresh(self) -> Group:
        """Itself, as it is now."""
        loop.run(self._remote.refresh())
        return self

    def wait(self, timeout: float | None = None, *, quiet: bool = False) -> Group:
        """Itself, once all members have ended, however they did; tells it in lines meanwhile, unless `quiet`.

        TimedOut after `timeout` seconds, and it goes on, as it does when this is interrupted."""
        steps: queue.SimpleQueue[Any] = queue.SimpleQueue()
        say: Callable[[Any], None] = (lambda _: None) if quiet else _Lines()
        loop.run(self._remote.wait(timeout, steps.put), steps, say)
        return self

    def cancel(self) -> Group:
        """Tell all members to end that have not."""
        loop.run(self._remote.cancel())
        return self

    def rerun(self) -> Group:
        """Run again what has not succeeded; what has is not, and what needs it gets its results."""
        loop.run(self._remote.rerun())
        return self

    def run(self, member: str) -> Run:
        """The newest run of a member."""
        found: AsyncRun = loop.run(self._remote.run(member))
        return Run(found)

    def table(self, sort: str | None = None, *, descending: bool = True) -> pd.DataFrame:
        """A row for each member: its state, its parameters, what it recorded (`yard.record`), seconds it took.

        `sort`: a column to sort by, the largest first unless `descending` is False."""
        import pandas as pd

        found = pd.DataFrame(self._rows(), index=pd.Index([m.member for m in self.members], name="member"))
        if sort is None:
            return found
        if sort not in found:
            raise NotFound(f"there is no column {sort!r}", remedy=f"There are: {', '.join(map(str, found.columns))}.")
        return found.sort_values(sort, ascending=not descending)

    def best(self, result: str, *, largest: bool = True) -> MemberStatus:
        """The member that recorded the largest (or smallest) number by that name. NotFound where none has."""
        found = [m for m in self.members if _is_number(m.results.get(result))]
        if not found:
            raise NotFound(
                f"no member recorded a number {result!r}", remedy=f'In the notebook: yard.record("{result}", …).'
            )
        numbers = [float(str(m.results[result])) for m in found]
        return found[numbers.index(max(numbers) if largest else min(numbers))]

    def plot(self, result: str, x: str | None = None) -> Plot:
        """What members recorded by that name, over the parameter `x` (by default the first that varies); coloured by
        the next one that varies."""
        points = [m.parameters for m in self.members]
        names = grid.varied(points) or list(points[0] if points else ())
        over = x or next(iter(names), None)
        if over is None or not any(over in point for point in points):
            raise InvalidInput(f"there is no parameter {over!r} to plot over", remedy=f"There are: {', '.join(names)}.")
        others = [name for name in names if name != over]
        rows = [{**m.parameters, result: m.results[result], "member": m.member} for m in self.members
                if _is_number(m.results.get(result))]  # fmt: skip
        if not rows:
            raise NotFound(f"no member recorded a number {result!r} yet")
        return Plot(rows, result, over, others[0] if others else None)

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for member in self.members:
            took = (member.ended - member.started).total_seconds() if member.started and member.ended else None
            rows.append({"state": member.state.value, **member.parameters, **member.results, "seconds": took})
        return rows

    def _repr_html_(self) -> str:
        rows = self._rows()
        columns = list(dict.fromkeys(name for row in rows for name in row))
        head = "".join(f"<th>{html.escape(str(name))}</th>" for name in ("member", *columns))
        body = "".join(
            f"<tr><th>{html.escape(member.member)}</th>"
            + "".join(f"<td>{html.escape(_cell(row.get(name)))}</td>" for name in columns)
            + "</tr>"
            for member, row in zip(self.members, rows, strict=True)
        )
        return f"<p>{html.escape(said(self._remote.resource))}</p><table><tr>{head}</tr>{body}</table>"

    def __repr__(self) -> str:
        return f"<{self._remote.resource.kind} {self.id} {said(self._remote.resource)}>"


class Plot:
    """Points of a sweep: a chart in a notebook (Vega-Lite, which JupyterLab draws), `spec` for any other place."""

    def __init__(self, rows: list[dict[str, Any]], y: str, x: str, color: str | None) -> None:
        self.rows = rows
        numbers = all(_is_number(row.get(x)) for row in rows)
        encoding: dict[str, Any] = {
            "x": {"field": _field(x), "type": "quantitative" if numbers else "nominal", "title": x},
            "y": {"field": _field(y), "type": "quantitative", "title": y, "scale": {"zero": False}},
            "tooltip": [{"field": _field(name), "title": name} for name in rows[0]],
        }
        if color is not None:
            encoding["color"] = {"field": _field(color), "type": "nominal", "title": color}
        self.spec: dict[str, Any] = {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "width": 420,
            "height": 260,
            "data": {"values": [{key: _plain(value) for key, value in row.items()} for row in rows]},
            "mark": {"type": "line", "point": True} if numbers else {"type": "point", "filled": True, "size": 80},
            "encoding": encoding,
        }

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {_VEGA_LITE: self.spec, "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Plot of {len(self.rows)} points>"


class _Lines:
    """One line for each change of the counts."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, group: Resource) -> None:
        line = said(group)
        if line != self._last:
            self._last = line
            display.write(line)


def said(group: Resource) -> str:
    """Its name, and how many members are in which state."""
    order = (RunState.succeeded, RunState.running, RunState.queued, RunState.failed, RunState.cancelled)
    counts = ", ".join(f"{group.counts[state]} {state.value}" for state in order if group.counts.get(state))
    return f"{group.name}: {counts or 'no members'}"


def _field(name: str) -> str:
    """As Vega-Lite spells a name that is no path."""
    return "".join(f"\\{c}" if c in ".[]" else c for c in name)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool)) or value is None else str(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
