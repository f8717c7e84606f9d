"""`modelyard runs groups`: the real command over a real API, with its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.runs import notebook, snapshot, spec
from harness.served import Served, served
from harness.stack import BIN
from modelyard_api.groups import Group
from modelyard_api.runs import RunState, RunStatus


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "hub") as it:
        yield it


def command(api: Served, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MODELYARD_URL": api.url, "MODELYARD_TOKEN": "ada", "COLUMNS": "200"}
    full = [str(BIN / "modelyard"), "runs", "groups", *arguments]
    return subprocess.run(full, env=environment, capture_output=True, text=True, timeout=60)


def submitted(api: Served) -> Group:
    """A sweep of ada's over two depths."""
    digest, content = snapshot(train__ipynb=notebook("1"))
    members = [{"member": f"depth={n}", "parameters": {"depth": n}} for n in (1, 3)]
    wanted = {"name": "depths", "members": members, "run": spec(digest).model_dump(mode="json")}
    with api.client("ada") as ada:
        ada.put(f"/snapshots/{digest}", content=content).raise_for_status()
        return Group.model_validate(ada.post("/groups", json=wanted).raise_for_status().json())


def test_a_sweep_through_its_life(api: Served) -> None:
    group = submitted(api)
    first, second = (member.run for member in group.members)
    write = api.yard.parts.store.write_run_status
    assert api.call(write(first, RunStatus(state=RunState.succeeded, results={"auc": 0.9})))

    listed = command(api, "list", "--json")
    assert (listed.returncode, json.loads(listed.stdout)[0]["runs"]) == (0, {"succeeded": 1, "queued": 1})
    assert group.id in command(api, "list").stdout
    shown = command(api, "show", group.id)
    assert shown.returncode == 0
    assert [
        word
        for word in (first, "depth=1", "succeeded", '{"auc": 0.9}', "depth=3", "queued")
        if word not in shown.stdout
    ] == []

    cancelled = command(api, "cancel", group.id)
    assert (cancelled.returncode, "told to end" in cancelled.stdout) == (0, True)
    assert api.call(api.yard.parts.store.get_run(second)).run.cancelling
    assert api.call(write(second, RunStatus(state=RunState.cancelled)))
    watched = command(api, "watch", group.id)
    assert (watched.returncode, watched.stdout) == (1, "depths: 1 succeeded, 1 cancelled\n")
    again = command(api, "rerun", group.id)
    assert (again.returncode, again.stdout) == (0, "depths: 1 succeeded, 1 queued\n")
    as_json = json.loads(command(api, "show", group.id, "--json").stdout)
    assert as_json["members"][1]["run"] != second
    assert api.call(write(as_json["members"][1]["run"], RunStatus(state=RunState.succeeded)))
    assert command(api, "watch", group.id).returncode == 0


def test_what_there_is_not_and_wrong_use(api: Served) -> None:
    missing = command(api, "show", "nothing")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "there is no group nothing" in missing.stderr
    assert command(api, "show").returncode == 2
    assert command(api, "list", "--all").returncode == 2
    assert (command(api, "list").returncode, json.loads(command(api, "list", "--json").stdout)) == (0, [])
