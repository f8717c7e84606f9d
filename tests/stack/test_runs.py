"""Runs on the real stack: submitted by the library, executed by papermill in a process of their own."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from harness.runs import notebook
from harness.stack import Stack
from harness.wait import eventually
from modelyard.client import AsyncClient
from modelyard.errors import InvalidInput, InvalidParameter, RunFailed
from modelyard.unattended import AsyncRun

pytestmark = [pytest.mark.stack]
PARAMETERS = "a = 1\nb = 2"
SUM = "import modelyard as yard\nyard.record('sum', a + b)\nprint('the sum is', a + b)"
WAITS = "import pathlib, time\nprint('waiting')\nwhile not pathlib.Path({gate!r}).exists():\n    time.sleep(0.05)"


class Submitter:
    """Ada, who submits notebooks of a folder."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._url, self._token, self.folder = stack.url, stack.token("ada"), folder

    def write(self, *cells: str, name: str = "sum.ipynb") -> Path:
        path = self.folder / name
        path.write_text(notebook(*cells, parameters=PARAMETERS))
        return path

    def submit(self, *cells: str, **fields: Any) -> AsyncRun:
        path = self.write(*cells)
        run: AsyncRun = self.ask(lambda client: client.submit(path, **fields))
        return run

    def ask(self, what: Any) -> Any:
        async def work() -> Any:
            async with AsyncClient(self._url, self._token, patience=30) as client:
                return await what(client)

        return asyncio.run(work())

    def read(self, run: AsyncRun) -> AsyncRun:
        found: AsyncRun = self.ask(lambda client: client.run(run.id))
        return found

    def ended(self, run: AsyncRun) -> AsyncRun:
        """The run, once it has ended, however."""
        eventually(lambda: self.read(run).state.ended, timeout=120, interval=0.2, what=f"run {run.id} ends")
        return self.read(run)

    def until(self, run: AsyncRun, said: str) -> None:
        """Wait until its log says so."""
        eventually(lambda: said in self.of(run, "logs"), timeout=60, interval=0.1, what=f"run {run.id} says {said}")

    def of(self, run: AsyncRun, what: str, **arguments: Any) -> Any:
        async def read(client: AsyncClient) -> Any:
            return await getattr(await client.run(run.id), what)(**arguments)

        return self.ask(read)


@pytest.fixture
def ada(stack: Stack, tmp_path: Path) -> Submitter:
    return Submitter(stack, tmp_path)


def test_a_notebook_runs_with_parameters_and_leaves_results(stack: Stack, ada: Submitter) -> None:
    (ada.folder / "helper.py").write_text("def tell(): print('from beside')")
    source = ada.write(SUM, "import helper; helper.tell()")
    before = source.read_bytes()
    run = ada.ended(ada.ask(lambda c: c.submit(source, parameters={"a": 40})))
    assert (run.state, run.results) == ("succeeded", {"sum": 42}), run.status
    assert [f.path for f in run.resource.spec.notebook.files] == ["helper.py", "sum.ipynb"]  # type: ignore[union-attr]
    assert source.read_bytes() == before, "the source is never written to"
    assert (run.status.progress.cell, run.status.progress.cells) == (4, 4), "parameters, injected ones, two more"
    lines = ada.of(run, "logs")
    assert {"the sum is 42", "from beside"} <= set(lines), lines
    made = ada.of(run, "notebook")
    assert "a = 40" in "".join("".join(cell["source"]) for cell in made["cells"])
    assert "the sum is 42" in ada.of(run, "notebook", html=True)
    with stack.client("ada") as client:
        answer = client.get(f"/runs/{run.id}/notebook", params={"format": "html"})
        assert answer.headers["content-security-policy"].startswith("sandbox")
        headers = {"Authorization": client.headers["Authorization"]}
    query = {"run_id": run.status.mlflow_run_id}
    found = httpx.get(f"{stack.url}/mlflow/api/2.0/mlflow/runs/get", params=query, headers=headers)
    tracked = found.raise_for_status().json()["run"]
    assert tracked["info"]["status"] == "FINISHED"
    assert {p["key"]: p["value"] for p in tracked["data"]["params"]} == {"a": "40"}
    assert {m["key"]: m["value"] for m in tracked["data"]["metrics"]} == {"sum": 42}
    listed = httpx.get(f"{stack.url}/mlflow/api/2.0/mlflow/artifacts/list", params=query, headers=headers)
    assert "files" not in listed.raise_for_status().json(), "whoever signed in reads them"
    path = f"runs/ada/{run.id}/1/output/live/notebook.ipynb"
    assert (stack.home / "mlflow" / "artifacts" / path).exists()
    base, others = f"{stack.url}/mlflow/api/2.0/mlflow-artifacts/artifacts", stack.token("bob")
    for url in (f"{base}/{path}", f"{base}?path=runs", f"{base}?path=runs/ada", f"{base}/x/../{path}"):
        refused = httpx.get(url, headers={"Authorization": f"Bearer {others}"})
        assert refused.status_code == 403, "what it made is not read around the API"


