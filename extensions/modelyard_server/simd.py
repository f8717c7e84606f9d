"""simdjson, which reads numbers into an array without an object for each: large documents, and V2's in one pass.

What is not as it should be raises ValueError, TypeError or RuntimeError."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import numpy as np
import simdjson
from numpy.typing import NDArray

T = TypeVar("T")
Kind = Literal["d", "i"]
Flat = dict[str, NDArray[Any]]
"""Numbers of tensors by name, not shaped yet."""

_KEPT = 512 * 1024
"""Bytes of a document whose parser is used again: the memory of a new one costs as much as the parsing."""
_FREE: list[simdjson.Parser] = []
_MANY = 2048
"""Values of each tensor, from which on they have the bytes that `fast` gives simdjson anyway: -0 is no -0.0 to it."""
_NAMES = 16
_ROWS = re.compile(rb'"data"\s*:\s*\[\s*\[')
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("FP64", "FP32"), "d"),
    **dict.fromkeys(("INT64", "INT32", "INT16", "INT8", "UINT8", "UINT16", "UINT32"), "i"),
}


def parsed(text: bytes, read: Callable[[Any], T]) -> T:
    """What `read` makes of a document; it may keep nothing of it, for then its parser cannot be used again."""
    try:
        parser = _FREE.pop()
    except IndexError:
        parser = simdjson.Parser()
    found = read(parser.parse(text))
    if len(text) <= _KEPT and not _FREE:
        _FREE.append(parser)
    return found


def numbers(array: Any, kind: Kind = "d") -> NDArray[Any]:
    """All numbers of an array, in order, as 64-bit floats (`d`) or whole numbers (`i`)."""
    if not isinstance(array, simdjson.Array):
        raise TypeError("no list")
    return np.frombuffer(array.as_buffer(of_type=kind), dtype=np.float64 if kind == "d" else np.int64)


def request(raw: bytes) -> tuple[dict[str, Any], Flat] | None:
    """A request of V2 whose data are long flat lists of numbers: the rest of it as objects, and the data.

    None: it is not so, or it may not be."""
    at = raw.find(b'"data"')
    if at < 0 or _ROWS.match(raw, at) or not raw.lstrip(b" \t\r\n").startswith(b"{"):
        return None
    rest, flat = parsed(raw, _read)
    expected = 1 + 2 * len(rest["inputs"]) + isinstance(rest.get("outputs"), list)
    return (rest, flat) if len(rest["inputs"]) == len(flat) and _lists(raw, expected + 1) == expected else None


def _read(document: Any) -> tuple[dict[str, Any], Flat]:
    fields = _fields(document)
    flat: Flat = {}
    tensors = [_tensor(tensor, flat) for tensor in fields.pop("inputs")]
    return {name: _plain(value) for name, value in fields.items()} | {"inputs": tensors}, flat


def _tensor(tensor: Any, flat: Flat) -> dict[str, Any]:
    fields = _fields(tensor)
    array = numbers(fields.pop("data"), _KINDS[fields["datatype"]])
    if len(array) < _MANY:
        raise ValueError("few numbers")
    flat[fields["name"]] = array
    return {name: _plain(value) for name, value in fields.items()}


def _fields(thing: Any) -> dict[str, Any]:
    if not isinstance(thing, simdjson.Object):
        raise TypeError("no object")
    names = list(thing)
    if len(names) > _NAMES or len(set(names)) < len(names):
        raise ValueError("a name comes twice, or there are many")
    return {name: thing[name] for name in names}  # items() would make a list of all numbers


def _plain(value: Any) -> Any:
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value.as_list() if isinstance(value, simdjson.Array) else value


def _lists(raw: bytes, most: int) -> int:
    """How many begin, up to `most`: one more than there should be is a list within one, which `numbers` flattens."""
    found, at = 0, raw.find(b"[")
    while at >= 0 and found < most:
        found, at = found + 1, raw.find(b"[", at + 1)
    return found
