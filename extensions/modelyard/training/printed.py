"""Progress of estimators of scikit-learn that tell it nowhere but in what they print when `verbose` is set.

What they compute does not depend on it, so the model is that of their plain fit.
"""

from __future__ import annotations

import contextlib
import copy
import io
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from modelyard.training.watch import Watch


@dataclass(frozen=True)
class Form:
    """`line`: what is printed at the end of an iteration, its groups named like curves. `stop`: what ends the fit with
    a usable state when raised while it prints; None: nothing does."""

    verbose: int
    line: re.Pattern[str]
    unit: str
    noise: re.Pattern[str]
    stop: type[BaseException] | None


class _Halt(BaseException):
    """Ends a fit from within what it prints."""


_NUMBER = r"[-+.\deinfa]+"
_HIST = Form(
    2,
    re.compile(
        rf"\[\d+/\d+\].*?(?:train loss: (?P<train_loss>{_NUMBER}), )?(?:train score: (?P<train_score>{_NUMBER}), )?"
        rf"(?:val loss: (?P<val_loss>{_NUMBER}), )?(?:val score: (?P<validation_score>{_NUMBER}), )?in [\d.]+s"
    ),
    "tree",
    re.compile(r"Binning .* data: |Fitting gradient boosted|Fit \d+ trees|Time spent"),
    _Halt,
)
_PERCEPTRON = Form(
    1,
    re.compile(rf"Iteration \d+, loss = (?P<train_loss>{_NUMBER})"),
    "epoch",
    re.compile(r"Validation score|Training loss did not improve|Validation score did not improve"),
    KeyboardInterrupt,  # it expects that one, and keeps the weights
)
_DESCENT = Form(
    1,
    re.compile(rf"Norm: .*Avg\. loss: (?P<train_loss>{_NUMBER})"),
    "epoch",
    re.compile(r"-- Epoch|Total training time|Convergence after"),
    None,
)
_FORMS = {
    "HistGradientBoostingClassifier": _HIST,
    "HistGradientBoostingRegressor": _HIST,
    "MLPClassifier": _PERCEPTRON,
    "MLPRegressor": _PERCEPTRON,
    "SGDClassifier": _DESCENT,
    "SGDRegressor": _DESCENT,
    "Perceptron": _DESCENT,
}


def form_of(estimator: Any) -> Form | None:
    """How `estimator`, one of scikit-learn's, prints its iterations; None when it does not."""
    form = _FORMS.get(type(estimator).__name__)
    return None if form is _PERCEPTRON and estimator.solver == "lbfgs" else form


@dataclass(frozen=True)
class Fit:
    """Fits with `verbose` set and reads along; a `ways.Fit`."""

    form: Form

    def __call__(self, estimator: Any, X: Any, y: Any, extra: Mapping[str, Any], watch: Watch) -> Any:
        asked = estimator.verbose
        reader = _Reader(self.form, estimator, watch, sys.stdout, echo=bool(asked))
        watch.begin(self.form.unit, _total(estimator), gentle=self.form.stop is not None)
        estimator.set_params(verbose=max(int(asked), self.form.verbose))
        try:
            with contextlib.redirect_stdout(reader):
                estimator.fit(X, y, **extra)
        except _Halt:
            _complete(estimator, watch.best)
        finally:
            estimator.set_params(verbose=asked)
        return estimator


def _total(estimator: Any) -> int | None:
    """Iterations at most; None for stochastic descent, which goes over the rows once per class and epoch."""
    return None if _FORMS[type(estimator).__name__] is _DESCENT else int(estimator.max_iter)


class _Reader(io.TextIOBase):
    """Stands in for the standard output while a fit prints."""

    def __init__(self, form: Form, estimator: Any, watch: Watch, onward: TextIO, *, echo: bool) -> None:
        self._form, self._estimator, self._watch, self._onward, self._echo = form, estimator, watch, onward, echo
        self._line, self._step = "", 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._line += text
        while "\n" in self._line:
            line, _, self._line = self._line.partition("\n")
            self._read(line)
        return len(text)

    def flush(self) -> None:
        """Lines are handed on when they are whole."""

    def _read(self, line: str) -> None:
        found = self._form.line.match(line)
        if self._echo or (found is None and not self._form.noise.match(line)):
            self._onward.write(line + "\n")
        if found is None:
            return
        self._step += 1
        values = {name: float(value) for name, value in found.groupdict().items() if value is not None}
        partial = self._partial if self._form is _HIST else None
        if self._watch.iteration(self._step, values, partial=partial) and self._form.stop is not None:
            raise self._form.stop

    def _partial(self) -> Any:
        """The trees so far, as a model of their own that takes rows as they are."""
        part = copy.copy(self._estimator)
        vars(part).pop("_in_fit", None)
        return part


def _complete(estimator: Any, best: int) -> None:
    """Make a boosting that was halted after a whole iteration what its fit would have left: the first `best` trees of
    it where a validation curve says so."""
    import numpy as np

    vars(estimator).pop("_in_fit", None)
    for name in ("train_score_", "validation_score_"):
        setattr(estimator, name, np.asarray(getattr(estimator, name)))
    if 0 < best < len(estimator._predictors):
        estimator._predictors = estimator._predictors[:best]
