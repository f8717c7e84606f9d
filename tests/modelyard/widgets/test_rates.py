"""Rates from sums."""

from __future__ import annotations

from modelyard.widgets.rates import WINDOW, Rates
from modelyard_api.endpoints import RevisionMetrics


def sums(revision: int, requests: int, errors: int = 0, slow: int = 0) -> RevisionMetrics:
    """`slow` calls took up to 10 ms, the others up to 1 ms."""
    histogram = ((1.0, requests - slow), (10.0, requests), (None, requests))
    return RevisionMetrics(revision=revision, requests=requests, errors=errors, latency_ms=histogram, memory_bytes=5)


def test_the_difference_of_two_looks_is_a_rate() -> None:
    rates = Rates()
    assert rates.add(100.0, [sums(1, 50)]) is None
    point = rates.add(102.0, [sums(1, 70, errors=1, slow=10), sums(2, 3)])
    assert point == (102.0, {"1": [10.0, 0.5, 1.0, 9.82, 0.0, 5.0]})
    assert rates.add(104.0, [sums(1, 70, errors=1, slow=10), sums(2, 3)]) == (
        104.0,
        {"1": [0.0, 0.0, None, None, 0.0, 5.0], "2": [0.0, 0.0, None, None, 0.0, 5.0]},
    )


def test_looks_too_close_and_too_far_apart_say_nothing() -> None:
    rates = Rates()
    rates.add(100.0, [sums(1, 50)])
    assert rates.add(100.2, [sums(1, 51)]) is None
    assert rates.add(102.0, [sums(1, 60)]) == (102.0, {"1": [5.0, 0.0, 0.5, 0.99, 0.0, 5.0]})
    assert rates.add(200.0, [sums(1, 600)]) is None


def test_replicas_that_started_again_count_from_nothing() -> None:
    rates = Rates()
    rates.add(100.0, [sums(1, 50, errors=9)])
    point = rates.add(102.0, [sums(1, 4)])
    assert point is not None
    assert point[1]["1"][:2] == [2.0, 0.0]


def test_only_the_last_minutes_are_kept() -> None:
    rates = Rates()
    for i in range(400):
        rates.add(2.0 * i, [sums(1, i)])
    assert rates.points[-1][0] - rates.points[0][0] <= WINDOW
    assert len(rates.points) == 151
