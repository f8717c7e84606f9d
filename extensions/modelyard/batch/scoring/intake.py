"""From Arrow to what the data plane takes: the model's columns found, their types checked before anything starts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from modelyard.batch.scoring.sources import Piece
from modelyard_api.errors import InvalidInput
from modelyard_api.models import ColumnKind, PackageManifest, TensorSpec
from modelyard_api.scoring import ScoreOptions
from modelyard_server.invocations import read_field

FILE, ROW = "file", "row"
"""What is kept beside the answers where no keys are named."""
_TARGET_BYTES = 4 * 1024 * 1024


class Intake:
    """What is read of each file, and what becomes of it."""

    def __init__(self, manifest: PackageManifest, schema: pa.Schema, options: ScoreOptions, text: bool) -> None:
        """InvalidInput names the columns that are missing, or hold something else than the model takes."""
        self._signature = manifest.signature
        self._text = text
        self.keys = options.keys
        _check_there(schema, options.keys or (), "to keep")
        self._tensor = self._signature.layout == "tensor"
        self.wanted = self._model_columns(schema, options)
        for spec in self._specs():
            _check_type(schema.field(spec.name), spec, text)
        self.columns = tuple(dict.fromkeys([*self.wanted, *(options.keys or ())]))
        self.schema = schema
        self.batch_rows = options.batch_rows or _batch_rows(self._signature.inputs, len(self.wanted))

    def _model_columns(self, schema: pa.Schema, options: ScoreOptions) -> tuple[str, ...]:
        inputs = self._signature.inputs
        if not self._tensor:
            if options.columns:
                raise InvalidInput(
                    "the model takes columns by their names, so columns= says nothing",
                    remedy=f"It takes {_listed([s.name for s in inputs])}.",
                )
            _check_there(schema, [spec.name for spec in inputs], "that the model takes")
            return tuple(spec.name for spec in inputs)
        chosen = options.columns or tuple(n for n in schema.names if n not in (options.keys or ()))
        _check_there(schema, options.columns, "that columns= names")
        name = inputs[0].name
        if not options.columns and name in schema.names:
            return (name,)
        if len(inputs[0].shape) == 1:
            if len(chosen) != 1:
                raise InvalidInput(
                    f"the model takes one value a row, and the data have {len(chosen)} columns: {_listed(chosen)}",
                    remedy="Name the one that it takes: columns=['…'].",
                )
            return chosen
        width = int(np.prod(inputs[0].shape[1:])) if -1 not in inputs[0].shape[1:] else -1
        nested = len(chosen) == 1 and _is_list(schema.field(chosen[0]).type)
        if not nested and len(inputs[0].shape) == 2 and width not in (-1, len(chosen)):
            raise InvalidInput(
                f"the model takes rows of {width} numbers, and the data have {len(chosen)} columns: {_listed(chosen)}",
                remedy="Name those that make a row, in order: columns=[…].",
            )
        if not nested and len(inputs[0].shape) != 2:
            raise InvalidInput(
                f"the model takes arrays of shape {list(inputs[0].shape[1:])}, one in each row",
                remedy=f"Keep them in a column {name!r} of lists, or name it: columns=['…'].",
            )
        return chosen

    def _specs(self) -> list[TensorSpec]:
        if not self._tensor:
            return list(self._signature.inputs)
        return [self._signature.inputs[0].model_copy(update={"name": name}) for name in self.wanted]

    def arrays(self, batch: pa.RecordBatch) -> dict[str, NDArray[Any]]:
        """The model's inputs, not checked yet."""
        if not self._tensor:
            return {spec.name: self._column(batch, spec) for spec in self._signature.inputs}
        spec = self._signature.inputs[0]
        if len(self.wanted) == 1 and _is_list(batch.schema.field(self.wanted[0]).type):
            return {spec.name: _nested(batch.column(self.wanted[0]), spec)}
        columns = [self._column(batch, one) for one in self._specs()]
        if len(spec.shape) == 1:
            return {spec.name: columns[0]}
        return {spec.name: np.column_stack(columns)}

    def _column(self, batch: pa.RecordBatch, spec: TensorSpec) -> NDArray[Any]:
        column = batch.column(spec.name)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if self._text:
            return _parsed(column, spec)
        if pa.types.is_decimal(column.type):
            column = pc.cast(column, pa.float64())
        if pa.types.is_null(column.type):
            return np.full(len(column), None, dtype=object)
        return np.asarray(column.to_numpy(zero_copy_only=False))

    def kept(self, piece: Piece) -> tuple[list[str], list[pa.Array]]:
        """What stays beside the answers: names and values."""
        if self.keys is not None:
            return list(self.keys), [piece.batch.column(name) for name in self.keys]
        return [FILE, ROW], [pa.repeat(piece.file, piece.batch.num_rows), pa.array(piece.numbers)]

    def kept_schema(self) -> list[pa.Field]:
        """Their fields."""
        if self.keys is not None:
            return [self.schema.field(name) for name in self.keys]
        return [pa.field(FILE, pa.string()), pa.field(ROW, pa.int64())]

    def values(self, batch: pa.RecordBatch, index: int) -> str:
        """One row as JSON, so that it can be looked at, mended and sent again."""
        return json.dumps(batch.slice(index, 1).to_pylist()[0], default=str, ensure_ascii=False)


