"""Live progress from scikit-learn's callbacks, written to the run log.

Estimators that support callbacks tell their fit tasks; a pipeline or a search hands the callback on to its parts, also
into worker processes, where it is a copy that appends to the same log.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from modelyard.training import runlog
from modelyard.training.watch import Watch

_INTERVAL = 0.1
_DEEPEST = 5


class FitProgress:
    """A callback for `set_callbacks` (scikit-learn ≥ 1.9)."""

    max_propagation_depth = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = 0.0

    def setup(self, estimator: Any, context: Any) -> None:
        """Nothing to set up: the log is opened per line."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """Nothing to close."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Tell what begins, where that has parts or is a step of its own."""
        leaf = context.max_subtasks == 0 and context.source_estimator_name is None
        if not leaf and context.parent is not None:
            self._tell(context, end=False)

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Tell what ended. Iterations that count up are told ten times a second at most; each stands for all before."""
        parent = context.parent
        now = time.monotonic()
        if (
            parent is not None
            and parent.sequential_subtasks
            and context.max_subtasks == 0
            and parent.max_subtasks != context.task_id + 1
        ):
            if now - self._last < _INTERVAL:
                return
            self._last = now
        self._tell(context, end=True)

    def _tell(self, context: Any, *, end: bool) -> None:
        chain = []
        node = context
        while node is not None:
            chain.append(node)
            node = node.parent
        chain.reverse()
        if len(chain) > _DEEPEST:
            return
        runlog.append(
            self._folder,
            "task",
            path=[n.task_id for n in chain],
            of=[n.max_subtasks for n in chain],
            sequential=[bool(n.sequential_subtasks) for n in chain],
            end=end,
            text=_text(context) if 1 < len(chain) <= 3 else "",
        )


class Passes:
    """A callback for an optimiser's passes, which a stop ends with the coefficients of the last one: scipy takes
    StopIteration for that."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._done = 0

    def setup(self, estimator: Any, context: Any) -> None:
        """Nothing to set up."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """Nothing to close."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Told when it ends."""

    def on_fit_task_end(self, estimator: Any, context: Any, *, fitted_estimator: Any = None) -> None:
        """A pass has ended; a task without coefficients never ran."""
        if fitted_estimator is None or context.task_name != "lbfgs-iter":
            return
        self._done += 1
        if self._watch.iteration(self._done, partial=lambda: fitted_estimator):
            raise StopIteration


def _text(context: Any) -> str:
    number = f" {context.task_id + 1} of {context.parent.max_subtasks}" if _counted(context) else ""
    step = "part" if context.source_task_name else context.task_name
    return f"Fitting {context.estimator_name} ({step}{number})" if number else f"Fitting {context.estimator_name}"


def _counted(context: Any) -> bool:
    return isinstance(context.task_id, int) and bool(context.parent.max_subtasks)


def reports(estimator: Any) -> bool:
    """Whether the estimator tells its progress while it is fitted."""
    return hasattr(estimator, "set_callbacks")


def forget(estimator: Any, seen: set[int] | None = None) -> None:
    """Take the callback off a fitted estimator and all estimators in it: a model is not to carry it."""
    seen = set() if seen is None else seen
    if id(estimator) in seen:
        return
    seen.add(id(estimator))
    if isinstance(estimator, (list, tuple)):
        for part in estimator:
            forget(part, seen)
        return
    if isinstance(estimator, dict):
        for part in estimator.values():
            forget(part, seen)
        return
    if not hasattr(estimator, "get_params") or isinstance(estimator, type):
        return
    estimator.__dict__.pop("_skl_callbacks", None)
    estimator.__dict__.pop("_callback_fit_ctx", None)
    for part in vars(estimator).values():
        forget(part, seen)
