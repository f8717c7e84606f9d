"""What the original model answers, named as the data plane names it, and how two sets of answers compare."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from modelyard.packaging.signature import is_table
from modelyard.packaging.transformers import Published
from modelyard_api.errors import InvalidInput
from modelyard_api.models import ColumnKind, TensorSpec

Task = Literal["classification", "regression", "other"]
Answers = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Contract:
    """What a model is asked for: its task, its outputs in order, a classifier's classes."""

    task: Task
    outputs: tuple[TensorSpec, ...]
    classes: tuple[Any, ...] | None = None


def observe(model: Any, rows: Any) -> tuple[Contract, Answers]:
    """Ask the original once, and read the contract from what it answers. InvalidInput when it does not answer."""
    task = _task(model)
    try:
        if isinstance(model, Published):
            return _texts(model, rows)
        predicted = _call(model, rows)
        n = len(rows)
        if task == "classification" and _flat(predicted):
            return _classifier(model, rows, predicted)
        if task == "regression" and _flat(predicted):
            values = np.asarray(predicted, dtype="float64").reshape(-1)
            return Contract("regression", (_spec("prediction", values),)), {"prediction": values}
        answers = _named(predicted, n)
    except InvalidInput:
        raise
    except Exception as error:
        raise InvalidInput(
            f"the model does not answer its example: {type(error).__name__}: {error}",
            remedy="Give rows as the model takes them: the columns or the shape that it was fitted on.",
        ) from error
    return Contract("other", tuple(_spec(name, values) for name, values in answers.items())), answers


def ask(model: Any, rows: Any, contract: Contract) -> Answers:
    """The original's answers to `rows`, under `contract`; whatever it raises is raised."""
    predicted = _call(model, rows)
    if isinstance(model, Published):
        return _named(predicted, len(rows))
    if contract.task == "regression":
        return {"prediction": np.asarray(predicted, dtype="float64").reshape(-1)}
    if contract.task == "other":
        return _named(predicted, len(rows))
    answers = {"label": np.asarray(predicted).reshape(-1)}
    if len(contract.outputs) > 1:
        answers["probabilities"] = np.asarray(_quietly(model.predict_proba, rows), dtype="float64")
    return answers


def _texts(model: Any, rows: Any) -> tuple[Contract, Answers]:
    """A pipeline of texts, which names its outputs itself."""
    answers = _named(_call(model, rows), len(rows))
    classes = None if model.classes_ is None else tuple(model.classes_)
    return Contract(model.task, tuple(_spec(name, values) for name, values in answers.items()), classes), answers


def _call(model: Any, rows: Any) -> Any:
    return _quietly(model.predict if hasattr(model, "predict") else model, rows)


def _quietly(function: Any, rows: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(rows)


def _task(model: Any) -> Task:
    if not hasattr(model, "__sklearn_tags__"):
        return "other"
    from sklearn.base import is_classifier, is_regressor

    if is_classifier(model):
        return "classification"
    return "regression" if is_regressor(model) else "other"


def _flat(predicted: Any) -> bool:
    if is_table(predicted):
        return False
    shape = np.shape(predicted)
    return len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)


def _classifier(model: Any, rows: Any, predicted: Any) -> tuple[Contract, Answers]:
    labels = np.asarray(predicted).reshape(-1)
    found = getattr(model, "classes_", None)
    classes = None if found is None or isinstance(found, list) else np.asarray(found)
    outputs = [_spec("label", labels if classes is None else classes)]
    answers = {"label": labels}
    if classes is not None and hasattr(model, "predict_proba"):
        probabilities = np.asarray(_quietly(model.predict_proba, rows), dtype="float64")
        if probabilities.shape == (len(labels), len(classes)):
            answers["probabilities"] = probabilities
            outputs.append(_spec("probabilities", probabilities))
    return Contract("classification", tuple(outputs), None if classes is None else tuple(classes.tolist())), answers


