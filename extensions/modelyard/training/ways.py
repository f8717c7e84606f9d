"""Ways to fit an estimator that tell how far it is, and that end with the model that its own `fit` gives.

`of` finds the one for an estimator: scikit-learn's callbacks where it has them, else iterations where they can be seen
without changing the result, else only the time that passes. Whether the result is the same is tested for each
estimator named here (`tests/modelyard/training/test_ways.py`); others, subclasses too, are fitted as they are.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.training import boosters, callbacks, forests, printed, weights
from modelyard.training.progress import ProgressKind
from modelyard.training.watch import Watch

Fit = Callable[[Any, Any, Any, Mapping[str, Any], Watch], Any]


@dataclass(frozen=True)
class Way:
    """`fit(estimator, X, y, parameters of fit, watch)` gives the fitted estimator; `text` says how progress is
    known."""

    kind: ProgressKind
    fit: Fit
    text: str


def of(estimator: Any) -> Way:
    """The way to fit `estimator`; of a pipeline it is that of its last step."""
    if _is_pipeline(estimator):
        name, last = estimator.steps[-1]
        inner = _own(last)
        if inner is not None:
            return Way(inner.kind, _in_pipeline(name, inner), inner.text)
    return _own(estimator) or _plain(estimator)


def _own(estimator: Any) -> Way | None:
    """The way of an estimator that tells its iterations, or None."""
    root = type(estimator).__module__.partition(".")[0]
    name = type(estimator).__name__
    if root == "sklearn" and forests.fits(estimator):
        return Way(ProgressKind.iterations, forests.fit, f"{name} tells each of its trees")
    if f"{root}.{name}" in _GROWN and _growable(estimator):
        return Way(ProgressKind.iterations, _grow, f"{name} is grown in steps by warm_start")
    if f"{root}.{name}" in ("sklearn.GradientBoostingClassifier", "sklearn.GradientBoostingRegressor"):
        return Way(ProgressKind.iterations, _monitored, f"{name} tells each tree to the monitor of its fit")
    if root == "sklearn" and name == "LogisticRegression" and callbacks.reports(estimator) and _is_lbfgs(estimator):
        return Way(ProgressKind.callbacks, _passes, f"{name} reports its passes by scikit-learn's callbacks")
    if root == "sklearn" and (form := printed.form_of(estimator)) is not None:
        fit = printed.Fit(form)
        return Way(ProgressKind.iterations, fit, f"{name} prints each {form.unit}, which is read")
    if (booster := boosters.fit_of(f"{root}.{name}")) is not None:
        return Way(ProgressKind.iterations, booster, f"{name} reports each round to a callback")
    return None


def _plain(estimator: Any) -> Way:
    name = type(estimator).__name__
    if callbacks.reports(estimator):
        return Way(ProgressKind.callbacks, _told, f"{name} reports its progress")
    return Way(ProgressKind.elapsed, _fit, f"{name} does not report its progress; only the time that passed is known")


def _fit(estimator: Any, X: Any, y: Any, extra: Mapping[str, Any], watch: Watch) -> Any:
    return estimator.fit(X, y, **weights.routed(estimator, extra))


def _told(estimator: Any, X: Any, y: Any, extra: Mapping[str, Any], watch: Watch) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The estimator .* does not support callbacks")
            told = estimator.set_callbacks(callbacks.FitProgress(watch.journal.folder))
            return told.fit(X, y, **weights.routed(estimator, extra))
    finally:
        callbacks.forget(estimator)


# ------------------------------------------------------------------------------------------------- pipelines


def _is_pipeline(estimator: Any) -> bool:
    return f"{type(estimator).__module__}.{type(estimator).__name__}" == "sklearn.pipeline.Pipeline"


class _Last:
    """Stands in for a pipeline's last step while the pipeline is fitted, and fits that step the way it is done."""

    def __init__(self, estimator: Any, fit: Callable[[Any, Any, Mapping[str, Any]], Any]) -> None:
        self._estimator, self._fit = estimator, fit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)

    def fit(self, X: Any, y: Any = None, **extra: Any) -> Any:
        self._fit(X, y, extra)
        return self


