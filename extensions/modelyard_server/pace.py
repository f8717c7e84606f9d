"""How long a model takes: what is quick runs where the request is read, all else in the worker thread."""

from __future__ import annotations

import logging
import time

import numpy as np

from modelyard_api.errors import ModelyardError
from modelyard_server.block import Block
from modelyard_server.dataplane import DataPlane, rows
from modelyard_server.flavors.base import Columns

_log = logging.getLogger(__name__)
QUICK = 0.001
"""Seconds. While a model runs where requests are read, nothing else is answered."""
_ROWS = 64
_STALL = 20 * QUICK
"""Seconds of one run from which on a model is not taken for quick any more, whatever it was before."""


class Pace:
    """Seconds for n rows, as measured at start and corrected by every run since; `letters`: of the rows measured."""

    def __init__(self, fixed: float, row: float, letters: float = 0.0) -> None:
        self._fixed = fixed
        self._row = row
        self._letters = letters
        self._factor = 1.0

    @property
    def never(self) -> bool:
        """Whether not even one row was quick when it was measured."""
        return self._fixed + self._row > QUICK

    def quick(self, count: int, columns: Columns) -> bool:
        """Whether `count` rows take less than a millisecond. Nobody knows of texts longer than those measured."""
        measured = self._fixed + self._row * count
        if measured > QUICK:
            return False
        if measured * self._factor > QUICK:
            self._factor *= 0.99  # so that it is tried again, after some hundred requests
            return False
        return _letters(columns) <= (2 * self._letters + 16) * count

    def saw(self, count: int, seconds: float) -> None:
        """A run took that long. One outlier changes little, as a machine pauses now and then; a stall changes all."""
        ratio = seconds / (self._fixed + self._row * count)
        if seconds > _STALL:
            self._factor = max(self._factor, ratio)
            return
        self._factor += 0.02 * (min(ratio, 4 * self._factor) - self._factor)


SLOW = Pace(1.0, 0.0)
"""Of a model that always has the worker thread."""


def warm(plane: DataPlane) -> Pace:
    """Predict the package's own example until it is as fast as it gets; how fast that is."""
    try:
        one, many = _tables(plane)
        if not plane.concurrent:
            plane.run(one)
            return SLOW
        single, block = _least(plane, one), _least(plane, many)
    except (ModelyardError, IndexError) as error:
        _log.warning("the example was not predicted before the first request: %s", error)
        return SLOW
    return Pace(single, max(block - single, 0.0) / rows(many), _letters(many) / rows(many))


def _letters(columns: Columns) -> int:
    """Of all texts."""
    if isinstance(columns, Block):
        return 0
    found = 0
    for array in columns.values():
        if array.dtype.kind == "U":
            found += array.size * array.dtype.itemsize // 4
        elif array.dtype.kind == "O":
            found += sum(len(value) for value in array.flat if isinstance(value, str))
    return found


def _tables(plane: DataPlane) -> tuple[Columns, Columns]:
    checked = plane.check(plane.example())
    one = {name: column[:1] for name, column in checked.items()}
    return one, {name: np.concatenate([column[:1]] * _ROWS) for name, column in checked.items()}


def _least(plane: DataPlane, columns: Columns) -> float:
    """Of this thread's own time: on a busy machine others' is not counted."""
    least = np.inf
    for _ in range(20):
        start = time.thread_time()
        plane.run(columns)
        least = min(least, time.thread_time() - start)
        if least > QUICK:
            break
    return float(max(least, 1e-6))