def _named(predicted: Any, rows: int) -> Answers:
    """Answers of a model that is neither classifier nor regressor: a dict or a DataFrame by name, else `output`."""
    if is_table(predicted):
        answers = {str(name): predicted[name].to_numpy() for name in predicted.columns}
    elif isinstance(predicted, Mapping):
        answers = {str(name): np.asarray(values) for name, values in predicted.items()}
    elif hasattr(predicted, "toarray"):
        answers = {"output": np.asarray(predicted.toarray())}
    else:
        answers = {"output": np.asarray(predicted)}
    for name, values in answers.items():
        if values.ndim == 0 or len(values) != rows:
            got = "a single value" if values.ndim == 0 else f"{len(values)} values"
            raise InvalidInput(
                f"the model answers {got} for {rows} rows ({name!r})",
                remedy="Return one answer per row: a list, an array, a dict of those, or a DataFrame.",
            )
    return {name: _simple(name, values) for name, values in answers.items()}


def _simple(name: str, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if values.dtype.kind in "fiubUM":
        return values
    flat = values.ravel().tolist()
    if all(isinstance(v, bool) for v in flat):
        return values.astype(bool)
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in flat):
        return values.astype("float64")
    if all(isinstance(v, str) or v is None for v in flat):
        return values
    kinds = sorted({type(v).__name__ for v in flat})
    raise InvalidInput(
        f"the model's answer {name!r} holds {', '.join(kinds)}",
        remedy="Return numbers, text or booleans, one kind in each output.",
    )


def _spec(name: str, values: np.ndarray[Any, Any]) -> TensorSpec:
    shape = (-1, *values.shape[1:])
    if values.dtype.kind == "b":
        return TensorSpec(name=name, kind=ColumnKind.boolean, dtype="bool", shape=shape)
    if values.dtype.kind in "fiu":
        return TensorSpec(name=name, kind=ColumnKind.number, dtype=values.dtype.name, shape=shape)
    if values.dtype.kind == "M":
        return TensorSpec(name=name, kind=ColumnKind.datetime, dtype="datetime64[ns]", shape=shape)
    return TensorSpec(name=name, kind=ColumnKind.string, dtype="str", shape=shape)


@dataclass(frozen=True)
class Comparison:
    """`difference`: the greatest absolute one among numbers. `problem`: empty when the answers agree."""

    difference: float
    problem: str = ""


def compare(expected: Answers, got: Answers, tolerance: float) -> Comparison:
    """Whether `got` answers as `expected`: labels and text equal, numbers within `tolerance` as BuildOptions has it."""
    worst = 0.0
    for name, wanted in expected.items():
        if name not in got:
            return Comparison(worst, f"{name!r} is not answered")
        values = np.asarray(got[name])
        if values.shape == (*wanted.shape, 1):
            values = values.reshape(wanted.shape)
        if values.shape != wanted.shape:
            return Comparison(worst, f"{name!r} has shape {values.shape}, not {wanted.shape}")
        if wanted.dtype.kind != "f" or name == "label":
            different = [i for i, (a, b) in enumerate(zip(wanted.ravel(), values.ravel(), strict=True)) if a != b]
            if different:
                i = different[0]
                example = f"{values.ravel()[i]!r} instead of {wanted.ravel()[i]!r}"
                return Comparison(worst, f"{name!r} differs in {len(different)} of {wanted.size} values: {example}")
            continue
        problem, difference = _numbers(name, wanted, values.astype("float64"), tolerance)
        worst = max(worst, difference)
        if problem:
            return Comparison(worst, problem)
    return Comparison(worst)


def _numbers(
    name: str, wanted: np.ndarray[Any, Any], values: np.ndarray[Any, Any], tolerance: float
) -> tuple[str, float]:
    finite = np.isfinite(wanted)
    if not np.array_equal(np.where(finite, 0.0, wanted), np.where(np.isfinite(values), 0.0, values), equal_nan=True):
        return f"{name!r} is not finite for other rows", float("inf")
    if not finite.any():
        return "", 0.0
    difference = float(np.max(np.abs(wanted[finite] - values[finite])))
    allowed = tolerance * max(1.0, float(np.max(np.abs(wanted[finite]))))
    if difference > allowed:
        return f"{name!r} differs by up to {difference:.3g}, more than {allowed:.3g}", difference
    return "", difference
