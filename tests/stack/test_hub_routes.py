"""JupyterHub's routes while its process, the hub service or Traefik is killed at a bad moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from harness.stack import Stack
from harness.wait import eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def answers(stack: Stack, user: str) -> bool:
    """Whether a user's notebook server answers through the router, and not JupyterHub in its place."""
    answer = httpx.get(f"{stack.url}/user/{user}/api", timeout=10)
    return answer.status_code == 200 and "version" in answer.json()


@contextmanager
def hub_as(stack: Stack, user: str) -> Iterator[httpx.Client]:
    """JupyterHub's API as that user, who may start and stop a server of theirs."""
    with stack.hub() as hub:
        hub.post(f"/users/{user}")
        scopes = [f"{scope}!user={user}" for scope in ("servers", "read:servers")]
        made = hub.post(f"/users/{user}/tokens", json={"scopes": scopes}).raise_for_status()
        hub.headers["Authorization"] = f"token {made.json()['token']}"
        yield hub


def server(hub: httpx.Client, user: str) -> dict[str, Any]:
    """The user's notebook server as JupyterHub has it; empty where there is none."""
    found: dict[str, Any] = hub.get(f"/users/{user}").json()["servers"].get("", {})
    return found


def start(stack: Stack, user: str) -> None:
    """Ask for a notebook server; does not wait for it."""
    with hub_as(stack, user) as hub:
        hub.post(f"/users/{user}/server").raise_for_status()


def ready(stack: Stack, user: str) -> bool:
    with hub_as(stack, user) as hub:
        return bool(server(hub, user).get("ready"))


def stop(stack: Stack, user: str) -> None:
    with hub_as(stack, user) as hub:
        hub.delete(f"/users/{user}/server").raise_for_status()
        eventually(lambda: not server(hub, user), timeout=60, what="it is stopped")


def back(stack: Stack, name: str, old: int) -> bool:
    return stack.pid(name) != old and stack.command("status").returncode == 0


@contextmanager
def watched(stack: Stack, user: str) -> Iterator[list[str]]:
    """What a browser would have seen that asks all the time, as far as it is no answer of the notebook server."""
    wrong: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.05):
            try:
                answer = httpx.get(f"{stack.url}/user/{user}/api", timeout=10)
                if answer.status_code != 200 or "version" not in answer.json():
                    wrong.append(f"{answer.status_code} {answer.text[:100]}")
            except (httpx.TransportError, ValueError) as error:
                wrong.append(repr(error))

    thread = threading.Thread(target=ask, name="browser")
    thread.start()
    try:
        yield wrong
    finally:
        done.set()
        thread.join(30)


def test_a_server_that_gets_ready_while_the_service_is_dead_is_routed_when_it_is_back(stack: Stack) -> None:
    start(stack, "gina")
    old = stack.kill("service")
    eventually(lambda: ready(stack, "gina"), timeout=120, what="the server is ready")
    assert answers(stack, "gina")
    eventually(lambda: back(stack, "service", old), timeout=60, what="the service is back")
    stop(stack, "gina")
    eventually(lambda: not answers(stack, "gina"), timeout=30, what="its route is gone")


def test_a_running_server_answers_while_the_service_and_then_jupyterhub_are_killed(stack: Stack) -> None:
    start(stack, "hugo")
    eventually(lambda: ready(stack, "hugo") and answers(stack, "hugo"), timeout=120, what="the server is ready")
    with watched(stack, "hugo") as wrong:
        for name in ("service", "jupyterhub", "service"):
            old = stack.kill(name)
            eventually(lambda name=name, old=old: back(stack, name, old), timeout=90, what=f"{name} is back")
    assert not wrong, (len(wrong), wrong[:3])
    stop(stack, "hugo")


def test_a_router_that_starts_anew_has_the_routes_while_jupyterhub_is_dead(stack: Stack) -> None:
    start(stack, "iris")
    eventually(lambda: ready(stack, "iris") and answers(stack, "iris"), timeout=120, what="the server is ready")
    hub, router = stack.kill("jupyterhub"), stack.kill("traefik")
    eventually(lambda: stack.pid("traefik") != router and answers(stack, "iris"), timeout=30, what="it answers again")
    eventually(lambda: back(stack, "jupyterhub", hub), timeout=90, what="JupyterHub is back")
    assert answers(stack, "iris")
    stop(stack, "iris")


def test_what_stopped_while_the_service_was_dead_loses_its_route(stack: Stack) -> None:
    start(stack, "jan")
    eventually(lambda: ready(stack, "jan") and answers(stack, "jan"), timeout=120, what="the server is ready")
    old = stack.kill("service")
    stop(stack, "jan")
    eventually(lambda: back(stack, "service", old), timeout=60, what="the service is back")
    eventually(
        lambda: httpx.get(f"{stack.url}/user/jan/api", follow_redirects=False).status_code in (302, 404, 424, 503),
        timeout=30,
        what="JupyterHub answers in its place",
    )
