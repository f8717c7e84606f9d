"""Histograms of latencies: their quantiles, and what came between two looks."""

from __future__ import annotations

from modelyard_api.latency import quantile, since

INF = float("inf")


def test_quantiles_are_linear_within_a_bucket() -> None:
    assert quantile({1.0: 0, 2.0: 50, 10.0: 100, INF: 100}, 0.5) == 2.0
    assert quantile({1.0: 0, 2.0: 100, INF: 100}, 0.5) == 1.5


def test_quantiles_of_nothing_and_beyond_the_last_bound() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({0.1: 0, INF: 0}, 0.5) is None
    assert quantile({0.1: 0, INF: 4}, 0.5) == 0.1


def test_what_came_between_two_looks() -> None:
    before, now = [(1.0, 3), (2.0, 5), (None, 5)], [(1.0, 3), (2.0, 9), (None, 10)]
    assert since(before, now) == {1.0: 0, 2.0: 4, INF: 5}
    assert since([], now) == {1.0: 3, 2.0: 9, INF: 10}


def test_a_replica_that_started_again_counts_from_nothing() -> None:
    assert since([(1.0, 30), (None, 50)], [(1.0, 1), (None, 2)]) == {1.0: 1, INF: 2}
