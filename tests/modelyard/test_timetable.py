"""Schedules by the client: found, edited without losing what others changed, read out before they are written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import modelyard as yard
from harness.runs import notebook
from harness.served import Served, served
from modelyard.client import AsyncClient
from modelyard.errors import InvalidInput, NotFound


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with served(tmp_path / "hub") as it:
        monkeypatch.setenv("MODELYARD_URL", it.url)
        monkeypatch.setenv("MODELYARD_TOKEN", "ada")
        yield it


def test_edited_without_losing_what_others_changed(api: Served, tmp_path: Path) -> None:
    path = tmp_path / "train.ipynb"
    path.write_text(notebook("1", parameters="depth = 3"))
    nightly = yard.schedule(path, "30 2 * * *", parameters={"depth": 5}, name="nightly", overlap=True)
    yard.find_schedule("ada/nightly").pause()
    nightly.edit(cron="0 6 * * MON", time_zone="Europe/Berlin")
    found = yard.find_schedule("nightly").spec
    assert (found.cron, found.time_zone, found.paused, found.overlap) == ("0 6 * * MON", "Europe/Berlin", True, True)
    assert found.run.parameters == {"depth": 5}
    with pytest.raises(InvalidInput, match="never due") as refused:
        nightly.edit(cron="0 0 30 2 *")
    assert refused.value.extra["field"] == "cron"
    with pytest.raises(InvalidInput, match="'paused' of a schedule cannot be edited"):
        nightly.edit(paused=False)
    with pytest.raises(InvalidInput, match="deadline"):
        nightly.edit(deadline=0)
    with pytest.raises(NotFound):
        yard.find_schedule("weekly")


async def test_what_a_line_says(api: Served) -> None:
    async with AsyncClient() as client:
        due = await client.due("0 9 * * MON#1", "Asia/Tokyo")
    assert due.words == "At 09:00 on the first Monday of the month"
    assert [(time.weekday(), time.hour, time.day <= 7) for time in due.next] == [(0, 9, True)] * 5
    with pytest.raises(InvalidInput, match="no time zone 'Asia/Tokio'") as refused:
        yard.due("@daily", "Asia/Tokio")
    assert refused.value.extra["field"] == "time_zone"
