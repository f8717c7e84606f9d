"""Specs of schedules."""

from __future__ import annotations

from typing import Any

from harness.runs import spec as run_spec
from modelyard_api.schedules import ScheduleSpec


def spec(cron: str = "* * * * *", run: dict[str, Any] | None = None, **members: Any) -> ScheduleSpec:
    """A schedule of a notebook; each minute, in UTC."""
    return ScheduleSpec(cron=cron, run=run_spec(**(run or {})), **members)
