"""Rows as the Open Inference Protocol carries them, and its answers as numpy arrays. Pure; numpy only when called."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.errors import InvalidInput

CHUNK_ROWS = 10_000
"""Rows of one request; more are sent in several."""


@dataclass(frozen=True)
class Metadata:
    """What a revision takes and answers: the body of `GET /v2/models/<endpoint>`."""

    layout: str
    task: str
    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[Mapping[str, Any], ...]
    classes: tuple[Any, ...] = ()
    """A classifier's labels, in the order of its probabilities."""

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Metadata:
        """From the protocol's document."""
        said = document.get("parameters") or {}
        inputs, outputs = tuple(document.get("inputs") or ()), tuple(document.get("outputs") or ())
        layout = said.get("layout") or ("tensor" if [i["name"] for i in inputs] == ["input"] else "table")
        return cls(layout, said.get("task", "other"), inputs, outputs, tuple(said.get("classes") or ()))

    @property
    def columns(self) -> list[str]:
        """Names of the inputs, in order."""
        return [str(i["name"]) for i in self.inputs]


@dataclass(frozen=True)
class Inference:
    """What a model answered: an array per output, one entry per row, and the model version that gave it."""

    outputs: Mapping[str, Any]
    version: str


def requests(rows: Any, metadata: Metadata, outputs: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Bodies for `…/infer`, at most CHUNK_ROWS rows each. InvalidInput names the column that does not fit."""
    wanted = {"outputs": [{"name": name} for name in outputs]} if outputs else {}
    tensors = _table(rows, metadata) if metadata.layout == "table" else [_tensor(rows, metadata)]
    count = tensors[0]["shape"][0]
    if count == 0:
        raise InvalidInput("no rows", remedy="Give at least one row.")
    for start in range(0, count, CHUNK_ROWS):
        n = min(CHUNK_ROWS, count - start)
        part = []
        for tensor in tensors:
            width = math.prod(tensor["shape"][1:])
            data = tensor["data"][start * width : (start + n) * width]
            part.append({**tensor, "shape": [n, *tensor["shape"][1:]], "data": data})
        yield {"inputs": part, **wanted}


def answers(documents: list[Mapping[str, Any]], metadata: Metadata) -> dict[str, Any]:
    """Arrays by output name, rows of all documents in order, with the dtype that the model had in the notebook."""
    import numpy as np

    dtypes = {str(o["name"]): _dtype(o) for o in metadata.outputs}
    found: dict[str, list[Any]] = {}
    for document in documents:
        for output in document["outputs"]:
            array = _array(output, dtypes.get(output["name"]))
            found.setdefault(output["name"], []).append(array)
    return {name: parts[0] if len(parts) == 1 else np.concatenate(parts) for name, parts in found.items()}


def _dtype(spec: Mapping[str, Any]) -> str:
    said = spec.get("parameters") or {}
    name = str(said.get("dtype", "")).lower()
    return "object" if name in ("", "str", "string") else name


def _array(output: Mapping[str, Any], dtype: str | None) -> Any:
    import numpy as np

    data = list(output["data"])
    if None in data:
        whole_or_text = dtype is not None and dtype[:5] != "float"
        if not whole_or_text:
            data = [math.nan if v is None else v for v in data]
    array: Any = np.array(data, dtype=object)
    if dtype not in (None, "object") and None not in data:
        array = array.astype(dtype)
    elif dtype is None and output["datatype"].startswith("FP"):
        array = array.astype(float)
    return array.reshape(output["shape"])


def _table(rows: Any, metadata: Metadata) -> list[dict[str, Any]]:
    columns = _columns(rows, metadata)
    missing = [name for name in metadata.columns if name not in columns]
    if missing:
        s = "s" * (len(missing) > 1)
        raise InvalidInput(
            f"missing column{s}: {', '.join(missing)}", remedy=f"The model takes: {', '.join(metadata.columns)}."
        )
    tensors = []
    for spec in metadata.inputs:
        data = _values(columns[spec["name"]], spec)
        tensors.append({"name": spec["name"], "shape": [len(data), 1], "datatype": spec["datatype"], "data": data})
    lengths = {t["name"]: t["shape"][0] for t in tensors}
    if len(set(lengths.values())) > 1:
        raise InvalidInput(f"columns differ in length: {lengths}", remedy="Give as many values for each column.")
    return tensors


def _columns(rows: Any, metadata: Metadata) -> Mapping[str, Any]:
    """Values by column of a DataFrame, a mapping of columns, a list of mappings, or an array in the model's order."""
    if hasattr(rows, "columns") and hasattr(rows, "iloc"):
        return {str(name): rows[name] for name in rows.columns}
    if isinstance(rows, Mapping):
        return rows
    if isinstance(rows, (list, tuple)) and rows and all(isinstance(row, Mapping) for row in rows):
        return {name: [row.get(name) for row in rows] for name in dict.fromkeys(k for row in rows for k in row)}
    import numpy as np

    array = np.asarray(rows, dtype=object) if isinstance(rows, (list, tuple)) else np.asarray(rows)
    if array.ndim != 2 or array.shape[1] != len(metadata.inputs):
        raise InvalidInput(
            f"the model takes a table with columns, this has shape {list(array.shape)}",
            remedy=f"Give a DataFrame with: {', '.join(metadata.columns)}.",
        )
    return {name: array[:, i] for i, name in enumerate(metadata.columns)}


def _values(column: Any, spec: Mapping[str, Any]) -> list[Any]:
    """JSON values of a column, None where missing; refused with the column's name when they cannot be its type."""
    name, datatype = spec["name"], str(spec["datatype"])
    kind = (spec.get("parameters") or {}).get("kind", "")
    plain = [_plain(v) for v in (column.tolist() if hasattr(column, "tolist") else list(column))]
    if kind == "datetime":
        return [v if v is None else _instant(v) for v in plain]
    if datatype == "BYTES":
        return [v if v is None or isinstance(v, str) else _refuse(name, v, "text") for v in plain]
    if datatype == "BOOL":
        return [v if v is None or isinstance(v, bool) else _refuse(name, v, "true or false") for v in plain]
    return [v if v is None else _number(name, v, datatype) for v in plain]


def _number(name: str, value: Any, datatype: str) -> Any:
    if isinstance(value, bool):
        value = int(value)
    if not isinstance(value, (int, float)):
        return _refuse(name, value, "a number")
    if isinstance(value, float) and math.isinf(value):
        return _refuse(name, value, "a finite number")
    if datatype.startswith("FP"):
        return value
    if value != int(value):
        return _refuse(name, value, "a whole number")
    return int(value)


def _refuse(name: str, value: Any, wanted: str) -> Any:
    raise InvalidInput(f"column {name!r} holds {value!r}, which is not {wanted}", remedy=f"Give {wanted} in it.")


def _plain(value: Any) -> Any:
    """A Python value; None for everything that means "missing"."""
    if hasattr(value, "item") and not hasattr(value, "isoformat"):
        value = value.item()
    if value is None or str(value) in ("NaT", "<NA>") or value != value:  # pandas.NA cannot be compared
        return None
    if isinstance(value, (str, bool, int, float)) or hasattr(value, "isoformat"):
        return value
    return float(value) if hasattr(value, "as_tuple") else value


def _instant(value: Any) -> str:
    """ISO 8601 without a zone, in UTC where the value has one."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):  # numpy's nanoseconds
        import numpy as np

        return str(np.datetime64(value, "ns"))
    if getattr(value, "tzinfo", None) is not None:
        from datetime import UTC

        value = value.astimezone(UTC).replace(tzinfo=None)
    return str(value.isoformat())


def _tensor(rows: Any, metadata: Metadata) -> dict[str, Any]:
    import numpy as np

    spec = metadata.inputs[0]
    array = rows.to_numpy() if hasattr(rows, "to_numpy") else np.asarray(rows)
    wanted = list(spec["shape"])
    if array.ndim != len(wanted) or any(w not in (-1, n) for w, n in zip(wanted, array.shape, strict=False)):
        raise InvalidInput(
            f"the rows have shape {list(array.shape)}", remedy=f"The model takes {wanted}; -1 is any number of rows."
        )
    data = [_tensor_value(_plain(v), spec) for v in array.ravel().tolist()]
    return {"name": spec["name"], "shape": list(array.shape), "datatype": spec["datatype"], "data": data}


def _tensor_value(value: Any, spec: Mapping[str, Any]) -> Any:
    datatype = str(spec["datatype"])
    if value is None or datatype in ("BYTES", "BOOL"):
        return value
    return _number(str(spec["name"]), value, datatype)
