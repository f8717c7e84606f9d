"""The short way of a request whose values are what the signature names: JSON read by type, checked as whole arrays.

None means "not so": the long way (`v2.decode`, `invocations.decode`, `columns.check`) reads it again, and says what is
wrong if anything is. What both ways take, they take alike.
"""

from __future__ import annotations

import math
from typing import Any, cast

import msgspec
import numpy as np
import simdjson
from numpy.typing import NDArray

from modelyard_api.models import ColumnKind, Signature, TensorSpec
from modelyard_server import simd
from modelyard_server.binary import Tail
from modelyard_server.block import Block
from modelyard_server.flavors.base import Columns

_EXACT = 2.0**53
_LARGE = 4096
"""Bytes of numbers from which on simdjson, which makes no object of each, is faster than msgspec, which has to."""
_DIMENSIONS = 16
_ELEMENTS = 2**40
_WHOLE = ("INT64", "INT32", "INT16", "INT8", "UINT8", "UINT16", "UINT32")
_FLOAT: dict[str, np.dtype[Any]] = {"FP64": np.dtype("float64"), "FP32": np.dtype("float32")}


class Tensor(msgspec.Struct, gc=False):
    """An input of V2 whose data is not read yet."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Any] | None = None


class Wanted(msgspec.Struct, gc=False):
    """An output that a request asks for."""

    name: str
    parameters: dict[str, Any] | None = None


class Ask(msgspec.Struct, gc=False):
    """A request of V2."""

    inputs: list[Tensor]
    id: str | None = None
    outputs: list[Wanted] | None = None
    parameters: dict[str, Any] | None = None


class Split(msgspec.Struct, gc=False):
    """pandas' `orient="split"`."""

    columns: list[str]
    data: msgspec.Raw


Beside = Tail | simd.Flat | None
"""What has the data of tensors that do not carry them themselves."""
_ABSENT = msgspec.Raw()


class Rows(msgspec.Struct, gc=False):
    """A request to `/invocations`."""

    instances: msgspec.Raw = _ABSENT
    inputs: msgspec.Raw = _ABSENT
    dataframe_split: Split | None = None
    dataframe_records: msgspec.Raw = _ABSENT
    params: dict[str, Any] | None = None


_ASK = msgspec.json.Decoder(Ask)
_ROWS = msgspec.json.Decoder(Rows)
_FLOATS = msgspec.json.Decoder(list[float])
_TABLE = msgspec.json.Decoder(list[list[float]])
_INTS = msgspec.json.Decoder(list[int])
_TEXTS = msgspec.json.Decoder(list[str])
_BOOLS = msgspec.json.Decoder(list[bool])
_UNREAD = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError, TypeError, RuntimeError)
_OTHER = (*_UNREAD, KeyError)


