"""Points of a sweep and their names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelyard.errors import InvalidInput
from modelyard.grid import labels, points, varied


def test_a_grid_is_all_combinations() -> None:
    found = points({"depth": [3, 5], "kind": ("a", "b")}, None)
    assert found == [{"depth": d, "kind": k} for d in (3, 5) for k in ("a", "b")]
    assert labels(found) == ["depth=3, kind=a", "depth=3, kind=b", "depth=5, kind=a", "depth=5, kind=b"]
    assert varied(found) == ["depth", "kind"]


def test_a_list_is_as_it_is() -> None:
    listed = [{"depth": 3, "rate": 0.1}, {"depth": 3}]
    assert points(None, listed) == listed
    assert varied(listed) == ["rate"]
    assert labels([{"a": 1}, {"a": 1}]) == ["1: a=1", "2: a=1"]
    assert [len(name) for name in labels([{"text": "x" * 100}, {"text": "x" * 100 + "y"}])] == [63, 63]
    assert labels([{"a": np.float64(0.5)}, {"a": [1, 2]}, {"a": None}]) == ["a=0.5", "a=[1, 2]", "a=null"]
    assert points({"a": np.array([1, 2])}, None) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("grid", "listed", "words"),
    [
        (None, None, "a grid or a list"),
        ({"a": [1]}, [{"a": 1}], "a grid or a list"),
        ({"a": 3}, None, "'a' needs a list of values"),
        ({"a": "abc"}, None, "'a' needs a list of values"),
        ({"a": []}, None, "'a' needs a list of values"),
        ({}, None, "at least one parameter"),
        (None, [], "at least one point"),
        (None, [{"a": 1}, {}], "at least one parameter"),
        ({"a": range(100), "b": range(11)}, None, "1100 points"),
        ({name: range(1000) for name in "abcdefgh"}, None, "more than 1000"),
        (None, [{"a": n} for n in range(1001)], "1001 points"),
    ],
)
def test_what_is_no_sweep(grid: Any, listed: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        points(grid, listed)
