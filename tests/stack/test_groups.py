"""Sweeps, pipelines, schedules and secrets on the real stack: the library, the hub service, papermill."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

import modelyard as yard
from harness.runs import notebook
from harness.stack import BIN, Stack
from harness.wait import eventually
from modelyard.client import AsyncClient
from modelyard.tracking import Tracking

pytestmark = [pytest.mark.stack]
SCORE = """import modelyard as yard
if depth == 3:
    raise RuntimeError("too deep")
yard.record("auc", round(1 - 1 / (1 + depth), 3))"""


@pytest.fixture(autouse=True)
def ada(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stack.library("ada").items():
        monkeypatch.setenv(name, value)


def write(folder: Path, name: str, *cells: str, parameters: str | None = None) -> Path:
    path = folder / name
    path.write_text(notebook(*cells, parameters=parameters))
    return path


def test_a_sweep_goes_on_where_one_fails(tmp_path: Path) -> None:
    path = write(tmp_path, "score.ipynb", SCORE, parameters="depth = 1\nkind = 'a'")
    sweep = yard.sweep(path, grid={"depth": [1, 3, 7]}, parallel=2, parameters={"kind": "b"})
    assert sweep.wait(180, quiet=True).state == "failed"
    assert [(m.member, m.state.value) for m in sweep.members] == [
        ("depth=1", "succeeded"),
        ("depth=3", "failed"),
        ("depth=7", "succeeded"),
    ]
    table = sweep.table("auc")
    assert list(table.index[:2]) == ["depth=7", "depth=1"]
    assert table.loc["depth=7", ["state", "depth", "kind", "auc"]].tolist() == ["succeeded", 7, "b", 0.875]
    assert sweep.best("auc").parameters["depth"] == 7
    assert [row["auc"] for row in sweep.plot("auc").rows] == [0.5, 0.875]
    failure = sweep.run("depth=3").status.failure
    assert failure is not None
    assert "too deep" in failure.error
    assert "depth=7" in sweep._repr_html_()


def test_a_pipeline_goes_on_from_where_it_failed(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    load = write(tmp_path, "load.ipynb", "import modelyard as yard; yard.record('rows', n * 10)", parameters="n = 1")
    train = write(
        tmp_path,
        "train.ipynb",
        f"import pathlib; assert pathlib.Path({str(gate)!r}).exists(), 'no gate'",
        "import modelyard as yard; yard.record('auc', rows / 100)",
        parameters="rows = 0",
    )
    report = write(tmp_path, "report.ipynb", "import modelyard as yard; yard.record('text', f'auc {auc}')",
                   parameters="auc = 0.0")  # fmt: skip
    steps = {
        "report": yard.step(report, parameters={"auc": yard.result_of("train", "auc")}),
        "train": yard.step(train, parameters={"rows": yard.result_of("load", "rows")}),
        "load": yard.step(load, parameters={"n": 3}),
    }
    with pytest.raises(yard.errors.InvalidInput, match="circle"):
        yard.pipeline("round", {**steps, "load": yard.step(load, needs=["report"])})
    line = yard.pipeline("churn", steps).wait(180, quiet=True)
    states = {m.member: (m.state.value, m.reason) for m in line.members}
    assert states["load"] == ("succeeded", "")
    assert states["train"][0] == "failed"
    assert states["report"] == ("failed", "NeedFailed")
    loaded = line.run("load").id

    gate.touch()
    assert line.rerun().wait(180, quiet=True).state == "succeeded"
    assert line.run("load").id == loaded, "what has succeeded is not run again"
    assert line.run("report").results == {"text": "auc 0.3"}


def test_a_secret_is_in_the_run_and_nowhere_else(stack: Stack, tmp_path: Path) -> None:
    yard.set_secret("warehouse", "hunter22-and-more")
    yard.set_secret("team/key", "-----KEY-----\nprivate-key-material\n")
    path = write(
        tmp_path,
        "uses.ipynb",
        "import os, modelyard as yard\nprint('url', os.environ['DB_URL'])",
        "key = yard.secret('key')\nprint(key)\nyard.record('length', len(os.environ['DB_URL']) + len(key))",
        "yard.record('leak', 'x' + os.environ['DB_URL'])\nraise RuntimeError('cannot reach ' + os.environ['DB_URL'])",
    )
    secrets = [{"secret": "warehouse", "env": "DB_URL"}, "team/key"]
    run = yard.submit(path, secrets=secrets)
    eventually(lambda: run.state.ended, timeout=120, interval=0.2, what="it ends")
    assert run.results["length"] == 17 + 35
    assert run.results["leak"] == "x[secret]"
    assert run.status.failure is not None
    assert "cannot reach [secret]" in run.status.failure.error
    told = [str(run.status), "\n".join(run.logs()), str(run.notebook()), run.notebook(html=True)]
    told.append((stack.home / "logs" / "service.log").read_text())
    told += [str(entry) for entry in yard.secrets()]
    assert "url [secret]" in told[1]
    for text in told:
        assert "hunter22" not in text
        assert "private-key-material" not in text
    kept = stack.home / "mlflow" / "artifacts"
    found = [p for p in kept.rglob("*") if p.is_file() and b"hunter22" in p.read_bytes()]
    assert found == []
    assert b"hunter22" not in (stack.home / "store.sqlite").read_bytes()
    yard.delete_secret("warehouse")
    with pytest.raises(yard.errors.InvalidInput, match="no secret ada/warehouse"):
        yard.submit(path, secrets=secrets)


def test_the_commands(stack: Stack, tmp_path: Path) -> None:
    def told(*arguments: str, typed: str | None = None) -> str:
        command = [str(BIN / "modelyard"), *arguments]
        done = subprocess.run(command, env=stack.environment, input=typed, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "ada/typed has its value number 1" in told("secrets", "set", "ada", "typed", typed="hunter22\n")
    assert "typed" in {secret.name for secret in yard.secrets()}
    listed = told("secrets", "list", "--json")
    assert ("ada", "typed") in {(row["owner"], row["name"]) for row in json.loads(listed)}
    told("secrets", "delete", "ada", "typed")

    yard.schedule(write(tmp_path, "rare.ipynb", "1"), "0 0 29 2 *", time_zone="Asia/Kathmandu")
    (row,) = [row for row in json.loads(told("schedules", "list", "--json")) if row["schedule"] == "rare"]
    assert (row["schedule"], row["cron"], row["next"][:10]) == ("rare", "0 0 29 2 *", "2028-02-29")
    assert "is paused" in told("schedules", "pause", "ada", "rare")
    assert json.loads(told("schedules", "show", "ada", "rare"))["spec"]["paused"]
    assert "next at 2028-02-29" in told("schedules", "resume", "ada", "rare")
    told("schedules", "delete", "ada", "rare")
    assert "ada/rare" not in {schedule.name for schedule in yard.schedules()}


def test_a_new_version_starts_a_run(stack: Stack, tmp_path: Path) -> None:
    path = write(
        tmp_path, "check.ipynb", "import modelyard as yard; yard.record('saw', version)", parameters="version = 0"
    )

    async def register(count: int) -> None:
        async with AsyncClient() as client:
            tracking = Tracking(client)
            run = await tracking.start(await tracking.experiment("ada/told"), "told")
            for _ in range(count):
                await tracking.register("ada.told", f"{run.artifacts}/model", run)

    asyncio.run(register(11))  # as text, "11" comes before "2"
    made = yard.schedule(path, name="check", on_version="told", version_parameter="version")
    assert (made.spec.on_version, made.spec.since_version) == ("ada.told", 11)
    asyncio.run(register(1))
    eventually(lambda: made.runs(), timeout=60, what="the new version starts a run")
    (run,) = made.runs()
    assert run.wait(120, quiet=True).results == {"saw": 12}
    assert made.start({"version": 5}).wait(120, quiet=True).results == {"saw": 5}
    answer = httpx.post(made.hook(), headers={"Idempotency-Key": "k"}, timeout=30)
    assert answer.status_code == 202, answer.text
    assert yard.run(answer.json()["run"]).wait(120, quiet=True).results == {"saw": 0}
    made.delete()


def test_a_schedule_whose_service_is_killed_at_any_point(stack: Stack, tmp_path: Path) -> None:
    """Half an hour is to be caught up while the hub service is killed (SIGKILL) again and again."""
    path = write(tmp_path, "tick.ipynb", "1", parameters="n = 1")
    made = yard.schedule(path, "* * * * *", name="tick", time_zone="Europe/Berlin", catch_up="all", overlap=True,
                         parameters={"n": 2}, needs=[], cpu=0.1, memory="200Mi")  # fmt: skip
    assert len(made.next) == 5
    assert made.pause().next == ()
    began = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=30)
    change = "UPDATE schedules SET cursor = ?, created_at = ?, spec = json_set(spec, '$.paused', json('false'))"
    with closing(sqlite3.connect(stack.home / "store.sqlite", timeout=30)) as store, store:
        store.execute(f"{change} WHERE name = 'tick'", 2 * (f"{began:%F %T}.000000",))
    for _ in range(4):
        old = stack.kill("service")
        eventually(lambda old=old: _is_back(stack, old), timeout=60, interval=0.1, what="the hub service is back")
    eventually(lambda: len(made.runs(200)) >= 30, timeout=60, what="all has been caught up")
    made.pause()
    due = sorted(run.remote.resource.due for run in made.runs(200) if run.remote.resource.due)
    assert due == [began + timedelta(minutes=minute) for minute in range(1, len(due) + 1)]
    assert all(run.remote.resource.spec.parameters == {"n": 2} for run in made.runs(200))
    for run in made.runs(200):
        run.cancel()
    made.delete()


def _is_back(stack: Stack, old: int) -> bool:
    """Whether another hub service answers."""
    try:
        with stack.client("ada") as client:
            return stack.pid("service") != old and client.get("/me").is_success
    except (httpx.HTTPError, KeyError, ValueError, LookupError):
        return False
