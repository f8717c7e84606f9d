"""What MLflow takes of what was recorded."""

from __future__ import annotations

from modelyard_api.tracked import numbers, text


def test_only_finite_numbers_are_told() -> None:
    given = {
        "auc": 0.5,
        "rows": 3,
        "yes": True,
        "nan": float("nan"),
        "inf": float("-inf"),
        "huge": 10**400,
        "name": "x",
    }
    assert numbers(given) == {"auc": 0.5, "rows": 3.0, "yes": 1.0}


def test_texts_that_no_database_takes_are_told_without_what_it_does_not() -> None:
    assert text("a\0b\ud800c") == "a?b?c"
    assert text(["ä", 1]) == "['ä', 1]"
