"""The tensors of `ModelInfer`: typed contents and raw ones, in and out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard_api.errors import InvalidInput, MalformedRequest
from modelyard_server import v2
from modelyard_server.binary import Tail, pack
from modelyard_server.fast import Ask, Wanted
from modelyard_server.flavors.base import Outputs
from modelyard_server.rpc.messages import message

_RESPONSE = message("ModelInferResponse")
_FIELDS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where typed values of a datatype stand. FP16 has no such place: it is sent raw."""
_NARROW = ("INT8", "INT16", "UINT8", "UINT16")


def decode(request: Any) -> tuple[dict[str, NDArray[Any]], Ask]:
    """Inputs by name, and what is asked beside them. Raises MalformedRequest and InvalidInput."""
    raws = request.raw_input_contents
    if not request.inputs:
        raise MalformedRequest("no inputs", remedy="Send inputs, each with name, shape, datatype and contents.")
    if raws and len(raws) != len(request.inputs):
        raise MalformedRequest(
            f"raw_input_contents has {len(raws)} parts for {len(request.inputs)} inputs",
            remedy="Send one for each input, or contents in each input.",
        )
    columns: dict[str, NDArray[Any]] = {}
    for place, tensor in enumerate(request.inputs):
        name, shape = tensor.name, list(tensor.shape)
        if name in columns:
            raise InvalidInput(f"input {name!r} comes twice", input=name, rule="once")
        if tensor.datatype not in v2.DTYPES:
            said = f"has datatype {tensor.datatype[:80]!r}"
            raise v2.wrong(name, "datatype", said, f"One of {', '.join(v2.DTYPES)}.")
        if not v2.is_shape(shape):
            raise v2.wrong(name, "shape", f"has shape {str(shape)[:80]}", "Whole numbers, rows first.")
        columns[name] = _raw(tensor, shape, raws[place]) if raws else _typed(tensor, shape)
    return columns, _ask(request)


def _raw(tensor: Any, shape: list[int], part: bytes) -> NDArray[Any]:
    if tensor.HasField("contents"):
        said = "has contents, and raw_input_contents too"
        raise v2.wrong(tensor.name, "contents", said, "Send all inputs raw, or none.")
    tail = Tail(memoryview(part))
    return tail.take(tensor.name, tensor.datatype, v2.DTYPES[tensor.datatype], shape, len(part))


def _typed(tensor: Any, shape: list[int]) -> NDArray[Any]:
    name, kind = tensor.name, tensor.datatype
    if kind not in _FIELDS:
        raise v2.wrong(name, "datatype", f"has {kind} values in contents", "Send it in raw_input_contents.")
    sent = getattr(tensor.contents, _FIELDS[kind])
    if len(sent) != math.prod(shape):
        said = f"has {len(sent)} values in {_FIELDS[kind]}, but shape {shape} holds {math.prod(shape)}"
        raise v2.wrong(name, "shape", said, f"{kind} values stand in {_FIELDS[kind]}, as many as the shape holds.")
    width = max(1, math.prod(shape[1:]))
    if kind == "BYTES":
        return _texts(name, sent, width).reshape(shape)
    if kind not in _NARROW:
        return np.array(sent, dtype=v2.DTYPES[kind]).reshape(shape)
    wide, limits = np.array(sent, dtype=np.int64), np.iinfo(v2.DTYPES[kind])
    beyond = (wide < limits.min) | (wide > limits.max)
    if beyond.any():
        at = int(np.argmax(beyond))
        raise _in_row(name, at // width, f"holds {wide[at]} in row {at // width}, which is no {kind}")
    return wide.astype(limits.dtype).reshape(shape)


def _texts(name: str, sent: Any, width: int) -> NDArray[Any]:
    found: list[str] = []
    for value in sent:
        try:
            found.append(value.decode())
        except UnicodeDecodeError:
            row = len(found) // width
            raise _in_row(name, row, f"holds a text that is not UTF-8 in row {row}") from None
    return np.array(found, dtype=object)


def _in_row(name: str, row: int, said: str) -> InvalidInput:
    return InvalidInput(f"input {name!r} {said}", input=name, row=row, rule="datatype")


def _ask(request: Any) -> Ask:
    wanted = [Wanted(output.name, _parameters(output.parameters)) for output in request.outputs]
    return Ask([], request.id or None, wanted or None, _parameters(request.parameters))


def _parameters(sent: Any) -> dict[str, Any]:
    found = {}
    for name, value in sent.items():
        choice = value.WhichOneof("parameter_choice")
        found[name] = None if choice is None else getattr(value, choice)
    return found


def encode(names: v2.Names, outputs: Outputs, asked: Ask, classes: tuple[Any, ...] | None, *, raw: bool) -> bytes:
    """An answer, serialized. `raw`: its tensors as they are in memory, unless the parameter `binary_data_output` says.

    Raises InvalidInput as `v2.chosen`.
    """
    chosen = v2.chosen(outputs, asked, classes)
    raw = bool((asked.parameters or {}).get("binary_data_output", raw))
    raw = raw or any(kind not in _FIELDS for _, kind, _ in chosen)
    answer = _RESPONSE(model_name=names[0], model_version=names[1], id=asked.id or "")
    for wanted, kind, array in chosen:
        tensor = answer.outputs.add(name=wanted.name, datatype=kind, shape=array.shape)
        plain = array.dtype.kind in "fiub"
        if raw:
            answer.raw_output_contents.append(pack(array, None if plain else v2.values(array)))
        elif plain:
            getattr(tensor.contents, _FIELDS[kind]).extend(array.reshape(-1).tolist())
        else:
            texts = (b"" if value is None else str(value).encode() for value in v2.values(array))
            tensor.contents.bytes_contents.extend(texts)
    serialized: bytes = answer.SerializeToString()
    return serialized
