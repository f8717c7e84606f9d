"""The signature of a model, read from an example: what each column holds, and whether values may be missing."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelyard_api.errors import InvalidInput
from modelyard_api.models import ColumnKind, TensorSpec

_TEXT = {"string"}
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal"}
_DATES = {"datetime", "datetime64", "date"}


def is_table(example: Any) -> bool:
    """Whether `example` is a pandas DataFrame (without importing pandas)."""
    return hasattr(example, "columns") and hasattr(example, "iloc")


def check_example(example: Any) -> Any:
    """`example` as a DataFrame or a numpy array with at least one row; InvalidInput says what is wrong with it."""
    if example is None:
        raise InvalidInput("publishing needs an example", remedy="Give a few input rows: example=X[:5].")
    if is_table(example):
        _check_table(example)
        return example
    if hasattr(example, "toarray"):
        raise InvalidInput(
            "the example is a sparse matrix, which a request cannot carry",
            remedy="Give a dense one: example=X[:5].toarray(); the model must accept dense input.",
        )
    if hasattr(example, "iloc"):
        example = example.to_numpy()
    try:
        array = np.asarray(example)
    except ValueError as error:
        raise InvalidInput(f"the example is not an array: {error}", remedy="All rows need the same length.") from error
    if array.ndim == 0:
        raise InvalidInput(
            f"the example is a single {type(example).__name__}, not rows",
            remedy="Give a DataFrame or a 2-dimensional array: example=X[:5].",
        )
    if array.shape[0] == 0:
        raise InvalidInput("the example has no rows", remedy="Give at least one row: example=X[:5].")
    return array


def _check_table(frame: Any) -> None:
    if len(frame) == 0:
        raise InvalidInput("the example has no rows", remedy="Give at least one row: example=X[:5].")
    if len(frame.columns) == 0:
        raise InvalidInput("the example has no columns", remedy="Give the columns that the model was trained on.")
    odd = [c for c in frame.columns if not isinstance(c, str)]
    if odd:
        raise InvalidInput(
            f"column names must be strings; {odd[0]!r} is of type {type(odd[0]).__name__}",
            remedy="Name the columns (X.columns = X.columns.astype(str)) and fit the model again.",
        )
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise InvalidInput(f"column {twice[0]!r} appears twice in the example", remedy="Give each column one name.")


def inputs_of(example: Any, training: Any = None) -> tuple[TensorSpec, ...]:
    """One spec per column of a DataFrame, or one spec `input` for an array; `training` shows missing values too."""
    if not is_table(example):
        return (_tensor(example),)
    specs = []
    for name in example.columns:
        more = training[name] if is_table(training) and name in training.columns else None
        specs.append(_column(name, example[name], more))
    return tuple(specs)


def _tensor(array: Any) -> TensorSpec:
    shape = (-1, *array.shape[1:])
    kind = {"f": ColumnKind.number, "i": ColumnKind.number, "u": ColumnKind.number, "b": ColumnKind.boolean}.get(
        array.dtype.kind
    )
    if kind is not None:
        missing = array.dtype.kind == "f" and bool(np.isnan(array).any())
        return TensorSpec(name="input", kind=kind, dtype=array.dtype.name, shape=shape, required=not missing)
    if array.dtype.kind in "UT" or all(isinstance(v, str) for v in array.ravel()):
        return TensorSpec(name="input", kind=ColumnKind.string, dtype="str", shape=shape)
    if array.dtype.kind == "M":
        return TensorSpec(name="input", kind=ColumnKind.datetime, dtype="datetime64[ns]", shape=shape)
    kinds = sorted({type(v).__name__ for v in array.ravel()[:1000]})
    raise InvalidInput(
        f"the example array has dtype {array.dtype} and mixes {', '.join(kinds)}",
        remedy="Give a DataFrame, whose columns have a type each, and fit the model on one.",
    )


def _column(name: str, series: Any, training: Any) -> TensorSpec:
    missing = bool(series.isna().any()) or (training is not None and bool(training.isna().any()))
    dtype = series.dtype
    if hasattr(dtype, "categories") and hasattr(dtype, "ordered"):
        levels = dtype.categories
        kind, text = _kind(name, levels.to_series())
        return TensorSpec(
            name=name, kind=kind, dtype=text, required=not missing, categories=tuple(v for v in levels.tolist())
        )
    if (training is not None and bool(series.isna().all())) or (
        training is not None and series.dtype.kind in "iu" and training.dtype.kind == "f"
    ):
        series = training
    kind, text = _kind(name, series)
    return TensorSpec(name=name, kind=kind, dtype=text, required=not missing)


def _kind(name: str, series: Any) -> tuple[ColumnKind, str]:
    import pandas as pd

    types = pd.api.types
    dtype = series.dtype
    if types.is_bool_dtype(dtype):
        return ColumnKind.boolean, "bool"
    if types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype):
        return ColumnKind.number, _number_dtype(dtype)
    if types.is_datetime64_any_dtype(dtype):
        return ColumnKind.datetime, "datetime64[ns]"
    if isinstance(dtype, pd.StringDtype):
        return ColumnKind.string, "str"
    inferred = types.infer_dtype(series, skipna=True)
    if inferred in _TEXT or (inferred == "empty" and dtype.kind == "O"):
        # None and NaN are different categories to scikit-learn: "object" keeps None, "str" means NaN.
        return ColumnKind.string, "object" if any(v is None for v in series) else "str"
    if inferred == "boolean":
        return ColumnKind.boolean, "bool"
    if inferred in _NUMBERS:
        return ColumnKind.number, "float64"
    if inferred in _DATES:
        return ColumnKind.datetime, "datetime64[ns]"
    raise InvalidInput(
        f"column {name!r} holds {inferred} values (dtype {dtype}), which a request cannot carry",
        remedy="Use numbers, text, booleans or dates in it; convert it before the model is fitted.",
    )


def _number_dtype(dtype: Any) -> str:
    """numpy's name, or pandas' own for its nullable types (Int64)."""
    text = str(dtype)
    try:
        np.dtype(text.lower())
    except TypeError:
        return str(getattr(dtype, "numpy_dtype", "float64"))
    return text
