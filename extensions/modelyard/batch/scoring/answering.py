"""Rows in, answers and rejects out. One bad row costs itself, not its batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from modelyard.batch.scoring.drift import Counts, Reference
from modelyard.batch.scoring.intake import Intake
from modelyard.batch.scoring.sources import Piece
from modelyard_api.errors import InvalidInput, ModelFailed
from modelyard_server.dataplane import DataPlane

Arrays = Mapping[str, NDArray[Any]]
_IN_ROW = re.compile(r" in row \d+| \(row \d+\)$")


@dataclass(frozen=True)
class Reject:
    """A row that could not be scored: its number in its file, why, and its values as JSON."""

    file: str
    row: int
    reason: str
    values: str


@dataclass(frozen=True)
class Answered:
    """What became of a piece."""

    table: pa.RecordBatch
    rejects: tuple[Reject, ...]
    rows: int
    counts: Counts = field(default_factory=dict)


@dataclass(frozen=True)
class Answerer:
    """Scores pieces with one plane; for one thread at a time. `schema`: of what it gives."""

    plane: DataPlane
    intake: Intake
    schema: pa.Schema
    outputs: tuple[str, ...]
    reference: Reference | None = None

    def answer(self, piece: Piece) -> Answered:
        """ModelFailed where the model answers something else than one row for each."""
        broken = tuple(Reject(piece.file, b.row, b.reason, b.text) for b in piece.broken)
        if not piece.batch.num_rows:
            return Answered(_empty(self.schema), broken, piece.rows)
        arrays = self.intake.arrays(piece.batch)
        reasons: dict[int, str] = {}
        good, checked = _without_bad(arrays, piece.batch.num_rows, self._check, InvalidInput, reasons)
        answers: Arrays | None = None
        if checked is not None:
            found: dict[int, str] = {}
            kept, answers = _without_bad(checked, len(good), self.plane.run, ModelFailed, found)
            reasons |= {int(good[index]): why for index, why in found.items()}
            good = good[kept]
        rejects = [
            Reject(piece.file, int(piece.numbers[index]), why, self.intake.values(piece.batch, index))
            for index, why in sorted(reasons.items())
        ]
        table = _empty(self.schema) if answers is None else self._table(piece, good, answers)
        counts = self.reference.count(arrays) if self.reference is not None else {}
        return Answered(table, broken + tuple(rejects), piece.rows, counts)

    def _check(self, arrays: Arrays) -> Arrays:
        """Rows of unequal lengths go as lists, as a request has them."""
        ragged = {spec.name for spec in self.plane.manifest.signature.inputs if len(spec.shape) > 1}
        if self.plane.manifest.signature.layout == "table":
            return self.plane.check(arrays)
        return self.plane.check({n: a.tolist() if a.ndim == 1 and n in ragged else a for n, a in arrays.items()})

    def _table(self, piece: Piece, good: NDArray[np.int64], answers: Arrays) -> pa.RecordBatch:
        whole = len(good) == piece.batch.num_rows
        _, kept = self.intake.kept(piece)
        columns = kept if whole else [column.take(pa.array(good)) for column in kept]
        for name in self.outputs:
            wanted = self.schema.field(name).type
            columns.append(_cast(as_arrow(answers[name], len(good), name), wanted, name))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _without_bad(
    columns: Arrays,
    rows: int,
    attempt: Callable[[Arrays], Any],
    refusal: type[Exception],
    reasons: dict[int, str],
) -> tuple[NDArray[np.int64], Any]:
    """The rows for which `attempt` succeeds and what it gave for all of them at once; why it fails for the others goes
    to `reasons`. (None for no rows.)"""
    everything = np.arange(rows, dtype=np.int64)
    try:
        return everything, attempt(columns)
    except refusal as error:
        if rows == 1:
            reasons[0] = _IN_ROW.sub("", str(getattr(error, "detail", error)))
            return everything[:0], None
    pending = [everything]
    while pending:
        chosen = pending.pop()
        try:
            attempt({name: array[chosen] for name, array in columns.items()})
        except refusal as error:
            if len(chosen) == 1:
                reasons[int(chosen[0])] = _IN_ROW.sub("", str(getattr(error, "detail", error)))
            else:
                middle = len(chosen) // 2
                pending += [chosen[middle:], chosen[:middle]]
    good = np.array([index for index in range(rows) if index not in reasons], dtype=np.int64)
    if not len(good):
        return good, None
    return good, attempt({name: array[good] for name, array in columns.items()})


def as_arrow(array: NDArray[Any], rows: int, name: str) -> pa.Array:
    """An output with one value, or one list, for each row."""
    if array.ndim == 0 or len(array) != rows:
        raise ModelFailed(
            f"the model answered {'one value' if array.ndim == 0 else len(array)} as {name!r} for {rows} rows",
            remedy="A model that is to score tables answers one row for each.",
        )
    flat = np.ascontiguousarray(array).reshape(-1)
    try:
        made = pa.array(flat)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        made = pa.array([None if value is None else str(value) for value in flat.tolist()])
    for size in reversed(array.shape[1:]):
        made = pa.FixedSizeListArray.from_arrays(made, size)
    return made


def _cast(array: pa.Array, wanted: pa.DataType, name: str) -> pa.Array:
    if array.type == wanted:
        return array
    try:
        return array.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ModelFailed(f"the model answered {array.type} as {name!r}, and {wanted} to its example") from error


def output_schema(intake: Intake, example: Arrays, rows: int, chosen: Sequence[str]) -> pa.Schema:
    """Of the output files, by what the model answers to its own example. InvalidInput for an output that it has not."""
    unknown = [name for name in chosen if name not in example]
    if unknown:
        raise InvalidInput(f"the model has no output {unknown[0]!r}", remedy=f"It has {', '.join(example)}.")
    kept = intake.kept_schema()
    names = list(chosen) or list(example)
    twice = next((f.name for f in kept if f.name in names), None)
    if twice is not None:
        raise InvalidInput(
            f"a column to keep is called {twice!r}, as an output of the model is",
            remedy="Rename it in the data, leave it out of keys=, or choose outputs=.",
        )
    fields = [pa.field(name, as_arrow(example[name], rows, name).type) for name in names]
    return pa.schema([*kept, *fields])


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], type=f.type) for f in schema], schema=schema)
