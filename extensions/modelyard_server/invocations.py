"""MLflow's scoring protocol: `/invocations` with a data frame, instances, inputs, or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard_api.errors import InvalidInput, MalformedRequest
from modelyard_api.models import ColumnKind, Signature
from modelyard_server.v2 import values

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_REMEDY = f"Send one of {', '.join(_FORMS)}, or CSV with a header line."


def decode(body: Any, signature: Signature) -> dict[str, Any]:
    """Columns by name. Raises MalformedRequest and InvalidInput."""
    if not isinstance(body, dict):
        raise MalformedRequest("the body is no JSON object", remedy=_REMEDY)
    forms = [form for form in _FORMS if form in body]
    if len(forms) != 1:
        raise MalformedRequest(f"the body has {', '.join(forms) or 'no data'}", remedy=_REMEDY)
    data = body[forms[0]]
    if forms[0] == "dataframe_split":
        return _split(data)
    if signature.layout == "tensor":
        return data if isinstance(data, dict) else {signature.inputs[0].name: data}
    if isinstance(data, dict):
        return {str(name): column if isinstance(column, list) else [column] for name, column in data.items()}
    if not isinstance(data, list) or not data:
        raise InvalidInput("no rows", remedy="Send at least one row.")
    if all(isinstance(row, dict) for row in data):
        return {name: [row.get(name) for row in data] for name in dict.fromkeys(n for row in data for n in row)}
    return _positional(data, signature)


def _split(data: Any) -> dict[str, Any]:
    columns, rows = (data.get("columns"), data.get("data")) if isinstance(data, dict) else (None, None)
    if not isinstance(columns, list) or not isinstance(rows, list):
        raise MalformedRequest(
            "dataframe_split has no columns or no data", remedy='Send {"columns": […], "data": [[…]]}.'
        )
    if any(not isinstance(row, list) or len(row) != len(columns) for row in rows):
        raise InvalidInput(f"a row has not {len(columns)} values", remedy="One value for each column.")
    return {str(name): [row[i] for row in rows] for i, name in enumerate(columns)}


def _positional(rows: list[Any], signature: Signature) -> dict[str, Any]:
    names = [spec.name for spec in signature.inputs]
    if len(names) == 1 and not any(isinstance(row, list) for row in rows):
        return {names[0]: rows}
    if any(not isinstance(row, list) or len(row) != len(names) for row in rows):
        raise InvalidInput(f"a row has not {len(names)} values", remedy=f"In this order: {', '.join(names)}.")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def decode_csv(text: str, signature: Signature) -> dict[str, Any]:
    """Columns of a CSV with a header line; an empty field is a missing value."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = next(reader, [])
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise MalformedRequest(
            f"the body is no CSV: {error}", remedy="Send a header line and a line for each row."
        ) from None
    if any(len(row) != len(header) for row in rows):
        raise InvalidInput(f"a line has not {len(header)} fields", remedy="As many fields as the header has.")
    kinds = {spec.name: spec.kind for spec in signature.inputs}
    columns = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    return {name: [read_field(name, v, kinds.get(name)) for v in column] for name, column in columns.items()}


def read_field(name: str, text: str, kind: ColumnKind | None) -> Any:
    """A field of CSV as a value; InvalidInput for a number that is none."""
    if text == "":
        return None
    if kind is ColumnKind.number:
        try:
            return float(text) if any(c in text for c in ".eEnN") else int(text)
        except ValueError:
            raise InvalidInput(
                f"column {name[:80]!r} holds {text[:80]!r}, not a number", input=name[:80], rule="type"
            ) from None
    if kind is ColumnKind.boolean:
        return {"true": True, "false": False}.get(text.lower(), text)
    return text


def encode(outputs: Mapping[str, NDArray[Any]], params: Any) -> dict[str, Any]:
    """`{"predictions": …}` as MLflow answers; `params` {"output": name} chooses another output than the first.

    With an array, for orjson, where it is one of numbers."""
    if params is not None and not isinstance(params, dict):
        raise MalformedRequest("params is no JSON object", remedy='Send "params": {"output": name} or leave it out.')
    chosen = params.get("output") if params else None
    if chosen is not None and (not isinstance(chosen, str) or chosen not in outputs):
        raise InvalidInput(f"unknown output {chosen!r}", remedy=f"One of {', '.join(outputs)}.")
    array = outputs[chosen or next(iter(outputs))]
    if array.dtype.kind in "fiub":
        if array.dtype.kind == "f" and array.dtype.itemsize < 8:
            array = array.astype(np.float64)  # with all digits of what a narrow float is, as V2 has them
        return {"predictions": np.ascontiguousarray(array if array.ndim == 2 else array.reshape(-1))}
    flat = values(array)
    width = array.shape[1] if array.ndim == 2 else 0
    return {"predictions": [flat[i : i + width] for i in range(0, len(flat), width)] if width else flat}
