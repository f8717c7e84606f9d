"""RunsTable: the training runs of this machine, sorted, filtered, compared; opened, stopped and published from."""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import traitlets

from modelyard import config, display
from modelyard.errors import InvalidInput
from modelyard.training import control, record, runlog
from modelyard.training.progress import RunState
from modelyard.training.run import TrainingRun
from modelyard.training.snapshot import packed
from modelyard.widgets.base import Panel
from modelyard.widgets.train import PUBLISH, TrainPanel

PAGE = 15
"""Rows of a page: with them a message stays below 4 KB."""
COMPARED, _DIFFERENCES, _NUMBERS = 6, 40, 1_000
_SORTED = ("name", "state", "started", "seconds", "metric", "rows", "estimator")
_LIVE = (RunState.running, RunState.paused)
_BUDGET = 0.1
"""Seconds of a tick for logs that were not read yet: a long list fills up while it is looked at."""
_LOSSES = ("loss", "mae", "mse", "rmse", "error", "brier", "deviance", "hamming", "perplexity")


@dataclass(frozen=True)
class Row:
    """A run in few words. Times in seconds; `rows` that it was given."""

    id: str
    name: str
    state: RunState
    started: float
    seconds: float
    metrics: dict[str, float]
    rows: int | None
    estimator: str
    kept: bool
    stopping: bool = False

    @property
    def live(self) -> bool:
        """Whether it still changes."""
        return self.state in _LIVE

    def matches(self, words: Sequence[str]) -> bool:
        """Whether each word is in its id, estimator or state."""
        text = f"{self.id} {self.estimator} {self.state}".lower()
        return all(word in text for word in words)


@dataclass(frozen=True)
class Query:
    """What is shown: `filter` words, `sort` one of name, state, started, seconds, metric, rows, estimator; `page` from
    0; `metric` the one in the table, empty for that of most runs."""

    filter: str = ""
    sort: str = "started"
    descending: bool = True
    page: int = 0
    metric: str = ""


def greater_is_better(metric: str) -> bool:
    """By its name: losses and errors are to be small."""
    return not any(word in metric.lower() for word in _LOSSES)


def main_metric(rows: Sequence[Row]) -> str:
    """The first metric of most runs; empty when none has any."""
    firsts = [next(iter(row.metrics)) for row in rows if row.metrics]
    return max(dict.fromkeys(firsts), key=firsts.count, default="")