class Reader:
    """Made once for a signature."""

    def __init__(self, signature: Signature) -> None:
        self._specs = signature.inputs
        self._tensor = signature.layout == "tensor"
        self._names = {spec.name: i for i, spec in enumerate(signature.inputs)}
        self._targets = [np.dtype(_target(spec)) for spec in signature.inputs]
        numbers = all(spec.kind is ColumnKind.number for spec in signature.inputs)
        self._whole = [i for i, target in enumerate(self._targets) if numbers and target.kind in "iu"]
        kinds = {target for target in self._targets if target.kind == "f"}
        self._block = numbers and not self._tensor and not self._whole and kinds == {np.dtype("float64")}
        self._matrix = numbers and len(kinds | {self._targets[i] for i in self._whole}) >= 1

    def v2(self, raw: bytes, tail: Tail | None = None) -> tuple[Columns, Ask] | None:
        """Columns and the rest of a request; `tail`: the binary tensors that follow its JSON."""
        if tail is None and len(raw) >= _LARGE and (found := self._flat(raw)) is not None:
            return found
        try:
            ask = _ASK.decode(raw)
            columns = self._tensors(ask.inputs, tail)
            if tail is not None and columns is not None:
                tail.end()
        except _UNREAD:
            return None
        return None if columns is None else (columns, ask)

    def _flat(self, raw: bytes) -> tuple[Columns, Ask] | None:
        """The same in one pass, where it can be read so."""
        try:
            found = simd.request(raw)
            if found is None:
                return None
            ask = msgspec.convert(found[0], Ask)
            columns = self._tensors(ask.inputs, found[1])
        except _OTHER:
            return None
        return None if columns is None else (columns, ask)

    def invocations(self, raw: bytes) -> tuple[Columns, Rows] | None:
        """Columns and the rest of a request to `/invocations`."""
        if not self._matrix:
            return None
        try:
            asked = _ROWS.decode(raw)
            matrix = self._rows(asked)
            columns = None if matrix is None else self.matrix(matrix)
        except _UNREAD:
            return None
        return None if columns is None else (columns, asked)

    def arrays(self, arrays: dict[str, NDArray[Any]]) -> Columns | None:
        """Columns from the one array that holds all of a table's numbers, or from a tensor."""
        name = self._specs[0].name if self._tensor else "input"
        array = arrays.get(name)
        if array is None or len(arrays) != 1 or not self._matrix or array.dtype.kind not in "fiu":
            return None
        if not self._tensor and name in self._names:
            return None
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return None
        try:
            return self.matrix(array if array.flags.aligned else array.copy())
        except _UNREAD:
            return None

    def matrix(self, matrix: NDArray[Any]) -> Columns | None:
        """Columns from all of a table's numbers side by side, or from a tensor's. They are finite."""
        if self._tensor:
            return self._whole_tensor(matrix)
        if matrix.ndim != 2 or matrix.shape[1] != len(self._specs) or not matrix.shape[0] or not self._matrix:
            return None
        if self._block:
            return Block(self._names, np.ascontiguousarray(matrix, dtype=np.float64))
        columns = {}
        for spec, target, column in zip(self._specs, self._targets, matrix.T, strict=True):
            typed = _cast(column, target)
            if typed is None:
                return None
            columns[spec.name] = typed
        return columns

    def _whole_tensor(self, array: NDArray[Any]) -> Columns | None:
        wanted = self._specs[0].shape
        if len(self._specs) != 1 or array.ndim != len(wanted) or not array.shape[0]:
            return None
        if any(w not in (-1, n) for w, n in zip(wanted, array.shape, strict=True)):
            return None
        typed = _cast(array, self._targets[0])
        return None if typed is None else {self._specs[0].name: typed}

    def _tensors(self, tensors: list[Tensor], beside: Beside) -> Columns | None:
        for tensor in tensors:
            if not _is_shape(tensor.shape):
                return None
        if len(tensors) == 1 and (self._tensor or tensors[0].name not in self._names):
            tensor = tensors[0]
            if not self._matrix or tensor.name != ("input" if not self._tensor else self._specs[0].name):
                return None
            array = _numbers(tensor, beside)
            return None if array is None else self.matrix(array)
        if self._tensor or len(tensors) != len(self._specs):
            return None
        columns: dict[str, NDArray[Any]] = {}
        count = tensors[0].shape[0] if tensors[0].shape else 0
        for tensor in tensors:
            place = self._names.get(tensor.name)
            if place is None or tensor.name in columns or tensor.shape not in ([count], [count, 1]) or not count:
                return None
            column = self._column(self._specs[place], self._targets[place], tensor, beside)
            if column is None or len(column) != count:
                return None
            columns[tensor.name] = column
        if self._block:
            return Block(self._names, np.column_stack([columns[name] for name in self._names]))
        return {name: columns[name] for name in self._names}

    def _column(self, spec: TensorSpec, target: np.dtype[Any], tensor: Tensor, beside: Beside) -> NDArray[Any] | None:
        if spec.kind is ColumnKind.number:
            array = _numbers(tensor, beside)
            return None if array is None else _cast(array.reshape(-1), target)
        if tensor.parameters and "binary_data_size" in tensor.parameters:
            return None
        if spec.kind is ColumnKind.boolean and tensor.datatype == "BOOL":
            return np.array(_BOOLS.decode(tensor.data), dtype=np.bool_)
        if spec.kind is ColumnKind.string and tensor.datatype == "BYTES":
            return np.array(_TEXTS.decode(tensor.data), dtype=object)
        return None

    def _rows(self, asked: Rows) -> NDArray[Any] | None:
        plain = [raw for raw in (asked.instances, asked.inputs) if raw is not _ABSENT]
        if asked.dataframe_records is not _ABSENT or len(plain) + (asked.dataframe_split is not None) != 1:
            return None
        if asked.dataframe_split is None:
            return _table(plain[0])
        split = asked.dataframe_split
        if self._tensor or len(split.columns) != len(self._names) or set(split.columns) != set(self._names):
            return None
        matrix = _table(split.data)
        if matrix.ndim != 2 or matrix.shape[1] != len(split.columns):
            return None
        if split.columns != list(self._names):
            matrix = matrix[:, [split.columns.index(name) for name in self._names]]
        return matrix


