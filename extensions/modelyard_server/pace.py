"""How long a model takes: what is quick runs where the request is read, all else in the worker thread."""

from __future__ import annotations

import logging
import time

import numpy as np

from modelyard_api.errors import ModelyardError
from modelyard_server.dataplane import DataPlane, rows
from modelyard_server.flavors.base import Columns

_log = logging.getLogger(__name__)
QUICK = 0.001
"""Seconds. While a model runs where requests are read, nothing else is answered."""
_ROWS = 64


class Pace:
    """Seconds for n rows, as measured at start and corrected by every run since."""

    def __init__(self, fixed: float, row: float) -> None:
        self._fixed = fixed
        self._row = row
        self._factor = 1.0

    def quick(self, count: int) -> bool:
        """Whether `count` rows take less than a millisecond."""
        return (self._fixed + self._row * count) * self._factor <= QUICK

    def saw(self, count: int, seconds: float) -> None:
        """A run took that long. One outlier changes little: a machine pauses now and then."""
        ratio = seconds / (self._fixed + self._row * count)
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
    return Pace(single, max(block - single, 0.0) / rows(many))


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
