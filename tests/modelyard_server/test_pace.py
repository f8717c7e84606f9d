"""What is taken for quick: as measured, of texts no longer than those measured, until it stalls once."""

from __future__ import annotations

import numpy as np

from modelyard_server.pace import Pace

NUMBERS = {"a": np.zeros(1)}


def text(length: int) -> dict[str, np.ndarray]:
    return {"a": np.zeros(1), "b": np.array(["x" * length], dtype=object)}


def test_one_stall_ends_it_and_it_is_tried_again() -> None:
    pace = Pace(1e-4, 0.0)
    assert pace.quick(1, NUMBERS)
    pace.saw(1, 0.005)
    assert pace.quick(1, NUMBERS)
    pace.saw(1, 0.5)
    assert not pace.quick(1, NUMBERS)
    refused = 0
    while not pace.quick(1, NUMBERS):
        refused += 1
        assert refused < 2000
    assert refused > 100


def test_what_is_slow_by_its_rows_forgets_nothing() -> None:
    pace = Pace(1e-4, 1e-3)
    pace.saw(1, 0.5)
    for _ in range(2000):
        assert not pace.quick(100, NUMBERS)
    assert not pace.quick(0, NUMBERS)


def test_long_texts_are_not_known_to_be_quick() -> None:
    pace = Pace(1e-4, 0.0, letters=10)
    assert pace.quick(1, text(12))
    assert not pace.quick(1, text(1000))
    assert not pace.quick(1, {"b": np.array(["x" * 1000])})
