"""`modelyard up` at its edges: refused starts, what it writes, what it leaves behind."""

from __future__ import annotations

import signal
import socket
import stat
from pathlib import Path

import httpx
import psutil
import pytest

from harness.model_server import free_port
from harness.publishing import Publisher, make_caller
from harness.stack import Stack
from harness.wait import eventually

pytestmark = [pytest.mark.stack]


def refused(stack: Stack) -> str:
    assert stack.process.wait(60) == 1, stack.output()
    return stack.output()


def test_says_what_answers(stack: Stack) -> None:
    sign_in = stack.home / "sign-in.json"
    assert stat.S_IMODE(sign_in.stat().st_mode) == 0o600
    assert set(stack.sign_in) == {"url", "username", "password", "admin_username", "admin_password"}
    assert stack.sign_in["password"] in stack.output()
    assert httpx.get(f"{stack.url}/hub/login").status_code == 200
    status = stack.command("status", "--json")
    assert status.returncode == 0, status.stdout


def test_second_start_names_the_first(stack: Stack) -> None:
    second = Stack(stack.home, free_port())
    said = refused(second)
    assert f"already runs from {stack.home}" in said
    assert "MODELYARD_HOME" in said


def test_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(Stack(tmp_path / "home", port))
    assert f"port {port}" in said
    assert "MODELYARD_PORT" in said


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    said = refused(Stack(tmp_path / "home" / "below"))
    assert "cannot be written" in said
    assert "MODELYARD_HOME" in said


def test_wrong_setting_is_wrong_use(stack: Stack) -> None:
    stack_environment = stack.environment | {"MODELYARD_CRASH_LOOP_AFTER": "never"}
    stack.environment, kept = stack_environment, stack.environment
    try:
        done = stack.command("status")
    finally:
        stack.environment = kept
    assert done.returncode == 2
    assert "MODELYARD_CRASH_LOOP_AFTER" in done.stderr


@pytest.mark.timeout(400)
def test_takes_over_from_a_killed_supervisor_stops_clean_and_endpoints_come_back(tmp_path: Path) -> None:
    first = Stack(tmp_path / "home").wait_ready()
    left = [psutil.Process(first.pid(name)) for name in ("traefik", "jupyterhub", "service", "mlflow")]
    Publisher(first).publish("lasting")
    first.process.send_signal(signal.SIGKILL)
    first.process.wait(10)
    assert all(process.is_running() for process in left)
    second = Stack(tmp_path / "home", first.port).wait_ready()
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in left)
    second.stop()
    assert second.process.returncode == 0, second.output()
    eventually(lambda: not second.descendants(), what="nothing is left running")
    third = Stack(tmp_path / "home", first.port).wait_ready()
    call = make_caller(third, "ada", "lasting")
    eventually(lambda: call().status_code == 200, timeout=60, what="the endpoint came back")
    third.stop()
    eventually(lambda: not third.descendants(), what="nothing is left running")
