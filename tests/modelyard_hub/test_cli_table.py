"""Rows as people see them."""

from __future__ import annotations

import pytest

from modelyard_hub.cli_table import show


def test_what_stands_in_brackets_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"name": "[/data/x.csv]", "groups": ["red", "blue"]}], as_json=False)
    printed = capsys.readouterr().out
    assert "[/data/x.csv]" in printed
    assert "['red', 'blue']" in printed
