"""The Open Inference Protocol V2: tensors in, tensors out, in JSON and with the binary tensor extension."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard_api.errors import InvalidInput, MalformedRequest
from modelyard_api.models import ColumnKind, PackageManifest, TensorSpec
from modelyard_server.binary import Tail, pack
from modelyard_server.fast import Ask, Wanted

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
EXTENSIONS = ("binary_tensor_data", "classification", "parameters")
_DIMENSIONS = 16
_ELEMENTS = 2**40
_BY_DTYPE = {dtype: name for name, dtype in DTYPES.items()}
_BY_ARRAY = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
"""The name of a type is made anew each time that it is asked for, which takes as long as a small model."""


def datatype(spec: TensorSpec) -> str:
    """The protocol's datatype of an input or output."""
    if spec.kind is ColumnKind.number:
        return _BY_DTYPE.get(spec.dtype.lower(), "FP64")
    return "BOOL" if spec.kind is ColumnKind.boolean else "BYTES"


def metadata(name: str, version: str, manifest: PackageManifest, device: str = "cpu") -> dict[str, Any]:
    """The body of `GET /v2/models/<name>`. `device`: where the model computes."""

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
        "parameters": {"layout": manifest.signature.layout, "task": manifest.task, "device": device}
        | ({} if manifest.classes is None else {"classes": list(manifest.classes)}),
    }


def decode(body: Any, tail: Tail | None = None) -> dict[str, Any]:
    """Inputs by name as arrays or lists. Raises MalformedRequest and InvalidInput."""
    inputs = body.get("inputs") if isinstance(body, dict) else None
    if not isinstance(inputs, list) or not inputs:
        raise MalformedRequest("no inputs", remedy='Send {"inputs": [{"name", "shape", "datatype", "data"}, …]}.')
    decoded: dict[str, Any] = {}
    for tensor in inputs:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise MalformedRequest("an input has no name", remedy="Give each input name, shape, datatype and data.")
        if tensor["name"] in decoded:
            raise InvalidInput(f"input {tensor['name']!r} comes twice", input=tensor["name"], rule="once")
        decoded[tensor["name"]] = _tensor(tensor, tail)
    if tail is not None:
        tail.end()
    return decoded


def _tensor(tensor: dict[str, Any], tail: Tail | None) -> NDArray[Any]:
    name, shape, kind = tensor["name"], tensor.get("shape"), tensor.get("datatype")
    if not isinstance(kind, str) or kind not in DTYPES:
        raise wrong(name, "datatype", f"has datatype {kind!r}", f"One of {', '.join(DTYPES)}.")
    if not is_shape(shape):
        raise wrong(name, "shape", f"has shape {str(shape)[:80]}", "A list of whole numbers, rows first.")
    assert isinstance(shape, list)
    parameters = tensor.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise MalformedRequest(f"the parameters of input {name!r} are no object")
    if "binary_data_size" in parameters:
        if tail is None:
            raise MalformedRequest(
                f"input {name!r} has binary_data_size, but the request no Inference-Header-Content-Length",
                remedy="Send that header with the number of bytes of the JSON.",
            )
        return tail.take(name, kind, DTYPES[kind], shape, parameters["binary_data_size"])
    data = tensor.get("data")
    if not isinstance(data, list):
        raise wrong(name, "data", "has no data", "Send data as a list of values, or binary_data_size.")
    flat = _flatten(data)
    if len(flat) != math.prod(shape):
        said = f"has {len(flat)} values, but shape {shape} holds {math.prod(shape)}"
        raise wrong(name, "shape", said, "Make shape and data agree.")
    return _array(name, kind, flat, max(1, math.prod(shape[1:]))).reshape(shape)


def wrong(name: str, rule: str, said: str, remedy: str) -> InvalidInput:
    """What to raise of an input."""
    return InvalidInput(f"input {name!r} {said}", remedy=remedy, input=name, rule=rule)


def is_shape(shape: Any) -> bool:
    """Whether it is a list of whole numbers whose product may be taken."""
    if not isinstance(shape, list) or not 1 <= len(shape) <= _DIMENSIONS:
        return False
    if any(not isinstance(n, int) or isinstance(n, bool) or not 0 <= n <= _ELEMENTS for n in shape):
        return False
    return math.prod(n or 1 for n in shape) <= _ELEMENTS


def _flatten(data: list[Any]) -> list[Any]:
    depth = 0
    while data and isinstance(data[0], list) and depth <= _DIMENSIONS:
        data = [value for part in data for value in (part if isinstance(part, list) else [part])]
        depth += 1
    return data


_TYPES: dict[str, set[type]] = {"BOOL": {bool}, "BYTES": {str}}


