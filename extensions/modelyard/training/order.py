"""`Order` and `start`: what is to be trained is checked, laid down in a folder of its own, and its process started."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard import config
from modelyard.errors import InvalidInput
from modelyard.training import code, data, handover, runlog
from modelyard.training.launch import launch, locked
from modelyard.training.run import TrainingRun
from modelyard.training.spec import Metric, TrainSpec

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
        handover.give(folder, "data", (*order.rows, held), "the data")
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
