"""Scikit-learn models that answer to a bare array as to the notebook's frame, to the last bit.

Of a frame scikit-learn looks at every column, in every step that gets one: for a lone row that takes four times as long
as the model itself. It is left out where the first that the model does with it is to make this array: then nothing can
tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from modelyard_api.models import Signature

_NUMBERS = ("float64", "float32", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8")
_OWN = (
    *("cluster", "cross_decomposition", "decomposition", "discriminant_analysis", "gaussian_process", "impute"),
    *("kernel_approximation", "kernel_ridge", "linear_model", "mixture", "naive_bayes", "neighbors"),
    *("neural_network", "preprocessing", "random_projection", "svm", "tree"),
    *("ensemble._forest", "ensemble._gb", "ensemble._hist_gradient_boosting", "ensemble._iforest"),
    *("feature_selection._univariate_selection", "feature_selection._variance_threshold"),
)
"""Modules of scikit-learn whose estimators make an array of what they are given before all else. A test holds it of
every class there. Others give the frame to estimators within, or take columns by name."""
_LOOK_FIRST = (
    *("OneHotEncoder", "OrdinalEncoder", "TargetEncoder"),
    *("KNeighborsClassifier", "RadiusNeighborsClassifier"),
)
"""Those look at the frame before: encoders take each column with its own type, and neighbors are counted by another
algorithm, which settles ties otherwise, where they are asked for with an array."""


def forget_names(estimator: Any, signature: Signature) -> bool:
    """Make a loaded model take arrays as `frame.array` makes them. False: it needs the frame, and is left as it is."""
    return forget_names_of(list(flat(estimator)), signature)


def forget_names_of(steps: list[Any], signature: Signature) -> bool:
    """As `forget_names`, of a pipeline's steps."""
    if signature.layout != "table" or get_config()["transform_output"] != "default":
        return False
    dtypes = {spec.dtype for spec in signature.inputs}
    if not numbers(signature):
        return False
    first: list[Any] = []
    for step in steps:
        first.append(step)
        if type(step) is not FunctionTransformer or step.validate:
            break
        # A narrower column would be computed with its own width, before all become one array.
        if not _by_value(step) or dtypes != {"float64"}:
            return False
    if not first or not _makes_an_array(first[-1]) or any(answers_frames(step) for step in first):
        return False
    names = [spec.name for spec in signature.inputs]
    if any(list(getattr(step, "feature_names_in_", names)) != names for step in first):
        return False  # of a frame it would say so
    for step in first:
        vars(step).pop("feature_names_in_", None)  # an array has none, and each call would warn of that
    return True


def numbers(signature: Signature) -> bool:
    """Whether all columns are of numpy's numbers."""
    return all(spec.dtype in _NUMBERS and not spec.categories for spec in signature.inputs)


def flat(estimator: Any) -> Iterator[Any]:
    """Its steps in order, those of pipelines in it too."""
    if type(estimator) is not Pipeline:
        yield estimator
        return
    for _, step in estimator.steps:
        if step is not None and step != "passthrough":
            yield from flat(step)


def _by_value(step: FunctionTransformer) -> bool:
    """Whether its function does with each number alone what it does with an array of them."""
    function = step.func
    alone = isinstance(function, np.ufunc) and function.nin == 1 and function.nout == 1
    return (alone or function is None) and not step.kw_args


def _makes_an_array(step: Any) -> bool:
    kind = type(step)
    if not any(f"{kind.__module__}.".startswith(f"sklearn.{own}.") for own in _OWN):
        return False
    if kind.__name__ in _LOOK_FIRST or getattr(step, "is_categorical_", None) is not None:
        return False
    if kind is FunctionTransformer and not step.validate:
        return False
    parameters = step.get_params(deep=False)
    # Without a copy it would write into the array, which is asked for labels and for probabilities.
    return parameters.get("copy", True) is not False and not any(hasattr(v, "fit") for v in parameters.values())


def answers_frames(step: Any) -> bool:
    """Whether it was told to, by `set_output`."""
    configured: dict[str, str] = getattr(step, "_sklearn_output_config", {})
    return configured.get("transform", "default") != "default"