def _decimals(raw: msgspec.Raw) -> NDArray[Any]:
    """Numbers, flat or row by row, as float64. Raises one of `_UNREAD` for all else."""
    if memoryview(raw).nbytes < _LARGE:
        try:
            return np.array(_FLOATS.decode(raw), dtype=np.float64)
        except msgspec.ValidationError:
            return _table(raw)
    text = bytes(memoryview(raw))
    if text.find(b"[", 1) >= 0:
        return _table(raw)
    return simd.parsed(text, simd.numbers)


def _table(raw: msgspec.Raw) -> NDArray[Any]:
    """Rows of numbers as a matrix."""
    if memoryview(raw).nbytes < _LARGE:
        return np.array(_TABLE.decode(raw), dtype=np.float64)
    text = bytes(memoryview(raw))
    return simd.parsed(text, lambda rows: _matrix(rows, text.count(b"[")))


def _matrix(rows: Any, lists: int) -> NDArray[Any]:
    if not isinstance(rows, simdjson.Array):
        raise TypeError("no list")
    widths = {len(row) for row in cast(list[Any], rows)}
    if len(widths) != 1 or lists != len(rows) + 1:
        raise ValueError("rows differ in length")
    return simd.numbers(rows).reshape(len(rows), widths.pop())


def _target(spec: TensorSpec) -> str:
    return spec.dtype.lower() if spec.kind is ColumnKind.number else "bool" if spec.kind is ColumnKind.boolean else "O"


def _is_shape(shape: list[int]) -> bool:
    """Whether its product may be taken: of a list of any length it would take minutes."""
    return len(shape) <= _DIMENSIONS and (not shape or (min(shape) >= 0 and max(shape) <= _ELEMENTS))


def _numbers(tensor: Tensor, beside: Beside) -> NDArray[Any] | None:
    """An array of finite numbers, as the datatype that was sent says."""
    kind = _FLOAT.get(tensor.datatype)
    flat = beside[tensor.name] if isinstance(beside, dict) else None
    if tensor.parameters and "binary_data_size" in tensor.parameters:
        return _sent(tensor, tensor.parameters["binary_data_size"], beside) if isinstance(beside, Tail) else None
    if kind is not None:
        array = _decimals(tensor.data) if flat is None else flat
        if array.dtype != kind:
            with np.errstate(over="ignore"):
                array = array.astype(kind)
            if not np.isfinite(array).all():
                return None
    elif tensor.datatype in _WHOLE:
        array = np.array(_INTS.decode(tensor.data), dtype=np.int64) if flat is None else flat
        if tensor.datatype != "INT64":
            limits = np.iinfo(tensor.datatype.lower())
            if array.size and (array.min() < limits.min or array.max() > limits.max):
                return None
    else:
        return None
    shape = tensor.shape
    if array.size != math.prod(shape) or (array.ndim > 1 and list(array.shape) != shape) or min(shape, default=-1) < 0:
        return None
    return array.reshape(shape)


def _sent(tensor: Tensor, size: Any, tail: Tail) -> NDArray[Any] | None:
    dtype = _FLOAT.get(tensor.datatype) or (np.dtype(tensor.datatype.lower()) if tensor.datatype in _WHOLE else None)
    if dtype is None or min(tensor.shape, default=-1) < 0 or math.prod(tensor.shape) * dtype.itemsize != size:
        return None
    array = tail.take(tensor.name, tensor.datatype, dtype.name, tensor.shape, size)
    if dtype.kind == "f" and not np.isfinite(array).all():
        return None
    return array if array.flags.aligned else array.copy()


def _cast(array: NDArray[Any], target: np.dtype[Any]) -> NDArray[Any] | None:
    """Finite numbers with the signature's type; None where one does not fit it."""
    if array.dtype == target:
        return array
    if target.kind == "f":
        if target.itemsize >= array.dtype.itemsize or array.dtype.kind in "iu":
            return array.astype(target) if target.itemsize > 2 else None
        with np.errstate(over="ignore"):
            narrowed = array.astype(target)
        return narrowed if np.isfinite(narrowed).all() else None
    if target.kind not in "iu" or not array.size:
        return None
    if array.dtype.kind == "f" and ((array != np.floor(array)).any() or (np.abs(array) > _EXACT).any()):
        return None
    limits = np.iinfo(target)
    if int(array.min()) < limits.min or int(array.max()) > limits.max:
        return None
    return array.astype(target)
