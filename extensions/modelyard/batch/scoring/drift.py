"""Drift: how far the rows that are scored are from those that the model was trained on, a column at a time.

The measure is the population stability index over the training rows' deciles (numbers) or most frequent values (text,
booleans), missing values as a bin of their own: the sum over bins of (seen - expected) * ln(seen / expected), shares
below 0.0001 taken as that. Below 0.1 a column is called stable, below 0.25 moved, else drifted. Few rows have a large
index by chance alone: where that happens more often than once in a thousand times (a likelihood ratio test), nothing is
made of it, and the column is called unsure. About two thousand rows of each batch are counted. A package without
statistics of its training rows has no drift, and the report says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from modelyard_api.models import REFERENCE_PATH, ColumnReference, TrainingReference
from modelyard_api.scoring import UNSURE, Drifted

Counts = dict[str, list[int]]
"""Rows by bin, of each column; the last bin is of missing values."""
_COUNTED = 2048
_FLOOR = 1e-4
_MOVED, _DRIFTED = 0.1, 0.25
_SELDOM = 3.09
"""Standard deviations that a normal variable exceeds once in a thousand times."""
_LOOKED_AT = 100_000
"""Training rows at most that the statistics are of."""


class Reference:
    """Statistics of a package's training rows."""

    def __init__(self, told: TrainingReference) -> None:
        self._columns, self._rows = told.columns, max(1, min(told.rows, _LOOKED_AT))

    @classmethod
    def of(cls, package: Path) -> Reference | None:
        """That of a package; None where it has none."""
        try:
            return cls(TrainingReference.model_validate_json((package / REFERENCE_PATH).read_bytes()))
        except (FileNotFoundError, ValidationError):
            return None

    def count(self, arrays: Mapping[str, NDArray[Any]]) -> Counts:
        """Some of the rows by bin. As they came, rejects included: a column full of gaps has drifted."""
        counted: Counts = {}
        for name, known in self._columns.items():
            column = arrays.get(name)
            if column is None or column.ndim != 1:
                continue
            counted[name] = _bins(known, column[:: max(1, len(column) // _COUNTED)])
        return counted

    def drifted(self, counts: Counts) -> dict[str, Drifted]:
        """What the counts come to, the most drifted column first."""
        found = {}
        for name, known in self._columns.items():
            rows = counts.get(name)
            total = sum(rows or ())
            if not rows or not total:
                continue
            seen = [n / total for n in rows]
            psi = sum(_term(s, e) for s, e in zip(seen, known.shares, strict=True))
            verdict = "stable" if psi < _MOVED else "moved" if psi < _DRIFTED else "drifted"
            if psi >= _MOVED and _by_chance(seen, known.shares, total, self._rows):
                verdict = UNSURE
            found[name] = Drifted(
                psi=round(psi, 4),
                verdict=verdict,
                bins=known.words(),
                expected=known.shares,
                seen=tuple(round(s, 6) for s in seen),
            )
        return dict(sorted(found.items(), key=lambda item: -item[1].psi))


def add(total: Counts, more: Counts) -> None:
    """Add counts up."""
    for name, rows in more.items():
        total[name] = [a + b for a, b in zip(total[name], rows, strict=True)] if name in total else list(rows)


def _term(seen: float, expected: float) -> float:
    a, b = max(seen, _FLOOR), max(expected, _FLOOR)
    return (a - b) * math.log(a / b)


def _by_chance(seen: Sequence[float], expected: Sequence[float], rows: int, trained: int) -> bool:
    """Whether two samples of so many rows of the same table differ so much more often than once in a thousand times."""
    ratio = sum(s * math.log(s / max(e, 1 / trained)) for s, e in zip(seen, expected, strict=True) if s)
    free = max(1, sum(s > 0 or e > 0 for s, e in zip(seen, expected, strict=True)) - 1)
    # Wilson and Hilferty's approximation of the chi-squared distribution.
    border = free * (1 - 2 / (9 * free) + _SELDOM * math.sqrt(2 / (9 * free))) ** 3
    return 2 * ratio / (1 / rows + 1 / trained) < border


def _bins(known: ColumnReference, column: NDArray[Any]) -> list[int]:
    if known.levels is None:
        try:
            numbers = column.astype(np.float64)
        except (TypeError, ValueError):
            numbers = np.array([v if isinstance(v, (int, float)) else np.nan for v in column], dtype=np.float64)
        there = numbers[np.isfinite(numbers)]  # as in training
        counted = np.bincount(np.searchsorted(known.edges, there, side="right"), minlength=len(known.edges) + 1)
        return [*counted.tolist(), len(numbers) - len(there)]
    place = {level: index for index, level in enumerate(known.levels)}
    rows = [0] * (len(known.levels) + 2)
    for value in column.tolist():
        missing = value is None or value != value
        rows[-1 if missing else place.get(str(value), len(known.levels))] += 1
    return rows
