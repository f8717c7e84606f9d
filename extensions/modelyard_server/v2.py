"""The Open Inference Protocol V2 in JSON: tensors in, tensors out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard_api.errors import InvalidInput, MalformedRequest
from modelyard_api.models import ColumnKind, PackageManifest, TensorSpec

DTYPES: dict[str, str] = {
    "BOOL": "bool",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
_BY_DTYPE = {dtype: name for name, dtype in DTYPES.items()}


def datatype(spec: TensorSpec) -> str:
    """The protocol's datatype of an input or output."""
    if spec.kind is ColumnKind.number:
        return _BY_DTYPE.get(spec.dtype.lower(), "FP64")
    return "BOOL" if spec.kind is ColumnKind.boolean else "BYTES"


def metadata(name: str, version: str, manifest: PackageManifest) -> dict[str, Any]:
    """The body of `GET /v2/models/<name>`."""

    def tensors(specs: Iterable[TensorSpec]) -> list[dict[str, Any]]:
        return [
            {
                "name": spec.name,
                "datatype": datatype(spec),
                "shape": list(spec.shape),
                "parameters": {"kind": spec.kind.value, "dtype": spec.dtype, "required": spec.required}
                | ({} if spec.categories is None else {"categories": list(spec.categories)}),
            }
            for spec in specs
        ]

    return {
        "name": name,
        "versions": [version],
        "platform": f"modelyard_{manifest.flavor}",
        "inputs": tensors(manifest.signature.inputs),
        "outputs": tensors(manifest.signature.outputs),
        "parameters": {"layout": manifest.signature.layout, "task": manifest.task}
        | ({} if manifest.classes is None else {"classes": list(manifest.classes)}),
    }


def decode(body: Any) -> dict[str, Any]:
    """Inputs by name as arrays or lists. Raises MalformedRequest and InvalidInput."""
    inputs = body.get("inputs") if isinstance(body, dict) else None
    if not isinstance(inputs, list) or not inputs:
        raise MalformedRequest("no inputs", remedy='Send {"inputs": [{"name", "shape", "datatype", "data"}, …]}.')
    decoded: dict[str, Any] = {}
    for tensor in inputs:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise MalformedRequest("an input has no name", remedy="Give each input name, shape, datatype and data.")
        if tensor["name"] in decoded:
            raise InvalidInput(f"input {tensor['name']!r} comes twice")
        decoded[tensor["name"]] = _tensor(tensor)
    return decoded


def _tensor(tensor: dict[str, Any]) -> NDArray[Any]:
    name, shape, kind = tensor["name"], tensor.get("shape"), tensor.get("datatype")
    if kind not in DTYPES:
        raise InvalidInput(f"input {name!r} has datatype {kind!r}", remedy=f"One of {', '.join(DTYPES)}.")
    if not isinstance(shape, list) or not shape or any(not isinstance(n, int) or n < 0 for n in shape):
        raise InvalidInput(f"input {name!r} has shape {shape!r}", remedy="A list of whole numbers, rows first.")
    data = tensor.get("data")
    if not isinstance(data, list):
        raise InvalidInput(f"input {name!r} has no data", remedy="Send data as a list of values.")
    flat = _flatten(data)
    if len(flat) != math.prod(shape):
        raise InvalidInput(
            f"input {name!r} has {len(flat)} values, but shape {shape} holds {math.prod(shape)}",
            remedy="Make shape and data agree.",
        )
    return _array(name, kind, flat).reshape(shape)


def _flatten(data: list[Any]) -> list[Any]:
    while data and isinstance(data[0], list):
        data = [value for part in data for value in (part if isinstance(part, list) else [part])]
    return data


def _array(name: str, kind: str, flat: list[Any]) -> NDArray[Any]:
    wanted = {"BOOL": (bool,), "BYTES": (str,)}.get(kind, (int, float) if kind.startswith("FP") else (int,))
    for value in flat:
        if value is None:
            continue
        if not isinstance(value, wanted) or (isinstance(value, bool) and kind != "BOOL"):
            raise InvalidInput(f"input {name!r} holds {value!r}, which is no {kind}", remedy=f"Send {kind} values.")
    if kind in ("BYTES", "BOOL") or None in flat:
        return np.array(flat, dtype=object)
    try:
        return np.array(flat, dtype=DTYPES[kind])
    except OverflowError:
        raise InvalidInput(f"input {name!r} holds a value that {kind} cannot hold") from None


def encode(name: str, version: str, outputs: Mapping[str, NDArray[Any]], body: Any) -> dict[str, Any]:
    """The body of an answer: all outputs, or those that the request names."""
    wanted = _wanted(body.get("outputs"), outputs)
    answer: dict[str, Any] = {
        "model_name": name,
        "model_version": version,
        "outputs": [
            {"name": n, "datatype": _kind(outputs[n]), "shape": list(outputs[n].shape), "data": values(outputs[n])}
            for n in wanted
        ],
    }
    if isinstance(body.get("id"), str):
        answer["id"] = body["id"]
    return answer


def _wanted(asked: Any, outputs: Mapping[str, NDArray[Any]]) -> list[str]:
    if not asked:
        return list(outputs)
    if not isinstance(asked, list) or any(not isinstance(o, dict) for o in asked):
        raise MalformedRequest("outputs is no list of objects", remedy='Send "outputs": [{"name": …}] or leave it out.')
    names = [o.get("name") for o in asked]
    unknown = [n for n in names if not isinstance(n, str) or n not in outputs]
    if unknown:
        raise InvalidInput(f"unknown output {unknown[0]!r}", remedy=f"One of {', '.join(outputs)}.")
    return names


def _kind(array: NDArray[Any]) -> str:
    return _BY_DTYPE.get(array.dtype.name, "BYTES")


def values(array: NDArray[Any]) -> list[Any]:
    """Flat JSON values; what is not finite becomes null."""
    flat = array.reshape(-1)
    if flat.dtype.kind == "f":
        finite = np.isfinite(flat)
        return (
            flat.tolist() if finite.all() else [v if ok else None for v, ok in zip(flat.tolist(), finite, strict=True)]
        )
    if flat.dtype.kind in "biu":
        return flat.tolist()
    if flat.dtype.kind == "M":
        return [None if np.isnat(v) else str(v) for v in flat]
    if flat.dtype.kind == "O":
        return [v if isinstance(v, (str, int, float, bool, type(None))) else str(v) for v in flat.tolist()]
    return [str(v) for v in flat]
