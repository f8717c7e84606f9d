"""How far a fit is, by scikit-learn's own callbacks where the estimator has them. Never a guess."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from modelyard.training.runlog import RunLog

_INTERVAL = 0.2


class RunLogProgress:
    """A `sklearn.callback` callback that writes the run log. Pickles as its folder, so that it works in joblib's
    workers, too. Propagates to inner estimators at any depth."""

    max_propagation_depth: int | None = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = 0.0

    def setup(self, estimator: Any, context: Any) -> None:
        """See sklearn.callback.FitCallback."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """See sklearn.callback.FitCallback."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """See sklearn.callback.FitCallback."""

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """One line per outermost task; of the inner ones, a few per second."""
        parent = context.parent
        if parent is None:
            return
        outermost = parent.parent is None
        now = time.monotonic()
        if not outermost and now - self._last < _INTERVAL:
            return
        self._last = now
        members: dict[str, Any] = {"text": describe(context)}
        if outermost:
            members |= {"ended": 1, "total": parent.max_subtasks}
        RunLog(self._folder).write("progress", **members)


def describe(context: Any) -> str:
    """A task in words: 'LogisticRegression iteration 12 of at most 100'. Pure."""
    parent = context.parent
    number = context.task_id + 1 if isinstance(context.task_id, int) else context.task_id
    most = f" of at most {parent.max_subtasks}" if parent is not None and parent.max_subtasks else ""
    name = parent.estimator_name if parent is not None else context.estimator_name
    task = (context.source_task_name or context.task_name or "task").replace("_", " ")
    return f"{name}: {task} {number}{most}"


def attach(estimator: Any, folder: Path) -> bool:
    """Have the estimator report; False where neither it nor a part of it can."""
    try:
        import sklearn.callback  # noqa: F401 — since scikit-learn 1.9
    except ImportError:
        return False
    if not hasattr(estimator, "set_callbacks"):
        return False
    estimator.set_callbacks(RunLogProgress(folder))
    return True


def detach(estimator: Any) -> None:
    """Take the callback off again, so that the model holds nothing of the run."""
    if hasattr(estimator, "set_callbacks"):
        estimator.set_callbacks()
