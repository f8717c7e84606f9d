"""When lines are due: above all, when the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from modelyard_api.errors import InvalidInput
from modelyard_hub.cron import check, due_after

BERLIN = "Europe/Berlin"


def times(line: str, after: str, count: int, zone: str = BERLIN) -> list[str]:
    """Due times in the zone's own clock, with its distance from UTC."""
    start = datetime.fromisoformat(after)
    start = start if start.tzinfo else start.replace(tzinfo=ZoneInfo(zone))
    found = list(islice(due_after(line, zone, start), count))
    assert all(time.tzinfo is UTC for time in found)
    assert found == sorted(set(found))
    return [time.astimezone(ZoneInfo(zone)).strftime("%d %H:%M %z") for time in found]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # 29 March 2026: 02:00 is followed by 03:00.
        ("30 1 * * *", ["29 01:30 +0100", "30 01:30 +0200"]),
        ("30 2 * * *", ["29 03:00 +0200", "30 02:30 +0200"]),
        ("30 2,3 * * *", ["29 03:00 +0200", "29 03:30 +0200", "30 02:30 +0200"]),
        ("0 2,3 * * *", ["29 03:00 +0200", "30 02:00 +0200"]),
        ("30 * * * *", ["29 00:30 +0100", "29 01:30 +0100", "29 03:30 +0200"]),
        ("*/30 1-3 * * *", ["29 01:00 +0100", "29 01:30 +0100", "29 03:00 +0200", "29 03:30 +0200"]),
    ],
)
def test_in_spring(line: str, expected: list[str]) -> None:
    assert times(line, "2026-03-28T23:59", len(expected)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # 25 October 2026: 03:00 is followed by 02:00.
        ("30 2 * * *", ["25 02:30 +0200", "26 02:30 +0100"]),
        ("0 3 * * *", ["25 03:00 +0100", "26 03:00 +0100"]),
        ("30 * * * *", ["25 00:30 +0200", "25 01:30 +0200", "25 02:30 +0200", "25 02:30 +0100", "25 03:30 +0100"]),
        ("*/30 2 * * *", ["25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100", "26 02:00 +0100"]),
    ],
)
def test_in_autumn(line: str, expected: list[str]) -> None:
    assert times(line, "2026-10-24T23:59", len(expected)) == expected


def test_it_goes_on_from_between_the_two_hours_of_one_name() -> None:
    assert times("30 2 * * *", "2026-10-25T00:30+00:00", 1) == ["26 02:30 +0100"]
    assert times("30 2 * * *", "2026-10-25T01:10+00:00", 1) == ["26 02:30 +0100"]
    assert times("30 2 * * *", "2026-10-25T00:29:59+00:00", 1) == ["25 02:30 +0200"]
    assert times("30 2 * * *", "2026-03-29T01:00+00:00", 1) == ["30 02:30 +0200"]


def test_names_and_days() -> None:
    assert times("@daily", "2026-01-01T12:00", 1) == ["02 00:00 +0100"]
    assert times("0 9 * * MON-FRI", "2026-01-02T12:00", 1) == ["05 09:00 +0100"]
    assert times("0 0 29 2 *", "2026-01-01T00:00", 1) == ["29 00:00 +0100"]
    assert times("0 12 * * *", "2026-01-01T00:00", 1, "Asia/Kathmandu") == ["01 12:00 +0545"]


@pytest.mark.parametrize("line", ["0 0 30 2 *", "0 0 31 2,4,6 *", "0 0 30-31 2 *"])
def test_lines_that_are_never_due(line: str) -> None:
    with pytest.raises(InvalidInput, match="never due"):
        check(line, BERLIN)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("* * * * * *", "6 fields"),
        ("61 * * * *", "Bad minute"),
        ("0 0 32 * *", "Bad day-of-month"),
        ("@reboot", "1 fields"),
        ("0 0 * * caturday", "Bad day-of-week"),
    ],
)
def test_lines_that_cannot_be_read(line: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        check(line, BERLIN)
    assert "Five fields" in refused.value.remedy


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("../../etc/passwd", "IANA"),
        ("/etc/passwd", "IANA"),
        ("Europe", ""),
        ("", "IANA"),
        ("CEST?", ""),
    ],
)
def test_zones_that_there_are_not(zone: str, meant: str) -> None:
    with pytest.raises(InvalidInput, match="there is no time zone") as refused:
        check("@daily", zone)
    assert meant in refused.value.remedy
