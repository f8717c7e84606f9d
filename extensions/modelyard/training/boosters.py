"""XGBoost and LightGBM, told by their callbacks. Neither is imported unless the estimator is theirs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from modelyard.training.watch import Watch

_NAMES = ("train", "val")


def fit_of(name: str) -> Callable[[Any, Any, Any, Mapping[str, Any], Watch], Any] | None:
    """The fit of `xgboost.XGBClassifier` and the like; None for what is no booster."""
    return {
        "xgboost.XGBClassifier": _xgboost,
        "xgboost.XGBRegressor": _xgboost,
        "lightgbm.LGBMClassifier": _lightgbm,
        "lightgbm.LGBMRegressor": _lightgbm,
    }.get(name)


def _sets(X: Any, y: Any, watch: Watch) -> list[tuple[Any, Any]]:
    held = watch.held
    return [(X, y)] if held is None else [(X, y), held]


def _xgboost(estimator: Any, X: Any, y: Any, extra: Mapping[str, Any], watch: Watch) -> Any:
    from xgboost.callback import TrainingCallback

    class Told(TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Any]) -> bool:
            values = {
                f"{name}_{metric}": _last(series)
                for name, (_, metrics) in zip(_NAMES, evals_log.items(), strict=False)
                for metric, series in metrics.items()
            }
            return watch.iteration(epoch + 1, values)

    asked = estimator.callbacks
    watch.begin("round", estimator.get_num_boosting_rounds())
    estimator.set_params(callbacks=[*(asked or []), Told()])
    try:
        estimator.fit(X, y, eval_set=_sets(X, y, watch), verbose=False, **extra)
    finally:
        estimator.set_params(callbacks=asked)
    if watch.control.stopping and 0 < watch.best < estimator.get_booster().num_boosted_rounds():
        estimator._Booster = estimator.get_booster()[: watch.best]
    return estimator


def _last(series: Any) -> float:
    value = series[-1]
    return float(value[0] if isinstance(value, tuple) else value)


def _lightgbm(estimator: Any, X: Any, y: Any, extra: Mapping[str, Any], watch: Watch) -> Any:
    from lightgbm.callback import EarlyStopException

    def told(env: Any) -> None:
        results = env.evaluation_result_list or []
        values = {f"{name}_{metric}": float(value) for name, metric, value, *_ in results}
        done = env.iteration + 1
        if watch.iteration(done, {k: v for k, v in values.items() if math.isfinite(v)}):
            raise EarlyStopException((watch.best or done) - 1, results)

    watch.begin("round", estimator.n_estimators)
    sets = _sets(X, y, watch)
    return estimator.fit(X, y, eval_set=sets, eval_names=_NAMES[: len(sets)], callbacks=[told], **extra)
