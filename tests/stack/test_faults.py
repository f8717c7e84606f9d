"""kill -9 of each part, one after another, under load and during a publish: the rest answers, the dead come back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import psutil
import pytest

from harness.publishing import Caller, Publisher, make_caller
from harness.stack import Stack
from harness.wait import eventually

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("stack"), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def call(stack: Stack) -> Caller:
    Publisher(stack).publish("steady")
    return make_caller(stack, "ada", "steady")


@dataclass
class Load:
    """What callers saw."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)


@contextmanager
def load(call: Caller) -> Iterator[Load]:
    """One caller in a loop, until the block ends."""
    seen, stop = Load(), threading.Event()

    def loop() -> None:
        while not stop.is_set():
            try:
                answer = call()
                if answer.status_code == 200:
                    seen.answered += 1
                else:
                    seen.failures.append(f"{answer.status_code} {answer.text[:200]}")
            except httpx.TransportError as error:
                seen.failures.append(repr(error))

    thread = threading.Thread(target=loop, name="load")
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join(60)


def back(stack: Stack, name: str, old: int) -> bool:
    """Whether a killed sibling runs again under another pid, and all of them answer."""
    return stack.pid(name) != old and stack.command("status").returncode == 0


@pytest.mark.parametrize("name", ["service", "mlflow", "jupyterhub"])
def test_endpoints_answer_through_the_death_of(stack: Stack, call: Caller, name: str) -> None:
    with load(call) as seen:
        eventually(lambda: seen.answered > 10, what="the load runs")
        old = stack.kill(name)
        eventually(lambda: back(stack, name, old), timeout=90, interval=0.3, what=f"{name} is back")
        sofar = seen.answered
        eventually(lambda: seen.answered > sofar + 10, what="the load goes on")
    assert not seen.failures, seen.failures[:3]


def test_the_router_comes_back_with_all_routes(stack: Stack, call: Caller) -> None:
    old = stack.kill("traefik")
    eventually(lambda: stack.pid("traefik") != old, timeout=60, what="Traefik runs again")
    eventually(lambda: call().status_code == 200, timeout=60, what="the endpoint answers again")
    assert httpx.get(f"{stack.url}/hub/login").status_code == 200


def test_a_killed_model_server_comes_back(stack: Stack, call: Caller) -> None:
    server = model_server(stack, "steady")
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, what="it is dead")
    eventually(lambda: call().status_code == 200, timeout=60, what="the endpoint answers again")
    assert model_server(stack, "steady").pid != server.pid


def test_model_servers_are_adopted(stack: Stack, call: Caller) -> None:
    before = model_server(stack, "steady").pid
    old = stack.kill("service")
    eventually(lambda: back(stack, "service", old), timeout=60, interval=0.3, what="the hub service is back")
    assert call().status_code == 200
    assert model_server(stack, "steady").pid == before


def model_server(stack: Stack, endpoint: str) -> psutil.Process:
    """The endpoint's only replica."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        package = environment.get("MODELYARD_SERVER_PACKAGE", "")
        if environment.get("MODELYARD_SERVER_ENDPOINT") == endpoint and str(stack.home) in package:
            found.append(process)
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("name", ["service", "mlflow", "jupyterhub"])
def test_a_publish_ends_whole_or_not_at_all(stack: Stack, name: str) -> None:
    endpoint = f"during-{name}"
    process = Publisher(stack).start(endpoint)
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if ("upload" if name != "service" else "endpoint") in line:
            break
    old = stack.kill(name)
    said += process.communicate(timeout=240)[0]
    eventually(lambda: back(stack, name, old), timeout=90, interval=0.3, what=f"{name} is back")
    with stack.client("ada") as ada:
        if process.returncode == 0:
            assert make_caller(stack, "ada", endpoint)().status_code == 200
        else:
            assert "Error" in said or "Unavailable" in said or "PublishFailed" in said, said
            found = eventually(lambda: ada.get(f"/endpoints/ada/{endpoint}"), what="the API answers")
            whole = found.status_code == 200 and found.json()["spec"]["revisions"]
            assert found.status_code == 404 or whole, found.text
