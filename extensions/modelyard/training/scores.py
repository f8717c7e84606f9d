"""Metrics of a model on rows: scikit-learn's by name, or the user's own. A metric never costs the user the model."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from modelyard.training.spec import Metric

_LOSSES = {
    "log_loss": "neg_log_loss",
    "mae": "neg_mean_absolute_error",
    "rmse": "neg_root_mean_squared_error",
}
"""Scorers that scikit-learn negates so that greater is better, by the names of the losses that they are."""


def task(estimator: Any) -> str:
    """classification, regression or other."""
    from sklearn.base import is_classifier, is_regressor

    try:
        if is_classifier(estimator):
            return "classification"
        return "regression" if is_regressor(estimator) else "other"
    except (AttributeError, TypeError):  # an estimator without scikit-learn's tags
        return "other"


def score(
    model: Any,
    rows: tuple[Any, Any],
    names: tuple[str, ...] | None,
    functions: Mapping[str, Metric],
    say: Callable[..., None],
) -> dict[str, float]:
    """Metrics by name on `rows` (X, y): the user's `functions`, else scikit-learn's scorers `names`, else those usual
    for the task. A usual one that does not apply is left out; one that was asked for and fails is a warning."""
    if functions:
        found = {name: _own(compute, model, rows) for name, compute in functions.items()}
    else:
        found = _named(model, rows, names if names is not None else _usual(model))
    asked = bool(functions) or names is not None
    for name, value in found.items():
        if isinstance(value, str) and asked:
            say("warning", text=f"metric {name!r}: {value}")
    return {name: value for name, value in found.items() if not isinstance(value, str) and math.isfinite(value)}


def _own(compute: Metric, model: Any, rows: tuple[Any, Any]) -> float | str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(compute(model, *rows))
    except Exception as error:  # the user's own code
        return f"{type(error).__name__}: {error}"


def _named(model: Any, rows: tuple[Any, Any], names: tuple[str, ...]) -> dict[str, float | str]:
    """All at once, so that the rows are predicted once and not once per metric; what failed as text."""
    known: dict[str, str] = {}
    found: dict[str, float | str] = {}
    for name in names:
        scorer = _LOSSES.get(name, name)
        if (problem := _unknown(scorer)) is not None:
            found[name] = problem
        else:
            known[name] = scorer
    if not known:
        return found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = _scored(model, rows, list(known.values()))
    for name, scorer in known.items():
        value = given[scorer]
        found[name] = value if isinstance(value, str) else -value if name in _LOSSES else value
    return found


def _scored(model: Any, rows: tuple[Any, Any], scorers: list[str]) -> dict[str, float | str]:
    from sklearn.metrics import check_scoring

    try:
        given = check_scoring(model, scorers, raise_exc=False)(model, *rows)
    except Exception as error:  # a model without the answers that one of them needs fails all of them
        if len(scorers) == 1:
            return {scorers[0]: f"{type(error).__name__}: {error}"}
        return {name: value for scorer in scorers for name, value in _scored(model, rows, [scorer]).items()}
    return {name: v.strip().splitlines()[-1] if isinstance(v, str) else float(v) for name, v in given.items()}


def _unknown(scorer: str) -> str | None:
    from sklearn.metrics import get_scorer

    try:
        get_scorer(scorer)
    except ValueError as error:
        return str(error)
    return None


def _usual(model: Any) -> tuple[str, ...]:
    kind = task(model)
    if kind == "classification":
        curve = "roc_auc" if len(getattr(model, "classes_", ())) == 2 else "roc_auc_ovr"
        return ("accuracy", curve, "log_loss")
    return ("r2", "mae", "rmse") if kind == "regression" else ()
