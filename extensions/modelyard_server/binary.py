"""The binary tensor extension of the Open Inference Protocol: tensors after the JSON, as they are in memory.

`Inference-Header-Content-Length` says how long the JSON is. BYTES elements come with their length as four bytes before.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from modelyard_api.errors import InvalidInput, MalformedRequest

_REMEDY = "Its value is the number of bytes of the JSON, at most those of the body."


def divide(raw: bytes, length: str) -> tuple[bytes, memoryview]:
    """The JSON and what comes after it. Raises MalformedRequest."""
    if not length.isascii() or not length.isdigit() or len(length) > 12 or int(length) > len(raw):
        raise MalformedRequest(f"Inference-Header-Content-Length is {length[:40]!r}", remedy=_REMEDY)
    head = int(length)
    return raw[:head] if head else raw[:0], memoryview(raw)[head:]


class Tail:
    """The bytes after the JSON, taken tensor by tensor in the order of the inputs."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def take(self, name: str, kind: str, dtype: str, shape: list[int], size: Any) -> NDArray[Any]:
        """The tensor's array, a view where it can be. Raises InvalidInput, MalformedRequest."""
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise InvalidInput(f"input {name!r} has binary_data_size {size!r}", remedy="A number of bytes.", input=name)
        part = self._data[self._at : self._at + size]
        if len(part) < size:
            raise MalformedRequest(
                f"the body ends {size - len(part)} bytes into input {name!r}", remedy="Send all of its bytes."
            )
        self._at += size
        count = math.prod(shape)
        if kind == "BYTES":
            return _texts(name, part, count).reshape(shape)
        wanted = count * np.dtype(dtype).itemsize
        if size != wanted:
            raise InvalidInput(
                f"input {name!r} has {size} bytes, but shape {shape} of {kind} has {wanted}",
                remedy="Make shape, datatype and the number of bytes agree.",
                input=name,
                rule="size",
            )
        if kind == "BOOL" and np.frombuffer(part, np.uint8).max(initial=0) > 1:
            raise InvalidInput(f"input {name!r} holds a byte that is neither 0 nor 1", input=name, rule="datatype")
        return np.frombuffer(part, np.dtype(dtype).newbyteorder("<")).astype(dtype, copy=False).reshape(shape)

    def end(self) -> None:
        """Raises MalformedRequest where bytes are left."""
        left = len(self._data) - self._at
        if left:
            raise MalformedRequest(f"{left} bytes follow the last input", remedy="binary_data_size counts all of them.")


def _texts(name: str, part: memoryview, count: int) -> NDArray[Any]:
    if count * 4 > len(part):
        raise InvalidInput(f"input {name!r} holds fewer than {count} texts", input=name, rule="size")
    found: list[Any] = []
    at = 0
    while at < len(part):
        (length,) = struct.unpack_from("<I", part, at) if at + 4 <= len(part) else (len(part),)
        text = part[at + 4 : at + 4 + length]
        if len(text) < length or len(found) == count:
            raise InvalidInput(
                f"input {name!r} holds not {count} texts of the lengths that stand before them",
                remedy="Each text after its length in bytes, as four bytes, the lowest first.",
                input=name,
                row=len(found),
                rule="size",
            )
        try:
            found.append(str(text, "utf-8"))
        except UnicodeDecodeError:
            raise InvalidInput(
                f"input {name!r} holds a text that is not UTF-8 at place {len(found)}", input=name, rule="datatype"
            ) from None
        at += 4 + length
    if len(found) != count:
        raise InvalidInput(f"input {name!r} holds {len(found)} texts, not {count}", input=name, rule="size")
    return np.array(found, dtype=object)


def pack(array: NDArray[Any], flat: list[Any] | None = None) -> bytes:
    """An array as the extension sends it; `flat`: its values, for what is no number."""
    if flat is None:
        return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    parts: list[bytes] = []
    for value in flat:
        text = b"" if value is None else str(value).encode()
        parts += (struct.pack("<I", len(text)), text)
    return b"".join(parts)


def join(document: dict[str, Any], parts: list[bytes]) -> tuple[bytes, int]:
    """The body, and how long its JSON is."""
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join([head, *parts]), len(head)
