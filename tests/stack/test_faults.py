"""kill -9 of each part, one after another, under load and during a publish: the rest answers, the dead come back."""

from __future__ import annotations

import os
import re
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

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def call(stack: Stack) -> Caller:
    Publisher(stack).publish("steady")
    return make_caller(stack, "ada", "steady")


@dataclass
class Load:
    """What callers saw."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)

    def goes_on(self, calls: int = 10) -> None:
        """Wait until that many more were answered."""
        sofar = self.answered
        eventually(lambda: self.answered > sofar + calls, what="the load goes on")


@contextmanager
def load(call: Caller, callers: int = 1) -> Iterator[Load]:
    """Callers in a loop, each with one call at a time, until the block ends."""
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

    threads = [threading.Thread(target=loop, name=f"load {n}") for n in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


def back(stack: Stack, name: str, old: int) -> bool:
    """Whether a killed sibling runs again under another pid, and all of them answer."""
    return stack.pid(name) != old and stack.command("status").returncode == 0


@pytest.mark.parametrize("name", ["service", "mlflow", "jupyterhub"])
def test_endpoints_answer_through_the_death_of(stack: Stack, call: Caller, name: str) -> None:
    with load(call) as seen:
        seen.goes_on()
        old = stack.kill(name)
        eventually(lambda: back(stack, name, old), timeout=90, interval=0.3, what=f"{name} is back")
        seen.goes_on()
    assert not seen.failures, seen.failures[:3]


def test_the_router_comes_back_with_all_routes(stack: Stack, call: Caller) -> None:
    old = stack.kill("traefik")
    eventually(lambda: stack.pid("traefik") != old, timeout=60, what="Traefik runs again")
    eventually(lambda: call().status_code == 200, timeout=60, what="the endpoint answers again")
    assert httpx.get(f"{stack.url}/hub/login").status_code == 200


def test_a_killed_model_server_comes_back(stack: Stack, call: Caller) -> None:
    (server,) = stack.model_servers("steady")
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, what="it is dead")
    eventually(lambda: call().status_code == 200, timeout=60, what="the endpoint answers again")
    assert server not in stack.model_servers("steady")


def test_with_two_replicas_no_call_is_lost_with_one(stack: Stack) -> None:
    Publisher(stack).publish("double", replicas=2)
    call = make_caller(stack, "ada", "double")
    with load(call, callers=8) as seen:
        for _ in range(3):
            kill_one(stack, seen)
    assert not seen.failures, (len(seen.failures), seen.answered, seen.failures[:3])


def kill_one(stack: Stack, seen: Load) -> None:
    """Kill one of the two replicas of `double` in the middle of the load."""
    victim, _ = eventually(lambda: both(stack), timeout=60, what="two replicas are ready")
    seen.goes_on(50)
    os.kill(victim.pid, signal.SIGKILL)
    eventually(lambda: victim not in stack.model_servers("double"), what="it is dead")
    seen.goes_on(50)


def both(stack: Stack) -> list[psutil.Process]:
    """The two replicas of `double` when both are ready, else none."""
    with stack.client("ada") as ada:
        (revision,) = ada.get("/endpoints/ada/double").json()["status"]["revisions"]
    return stack.model_servers("double") if revision["ready_replicas"] == 2 else []


def test_model_servers_are_adopted(stack: Stack, call: Caller) -> None:
    before = stack.model_servers("steady")
    old = stack.kill("service")
    eventually(lambda: back(stack, "service", old), timeout=60, interval=0.3, what="the hub service is back")
    assert call().status_code == 200
    assert stack.model_servers("steady") == before


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("service", "upload"),
        ("service", "endpoint"),
        ("service", "ready"),
        ("mlflow", "upload"),
        ("mlflow", "register"),
        ("jupyterhub", "upload"),
        ("jupyterhub", "endpoint"),
        ("traefik", "upload"),
        ("traefik", "endpoint"),
        ("traefik", "ready"),
    ],
)
def test_a_publish_ends_whole_or_not_at_all(stack: Stack, name: str, step: str) -> None:
    """A sibling is killed before the upload, after registering, before the endpoint is written, while it starts."""
    publish = Publish(stack, f"{name}-{step}")
    publish.reach(step)
    old = stack.kill(name)
    publish.end()
    eventually(lambda: back(stack, name, old), timeout=90, interval=0.3, what=f"{name} is back")
    publish.check()


@pytest.mark.parametrize("version", [1, 2])
def test_a_publish_outlives_the_model_server_that_it_starts(stack: Stack, version: int) -> None:
    known = stack.model_servers("started")
    publish = Publish(stack, "started")
    publish.reach("endpoint")
    server = eventually(
        lambda: next((s for s in stack.model_servers("started") if s not in known), None),
        interval=0.01,
        what="its model server is started",
    )
    os.kill(server.pid, signal.SIGKILL)
    assert publish.end() == 0, publish.said
    publish.check()
    with stack.client("ada") as ada:
        spec = ada.get("/endpoints/ada/started").json()["spec"]
    assert [r["number"] for r in spec["revisions"]] == list(range(1, version + 1))


class Publish:
    """A publish that something happens to."""

    def __init__(self, stack: Stack, endpoint: str) -> None:
        self.stack, self.endpoint, self.said = stack, endpoint, ""
        self.call = make_caller(stack, "ada", endpoint)
        self.process = Publisher(stack).start(endpoint)

    def reach(self, step: str) -> None:
        """Wait until it tells of `step` for the first time."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if line.startswith(f"Publishing {self.endpoint}: {step}: "):
                return
        raise AssertionError(f"it never said {step}:\n{self.said}")

    def end(self) -> int:
        """Wait until it has ended: with an answering endpoint, or with the reason. Its exit code."""
        self.said += self.process.communicate(timeout=240)[0]
        if self.process.returncode == 0:
            assert self.call().status_code == 200, self.said
        else:
            last = self.said.rstrip().splitlines()[-1]
            assert re.fullmatch(r"modelyard\S*\.errors\.\w+: .+", last), self.said
        return self.process.returncode

    def check(self) -> None:
        """Soon the endpoint is whole, or, after a failure, absent."""
        eventually(self._whole_or_absent, timeout=60, interval=0.2, what=f"{self.endpoint} is whole: {self.said}")

    def _whole_or_absent(self) -> bool:
        with self.stack.client("ada") as ada:
            found = ada.get(f"/endpoints/ada/{self.endpoint}")
        if found.status_code == 404:
            assert self.process.returncode != 0
            return not self.stack.model_servers(self.endpoint)
        resource = found.raise_for_status().json()
        spec, seen = resource["spec"], resource["status"]["revisions"]
        wanted = {r["number"] for r in spec["revisions"] if r["active"]}
        ready = {r["number"] for r in seen for c in r["conditions"] if (c["type"], c["status"]) == ("Ready", "True")}
        assert wanted == ready, seen
        assert sum(t["percent"] for t in spec["traffic"]) == 100
        return self.call().status_code == 200