def _check_there(schema: pa.Schema, names: Sequence[str], why: str) -> None:
    missing = [name for name in names if name not in schema.names]
    if missing:
        raise InvalidInput(
            f"the data have no column{'s' * (len(missing) > 1)} {_listed(missing)} {why}",
            remedy=f"They have {_listed(schema.names)}.",
        )
    twice = next((name for name in names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput(f"the data have two columns called {twice!r}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _check_type(field: pa.Field, spec: TensorSpec, text: bool) -> None:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if text or pa.types.is_null(kind) or _is_list(kind):
        return
    words = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    fits = {
        ColumnKind.number: pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind),
        ColumnKind.boolean: pa.types.is_boolean(kind),
        ColumnKind.string: words
        or (spec.categories is not None and not all(isinstance(c, str) for c in spec.categories)),
        ColumnKind.datetime: words or pa.types.is_timestamp(kind) or pa.types.is_date(kind),
    }[spec.kind]
    if not fits:
        raise InvalidInput(f"column {field.name!r} holds {field.type}, and the model takes {spec.dtype} there")


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _nested(column: pa.Array, spec: TensorSpec) -> NDArray[Any]:
    """Lists of equal lengths as one array; others as objects, which the check refuses row by row."""
    rows, flat = len(column), column
    while _is_list(flat.type):
        flat = flat.flatten()
    shape = [rows, *spec.shape[1:]]
    if rows and not column.null_count and shape.count(-1) <= 1 and pa.types.is_primitive(flat.type):
        uniform = pc.count_distinct(pc.list_value_length(column)).as_py() == 1
        known = int(np.prod([n for n in shape if n != -1]))
        if uniform and known and (len(flat) == known if -1 not in shape else len(flat) % known == 0):
            return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(shape)
    values = column.to_pylist()
    try:
        return np.array(values, dtype=object)
    except ValueError:
        ragged = np.empty(rows, dtype=object)
        ragged[:] = values
        return ragged


def _parsed(column: pa.Array, spec: TensorSpec) -> NDArray[Any]:
    """Text of a CSV by what the model takes. What cannot be read stays as it is, and is refused by its row."""
    if spec.kind is ColumnKind.number:
        whole = np.dtype(spec.dtype.lower()).kind in "iu"
        for kind in (pa.int64(), pa.float64()) if whole else (pa.float64(),):
            try:
                return np.asarray(pc.cast(column, kind).to_numpy(zero_copy_only=False))
            except pa.ArrowInvalid:
                continue
    if spec.kind in (ColumnKind.number, ColumnKind.boolean):
        read = np.empty(len(column), dtype=object)
        for index, value in enumerate(column.to_pylist()):
            try:
                read[index] = read_field(spec.name, value or "", spec.kind)
            except InvalidInput:
                read[index] = value
        return read
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _batch_rows(inputs: Sequence[TensorSpec], columns: int) -> int:
    """Some megabytes at a time: enough that calls cost nothing, little enough for the processor's caches."""
    width = sum(8 * max(1, int(np.prod([abs(n) for n in spec.shape[1:]]))) for spec in inputs)
    return max(64, min(32_768, _TARGET_BYTES // max(width, 8 * columns)))
