"""What a notebook's variables hold that can be published, and rows that can be its example."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from modelyard.training.run import TrainingRun

_MOST = 30


def variables() -> Mapping[str, Any]:
    """The variables of the notebook, or of the IPython session; else none."""
    if "IPython" not in sys.modules:
        return {}
    from IPython import get_ipython

    shell = get_ipython()
    return {} if shell is None else dict(shell.user_ns)


def models(found: Mapping[str, Any]) -> dict[str, str]:
    """Training runs and fitted estimators: what they are, by variable, newest first."""
    return _said(found, _model)


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """Data frames and arrays of rows, by variable, newest first."""
    return _said(found, _table)


def name_of(found: Mapping[str, Any], value: Any) -> str:
    """The variable that holds `value`; empty when none does."""
    return next((name for name, held in found.items() if held is value and _own(name)), "")


def fitting(found: Mapping[str, Any], model: Any) -> str:
    """The variable with rows as the model was fitted on; empty when none is known to be."""
    wanted = getattr(model, "feature_names_in_", None)
    width = getattr(model, "n_features_in_", None)
    for name in tables(found):
        value = found[name]
        if wanted is not None and list(getattr(value, "columns", ())) == list(wanted):
            return name
        if wanted is None and width is not None and not hasattr(value, "columns") and value.shape[1:] == (width,):
            return name
    return ""


def _said(found: Mapping[str, Any], say: Any) -> dict[str, str]:
    said = {name: say(value) for name, value in reversed(list(found.items())) if _own(name)}
    return dict([(name, text) for name, text in said.items() if text][:_MOST])


def _own(name: str) -> bool:
    return not name.startswith("_") and name not in ("In", "Out")


def _model(value: Any) -> str:
    if isinstance(value, TrainingRun):
        return f"training run, {value.state}"
    if isinstance(value, type) or not hasattr(value, "predict") or not hasattr(value, "__sklearn_tags__"):
        return ""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(value)
    except NotFittedError:
        return ""
    return type(value).__name__


def _table(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if isinstance(value, type) or not isinstance(shape, tuple) or len(shape) < 2 or not shape[0]:
        return ""
    if hasattr(value, "columns") and hasattr(value, "iloc"):
        return f"data frame, {shape[0]} × {shape[1]}"
    return f"array, {' × '.join(map(str, shape))}" if hasattr(value, "dtype") and hasattr(value, "ravel") else ""