def test_a_removed_run_leaves_nothing(stack: Stack, ada: Submitter) -> None:
    run = ada.ended(ada.submit(SUM, "print('and this is all')"))
    assert run.state == "succeeded"
    left = stack.home / "mlflow" / "artifacts" / "runs" / "ada" / run.id
    assert left.is_dir()
    assert run.id in [one.id for one in ada.ask(lambda client: client.runs(result=["sum>2", "sum<=3"]))]
    ada.of(run, "delete")
    assert run.id not in [one.id for one in ada.ask(lambda client: client.runs())]
    eventually(lambda: not left.exists(), timeout=30, what="its files are gone")


def test_its_token_is_revoked_and_shown_nowhere(stack: Stack, ada: Submitter) -> None:
    told = "import os, modelyard as yard\nyard.record('token', os.environ['MODELYARD_TOKEN'][-6:])\nyard.endpoints()"
    run = ada.ended(ada.submit(told))
    assert run.state == "succeeded", run.status
    eventually(lambda: f"run {run.id}" not in notes(stack), timeout=20, what="its token is revoked")
    log = (stack.home / "logs" / "service.log").read_text()
    assert run.results["token"] not in log


def test_what_is_wrong_is_refused_before_anything_starts(ada: Submitter) -> None:
    with pytest.raises(InvalidParameter, match="no parameter 'c'"):
        ada.submit(SUM, parameters={"c": 1})
    with pytest.raises(InvalidParameter, match="must be of type int"):
        ada.submit(SUM, parameters={"a": "x"})
    other = ada.folder / "other.ipynb"
    other.write_text(notebook("1", kernel="julia-9"))
    with pytest.raises(InvalidInput, match=r"no kernel 'julia-9' .*python3"):
        ada.ask(lambda client: client.submit(other))


def test_a_failure_shows_the_cell_and_the_traceback(ada: Submitter) -> None:
    run = ada.ended(ada.submit("print('so far')", "x = {}\nx['missing']", retries=1, backoff=0))
    status = run.status
    assert (run.state, status.reason, status.attempt, len(status.attempts)) == ("failed", "CellFailed", 2, 2)
    assert status.failure is not None
    assert "x['missing']" in status.failure.source
    assert "KeyError" in status.failure.traceback
    assert "\x1b" not in status.failure.traceback
    text = str(RunFailed(run.resource))
    assert "KeyError: 'missing'" in text
    for attempt in (1, 2):
        assert "so far" in ada.of(run, "logs", attempt=attempt)


def test_progress_is_told_and_a_cancelled_run_keeps_its_notebook(ada: Submitter) -> None:
    run = ada.submit(SUM, "import time\nprint('cell two')\ntime.sleep(600)")

    def runs() -> bool:
        progress = ada.read(run).status.progress
        return (progress.cell, progress.cells, progress.last_output) == (3, 3, "cell two")

    eventually(runs, timeout=60, what="its progress is told")
    assert ada.read(run).results == {"sum": 3}

    def readable() -> bool:
        made = json.dumps(ada.of(run, "notebook"))
        return "the sum is 3" in made and '"cell two' in made

    eventually(readable, timeout=20, what="the output is readable meanwhile")
    ada.of(run, "cancel")
    ended = ada.ended(run)
    assert (ended.state, ended.results) == ("cancelled", {"sum": 3}), ended.status
    made = json.dumps(ada.of(run, "notebook"))
    assert "the sum is 3" in made
    assert "cell two" in made


