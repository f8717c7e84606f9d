"""Rows as people see them."""

from __future__ import annotations

import pytest

from modelyard.batch.printing import show


def test_what_stands_in_brackets_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"run": "r1", "message": "no such file: [/data/x.csv]", "results": [True, False]}], as_json=False)
    printed = capsys.readouterr().out
    assert "[/data/x.csv]" in printed
    assert "[True, False]" in printed