def _array(name: str, kind: str, flat: list[Any], width: int) -> NDArray[Any]:
    wanted = _TYPES.get(kind, {int, float} if kind.startswith("FP") else {int})
    if not set(map(type, flat)) <= wanted | {type(None)}:
        at = next(i for i, value in enumerate(flat) if value is not None and type(value) not in wanted)
        raise InvalidInput(
            f"input {name!r} holds {_short(flat[at])} in row {at // width}, which is no {kind}",
            remedy=f"Send {kind} values.",
            **{"input": name, "row": at // width, "rule": "datatype"},
        )
    if kind in ("BYTES", "BOOL") or None in flat:
        return np.array(flat, dtype=object)
    try:
        with np.errstate(over="ignore"):
            array = np.array(flat, dtype=DTYPES[kind])
    except OverflowError:
        raise wrong(name, "datatype", f"holds a value that {kind} cannot hold", f"Send {kind} values.") from None
    return array


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def ask(body: dict[str, Any]) -> Ask:
    """What a request wants beside its inputs. Raises MalformedRequest."""
    outputs, parameters = body.get("outputs"), body.get("parameters")
    if outputs and (not isinstance(outputs, list) or any(not isinstance(o, dict) for o in outputs)):
        raise MalformedRequest("outputs is no list of objects", remedy='Send "outputs": [{"name": …}] or leave it out.')
    for said in [parameters, *(o.get("parameters") for o in outputs or ())]:
        if said is not None and not isinstance(said, dict):
            raise MalformedRequest("parameters is no object", remedy='Send "parameters": {…} or leave it out.')
    wanted = [Wanted(o.get("name", ""), o.get("parameters")) for o in outputs] if outputs else None
    return Ask([], body["id"] if isinstance(body.get("id"), str) else None, wanted, parameters)


Names = tuple[str, str]
"""The model's name in the protocol, and its version."""


def encode(
    names: Names, outputs: Mapping[str, NDArray[Any]], asked: Ask, classes: tuple[Any, ...] | None = None
) -> tuple[dict[str, Any], list[bytes]]:
    """An answer's JSON (with arrays, for orjson) and the binary tensors that follow it; raises as `chosen`."""
    binary = bool((asked.parameters or {}).get("binary_data_output", False))
    document: dict[str, Any] = {"model_name": names[0], "model_version": names[1]}
    if asked.id is not None:
        document["id"] = asked.id
    parts: list[bytes] = []
    document["outputs"] = tensors = []
    for wanted, kind, array in chosen(outputs, asked, classes):
        tensor: dict[str, Any] = {"name": wanted.name, "datatype": kind, "shape": array.shape}
        plain = array.dtype.kind in "fiub"
        if (wanted.parameters or {}).get("binary_data", binary):
            parts.append(pack(array, None if plain else values(array)))
            tensor["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            tensor["data"] = _plain(array) if plain else values(array)
        tensors.append(tensor)
    return document, parts


def chosen(
    outputs: Mapping[str, NDArray[Any]], asked: Ask, classes: tuple[Any, ...] | None
) -> list[tuple[Wanted, str, NDArray[Any]]]:
    """The outputs asked for, or all, each with its datatype.

    Raises InvalidInput for an output that there is not, and for one that is asked for twice.
    """
    found: dict[str, tuple[Wanted, str, NDArray[Any]]] = {}
    for wanted in asked.outputs or [Wanted(name) for name in outputs]:
        array = outputs.get(wanted.name) if isinstance(wanted.name, str) else None
        if array is None:
            raise InvalidInput(
                f"unknown output {wanted.name!r}", remedy=f"One of {', '.join(outputs)}.", rule="outputs"
            )
        if wanted.name in found:
            raise InvalidInput(
                f"output {wanted.name!r} is asked for twice", remedy="Name each output once.", rule="outputs"
            )
        k = (wanted.parameters or {}).get("classification")
        if k:
            array = _classified(wanted.name, array, k, classes)
        found[wanted.name] = wanted, _BY_ARRAY.get(array.dtype) or _BY_DTYPE.get(array.dtype.name, "BYTES"), array
    return list(found.values())


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Flat, and with all digits of what a narrow float is."""
    flat = array if array.ndim == 1 and array.flags.c_contiguous else np.ascontiguousarray(array).reshape(-1)
    return flat.astype(np.float64) if flat.dtype.kind == "f" and flat.dtype.itemsize < 8 else flat


def _classified(name: str, array: NDArray[Any], k: Any, classes: tuple[Any, ...] | None) -> NDArray[Any]:
    """The k highest of each row as `value:index:label`, which is Triton's classification extension."""
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise InvalidInput(f"output {name!r} has classification {k!r}", remedy="How many classes, at least 1.")
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InvalidInput(f"output {name!r} has no classes", remedy="Ask it of probabilities.", rule="outputs")
    order = np.argsort(-array, axis=1, kind="stable")[:, :k]
    known = classes if classes is not None and len(classes) == array.shape[1] else None
    texts = [
        [f"{array[row, i]:f}:{i}" + (f":{known[i]}" if known else "") for i in best] for row, best in enumerate(order)
    ]
    return np.array(texts, dtype=object).reshape(order.shape)


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
