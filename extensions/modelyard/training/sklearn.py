"""Fit a scikit-learn estimator and score it on rows that it has not seen."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from modelyard.training import progress

Say = Callable[..., None]
_DEFAULTS = {
    "classification": {"accuracy": "accuracy", "roc_auc": None, "log_loss": "neg_log_loss"},
    "regression": {"r2": "r2", "mae": "neg_mean_absolute_error", "rmse": "neg_root_mean_squared_error"},
}


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
    """A clone with `seed` as random_state, wherever that is a parameter left at None; the user's own stays untouched."""
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
    if not progress.reports(estimator):
        return estimator.fit(X, y)
    try:
        return estimator.set_callbacks(callback).fit(X, y)
    finally:
        progress.forget(estimator)


def score(model: Any, X: Any, y: Any, scorers: tuple[str, ...] | None, functions: Any, say: Say) -> dict[str, float]:
    """Metrics by name. A default one that does not apply is left out; one that was asked for and fails is a warning."""
    found: dict[str, float] = {}
    wanted: dict[str, Callable[[], float]] = {}
    if functions:
        wanted = {name: _own(function, model, X, y) for name, function in functions.items()}
    elif scorers is not None:
        wanted = {name: _scorer(name, model, X, y) for name in scorers}
    else:
        wanted = _default(model, X, y)
    for name, compute in wanted.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = float(compute())
        except Exception as error:  # a metric must not cost the user the model
            if functions or scorers is not None:
                say("warning", text=f"metric {name!r}: {type(error).__name__}: {error}")
            continue
        if math.isfinite(value):
            found[name] = value
    return found


def _own(function: Any, model: Any, X: Any, y: Any) -> Callable[[], float]:
    return lambda: function(model, X, y)


def _scorer(name: str, model: Any, X: Any, y: Any) -> Callable[[], float]:
    def compute() -> float:
        from sklearn.metrics import get_scorer

        return float(get_scorer(name)(model, X, y))

    return compute


def _default(model: Any, X: Any, y: Any) -> dict[str, Callable[[], float]]:
    wanted: dict[str, Callable[[], float]] = {}
    for name, scorer in _DEFAULTS.get(task(model), {}).items():
        if name == "roc_auc":
            scorer = "roc_auc" if len(getattr(model, "classes_", ())) == 2 else "roc_auc_ovr"
        assert scorer is not None
        compute = _scorer(scorer, model, X, y)
        wanted[name] = (lambda c=compute: -c()) if scorer.startswith("neg_") else compute
    return wanted
