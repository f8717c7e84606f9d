"""The trainer of scikit-learn's estimators: fit one, and score it on rows that it has not seen."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from modelyard.training import callbacks, data, record
from modelyard.training.job import Job, Result
from modelyard.training.progress import ProgressKind
from modelyard.training.spec import Metric

Say = Callable[..., None]
_EXAMPLE_ROWS = 5


def run(job: Job) -> Result:
    """Fit, then score on the held-out rows."""
    spec, journal = job.spec, job.journal
    (X, y), held = job.rows, job.held
    estimator = prepare(job.model, spec.seed)
    if held is None and spec.test_size:
        X, y, *rest = data.split(X, y, spec.test_size, spec.seed, task(estimator) == "classification")
        held = (rest[0], rest[1])
    told = callbacks.reports(estimator)
    how = "reports its progress" if told else "does not report its progress; only the time that passed is known"
    journal.source(ProgressKind.callbacks if told else ProgressKind.elapsed, f"{spec.model} {how}")
    params = record.parameters(estimator) | {"seed": str(spec.seed), "test_size": str(spec.test_size)}
    record.params(job.folder, params)
    journal.step(f"Fitting {spec.model}")
    model = fit(estimator, X, y, callbacks.FitProgress(job.folder))
    metrics: dict[str, float] = {}
    if held is not None:
        journal.step("Scoring the held-out rows")
        metrics = score(model, held, spec.scorers, job.functions, journal.say)
    return Result(model, X[:_EXAMPLE_ROWS], metrics, params)


def task(estimator: Any) -> str:
    """classification, regression or other."""
    from sklearn.base import is_classifier, is_regressor

    try:
        if is_classifier(estimator):
            return "classification"
        return "regression" if is_regressor(estimator) else "other"
    except (AttributeError, TypeError):  # an estimator without scikit-learn's tags
        return "other"


def prepare(estimator: Any, seed: int) -> Any:
    """A clone with `seed` as random_state wherever that parameter is None; the user's own stays untouched."""
    from sklearn.base import clone

    fresh = clone(estimator) if hasattr(estimator, "get_params") else estimator
    if hasattr(fresh, "get_params"):
        open_ones = [
            k for k, v in fresh.get_params(deep=True).items() if v is None and k.split("__")[-1] == "random_state"
        ]
        fresh.set_params(**dict.fromkeys(open_ones, seed))
    return fresh


def fit(estimator: Any, X: Any, y: Any, callback: Any) -> Any:
    """`estimator` fitted, with the callback while it is fitted, where it takes one."""
    if not callbacks.reports(estimator):
        return estimator.fit(X, y)
    try:
        return estimator.set_callbacks(callback).fit(X, y)
    finally:
        callbacks.forget(estimator)


def score(
    model: Any, rows: tuple[Any, Any], scorers: tuple[str, ...] | None, functions: Mapping[str, Metric], say: Say
) -> dict[str, float]:
    """Metrics by name, on `rows` (X, y). A default one that does not apply is left out; one that was asked for and
    fails is
    a warning."""
    asked = bool(functions) or scorers is not None
    wanted = dict(functions) or ({name: _scorer(name) for name in scorers} if scorers is not None else _default(model))
    found: dict[str, float] = {}
    for name, compute in wanted.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = float(compute(model, *rows))
        except Exception as error:  # a metric must not cost the user the model
            if asked:
                say("warning", text=f"metric {name!r}: {type(error).__name__}: {error}")
            continue
        if math.isfinite(value):
            found[name] = value
    return found


def _scorer(name: str) -> Metric:
    def compute(model: Any, X: Any, y: Any) -> float:
        from sklearn.metrics import get_scorer

        return float(get_scorer(name)(model, X, y))

    return compute


def _loss(name: str) -> Metric:
    """A scorer that scikit-learn negates so that greater is better, as the loss that it is."""
    negated = _scorer(f"neg_{name}")
    return lambda model, X, y: -negated(model, X, y)


def _default(model: Any) -> dict[str, Metric]:
    kind = task(model)
    if kind == "classification":
        curve = "roc_auc" if len(getattr(model, "classes_", ())) == 2 else "roc_auc_ovr"
        return {"accuracy": _scorer("accuracy"), "roc_auc": _scorer(curve), "log_loss": _loss("log_loss")}
    if kind == "regression":
        return {"r2": _scorer("r2"), "mae": _loss("mean_absolute_error"), "rmse": _loss("root_mean_squared_error")}
    return {}
