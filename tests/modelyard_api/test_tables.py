"""Rows as people see them, at any width."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard_api.tables import printed, table

STARTED = datetime(2026, 3, 1, 2, 0, 7, tzinfo=UTC)
SHOWN = STARTED.astimezone().strftime("%Y-%m-%d %H:%M")
LONG = "a-model-that-is-called-as-long-as-people-call-such-things-2026"
RUN: dict[str, Any] = {
    "id": "0123456789abcdef",
    "name": LONG,
    "state": "succeeded",
    "started": STARTED,
    "duration": timedelta(seconds=3671),
    "owner": "ada",
    "about": "succeeded, " + "in more words than there is room for " * 3,
}


@pytest.mark.parametrize("width", [40, 60, 80, 81, 120, 200, 1000])
def test_what_matters_is_whole_at_any_width_and_no_line_is_wider(width: int) -> None:
    text = table([RUN, {**RUN, "name": "short"}], width, drop=("about", "owner"))
    lines = text.splitlines()
    for whole in ("0123456789abcdef", "succeeded", SHOWN, "1:01:11 h"):
        assert text.count(whole) >= 2, text
    if width >= 80:
        assert max(len(line) for line in lines) <= width, text
        begin, end = lines[0].index("name"), lines[0].index("state")
        below = [line[begin:end].strip() for line in lines[1:] if line[begin:end].strip()]
        assert "".join(below).startswith(f"{LONG}short"), text
    if width == 1000:
        assert RUN["about"].strip() in text


def test_columns_are_left_out_from_the_least_important_on_and_that_is_said() -> None:
    text = table([RUN], 85, drop=("about", "owner"))
    assert "owner" in text.splitlines()[0]
    assert text.splitlines()[-1] == "(a wider terminal, a pipe or --json also shows: about)"
    assert "owner" not in table([RUN], 84, drop=("about", "owner")).splitlines()[0]


def test_where_nothing_has_room_each_is_a_line_of_its_own() -> None:
    lines = table([RUN], 40, drop=("about", "owner")).splitlines()
    assert lines[0] == "id: 0123456789abcdef"
    assert f"name: {LONG}" in lines


def test_in_a_pipe_all_is_whole_and_aligned_by_tabs() -> None:
    first, *rows = table([RUN, {**RUN, "name": "short"}], None, drop=("about", "owner")).splitlines()
    assert [cell.strip() for cell in first.split("\t")] == list(RUN)
    for row, name in zip(rows, (LONG, "short"), strict=True):
        cells = row.split("\t")
        assert [cell.strip() for cell in cells] == [
            *(RUN["id"], name, "succeeded", STARTED.isoformat(timespec="seconds"), "1:01:11 h", "ada"),
            RUN["about"].strip(),
        ]
        assert list(map(len, cells[:-1])) == list(map(len, rows[0].split("\t")[:-1])), "aligned"


def test_letters_that_are_two_wide_and_what_a_terminal_would_take_for_a_command() -> None:
    text = table([{"name": "模型", "x": 1}, {"name": "abcd", "x": 2}, {"name": "\x1b[2J\n[red]", "x": 3}], 80)
    assert text.splitlines() == ["name        x", "模型        1", "abcd        2", " [2J [red]  3"]


def test_as_json_values_are_those_of_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = json.loads(printed([RUN], as_json=True))
    assert (row["started"], row["duration"]) == ("2026-03-01T02:00:07+00:00", 3671)
    assert printed([], as_json=False) == "none"
