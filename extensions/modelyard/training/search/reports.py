"""What is drawn of a search: its history, which parameters matter, parallel coordinates; and the table of its trials.

A report is at most LIMIT bytes of JSON: where there are more trials than fit, the best ones and an even share of the
others stay. The table has all of them.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from modelyard.training.journal import Journal, write
from modelyard.training.search.space import Range, Space
from modelyard.training.search.trials import Objective

if TYPE_CHECKING:
    import optuna

LIMIT = 4_000
TABLE = "report-trials.json"
_ENOUGH = 4
"""Complete trials from which importances say something."""
Trials = Sequence[dict[str, Any]]


def write_all(journal: Journal, trials: Trials, space: Space, goal: Objective, study: optuna.Study) -> None:
    """Into the run's folder. A chart for which there are too few trials is left out."""
    write(journal.folder / TABLE, json.dumps(table(trials)).encode())
    done = [t for t in trials if t["state"] == "complete"]
    if not done:
        return
    journal.report("history", history(trials, goal))
    journal.report("parallel", parallel(trials, space, goal))
    if len(done) >= _ENOUGH and len(space) > 1:
        journal.report("search_importance", importance(study))


def table(trials: Trials) -> dict[str, Any]:
    """All trials by column: number, state, value, seconds, reason, and each parameter."""
    names = list(dict.fromkeys(name for t in trials for name in t["params"]))
    plain = {key: [t[key] for t in trials] for key in ("number", "state", "value", "seconds", "reason")}
    return plain | {f"params.{name}": [t["params"].get(name) for t in trials] for name in names}


def history(trials: Trials, goal: Objective) -> dict[str, Any]:
    """In the order in which they ended: number, state, value, and the best value so far (None before the first)."""
    better = max if goal.maximize else min
    best: float | None = None
    rows = []
    for t in trials:
        if t["state"] == "complete":
            best = t["value"] if best is None else better(best, t["value"])
        rows.append((t["number"], t["state"], _short(t["value"]), _short(best)))

    def build(kept: Sequence[int]) -> dict[str, Any]:
        columns = zip(*(rows[i] for i in kept), strict=True)
        named = dict(zip(("number", "state", "value", "best"), map(list, columns), strict=True))
        return {"metric": goal.name, "maximize": goal.maximize, "of": len(rows), **named}

    return _bounded(build, len(rows), [len(rows) - 1])


def parallel(trials: Trials, space: Space, goal: Objective) -> dict[str, Any]:
    """Parallel coordinates: an axis per parameter, with its ends (and whether it is logarithmic) or its choices; a
    line per trial that has a value: its place on each axis in `lines` (for choices the position), `value`, `number`."""
    axes: list[dict[str, Any]] = []
    for name, part in space.items():
        if isinstance(part, Range):
            axes.append({"name": name, "low": part.low, "high": part.high, "log": part.log})
        else:
            axes.append({"name": name, "choices": [str(m)[:24] for m in part.members()]})
    shown = [t for t in trials if t["value"] is not None]
    order = sorted(range(len(shown)), key=lambda i: shown[i]["value"], reverse=goal.maximize)

    def build(kept: Sequence[int]) -> dict[str, Any]:
        some = [shown[i] for i in kept]
        return {
            "metric": goal.name,
            "maximize": goal.maximize,
            "of": len(shown),
            "axes": axes,
            "number": [t["number"] for t in some],
            "value": [_short(t["value"]) for t in some],
            "pruned": [t["number"] for t in some if t["state"] == "pruned"],
            "lines": [[_place(space, name, t["params"]) for name in space] for t in some],
        }

    return _bounded(build, len(shown), order[:10])


def importance(study: optuna.Study) -> dict[str, Any]:
    """How much of the better trials each parameter explains; the shares add up to 1, the greatest first. By PED-ANOVA
    (Watanabe, Bansal and Hutter, IJCAI 2023), over the complete trials; at most 20 parameters."""
    from optuna.importance import get_param_importances

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_param_importances(study)
    largest = dict(sorted(found.items(), key=lambda item: -item[1])[:20])
    return {"names": list(largest), "values": [_short(float(v)) for v in largest.values()]}


def _place(space: Space, name: str, params: dict[str, Any]) -> Any:
    part = space[name]
    return _short(params[name]) if isinstance(part, Range) else part.members().index(params[name])


def _short(value: float | None) -> float | None:
    return value if value is None or isinstance(value, int) else float(f"{value:.4g}")


def _bounded(build: Callable[[Sequence[int]], dict[str, Any]], count: int, dear: Sequence[int]) -> dict[str, Any]:
    """What `build` makes of row numbers, in their order: all of them, or so many that it fits, `dear` ones before."""
    stride = 1
    while True:
        kept = sorted({*range(0, count, stride), *dear})
        found = build(kept)
        if len(json.dumps(found)) <= LIMIT or stride >= count:
            return found
        stride += 1
