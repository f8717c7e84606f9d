"""What a run's processes told of it, read at its output: one report, or those of its shards put together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from modelyard_api.runs import PROGRESS, Progress, RunReport, rows_in_words
from modelyard_api.tasks import RESULTS, shard_output
from modelyard_hub.runtimes.outputs import open_output

_LONGEST = 400


async def read_report(location: str, shards: int = 0) -> RunReport | None:
    """The report at an output; None where nothing was told. Unavailable."""
    places = [shard_output(location, index) for index in range(shards)] if shards else [location]
    found = await asyncio.gather(*(open_output(place).read(f"{RESULTS}/{PROGRESS}") for place in places))
    if all(told is None for told in found):
        return None
    reports = [report_of(told) for told in found]
    return together(reports) if shards else reports[0]


def report_of(told: bytes | None) -> RunReport:
    """What a run's process told; an empty one where that is nothing, or nothing that can be read."""
    if told is None:
        return RunReport()
    try:
        return RunReport.model_validate_json(told)
    except ValidationError:
        return RunReport()


def together(reports: Sequence[RunReport]) -> RunReport:
    """One report of all shards. The results are those of the shard that ended it, which added all up; memory is the
    most that one used. Pure."""
    results: dict[str, Any] = {}
    for report in reports:
        results |= report.results
    failed = [report for report in reports if report.reason]
    first = next((report for report in failed if report.reason != "Stopped"), failed[0] if failed else RunReport())
    return RunReport(
        progress=_progress([report.progress for report in reports]),
        results=results,
        failure=first.failure,
        reason=first.reason,
        message=first.message,
        peak_memory=max((report.peak_memory or 0 for report in reports), default=0) or None,
    )


def _progress(each: Sequence[Progress]) -> Progress:
    """One progress of all shards; before the first of them scores, what they do."""
    elapsed, expected, totals = (
        [value for one in each if (value := getattr(one, name)) is not None]
        for name in ("elapsed", "expected", "total")
    )
    far = Progress(
        rows=sum(one.rows or 0 for one in each) if any(one.rows is not None for one in each) else None,
        rejected=sum(one.rejected for one in each),
        total=max(totals, default=None),
        # Each tells the rate of all that it has done: one that is done adds nothing to what comes.
        rate=round(sum(one.rate or 0.0 for one in each if not one.shards_done), 1),
        shards=len(each),
        shards_done=sum(one.shards_done for one in each),
        elapsed=max(elapsed, default=None),
        expected=max(expected, default=None),
    )
    said = "; ".join(dict.fromkeys(one.last_output for one in each if one.last_output))
    return far.model_copy(update={"last_output": (said if far.rows is None else rows_in_words(far))[:_LONGEST]})
