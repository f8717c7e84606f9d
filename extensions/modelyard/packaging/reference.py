"""Statistics of the training rows, kept in the package so that later rows can be compared with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.packaging.rows import columns_of
from modelyard.packaging.signature import is_table
from modelyard_api.models import ColumnKind, ColumnReference, Signature, TensorSpec, TrainingReference

_BINS = 10
_LEVELS = 20
_ROWS = 100_000
"""Rows that are looked at: every n-th, where there are more."""


def reference_of(training: Any, signature: Signature) -> TrainingReference | None:
    """Of rows with the columns of `signature`; None for what is no table of them."""
    if signature.layout != "table" or not is_table(training):
        return None
    if any(spec.name not in training.columns for spec in signature.inputs) or not len(training):
        return None
    rows = training.iloc[:: max(1, len(training) // _ROWS)]
    columns: Mapping[str, NDArray[Any]] = columns_of(rows, signature.inputs)
    told = {spec.name: _column(spec, columns[spec.name]) for spec in signature.inputs}
    return TrainingReference(rows=len(training), columns={n: c for n, c in told.items() if c is not None})


def _column(spec: TensorSpec, column: NDArray[Any]) -> ColumnReference | None:
    if spec.kind is ColumnKind.datetime:
        return None  # time goes on: later rows have later times
    if spec.kind is ColumnKind.number:
        numbers = column.astype(np.float64)
        there = numbers[np.isfinite(numbers)]
        edges = np.unique(np.quantile(there, np.linspace(0, 1, _BINS + 1)[1:-1])) if len(there) else np.empty(0)
        counted = np.bincount(np.searchsorted(edges, there, side="right"), minlength=len(edges) + 1)
        return ColumnReference(
            edges=tuple(edges.tolist()), shares=_shares([*counted.tolist(), len(numbers) - len(there)])
        )
    words = [None if value is None else str(value) for value in column.tolist()]
    values, counts = np.unique([word for word in words if word is not None] or [""], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_LEVELS]
    levels = tuple(str(values[i]) for i in order)
    known = set(levels)
    rows = [words.count(level) for level in levels] if not any(words) else [int(counts[i]) for i in order]
    missing = sum(word is None for word in words)
    others = sum(word is not None and word not in known for word in words)
    return ColumnReference(levels=levels, shares=_shares([*rows, others, missing]))


def _shares(rows: list[int]) -> tuple[float, ...]:
    total = sum(rows) or 1
    return tuple(round(n / total, 6) for n in rows)
