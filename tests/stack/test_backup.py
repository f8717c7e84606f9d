"""A backup of a running stack, restored into an empty folder, starts: everything is there and the endpoint answers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.publishing import Publisher, make_caller
from harness.stack import BIN, Stack
from harness.wait import eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


def test_a_restored_stack_starts_and_its_endpoint_answers(stack: Stack, tmp_path: Path) -> None:
    Publisher(stack).publish("kept")
    with stack.client("ada") as ada:
        key = ada.post("/endpoints/ada/kept/keys", json={"name": "billing"}).raise_for_status().json()["secret"]
        kept = ada.get("/endpoints/ada/kept").json()["spec"]
    token = stack.token("ada")
    (stack.home / "users" / "ada" / "notes.txt").parent.mkdir(parents=True, exist_ok=True)
    (stack.home / "users" / "ada" / "notes.txt").write_text("mine")
    file, home = tmp_path / "backup.tar.gz", tmp_path / "restored"
    done = stack.command("backup", str(file))
    assert done.returncode == 0, done.stderr
    environment = {**os.environ, "MODELYARD_HOME": str(home)}
    done = subprocess.run(
        [str(BIN / "modelyard"), "restore", str(file)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr

    restored = Stack(home).wait_ready()
    try:
        call = make_caller(restored, "ada", "kept")
        eventually(lambda: call().status_code == 200, timeout=60, what="the endpoint answers")
        call.token = key
        assert call().status_code == 200, "keys are restored"
        with restored.client("ada") as ada:
            assert ada.get("/endpoints/ada/kept").json()["spec"] == kept
            ada.headers["Authorization"] = f"Bearer {token}"
            assert ada.get("/me").json()["username"] == "ada", "tokens of JupyterHub are restored"
        assert restored.sign_in["password"] == stack.sign_in["password"]
        assert (home / "users" / "ada" / "notes.txt").read_text() == "mine"
        Publisher(restored).publish("kept", traffic=100)
        assert make_caller(restored, "ada", "kept")().headers["x-modelyard-revision"] == "2"
        served = {Path(p).resolve() for p in packages_of(restored)}
        assert all(p.is_relative_to(home.resolve()) for p in served), served
    finally:
        restored.stop()
    eventually(lambda: not restored.descendants(), what="nothing is left running")


def packages_of(stack: Stack) -> list[str]:
    """The package folders that its model servers serve."""
    return [p.environ()["MODELYARD_SERVER_PACKAGE"] for p in stack.model_servers()]
