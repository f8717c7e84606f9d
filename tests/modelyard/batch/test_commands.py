"""`modelyard runs`: the real command over a real API, in a pipe and at a terminal."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.runs import notebook, spec
from harness.served import Served, served
from harness.stack import BIN
from harness.terminal import in_terminal
from modelyard_api.runs import Run, RunState, RunStatus
from modelyard_hub.store.records import Actor

STARTED = datetime(2026, 3, 1, 2, 0, 7, tzinfo=UTC)
NAME = "weekly-churn-model-of-all-customers-in-europe"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "hub") as it:
        yield it


def environment(api: Served) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return {**kept, "MODELYARD_URL": api.url, "MODELYARD_TOKEN": "ada"}


def command(api: Served, *arguments: str) -> subprocess.CompletedProcess[str]:
    full = [str(BIN / "modelyard"), "runs", *arguments]
    return subprocess.run(
        full, env=environment(api), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


def at_terminal(api: Served, *arguments: str, answer: str = "") -> tuple[int, str]:
    """What a terminal of 80 columns shows."""
    return in_terminal([str(BIN / "modelyard"), "runs", *arguments], environment(api), answer=answer)


def submitted(api: Served, state: RunState = RunState.succeeded, name: str = NAME, **results: float) -> Run:
    run = api.call(api.yard.parts.store.submit_run("ada", spec(name=name), created_by="ada"))
    ended = STARTED + timedelta(seconds=3671) if state.ended else None
    told = RunStatus(
        state=state, started=STARTED, ended=ended, results=dict(results), message="in " + "many words " * 9
    )
    assert api.call(api.yard.parts.store.write_run_status(run.id, told))
    return run


def test_what_matters_can_be_read_in_80_columns_and_all_of_it_in_a_pipe(api: Served) -> None:
    run = submitted(api)
    code, shown = at_terminal(api, "list")
    assert code == 0, shown
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80, shown
    for whole in (run.id, "succeeded", STARTED.astimezone().strftime("%Y-%m-%d %H:%M"), "1:01:11 h"):
        assert whole in lines[1], shown
    assert "".join(line[18:].split("  ")[0] for line in lines[1:4]).replace(" ", "") == NAME, shown
    piped = command(api, "list").stdout.splitlines()
    assert [cell.strip() for cell in piped[1].split("\t")][:5] == [
        run.id, NAME, "succeeded", "2026-03-01T02:00:07+00:00", "1:01:11 h",
    ]  # fmt: skip
    assert piped[1].endswith("many words")


def test_a_run_is_given_variables_and_secrets(api: Served, tmp_path: Path) -> None:
    (tmp_path / "one.ipynb").write_text(notebook("1"))
    for name in ("warehouse", "key"):
        api.call(api.yard.parts.store.secrets.put("ada", name, "sealed", "", Actor("ada")))
    asked = ("--env", "REGION=north=1", "--secret", "warehouse", "--secret", "KEY=key")
    done = command(api, "submit", str(tmp_path / "one.ipynb"), *asked)
    assert done.returncode == 0, done.stderr
    made = json.loads(command(api, "show", done.stdout.strip()).stdout)["spec"]
    assert made["environment"] == {"REGION": "north=1"}
    uses = [(use["secret"], use["env"], use["file"]) for use in made["secrets"]]
    assert uses == [("warehouse", None, "warehouse"), ("key", "KEY", None)]
    wrong = command(api, "submit", str(tmp_path / "one.ipynb"), "--env", "REGION")
    assert wrong.returncode != 0
    assert "'REGION' is no environment variable" in wrong.stderr


def test_runs_are_found_by_result_state_and_name(api: Served) -> None:
    good, bad = submitted(api, auc=0.95), submitted(api, auc=0.8)
    failed, other = submitted(api, RunState.failed), submitted(api, name="", auc=0.99)

    def found(*arguments: str) -> list[str]:
        done = command(api, "list", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return [row["id"] for row in json.loads(done.stdout)]

    assert found("--result", "auc>0.9", "--result", "auc<0.97") == [good.id]
    assert found("--state", "failed", "--state", "succeeded", "--name", NAME) == [failed.id, bad.id, good.id]
    assert found("--result", "auc>0.9", "--name", "train") == [other.id], "of the notebook, where it has no other"
    assert command(api, "list", "--state", "asleep").returncode == 2
    assert "is no question" in command(api, "list", "--result", "auc").stderr


def test_runs_are_deleted_once_somebody_says_yes(api: Served) -> None:
    first, second, third = (submitted(api) for _ in range(3))
    live = submitted(api, RunState.running)
    refused = command(api, "delete", first.id, live.id, "--yes")
    assert (refused.returncode, f"run {live.id} has not ended, and nothing is removed" in refused.stderr) == (1, True)
    assert command(api, "delete", first.id).returncode == 2, "nobody can be asked"
    code, shown = at_terminal(api, "delete", first.id, second.id, answer="n\n")
    assert (code, "Remove 2 for good?" in shown, first.id in shown, second.id in shown) == (1, True, True, True), shown
    code, shown = at_terminal(api, "delete", first.id, second.id, answer="y\n")
    assert (code, f"removed {second.id}" in shown) == (0, True), shown
    done = command(api, "delete", third.id, third.id, "--yes")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"removed {third.id}")
    assert [row["id"] for row in json.loads(command(api, "list", "--json").stdout)] == [live.id]
    gone = command(api, "delete", third.id, "--yes")
    assert (gone.returncode, f"there is no run {third.id}" in gone.stderr) == (1, True)
