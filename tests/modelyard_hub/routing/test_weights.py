from __future__ import annotations

import itertools

import pytest

from modelyard_hub.routing.weights import effective, to_hundred


@pytest.mark.parametrize(
    ("wanted", "last", "ready", "stable", "expected"),
    [
        pytest.param({1: 100}, {}, {1}, (), {1: 100}, id="ready"),
        pytest.param({1: 90, 2: 10}, {1: 100}, {1}, (1,), {1: 100}, id="the last stays until the split is ready"),
        pytest.param({1: 90, 2: 10}, {1: 100}, {1, 2}, (1,), {1: 90, 2: 10}, id="split"),
        pytest.param({3: 100}, {1: 90, 2: 10}, {1, 2}, (1,), {1: 90, 2: 10}, id="the last split stays"),
        pytest.param({3: 100}, {1: 60, 2: 30, 4: 10}, {1, 2}, (1,), {1: 67, 2: 33}, id="what is left of the last"),
        pytest.param({1: 50, 2: 50}, {}, {2}, (), {2: 100}, id="what is ready of a new one"),
        pytest.param({3: 100}, {2: 100}, {1}, (1, 2, 3), {1: 100}, id="an earlier stable one before nothing"),
        pytest.param({1: 100}, {1: 100}, {2}, (1,), {1: 100}, id="never a candidate"),
        pytest.param({2: 100}, {1: 100}, set(), (1,), {1: 100}, id="nothing ready: the last"),
        pytest.param({2: 100, 1: 0}, {}, set(), (), {2: 100}, id="nothing ready: the wanted"),
    ],
)
def test_effective(
    wanted: dict[int, int], last: dict[int, int], ready: set[int], stable: tuple[int, ...], expected: dict[int, int]
) -> None:
    assert effective(wanted, last, ready, stable) == expected


def test_percents_always_sum_to_a_hundred() -> None:
    for shares in itertools.product(range(1, 30, 4), repeat=3):
        assert sum(to_hundred(dict(enumerate(shares, start=1))).values()) == 100
