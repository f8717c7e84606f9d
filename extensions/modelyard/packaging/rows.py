"""Input rows in the shapes they take: columns for the data plane, JSON for the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from modelyard.packaging.signature import is_table
from modelyard_api.models import ColumnKind, TensorSpec

EXAMPLE_ROWS = 5


def columns_of(rows: Any, inputs: tuple[TensorSpec, ...]) -> Mapping[str, np.ndarray[Any, Any]]:
    """`rows` (a DataFrame or an array) as the data plane takes them.

    Tables give one 1-D array per column: text as object arrays with None where missing, numbers with NaN. Arrays give
    `{"input": array}`.
    """
    if not is_table(rows):
        return {inputs[0].name: np.asarray(rows)}
    return {spec.name: _values(rows[spec.name], spec) for spec in inputs}


def _values(series: Any, spec: TensorSpec) -> np.ndarray[Any, Any]:
    missing = series.isna().to_numpy()
    if spec.kind is ColumnKind.datetime:
        return _instants(series)
    if spec.kind is ColumnKind.number:
        dtype = np.dtype(spec.dtype.lower())
        if missing.any() and dtype.kind != "f":
            dtype = np.dtype("float64")
        if missing.any():
            return np.asarray([np.nan if m else v for v, m in zip(series, missing, strict=True)], dtype=dtype)
        return np.asarray(series.to_numpy(), dtype=dtype)
    if spec.kind is ColumnKind.boolean and not missing.any():
        return np.asarray(series.to_numpy(), dtype=bool)
    values = np.empty(len(series), dtype=object)
    for i, (value, absent) in enumerate(zip(series, missing, strict=True)):
        values[i] = None if absent else (bool(value) if spec.kind is ColumnKind.boolean else str(value))
    return values


def _instants(series: Any) -> np.ndarray[Any, Any]:
    import pandas as pd

    instants = pd.to_datetime(series)
    if getattr(instants.dtype, "tz", None) is not None:
        instants = instants.dt.tz_convert("UTC").dt.tz_localize(None)
    return np.asarray(instants.to_numpy(), dtype="datetime64[ns]")


def json_rows(rows: Any, inputs: tuple[TensorSpec, ...]) -> list[Any]:
    """The first rows as JSON values: objects by column for tables, nested lists for arrays; missing is null."""
    head = rows.iloc[:EXAMPLE_ROWS] if is_table(rows) else rows[:EXAMPLE_ROWS]
    columns = columns_of(head, inputs)
    if not is_table(rows):
        array = columns[inputs[0].name]
        plain = _plain(array.ravel())
        return _nest(plain, array.shape)
    lists = {name: _plain(values) for name, values in columns.items()}
    return [{name: values[i] for name, values in lists.items()} for i in range(len(head))]


def _plain(values: np.ndarray[Any, Any]) -> list[Any]:
    if values.dtype.kind == "M":
        return [None if np.isnat(v) else str(v) for v in values]
    return [None if isinstance(v, float) and not np.isfinite(v) else v for v in values.tolist()]


def _nest(flat: list[Any], shape: tuple[int, ...]) -> list[Any]:
    if len(shape) == 1:
        return flat
    size = int(np.prod(shape[1:]))
    return [_nest(flat[i * size : (i + 1) * size], shape[1:]) for i in range(shape[0])]
