"""A run as panels show it: one small JSON document and the curves in few points, made anew each time.

Whoever gets the last one knows the truth; none is missed when one is lost. The kernel's panel and the notebook
server's handlers give the same. Light: the notebook server imports this.
"""

from __future__ import annotations

import base64
import json
import math
import re
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from modelyard.errors import NotFound
from modelyard.training import control, record
from modelyard.training.progress import Progress, RunState
from modelyard.training.run import TrainingRun

LIMIT = 4_000
"""Bytes of a snapshot, curves included."""
PART_LIMIT = 4_000
"""Bytes of a part's text, such as the end of the log."""
CURVES, METRICS = 8, 12
"""Curves and metrics in a snapshot at most; `metrics` the part has all of them."""
FULL = 4_000
"""Numbers in the part `curves`, which is fetched when a run has ended."""
_LEAST = 120
_REPORT = re.compile(r"report-([a-z0-9_]{1,40})")
Points = tuple[list[float], list[float]]


def snapshot(run: TrainingRun, clock: Callable[[], float] = time.time) -> tuple[dict[str, Any], bytes]:
    """The document and the curves: for each curve named in it its steps, then its values, as little-endian float32."""
    with run.reading() as now:
        view = _view(run, now, clock())
        points = {name: now.curves[name].points() for name in list(now.curves)[:CURVES]}
        room = (LIMIT - len(json.dumps(view)) - 60 * len(points)) // 4
        lengths, data = packed(points, max(_LEAST, room))
    view["curves"] = {"names": list(points), "lengths": lengths, "of": len(now.curves)}
    return view, data


def _view(run: TrainingRun, now: Progress, at: float) -> dict[str, Any]:
    remaining = now.remaining(at)
    view: dict[str, Any] = {
        "id": run.id,
        "name": run.name,
        "model": _cut(run.spec.estimator or run.spec.model, 60),
        "state": now.state.value,
        "stopping": now.stopping and now.ended is None,
        "fraction": None if now.fraction is None else round(now.fraction, 4),
        "kind": now.kind.value if now.kind else None,
        "source": _cut(now.source, 120),
        "step": _cut(now.step, 120),
        "unit": now.unit,
        "done": now.done,
        "of": now.of,
        "at": round(at, 2),
        "told": round(now.told, 2),
        "elapsed": round(now.elapsed(at), 1),
        "remaining": None if remaining is None else round(remaining, 1),
        "metrics": {_cut(n, 40): _short(v) for n, v in list(now.metrics.items())[:METRICS]},
        "actions": [name for name, possible in control.actions(now).items() if possible],
        "kept": now.has_model,
    }
    rest: dict[str, Any] = {
        "usage": {name: _short(value) for name, value in now.usage.items()},
        "best": now.best and {**now.best, "value": _short(now.best["value"])},
        "checkpoint": now.checkpoint,
        "resumable": now.resumable,
        "folds": [len(now.folds), now.folds[-1]["of"]] if now.folds else None,
        "trials": _trials(now) if now.trials else None,
        "reports": [name for name in now.reports if len(name) <= 40][:16],
        "warnings": [len(now.warnings), _cut(now.warnings[-1], 200)] if now.warnings else None,
        "error": _cut(now.error, 300),
        "remedy": _cut(now.remedy, 200),
        "traceback": bool(now.traceback),
        "mlflow": now.mlflow_url if (now.mlflow_url or "").startswith(("http://", "https://")) else None,
    }
    return view | {name: value for name, value in rest.items() if value}


def _trials(now: Progress) -> dict[str, int]:
    counts: dict[str, int] = {}
    for trial in now.trials:
        counts[str(trial["state"])] = counts.get(str(trial["state"]), 0) + 1
    return counts


