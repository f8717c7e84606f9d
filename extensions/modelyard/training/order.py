"""An order, from what `yard.train` or `yard.search` was asked; `start`: it is checked, laid down in a folder of its
own, and its process started."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modelyard import config
from modelyard.errors import InvalidInput
from modelyard.training import code, data, handover, runlog
from modelyard.training.launch import launch, locked
from modelyard.training.options import SearchOptions, options_of
from modelyard.training.run import TrainingRun
from modelyard.training.spec import Metric, Metrics, TrainSpec, searchable

_KEPT_SECONDS = 30 * 86400


@dataclass(frozen=True)
class Order:
    """What is to be trained: `rows` (X, y), `validation` (X, y), a Dataset or None, `options` those of the trainer,
    `functions` the user's own metrics, `code` the cell that does the same, where that is known better than `code.of`
    can."""

    spec: TrainSpec
    model: Any
    rows: tuple[Any, Any]
    validation: Any
    options: Any
    functions: Mapping[str, Metric] = field(default_factory=dict)
    code: str = ""


def to_train(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    name: str | None = None,
    test_size: float = 0.2,
    validation: Any = None,
    seed: int = 0,
    metrics: Metrics = None,
    **options: Any,
) -> Order:
    """What `yard.train` is asked, as an order; see there. InvalidInput."""
    spec = TrainSpec.of(estimator, name=name, test_size=test_size, seed=seed, metrics=metrics)
    spec = replace(spec, options={key: repr(value) for key, value in options.items()})
    return Order(spec, estimator, (X, y), validation, options_of(spec.kind, options), _functions(metrics))


def to_search(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    space: Mapping[str, Any] | None = None,
    preprocessing: bool = False,
    name: str | None = None,
    test_size: float = 0.2,
    validation: Any = None,
    seed: int = 0,
    metrics: Metrics = None,
    **how: Any,
) -> Order:
    """What `yard.search` is asked, as an order; see there. `how`: fields of SearchOptions. InvalidInput."""
    from modelyard.training.search.inferred import space_for
    from modelyard.training.search.space import space_of

    spec = TrainSpec.of(searchable(estimator), name=name, test_size=test_size, seed=seed, metrics=metrics)
    tried = space_for(estimator, preprocessing=preprocessing) if space is None else space_of(space, estimator)
    options = SearchOptions(tried, **how)
    shown = {key: getattr(value, "__name__", repr(value)) for key, value in vars(options).items() if value is not None}
    shown["space"] = "{" + ", ".join(f"{key!r}: {part}" for key, part in tried.items()) + "}"
    spec = replace(spec, kind="search", options=shown)
    return Order(spec, estimator, (X, y), validation, options, _functions(metrics))


def _functions(metrics: Metrics) -> Mapping[str, Metric]:
    return metrics if isinstance(metrics, Mapping) else {}


def start(order: Order) -> TrainingRun:
    """Start the process; returns when it is started. InvalidInput for what cannot be sent to it, StorageFull."""
    held = _pair(order.validation)
    found = _check(order, held)
    root = config.runs_folder()
    root.mkdir(parents=True, exist_ok=True)
    _prune(root)
    folder = root / f"{order.spec.name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o700)
    try:
        order.spec.save(folder)
        handover.give(folder, "job", (order.model, order.options, dict(order.functions)), "the model")
        handover.give(folder, "data", (*order.rows, held), "the data", rows=True)
        (folder / "paths.json").write_text(json.dumps(sys.path))
        text = order.code or code.of(order.spec, order.model, order.functions, held=held is not None)
        (folder / code.FILE).write_text(text)
        with locked(folder) as lock:
            process = launch(folder, lock)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for warning in found:
        runlog.append(folder, "warning", text=warning)
    return TrainingRun(folder, process)


def _pair(validation: Any) -> tuple[Any, Any] | None:
    """Rows and targets; a Dataset is both in one."""
    if validation is None:
        return None
    pair = (validation, None) if data.is_dataset(validation) else validation
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise InvalidInput("validation is not a pair", remedy="Give (X_val, y_val).")
    return pair[0], pair[1]


def _check(order: Order, held: tuple[Any, Any] | None) -> list[str]:
    """Warnings; InvalidInput for what is sure to fail."""
    if held is not None:
        data.check(*held)
    data.check(*order.rows)
    if order.spec.kind not in ("sklearn", "search"):
        return []
    from modelyard.training import problems

    drawn = order.spec.test_size if held is None else 0.0
    return problems.check(order.model, *order.rows, test_size=drawn, options=order.options)


def _prune(root: Path) -> None:
    """Forget runs that ended a month ago."""
    for log in root.glob(f"*/{runlog.FILE}"):
        with contextlib.suppress(OSError):
            if time.time() - log.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(log.parent, ignore_errors=True)