def _in_pipeline(name: str, inner: Way) -> Fit:
    def fit(pipeline: Any, X: Any, y: Any, extra: Mapping[str, Any], watch: Watch) -> Any:
        last = pipeline.steps[-1][1]
        held = watch.held_as(lambda rows: pipeline[:-1].transform(rows)) if len(pipeline.steps) > 1 else watch

        def iterate(Xt: Any, yt: Any, given: Mapping[str, Any]) -> Any:
            watch.journal.step(f"Fitting {type(last).__name__}")
            model = inner.fit(last, Xt, yt, given, held)
            held.end()
            return model

        pipeline.steps = [*pipeline.steps[:-1], (name, _Last(last, iterate))]
        try:
            pipeline.fit(X, y, **weights.routed(pipeline, extra))
        finally:
            pipeline.steps = [*pipeline.steps[:-1], (name, last)]
        return pipeline

    return fit


# ------------------------------------------------------------------------------------------------ warm_start

_GROWN = ("sklearn.BaggingClassifier", "sklearn.BaggingRegressor")
_STEP = 1.0
"""Seconds of a step, or a tenth of the time so far where that is more: starting and ending one costs time."""


def _growable(estimator: Any) -> bool:
    """Whether the steps draw the same random numbers as one fit, not from a generator that goes on; out-of-bag scores
    exclude warm_start, and each step of several jobs would send the rows to them anew."""
    from joblib import effective_n_jobs

    seeded = isinstance(estimator.random_state, int)
    return seeded and not estimator.oob_score and bool(effective_n_jobs(estimator.n_jobs) == 1)


def _grow(estimator: Any, X: Any, y: Any, extra: Mapping[str, Any], watch: Watch) -> Any:
    total, asked = estimator.n_estimators, estimator.warm_start
    done, size = 0, 1
    watch.begin("tree", total)
    began = time.monotonic()
    try:
        while done < total:
            grown = min(size, total - done)
            done += grown
            step = time.monotonic()
            estimator.set_params(n_estimators=done, warm_start=True).fit(X, y, **extra)
            now = time.monotonic()
            if watch.iteration(done, partial=lambda: estimator):
                break
            wanted = max(_STEP, 0.1 * (now - began)) / max(now - step, 1e-6) * grown
            size = max(1, round(min(wanted, 8 * size)))
    finally:
        estimator.set_params(warm_start=asked)
    return estimator


# --------------------------------------------------------------------------------------- monitor and callbacks


def _monitored(estimator: Any, X: Any, y: Any, extra: Mapping[str, Any], watch: Watch) -> Any:
    def first(count: int) -> Any:
        part = copy.copy(estimator)
        part.estimators_, part.n_estimators_ = estimator.estimators_[:count], count
        return part

    def monitor(i: int, _estimator: Any, _locals: Any) -> bool:
        loss = float(estimator.train_score_[i])
        return watch.iteration(i + 1, {"train_loss": loss}, partial=lambda: first(i + 1))

    watch.begin("tree", estimator.n_estimators)
    estimator.fit(X, y, monitor=monitor, **extra)
    if watch.control.stopping and 0 < watch.best < len(estimator.estimators_):
        estimator.estimators_ = estimator.estimators_[: watch.best]
        estimator.train_score_ = estimator.train_score_[: watch.best]
        estimator.n_estimators_ = watch.best
    return estimator


def _is_lbfgs(estimator: Any) -> bool:
    return bool(estimator.solver == "lbfgs")


def _passes(estimator: Any, X: Any, y: Any, extra: Mapping[str, Any], watch: Watch) -> Any:
    watch.begin("pass", estimator.max_iter)
    try:
        return estimator.set_callbacks(callbacks.Passes(watch)).fit(X, y, **extra)
    finally:
        callbacks.forget(estimator)
