"""A table's columns as the pandas frame that the notebook's model was called with, or as the array that it holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modelyard_api.models import ColumnKind, Signature, TensorSpec
from modelyard_server.block import Block, writable
from modelyard_server.flavors.base import Columns


def frame(signature: Signature, columns: Columns) -> Any:
    """A DataFrame with the signature's columns and types; for a tensor its array."""
    if signature.layout == "tensor":
        return writable(columns["input"])
    if isinstance(columns, Block) and all(spec.dtype == "float64" and not spec.categories for spec in signature.inputs):
        return pd.DataFrame(writable(columns.matrix), columns=list(columns), copy=False)
    return pd.DataFrame({spec.name: _series(spec, columns[spec.name]) for spec in signature.inputs}, copy=False)


def array(signature: Signature, columns: Columns) -> NDArray[Any]:
    """What numpy makes of the frame, for a table of numbers: the same values, types and order in memory."""
    if isinstance(columns, Block):
        return writable(columns.matrix)
    sides = [columns[spec.name] for spec in signature.inputs]
    whole = np.empty((len(sides), len(sides[0])), np.result_type(*sides))
    for row, side in zip(whole, sides, strict=True):
        row[:] = side
    return whole.T


def _series(spec: TensorSpec, column: NDArray[Any]) -> Any:
    if spec.categories is not None:
        values = column.tolist()
        values = [None if isinstance(v, float) and np.isnan(v) else v for v in values]
        known = list(spec.categories)
        # A level that training never saw stays itself, so that the model decides, as it does in the notebook.
        unseen = [v for v in dict.fromkeys(values) if v is not None and v not in known]
        return pd.Categorical(values, categories=known + unseen)
    if spec.kind is ColumnKind.string and spec.dtype != "object":
        return pd.array(column, dtype="str")
    if spec.kind is ColumnKind.number and spec.dtype in _NULLABLE:
        return pd.array([None if np.isnan(v) else v for v in column.tolist()], dtype=spec.dtype)
    if column.dtype.kind == "O":
        # Said outright: pandas would make text of it, and NaN of None, which scikit-learn tells apart.
        return pd.Series(column, dtype=object)
    return writable(column)


_NULLABLE = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64")