def test_runs_that_need_others_wait_for_them_and_take_their_results(ada: Submitter) -> None:
    gate = ada.folder / "gate"
    first = ada.submit(WAITS.format(gate=str(gate)), SUM)
    second = ada.submit(SUM, parameters={"a": first.result("sum"), "b": 10})
    fails = ada.submit("1 / 0")
    third = ada.submit(SUM, needs=[second, fails])
    assert ada.ended(third).status.reason == "NeedFailed"
    assert ada.read(second).state == "queued"
    gate.touch()
    assert ada.ended(second).results == {"sum": 13}


def test_two_submits_with_one_key_are_one_run(ada: Submitter) -> None:
    gate = ada.folder / "gate"
    made = [ada.submit(WAITS.format(gate=str(gate)), idempotency_key="nightly") for _ in range(2)]
    assert made[0].id == made[1].id
    gate.touch()
    assert ada.ended(made[0]).state == "succeeded"


def test_out_of_memory_is_said_with_peak_and_limit(ada: Submitter) -> None:
    eats = "import time\nkept = []\nwhile True:\n    kept.append(bytearray(8 << 20))\n    time.sleep(0.02)"
    run = ada.ended(ada.submit(eats, cpu=1, memory="512Mi"))
    assert (run.state, run.status.reason) == ("failed", "OutOfMemory"), run.status
    assert "512 MiB" in run.status.message
    assert (run.status.peak_memory or 0) > 400 << 20


def test_a_timeout_ends_it_and_the_notebook_is_kept(ada: Submitter) -> None:
    run = ada.ended(ada.submit(SUM, "import time; time.sleep(600)", timeout=20))
    assert (run.state, run.status.reason) == ("failed", "DeadlineExceeded"), run.status
    assert "the sum is 3" in json.dumps(ada.of(run, "notebook"))


def test_a_killed_hub_service_loses_no_run_and_doubles_none(stack: Stack, ada: Submitter) -> None:
    """While runs start, while they run, and while they end."""
    seen, gate = ada.folder / "seen", ada.folder / "gate"
    once = f"import os\nopen({str(seen)!r}, 'a').write(os.environ['MODELYARD_RUN'] + '\\n')"
    runs = []
    for _ in range(3):
        runs.append(ada.submit(once, WAITS.format(gate=str(gate)), SUM))
        kill_the_service(stack)  # while it starts
    for run in runs[:2]:
        ada.until(run, "waiting")
        kill_the_service(stack)  # while it runs
    gate.touch()
    eventually(lambda: not _at_work(stack, runs[0].id), timeout=60, interval=0.02, what="the first process is gone")
    kill_the_service(stack)  # while it ends
    for run in runs:
        found = ada.ended(run)
        assert (found.state, found.results, found.status.attempt) == ("succeeded", {"sum": 3}, 1), found.status
    assert sorted(seen.read_text().split()) == sorted(run.id for run in runs), "each has run exactly once"
    eventually(lambda: not list((stack.home / "workloads").glob("run-*")), timeout=30, what="all tasks are forgotten")
    eventually(lambda: not notes(stack) & {f"run {run.id}" for run in runs}, timeout=30, what="no token is left")


def notes(stack: Stack) -> set[str]:
    """Of ada's tokens."""
    with stack.hub() as hub:
        return {t["note"] for t in hub.get("/users/ada/tokens").raise_for_status().json()["api_tokens"]}


def test_a_killed_run_is_failed_in_mlflow_too(stack: Stack, ada: Submitter) -> None:
    run = ada.submit(WAITS.format(gate=str(ada.folder / "never")))
    ada.until(run, "waiting")
    for process in psutil.process_iter(["cmdline"]):  # the run's, its kernel, and what keeps its time
        if _of(process, run.id):
            process.kill()
    ended = ada.ended(run)
    assert ended.state == "failed", ended.status
    told = eventually(lambda: _in_mlflow(stack, ada.read(run).status.mlflow_run_id), timeout=30, what="MLflow is told")
    assert told["info"]["status"] == "FAILED"
    assert {tag["key"]: tag["value"] for tag in told["data"]["tags"]}["modelyard.reason"] == ended.status.reason


def _of(process: psutil.Process, run_id: str) -> bool:
    try:
        return process.environ().get("MODELYARD_RUN") == run_id
    except psutil.Error:
        return False


