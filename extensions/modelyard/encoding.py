"""Rows to the tensors of the Open Inference Protocol, and its answers back to arrays. Pure.

The endpoint's metadata decides: `table` endpoints take one tensor per column, `tensor` endpoints one array.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard_api.errors import InvalidInput


def encode(metadata: Mapping[str, Any], rows: Any) -> dict[str, Any]:
    """The body of an infer request. `metadata`: the answer of `GET /v2/models/<name>`. `rows`: a DataFrame, a dict of
    columns, a list of records, or an array-like of shape (n, …); a missing value is None, NaN, NaT or NA."""
    inputs = metadata["inputs"]
    if metadata.get("parameters", {}).get("layout") == "tensor":
        return {"inputs": [_array(inputs[0], rows)]}
    columns = _columns(rows, [spec["name"] for spec in inputs])
    return {"inputs": [_column(spec, columns[spec["name"]]) for spec in inputs]}


def decode(answer: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The outputs by name, in their order, as numpy arrays; a null in numbers is NaN."""
    found: dict[str, NDArray[Any]] = {}
    for output in answer["outputs"]:
        kind = output["datatype"]
        data = output["data"]
        if kind.startswith("FP"):
            array = np.array([math.nan if v is None else v for v in data], dtype="float32" if kind == "FP32" else float)
        elif kind == "BYTES":
            array = np.array(data, dtype=object)
            if data and all(isinstance(v, str) for v in data):
                array = array.astype(str)
        else:
            array = np.array(data, dtype=bool if kind == "BOOL" else kind.lower())
        found[output["name"]] = array.reshape(output["shape"])
    return found


def _array(spec: Mapping[str, Any], rows: Any) -> dict[str, Any]:
    values = np.asarray(rows.to_numpy() if hasattr(rows, "to_numpy") else rows)
    if values.ndim == len(spec["shape"]) - 1:
        raise InvalidInput(
            f"the input has {values.ndim} dimensions, the endpoint takes {len(spec['shape'])}",
            remedy="Send several rows, or one row as X[:1].",
        )
    data = [plain(value) for value in values.reshape(-1).tolist()]
    if spec["datatype"].startswith("FP"):
        data = [float(v) if isinstance(v, (int, bool)) else v for v in data]
    return {"name": spec["name"], "datatype": spec["datatype"], "shape": list(values.shape), "data": data}


def _columns(rows: Any, names: Sequence[str]) -> dict[str, list[Any]]:
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        columns = {str(name): rows[name].tolist() for name in rows.columns}
    elif isinstance(rows, Mapping):
        columns = {str(name): list(values) for name, values in rows.items()}
    elif isinstance(rows, Sequence) and rows and all(isinstance(row, Mapping) for row in rows):
        seen = dict.fromkeys(str(name) for row in rows for name in row)
        columns = {name: [row.get(name) for row in rows] for name in seen}
    else:
        table = np.asarray(rows, dtype=object)
        if table.ndim != 2 or table.shape[1] != len(names):
            raise InvalidInput(
                f"the rows have shape {list(table.shape)}, the endpoint takes the columns {', '.join(names)}",
                remedy="Send a DataFrame with these columns, or an array of shape (n, number of columns).",
            )
        columns = {name: table[:, position].tolist() for position, name in enumerate(names)}
    missing = [name for name in names if name not in columns]
    if missing:
        raise InvalidInput(f"missing columns: {', '.join(missing)}", remedy=f"The endpoint takes {', '.join(names)}.")
    return columns


def _column(spec: Mapping[str, Any], values: list[Any]) -> dict[str, Any]:
    kind = spec["datatype"]
    data = [_value(kind, plain(value)) for value in values]
    return {"name": spec["name"], "datatype": kind, "shape": [len(data)], "data": data}


def _value(kind: str, value: Any) -> Any:
    """A whole number that travelled as a float, because its column has missing values, becomes whole again."""
    if isinstance(value, float) and kind.startswith(("INT", "UINT")) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and kind.startswith("FP"):
        return float(value)
    return value


def plain(value: Any) -> Any:
    """A value as JSON has it: missing is None, times are ISO 8601 in UTC without a zone."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, np.generic):
        return None if isinstance(value, np.datetime64) and np.isnat(value) else plain(_item(value))
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if hasattr(value, "isoformat"):
        aware = getattr(value, "tzinfo", None) is not None
        return (value.tz_convert(None) if aware and hasattr(value, "tz_convert") else value).isoformat()
    return value


def _item(value: np.generic) -> Any:
    return str(value) if isinstance(value, np.datetime64) else value.item()


def blank(metadata: Mapping[str, Any]) -> Any:
    """One row of zeros and empty texts, in the shape that the endpoint takes; for showing how a call looks."""
    inputs = metadata["inputs"]
    if metadata.get("parameters", {}).get("layout") == "tensor":
        return np.zeros([1 if n < 0 else n for n in inputs[0]["shape"]])
    return [{spec["name"]: _blank(spec) for spec in inputs}]


def _blank(spec: Mapping[str, Any]) -> Any:
    if spec["datatype"] == "BOOL":
        return False
    if spec["datatype"] != "BYTES":
        return 0
    return "2026-01-01T00:00:00" if spec.get("parameters", {}).get("kind") == "datetime" else ""
