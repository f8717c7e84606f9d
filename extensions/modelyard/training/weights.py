"""`class_weight`, wherever an estimator takes it: as a parameter, else as weights of the rows."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from modelyard.errors import InvalidInput


def last_of(estimator: Any) -> Any:
    """What does the work: of pipelines the last step."""
    steps = getattr(estimator, "steps", None)
    return last_of(steps[-1][1]) if steps else estimator


def routed(estimator: Any, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of the last step's fit as parameters of the fit of `estimator`."""
    steps = getattr(estimator, "steps", None)
    if not steps:
        return dict(extra)
    name, last = steps[-1]
    return {f"{name}__{key}": value for key, value in routed(last, extra).items()}


def way(estimator: Any) -> str:
    """How `estimator` takes class weights: "parameter" or "rows"; InvalidInput when it does not."""
    last = last_of(estimator)
    if hasattr(last, "get_params") and "class_weight" in last.get_params(deep=False):
        return "parameter"
    if "sample_weight" in inspect.signature(last.fit).parameters:
        return "rows"
    raise InvalidInput(
        f"class_weight: {type(last).__name__} has no such parameter, and its fit takes no sample_weight",
        remedy="Leave class_weight out, or take LogisticRegression, RandomForestClassifier, "
        "HistGradientBoostingClassifier, SVC or SGDClassifier.",
    )


def apply(estimator: Any, class_weight: str | Mapping[Any, float] | None, y: Any) -> dict[str, Any]:
    """Set the weights on the estimator, or give them as parameters of its last step's fit."""
    if class_weight is None:
        return {}
    if way(estimator) == "parameter":
        last_of(estimator).set_params(class_weight=class_weight)
        return {}
    from sklearn.utils.class_weight import compute_sample_weight

    return {"sample_weight": compute_sample_weight(class_weight, y)}