def _in_mlflow(stack: Stack, run_id: str) -> dict[str, Any] | None:
    """The run as MLflow has it, once it has ended there."""
    headers = {"Authorization": f"Bearer {stack.token('ada')}"}
    found = httpx.get(f"{stack.url}/mlflow/api/2.0/mlflow/runs/get", params={"run_id": run_id}, headers=headers)
    told: dict[str, Any] = found.raise_for_status().json()["run"]
    return None if told["info"]["status"] == "RUNNING" else told


def kill_the_service(stack: Stack) -> None:
    """Also where it was killed a moment ago, and is being started again."""

    def killed() -> bool:
        try:
            stack.kill("service")
        except ProcessLookupError:
            return False
        return True

    eventually(killed, timeout=30, interval=0.05, what="there is a hub service to kill")


def _at_work(stack: Stack, run_id: str) -> bool:
    for process in psutil.process_iter():
        try:
            if process.environ().get("MODELYARD_RUN") == run_id:
                return True
        except psutil.Error:
            continue
    return False


def test_the_command_line(stack: Stack, ada: Submitter) -> None:
    path = ada.write(SUM)
    fails = ada.write("1 / 0", name="fails.ipynb")
    environment = stack.library("ada")
    stack.environment |= {k: environment[k] for k in ("MODELYARD_URL", "MODELYARD_TOKEN")}
    done = stack.command("runs", "submit", str(path), "-p", "a=5", "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    run_id = done.stdout.split()[0]
    assert "succeeded" in done.stdout
    assert "the sum is 7" in stack.command("runs", "logs", run_id).stdout
    rows = json.loads(stack.command("runs", "list", "--json").stdout)
    assert (rows[0]["id"], rows[0]["state"]) == (run_id, "succeeded")
    assert json.loads(stack.command("runs", "show", run_id).stdout)["status"]["results"] == {"sum": 7}
    refused = stack.command("runs", "submit", str(path), "-p", "z=5")
    assert (refused.returncode, "no parameter 'z'" in refused.stderr) == (1, True)
    failed = stack.command("runs", "submit", str(fails), "--wait")
    assert (failed.returncode, "ZeroDivisionError" in failed.stdout) == (1, True)
    assert stack.command("runs", "watch", failed.stdout.split()[0]).returncode == 1
    assert stack.command("runs", "cancel", "0" * 16).returncode == 1


def test_many_wait_in_the_queue_with_their_place(stack: Stack, ada: Submitter) -> None:
    gate = ada.folder / "gate"
    path = ada.write(WAITS.format(gate=str(gate)))
    count = (os.cpu_count() or 1) + 1
    runs = [ada.ask(lambda c: c.submit(path)) for _ in range(count)]
    urgent = ada.ask(lambda c: c.submit(path, priority=5))

    def places() -> list[int | None]:
        return [ada.read(run).status.place for run in (urgent, runs[-1])]

    eventually(lambda: places() == [1, 2], timeout=60, what="the places are those of priority, then age")
    gate.touch()
    for run in (*runs, urgent):
        assert ada.ended(run).state == "succeeded"


def test_a_new_file_in_a_folder_is_given_to_a_run(ada: Submitter, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "old.csv").write_text("x")
    path = tmp_path / "load.ipynb"
    path.write_text(notebook("import modelyard as yard\nyard.record('files', files)", parameters="files = []"))
    watched = {"location": f"{tmp_path}/in", "pattern": "*.csv", "settle": 0}
    made = ada.ask(lambda client: client.schedule(path, on_files=watched, overlap=True))
    assert made.resource.spec.on_files.parameter == "files"
    again = ada.ask(lambda client: client.schedule(path, on_files=f"{tmp_path}/in", on_drift="churn"))
    assert (again.resource.spec.on_files.settle, again.resource.spec.on_drift.model) == (10.0, "ada.churn")
    ada.ask(lambda client: client.schedule(path, on_files=watched, overlap=True))
    (tmp_path / "in" / "new.csv").write_text("x")
    found = eventually(
        lambda: ada.ask(lambda client: client.runs(schedule="ada/load")), timeout=60, what="a run for it"
    )
    (run,) = map(ada.ended, found)
    assert run.results == {"files": [f"{tmp_path}/in/new.csv"]}
    ada.ask(_forget)


async def _forget(client: AsyncClient) -> None:
    (schedule,) = [one for one in await client.schedules() if one.resource.name == "load"]
    await schedule.delete()