def page_of(rows: Sequence[Row], query: Query) -> dict[str, Any]:
    """The page of the table that the query asks for, as JSON; the metric's best run over all pages is `best`."""
    found = [row for row in rows if row.matches(query.filter.lower().split())]
    metric = query.metric or main_metric(rows)
    judged = [row for row in found if metric in row.metrics]
    pick = max if greater_is_better(metric) else min
    best = pick(judged, key=lambda row: row.metrics[metric], default=None)
    found = _sorted(found, query, metric)
    pages = max(1, -(-len(found) // PAGE))
    page = min(max(0, query.page), pages - 1)
    return {
        "rows": [_plain(row, metric) for row in found[page * PAGE : (page + 1) * PAGE]],
        "found": len(found),
        "pages": pages,
        "metric": metric,
        "metrics": list(dict.fromkeys(name for row in rows for name in row.metrics))[:20],
        "best": best.id if best else "",
        "query": vars(query) | {"page": page},
    }


def _sorted(rows: list[Row], query: Query, metric: str) -> list[Row]:
    """Those without a value last, whichever way it goes."""

    def value(row: Row) -> Any:
        return row.metrics.get(metric) if query.sort == "metric" else getattr(row, query.sort)

    with_value = [row for row in rows if value(row) is not None]
    without = [row for row in rows if value(row) is None]
    return sorted(with_value, key=value, reverse=query.descending) + without


def _plain(row: Row, metric: str) -> dict[str, Any]:
    value = row.metrics.get(metric)
    found = {
        "id": row.id,
        "name": row.name,
        "state": "stopping" if row.stopping else row.state.value,
        "started": round(row.started),
        "seconds": round(row.seconds, 1),
        "metric": None if value is None else float(f"{value:.5g}"),
        "rows": row.rows,
        "estimator": row.estimator[:40],
    }
    return found | ({"live": True} if row.live else {}) | ({"kept": True} if row.kept else {})


def compare(runs: Sequence[TrainingRun]) -> dict[str, Any]:
    """What differs between runs, as JSON: parameters, metrics with the best one's position, and the curves on one
    chart each (base64 float32, as a snapshot's)."""
    params = [record.load(run.folder)["params"] for run in runs]
    names = dict.fromkeys(name for known in params for name in known)
    different = [name for name in names if len({known.get(name) for known in params}) > 1]
    metrics = [run.metrics for run in runs]
    curves: dict[str, Any] = {}
    for run in runs:
        with run.reading() as now:
            curves |= {f"{run.id}\n{name}": now.curves[name].points() for name in list(now.curves)[:4]}
    lengths, data = packed(curves, _NUMBERS)
    return {
        "runs": [run.id for run in runs],
        "params": [[name, *(_short(known.get(name)) for known in params)] for name in different[:_DIFFERENCES]],
        "hidden": max(0, len(different) - _DIFFERENCES),
        "metrics": [_judged(name, metrics) for name in dict.fromkeys(n for known in metrics for n in known)],
        "curves": {"names": list(curves), "lengths": lengths, "data": base64.b64encode(data).decode()},
    }


def _judged(name: str, metrics: Sequence[dict[str, float]]) -> dict[str, Any]:
    values = [known.get(name) for known in metrics]
    there = [value for value in values if value is not None]
    best = (max if greater_is_better(name) else min)(there)
    return {"name": name, "values": values, "best": [i for i, value in enumerate(values) if value == best]}


def _short(value: str | None) -> str | None:
    return value if value is None or len(value) <= 60 else value[:59] + "…"


@dataclass
class Shelf:
    """The runs of this machine in short. A run that has ended is read once, and again when its log has changed."""

    rows: dict[str, Row] = field(default_factory=dict)
    complete: bool = False
    """Whether every run has been read."""
    _runs: dict[str, TrainingRun] = field(default_factory=dict)
    _read: dict[str, float] = field(default_factory=dict)
    _listed: float = -1.0

    def look(self, budget: float = _BUDGET) -> bool:
        """Read what is new, newest first, for about `budget` seconds; whether anything is."""
        before = dict(self.rows)
        until = time.monotonic() + budget
        self._list()
        self.complete = True
        for run_id, run in self._runs.items():
            row = self.rows.get(run_id)
            if row is not None and not row.live and self._changed(run) == self._read[run_id]:
                continue
            if row is None and time.monotonic() > until:
                self.complete = False
                break
            self._read[run_id] = self._changed(run)
            # A run that is being deleted, is not whole yet, or that another version wrote.
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                self.rows[run_id] = _row(run)
        return self.rows != before

    def _list(self) -> None:
        root = config.runs_folder()
        listed = root.stat().st_mtime if root.exists() else 0.0
        if listed == self._listed:
            return
        self._listed = listed
        found = {run.id: run for run in TrainingRun.all()}
        self._runs = {run_id: self._runs.get(run_id, run) for run_id, run in found.items()}
        self.rows = {run_id: row for run_id, row in self.rows.items() if run_id in found}
        if len(found) < len(list(root.glob("*/"))):  # one that has no log yet: list again
            self._listed = -1.0

    @staticmethod
    def _changed(run: TrainingRun) -> float:
        try:
            return Path(run.folder, runlog.FILE).stat().st_mtime
        except OSError:
            return 0.0


def _row(run: TrainingRun) -> Row:
    with run.reading() as now:
        rows = record.load(run.folder)["tags"].get("modelyard.data.rows")
        return Row(
            id=run.id,
            name=run.name,
            state=now.state,
            started=now.started,
            seconds=now.elapsed(time.time()),
            metrics=dict(now.metrics),
            rows=None if rows is None else int(rows),
            estimator=run.spec.estimator or run.spec.model,
            kept=now.has_model,
            stopping=now.stopping and now.ended is None,
        )


class RunsTable(Panel, front_end="runs"):
    """All training runs of this machine. New ones appear, running ones go on; two or more can be compared.

    Where nobody looks it prints the newest as text.
    """

    publishes = traitlets.Bool(help="Whether a model can be published from here.").tag(sync=True)

    def __init__(self) -> None:
        self._looking = threading.RLock()
        self._shelf = Shelf()
        self._query = Query()
        self._clock = 0.0
        self._shelf.look(budget=0.5)
        super().__init__(publishes=find_spec(PUBLISH) is not None, view=self._view())
        self.watch()

    def tick(self) -> bool:
        """Show what changed. A look at the folder's time is all that it costs while nothing happens."""
        with self._looking:
            changed = self._shelf.look()
            if changed and (time.monotonic() - self._clock > 1.0 or self._shape() != self._told):
                self._show()
            return self.comm is not None

    def _shape(self) -> Any:
        return [(row.id, row.state, row.stopping) for row in self._shelf.rows.values()]

    def _show(self) -> None:
        self._clock = time.monotonic()
        self.tell(view=self._view())

    def _view(self) -> dict[str, Any]:
        self._told = self._shape()
        rows = list(self._shelf.rows.values())
        return page_of(rows, self._query) | {"of": len(rows), "complete": self._shelf.complete}

    def on_query(self, **given: Any) -> None:
        """Filter, sort, turn the page."""
        unknown = [name for name in given if name not in Query.__dataclass_fields__]
        if unknown or given.get("sort", "name") not in _SORTED:
            raise InvalidInput(f"the table cannot be asked for {given}")
        with self._looking:
            self._query = Query(**vars(self._query) | {"page": 0} | given)
            self._show()

    def on_compare(self, ids: Sequence[str]) -> dict[str, Any]:
        """See `compare`. InvalidInput for fewer than two or more than six."""
        if not 2 <= len(ids) <= COMPARED:
            raise InvalidInput(f"{len(ids)} runs are chosen", remedy=f"Choose 2 to {COMPARED}.")
        return compare([TrainingRun.find(run_id) for run_id in ids])

    def on_open(self, id: str) -> None:
        """The run's own panel, below."""
        self.put_below(TrainPanel(run=id))

    def on_publish(self, id: str) -> None:
        """The panel that publishes the run's model, below."""
        self.put_below(import_module(PUBLISH).PublishPanel(TrainingRun.find(id)))

    def on_stop(self, id: str) -> None:
        """Stop a run, where the notebook server does not."""
        run = TrainingRun.find(id)
        with run.reading() as now:
            control.send(run.folder, now, "stop")
        self.tick()

    def text(self) -> str:
        """The newest runs, a line each."""
        rows = _sorted(list(self._shelf.rows.values()), self._query, "")
        lines = [f"{len(rows)} training run{'s' * (len(rows) != 1)}"]
        for row in rows[:PAGE]:
            scores = ", ".join(f"{name} {value:.4f}" for name, value in list(row.metrics.items())[:3])
            lines.append(f"  {row.id}: {row.state} ({display.duration(row.seconds)}) {row.estimator} {scores}".rstrip())
        return "\n".join(lines)
