"""A table scored on the real stack: by the library, in a run of its own, as the endpoint answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.packages import table
from harness.publishing import Publisher
from harness.scoring import answers, many
from harness.stack import Stack
from harness.wait import eventually
from modelyard import offline
from modelyard.client import AsyncClient
from modelyard.errors import Conflict, InvalidInput, NotFound, RunFailed, Unsupported
from modelyard.transport import Request
from modelyard.unattended import AsyncRun
from modelyard_api.scoring import MANIFEST, ScoreOptions, ScoreReport

pytestmark = [pytest.mark.stack]
ROWS = 5000


@pytest.fixture(scope="module")
def published(stack: Stack) -> Stack:
    Publisher(stack).publish("score-me")
    return stack


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    many(ROWS).to_parquet(tmp_path / "in.parquet", row_group_size=500)
    return tmp_path / "in.parquet"


def ask(stack: Stack, what: Any) -> Any:
    async def work() -> Any:
        async with AsyncClient(stack.url, stack.token("ada"), patience=30) as client:
            return await what(client)

    return asyncio.run(work())


def scored(stack: Stack, model: str, data: Path | str, output: Path, **options: Any) -> AsyncRun:
    fields = options.pop("fields", {})

    async def both(client: AsyncClient) -> AsyncRun:
        submitted = await client.score(model, str(data), str(output), options=ScoreOptions(**options), **fields)
        return await submitted.wait(120)

    run: AsyncRun = ask(stack, both)
    return run


def test_a_table_is_scored_as_the_endpoint_answers(published: Stack, rows: Path, tmp_path: Path) -> None:
    run = scored(published, "models:/score-me/1", rows, tmp_path / "out", keys=("id",), part_rows=1000)
    assert (run.results["rows"], run.results["scored"], run.results["rejected"]) == (ROWS, ROWS, 0)
    assert run.results["version"] == "1"
    assert run.resource.spec.score is not None
    assert run.resource.spec.score.model == "models:/ada.score-me/1"
    report = ScoreReport.model_validate_json((tmp_path / "out" / MANIFEST).read_bytes())
    assert (report.model, report.run, len(report.files)) == ("ada.score-me", run.id, 5)

    async def online(client: AsyncClient) -> tuple[Any, Any]:
        endpoint = await client.endpoint("score-me")
        inferred = await endpoint.infer(table())
        return inferred.outputs["label"], inferred.outputs["probabilities"]

    label, probabilities = ask(published, online)
    found = answers(tmp_path / "out")
    assert found["label"][:8].tolist() == list(label)
    assert [list(p) for p in found["probabilities"][:8]] == [list(p) for p in probabilities]
    logs = ask(published, lambda client: _logs(client, run.id))
    assert any("5,000 of 5,000 rows scored" in line for line in logs), logs
    again = ask(published, lambda client: client.run(run.id))
    assert again.status.mlflow_run_id


def test_a_schedule_scores_to_an_output_for_each_run(published: Stack, rows: Path, tmp_path: Path) -> None:
    table = offline.Table("score-me", str(rows), f"{tmp_path}/out/{{date}}/{{run}}", ScoreOptions(keys=("id",)))
    times, submission = offline.times_of("0 3 * * *", {"name": "nightly", "time_zone": "Europe/Berlin"})

    async def both(client: AsyncClient) -> tuple[Any, AsyncRun]:
        made = await offline.put_schedule(client, table, times, submission)
        run = await client.score(table.model, table.data, table.output, options=table.options)
        await made.delete()
        return made, await run.wait(120)

    made, run = ask(published, both)
    assert made.resource.spec.run.score.model == "models:/ada.score-me/latest"
    assert made.resource.spec.run.score.output.endswith("/out/{date}/{run}")
    assert len(answers(tmp_path / "out" / f"{run.resource.created_at:%Y-%m-%d}" / run.id)) == ROWS
    same = offline.Table("score-me", str(rows), str(tmp_path / "out"))
    with pytest.raises(InvalidInput, match=r"all runs of the schedule would write to .*Put \{date\}"):
        ask(published, lambda client: offline.put_schedule(client, same, times, submission))


def tracked(stack: Stack, run_id: str) -> str:
    """The run in MLflow, which of shards the hub service makes once they have ended."""
    found = lambda: ask(stack, lambda client: client.run(run_id)).status.mlflow_run_id  # noqa: E731
    return str(eventually(found, timeout=30, what="a run in MLflow"))


async def _logs(client: AsyncClient, run_id: str) -> list[str]:
    return await (await client.run(run_id)).logs()


def test_what_is_wrong_is_said_before_anything_starts(published: Stack, rows: Path, tmp_path: Path) -> None:
    many(10).drop(columns="age").to_parquet(tmp_path / "less.parquet")
    (tmp_path / "notes.txt").write_text("no table")
    (tmp_path / "taken").mkdir()
    before = len(ask(published, lambda client: client.runs()))
    out = tmp_path / "out"
    for kind, words, model, data, output in (
        (NotFound, "no model 'ada.nobody'", "models:/nobody", rows, out),
        (NotFound, "", "models:/score-me/99", rows, out),
        (InvalidInput, "names no model version", "models:/score-me/one", rows, out),
        (NotFound, "there is no data at", "models:/score-me/1", tmp_path / "nowhere", out),
        (InvalidInput, "no column age that the model takes", "models:/score-me/1", tmp_path / "less.parquet", out),
        (Unsupported, "not known how notes.txt is read", "models:/score-me/1", tmp_path / "notes.txt", out),
        (Exception, "cannot be", "models:/score-me/1", rows, tmp_path / "notes.txt"),
    ):
        with pytest.raises(kind, match=words or None):
            scored(published, model, data, output)
    with pytest.raises(InvalidInput, match="no argument 'speed'"):
        offline.submission_of({"speed": "fast"})
    scored(published, "score-me", rows, out)
    with pytest.raises(Conflict, match="holds a finished scoring"):
        scored(published, "score-me", rows, out)
    assert len(ask(published, lambda client: client.runs())) == before + 1


def test_what_only_the_run_can_see_ends_it_with_its_reason(published: Stack, rows: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"failed \(CannotScore\).*variable WAREHOUSE .* is not set"):
        scored(published, "score-me", "SELECT 1", tmp_path / "out", sql="WAREHOUSE", fields={"retries": 3})
    damaged = tmp_path / "damaged.parquet"
    content = bytearray(rows.read_bytes())
    content[100 : len(content) // 2] = bytes(len(content) // 2 - 100)
    damaged.write_bytes(content)
    with pytest.raises(RunFailed, match=r"CannotScore.*damaged.parquet cannot be read"):
        scored(published, "score-me", damaged, tmp_path / "out")
    with pytest.raises(RunFailed, match=r"CannotScore.*damaged.parquet cannot be read") as failed:
        scored(published, "score-me", damaged, tmp_path / "sharded", fields={"shards": 2})
    told = tracked(published, failed.value.run.id)

    async def in_mlflow(client: AsyncClient) -> dict[str, Any]:
        answer = await client.send(Request("GET", f"{client.connection.mlflow}/api/2.0/mlflow/runs/get?run_id={told}"))
        return dict(answer.json()["run"])

    run = ask(published, in_mlflow)
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert (run["info"]["status"], tags["modelyard.reason"]) == ("FAILED", "CannotScore")
    assert "damaged.parquet cannot be read" in tags["modelyard.message"]


def test_a_cancelled_scoring_leaves_whole_parts(published: Stack, tmp_path: Path) -> None:
    many(50_000).to_parquet(tmp_path / "in.parquet", row_group_size=1000)
    options = ScoreOptions(keys=("id",), part_rows=10, batch_rows=1)  # minutes, unless it is ended

    async def submit(client: AsyncClient) -> AsyncRun:
        return await client.score("score-me", str(tmp_path / "in.parquet"), str(tmp_path / "out"), options=options)

    run = ask(published, submit)
    eventually(lambda: len(list((tmp_path / "out").glob("part-*"))) > 3, timeout=90, what="some parts")
    eventually(lambda: "rows" in _now(published, run).status.progress.last_output, timeout=30, what="its progress")
    ask(published, lambda client: _cancel(client, run.id))
    eventually(lambda: _now(published, run).state == "cancelled", timeout=60, what="cancelled")
    assert "goes on from where it is" in "\n".join(ask(published, lambda client: _logs(client, run.id)))
    found = pq.read_table(tmp_path / "out", columns=["id"]).column("id").to_pylist()
    assert found == list(range(len(found)))
    assert 0 < len(found) < 50_000
    assert not (tmp_path / "out" / MANIFEST).exists()
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def _now(stack: Stack, run: AsyncRun) -> AsyncRun:
    found: AsyncRun = ask(stack, lambda client: client.run(run.id))
    return found


async def _cancel(client: AsyncClient, run_id: str) -> None:
    await (await client.run(run_id)).cancel()


def test_a_table_in_shards_has_one_report(published: Stack, rows: Path, tmp_path: Path) -> None:
    run = scored(published, "score-me", rows, tmp_path / "out", keys=("id",), part_rows=500, fields={"shards": 3})
    assert (run.results["rows"], run.results["scored"], run.results["shards"]) == (ROWS, ROWS, 3)
    assert tracked(published, run.id)
    found = answers(tmp_path / "out")
    assert sorted(found["id"]) == list(range(ROWS))
    logs = ask(published, lambda client: _logs(client, run.id))
    for index in range(3):
        assert any(line.startswith(f"shard {index}: ") for line in logs), logs
