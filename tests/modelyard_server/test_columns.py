"""Inputs against a signature: what is accepted, with which type, and what is named when it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelyard_api.errors import InvalidInput
from modelyard_api.models import ColumnKind, Signature, TensorSpec
from modelyard_server.columns import check


def column(values: Any, kind: str = "number", dtype: str = "float64", required: bool = True) -> np.ndarray[Any, Any]:
    spec = TensorSpec(name="a", kind=ColumnKind(kind), dtype=dtype, required=required)
    return check(Signature(layout="table", inputs=(spec,), outputs=()), {"a": values})["a"]


def tensor(values: Any, kind: str = "number", dtype: str = "float64") -> np.ndarray[Any, Any]:
    spec = TensorSpec(name="input", kind=ColumnKind(kind), dtype=dtype, shape=(-1, 2))
    return check(Signature(layout="tensor", inputs=(spec,), outputs=()), {"input": values})["input"]


@pytest.mark.parametrize(
    ("values", "kind", "dtype", "expected"),
    [
        ([1, None], "number", "float64", "float64"),
        ([1, 2], "number", "int8", "int8"),
        ([1.0, None], "number", "Int64", "float64"),
        ([2.0], "number", "int64", "int64"),
        ([True, False], "boolean", "bool", "bool"),
        ([True, None], "boolean", "bool", "object"),
        (["x", None], "string", "str", "object"),
        (["2024-02-29", None], "datetime", "datetime64[ns]", "datetime64[ns]"),
        ([[1], [2]], "number", "int64", "int64"),
    ],
)
def test_gives_columns_the_type_of_the_signature(values: list[Any], kind: str, dtype: str, expected: str) -> None:
    found = column(values, kind, dtype, required=None not in values)
    assert found.dtype.name == expected
    assert found.shape == (len(values),)


@pytest.mark.parametrize(
    ("values", "kind", "dtype", "said"),
    [
        ([1, "2"], "number", "float64", "'2', not a number"),
        ([True], "number", "float64", "True, not a number"),
        ([np.inf], "number", "float64", "infinity"),
        ([1e300], "number", "float32", "too large"),
        ([10**30], "number", "int64", "too large"),
        ([1.5, None], "number", "Int64", "1.5, not a whole number"),
        ([2.0**63], "number", "int64", "exceeds int64"),
        ([-1], "number", "uint8", "exceeds uint8"),
        ([1], "boolean", "bool", "1, not true or false"),
        ([1], "string", "str", "1, not text"),
        ([20240229], "datetime", "datetime64[ns]", "not a time"),
        (["someday"], "datetime", "datetime64[ns]", "cannot be read"),
        ([[1, 2]], "number", "float64", "shape"),
        ([], "number", "float64", "no rows"),
    ],
)
def test_names_what_is_wrong(values: list[Any], kind: str, dtype: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        column(values, kind, dtype, required=False)


def test_missing_values_only_where_the_example_had_some() -> None:
    for kind, dtype, value in (("number", "float64", 1.0), ("string", "str", "x"), ("boolean", "bool", True)):
        with pytest.raises(InvalidInput, match="missing value in row 1"):
            column([value, None], kind, dtype)


def test_tensors_are_as_strict_as_columns() -> None:
    assert tensor([[1, 2], [3, 4]]).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert tensor([["x", "y"]], "string", "str").dtype.kind == "U"
    for wrong, said in (
        ([["1", "2"]], "not a number"),
        ([[True, False]], "not a number"),
        ([[1, 2], [3, None]], "missing value in row 1"),
        ([[1, 2], [3]], "shape"),
        ([[1, 2, 3]], "shape"),
        ([], "shape"),
        ("x", "shape"),
    ):
        with pytest.raises(InvalidInput, match=said):
            tensor(wrong)
    with pytest.raises(InvalidInput, match="whole number"):
        tensor([[1.5, 2]], dtype="int64")
