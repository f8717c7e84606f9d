"""The frame that a scikit-learn model or a function gets: types as in the notebook."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from modelyard_api.models import ColumnKind, Signature, TensorSpec
from modelyard_server.columns import check
from modelyard_server.flavors.frame import frame


def series(spec: TensorSpec, values: list[Any]) -> pd.Series:
    signature = Signature(layout="table", inputs=(spec,), outputs=())
    return frame(signature, check(signature, {spec.name: values}))[spec.name]


@pytest.mark.parametrize(
    ("kind", "dtype", "values", "expected"),
    [
        ("number", "float32", [1.5, None], pd.Series([1.5, None], dtype="float32")),
        ("number", "int64", [1, 2], pd.Series([1, 2])),
        ("number", "Int64", [1, None], pd.Series([1, None], dtype="Int64")),
        ("number", "Int64", [1, 2], pd.Series([1, 2], dtype="Int64")),
        ("boolean", "bool", [True, False], pd.Series([True, False])),
        ("string", "str", ["x", None], pd.Series(["x", None], dtype="str")),
        ("string", "object", ["x", None], pd.Series(["x", None], dtype=object)),
        ("datetime", "datetime64[ns]", ["2024-02-29", None], pd.Series(["2024-02-29", None], dtype="datetime64[ns]")),
    ],
)
def test_types_as_in_the_notebook(kind: str, dtype: str, values: list[Any], expected: pd.Series) -> None:
    found = series(TensorSpec(name="a", kind=ColumnKind(kind), dtype=dtype, required=False), values)
    pd.testing.assert_series_equal(found, expected, check_names=False)


def test_categories_keep_their_order_and_unseen_ones_pass_through() -> None:
    spec = TensorSpec(name="a", kind=ColumnKind.string, dtype="str", required=False, categories=("low", "high"))
    found = series(spec, ["high", None, "odd"])
    assert found.cat.categories.tolist() == ["low", "high", "odd"]
    assert found.cat.codes.tolist() == [1, -1, 2]


def test_numeric_categories() -> None:
    spec = TensorSpec(name="a", dtype="int64", categories=(3, 1))
    assert series(spec, [1, 3]).cat.codes.tolist() == [1, 0]
