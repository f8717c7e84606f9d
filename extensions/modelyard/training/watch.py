"""What a fit is watched with: it is told each iteration, draws the curves, and says when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from modelyard.training.control import Control
from modelyard.training.journal import Journal

ROWS = 5_000
"""Held-out rows at most on which a validation curve is computed."""

_SHARE = 0.01
"""Of the time of the fit: what validation curves may cost."""
_GREATER = ("auc", "map", "ndcg", "pre", "average_precision", "accuracy")
"""Beginnings of the names of metrics that are better when greater."""
_PATIENCE = 0.5
"""Seconds between two `best` events at least."""


class Watch:
    """Watches one fit. `rows` it is fitted on; `held`: gives held-out (X, y) as the estimator takes them, or None.

    `best` is the iteration that was the best on the first validation curve (`val_…`), 0 where there is none.
    """

    def __init__(
        self, journal: Journal, control: Control, rows: int, held: Callable[[], tuple[Any, Any] | None] = lambda: None
    ) -> None:
        self.journal, self.control, self.rows = journal, control, rows
        self.best = 0
        self._held = held
        self._taken: tuple[Any, Any] | None = None
        self._lowest, self._value = float("inf"), 0.0
        self._curve = ""
        self._told = self._at = 0.0
        self._began = time.monotonic()
        self._spent = 0.0

    def begin(self, unit: str, of: int | None, *, gentle: bool = True) -> None:
        """Iterations begin. `gentle`: a stop ends them after the one that it falls into, and leaves a model."""
        self.journal.total(of, unit)
        self.control.gentle = gentle
        self._began = time.monotonic()

    @property
    def held(self) -> tuple[Any, Any] | None:
        """Held-out rows, at most ROWS of them."""
        if self._taken is None and (found := self._held()) is not None:
            self._taken = found
        return self._taken

    def held_as(self, change: Callable[[Any], Any]) -> Watch:
        """The same watch, with held-out rows that are changed before the estimator gets them."""

        def changed() -> tuple[Any, Any] | None:
            return None if (rows := self.held) is None else (change(rows[0]), rows[1])

        return Watch(self.journal, self.control, self.rows, changed)

    def iteration(
        self, step: int, values: Mapping[str, float] | None = None, partial: Callable[[], Any] | None = None
    ) -> bool:
        """Iteration `step` (from 1) is done; whether to stop. `values`: points of curves. `partial` gives the model
        of the iterations so far; it is scored on held-out rows as often as a hundredth of the time allows, and when the
        fit is to stop, so that the last iteration has its chance to be the best."""
        self.journal.rows += self.rows
        found = dict(values or {})
        stopping = self.control.stopping
        if partial is not None and (stopping or self._spent <= _SHARE * (time.monotonic() - self._began)):
            found |= self._score(partial)
        self.journal.point(step, found)
        self._note(step, found)
        return stopping

    def end(self) -> None:
        """The fit is over: say which iteration was the best."""
        self._tell(force=True)

    def _score(self, partial: Callable[[], Any]) -> dict[str, float]:
        began = time.monotonic()
        try:
            rows = self.held
            return loss(partial(), *rows) if rows is not None else {}
        except Exception:  # a model that cannot be scored half-way: there is no curve, and the fit goes on
            self._held, self._taken = lambda: None, None
            return {}
        finally:
            self._spent += time.monotonic() - began

    def _note(self, step: int, values: Mapping[str, float]) -> None:
        curve = self._curve or next((name for name in values if name.startswith("val_")), "")
        if curve in values:
            self._curve = curve
            sign = -1.0 if curve.removeprefix("val_").startswith(_GREATER) else 1.0
            if sign * values[curve] < self._lowest:
                self.best, self._lowest, self._value = step, sign * values[curve], values[curve]
                self._tell()

    def _tell(self, *, force: bool = False) -> None:
        if not self.best or self._at == self.best:
            return
        if force or time.monotonic() - self._told > _PATIENCE:
            self._told, self._at = time.monotonic(), self.best
            self.journal.say("best", step=self.best, name=self._curve, value=self._value)


def loss(model: Any, X: Any, y: Any) -> dict[str, float]:
    """The validation loss by its curve's name: log loss of probabilities, root mean squared error of numbers."""
    import numpy as np
    from sklearn.metrics import log_loss, root_mean_squared_error

    if hasattr(model, "predict_proba"):
        return {"val_log_loss": float(log_loss(y, model.predict_proba(X), labels=model.classes_))}
    if np.asarray(y).dtype.kind in "fiu":
        return {"val_rmse": float(root_mean_squared_error(y, model.predict(X)))}
    return {}
