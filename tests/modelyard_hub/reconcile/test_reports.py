"""The reports of a run's shards, put together."""

from __future__ import annotations

from pathlib import Path

from modelyard_api.runs import PROGRESS, Progress, RunReport
from modelyard_api.tasks import RESULTS, TaskState, TaskStatus, shard_output
from modelyard_hub.reconcile.reports import read_report, together
from modelyard_hub.runtimes.task import joined


def report(said: str = "", **members: object) -> RunReport:
    return RunReport(progress=Progress(last_output=said, elapsed=3.0), **members)


def test_results_are_those_of_the_one_that_ended_it_and_memory_is_the_most() -> None:
    last = report("30 of 30 rows", results={"rows": 90}, peak_memory=7)
    made = together([report("10 of 30 rows", peak_memory=9), last, RunReport()])
    assert (made.results, made.peak_memory) == ({"rows": 90}, 9)
    assert (made.progress.elapsed, made.reason) == (3.0, "")


def test_how_far_they_are_is_one_progress() -> None:
    def shard(rows: int | None, rate: float | None = None, done: int = 0, rejected: int = 0) -> RunReport:
        far = Progress(rows=rows, rate=rate, total=90_000, shards=done, shards_done=done, rejected=rejected)
        return RunReport(progress=far)

    far = together([shard(30_000, 500.0, done=1), shard(10_000, 600.0, rejected=2), shard(None), RunReport()]).progress
    assert (far.rows, far.total, far.rate, far.rejected) == (40_000, 90_000, 600.0, 2)
    assert (far.shards, far.shards_done) == (4, 1)
    assert far.last_output == ("40,000 of 90,000 rows, 1 of 4 shards done, 600 a second, 2 rejected, about 83 s left")
    done = together([shard(45_000, 500.0, done=1), shard(45_000, 500.0, done=1)]).progress
    assert done.last_output == "90,000 of 90,000 rows, 2 of 2 shards done, 0 a second"
    unknown = together([RunReport(progress=Progress(rows=5, rate=2.0)), RunReport()]).progress
    assert unknown.last_output == "5 rows, 0 of 2 shards done, 2 a second"


def test_before_the_first_of_them_scores_it_is_told_what_they_do() -> None:
    assert together([report("fetching ada.churn"), report("fetching ada.churn")]).progress.last_output == (
        "fetching ada.churn"
    )


def test_it_failed_by_the_one_that_was_not_only_stopped() -> None:
    stopped = report(reason="Stopped", message="it was stopped")
    made = together([stopped, report(reason="CannotScore", message="no column age"), stopped])
    assert (made.reason, made.message) == ("CannotScore", "no column age")
    assert together([report(), stopped]).reason == "Stopped"


async def test_they_are_read_at_the_shards_outputs(tmp_path: Path) -> None:
    assert await read_report(str(tmp_path), 2) is None
    told = Path(shard_output(str(tmp_path), 1)) / RESULTS / PROGRESS
    told.parent.mkdir(parents=True)
    told.write_text(report(results={"rows": 5}).model_dump_json())
    found = await read_report(str(tmp_path), 2)
    assert found is not None
    assert found.results == {"rows": 5}


def end(state: TaskState, reason: str = "", at: int = 1) -> TaskStatus:
    code = 0 if state is TaskState.succeeded else 3
    times = (f"2026-01-01T00:00:0{at}+00:00", f"2026-01-01T00:01:0{at}+00:00")
    return TaskStatus(state, code, reason, f"It says {reason}.", *times)


def test_how_a_task_ended_by_how_its_shards_did() -> None:
    good, bad, stopped = end(TaskState.succeeded), end(TaskState.failed, "Exited"), end(TaskState.failed, "Stopped")
    assert joined([good, None]) is None
    whole = joined([good, end(TaskState.succeeded, at=2)])
    assert whole is not None
    assert (whole.state, whole.exit_code) == (TaskState.succeeded, 0)
    assert (whole.started, whole.ended) == ("2026-01-01T00:00:01+00:00", "2026-01-01T00:01:02+00:00")
    failed = joined([stopped, None, bad])
    assert failed is not None
    assert (failed.reason, failed.message) == ("Exited", "Shard 2 of 3: It says Exited.")
    told = joined([stopped, stopped])
    assert told is not None
    assert told.reason == "Stopped"