def packed(curves: Mapping[str, Points], numbers: int) -> tuple[list[int], bytes]:
    """Lengths, and at most `numbers` float32: what short curves leave over, longer ones get."""
    left, waiting = numbers // 2, len(curves)
    allowed: dict[str, int] = {}
    for name, (steps, _) in sorted(curves.items(), key=lambda item: len(item[1][0])):
        allowed[name] = min(len(steps), left // waiting)
        left -= allowed[name]
        waiting -= 1
    data = array("f")
    lengths = []
    for name, (steps, values) in curves.items():
        x, y = thinned(steps, values, allowed[name])
        data.extend(x)
        data.extend(y)
        lengths.append(len(x))
    return lengths, data.tobytes()


def thinned(steps: Sequence[float], values: Sequence[float], count: int) -> Points:
    """At most `count` of the points: the first, the last, and the least and the greatest value of each of equal
    stretches in between, so that no spike is lost."""
    n = len(steps)
    if n <= count:
        return list(steps), list(values)
    if count < 4:
        chosen = [n - 1][:count]
    else:
        stretches = (count - 2) // 2
        inner = n - 2
        bounds = [1 + inner * i // stretches for i in range(stretches + 1)]
        chosen = [0]
        for start, end in pairwise(bounds):
            known = [i for i in range(start, end) if not math.isnan(values[i])] or [start]
            chosen += sorted({min(known, key=values.__getitem__), max(known, key=values.__getitem__)})
        chosen.append(n - 1)
    return [steps[i] for i in chosen], [values[i] for i in chosen]


def part(run: TrainingRun, name: str) -> Any:
    """What a panel fetches when it is looked at: log, traceback, warnings, metrics, folds, trials, params, code,
    curves, report-<name>. NotFound names what there is not."""
    report = _REPORT.fullmatch(name)
    if report:
        return run.report(report[1])
    if name not in _PARTS:
        raise NotFound(f"a run has no part {name!r}", remedy=f"There are: {', '.join(_PARTS)}, report-<name>.")
    with run.reading() as now:
        return _PARTS[name](run, now)


def _curves(_run: TrainingRun, now: Progress) -> dict[str, Any]:
    points = {name: curve.points() for name, curve in now.curves.items()}
    lengths, data = packed(points, FULL)
    return {"names": list(points), "lengths": lengths, "of": len(points), "data": base64.b64encode(data).decode()}


def _trial_rows(_run: TrainingRun, now: Progress) -> list[dict[str, Any]]:
    """The latest 20, values and parameters in few digits."""
    rows = []
    for trial in now.trials[-20:]:
        params = {_cut(k, 24): _short(v) for k, v in list((trial.get("params") or {}).items())[:6]}
        rows.append({"number": trial["number"], "state": trial["state"], "value": _short(trial["value"])} | params)
    return rows


def _folds(_run: TrainingRun, now: Progress) -> list[dict[str, Any]]:
    return [{"fold": f["number"], **{k: _short(v) for k, v in (f["metrics"] or {}).items()}} for f in now.folds]


_PARTS: dict[str, Callable[[TrainingRun, Progress], Any]] = {
    "log": lambda run, now: run.logs(PART_LIMIT),
    "traceback": lambda run, now: now.traceback[-PART_LIMIT:],
    "warnings": lambda run, now: [_cut(text, 600) for text in now.warnings[-6:]],
    "metrics": lambda run, now: {name: _short(value) for name, value in now.metrics.items()},
    "params": lambda run, now: {name: _cut(text, 100) for name, text in record.load(run.folder)["params"].items()},
    "folds": _folds,
    "trials": _trial_rows,
    "code": lambda run, now: str(run.code),
    "curves": _curves,
}


def ended(view: Mapping[str, Any]) -> bool:
    """Whether a snapshot is a run's last one."""
    return view["state"] not in (RunState.running, RunState.paused)


def _cut(text: str, length: int) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _short(value: Any) -> Any:
    """Few digits, and only what JSON knows: a value that is no number is None."""
    if isinstance(value, bool) or value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return _cut(str(value), 40)
