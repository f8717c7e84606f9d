"""Servers in which nothing is at work are ended, by the real culler of a real JupyterHub; what computes is not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.stack import Stack
from harness.user_server import UserServer
from harness.wait import eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
IDLE, COUNTDOWN, KEEP, LIMIT = 6, 8, 5, 45
SPY = """
import os
from tornado.web import Application
find = Application.find_handler
def spying(self, request, **given):
    if "/modelyard/activity" in request.path:
        with open(os.path.expanduser("~/seen"), "a") as seen:
            print(request.headers.get("Authorization", ""), file=seen)
    return find(self, request, **given)
Application.find_handler = spying
"""
"""What a user may put into the configuration of a server of theirs."""


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A Modelyard that ends servers after seconds."""
    times = {"IDLE": IDLE, "COUNTDOWN": COUNTDOWN, "KEEP": KEEP, "KEEP_LIMIT": LIMIT}
    settings = {f"MODELYARD_CULL_{name}": str(seconds) for name, seconds in times.items()}
    running = Stack(tmp_path_factory.mktemp("hasty") / "home", **settings).wait_ready()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def servers(hasty: Stack) -> Iterator[dict[str, UserServer]]:
    """Of four users: nothing; a cell that sleeps; a terminal with a program; one that is kept."""
    made = {name: UserServer(hasty, name) for name in ("nora", "sam", "tina", "karl")}
    made["sam"].execute("import time; time.sleep(600)")
    made["tina"].terminal("echo be''gan; sleep 600")
    yield made
    for server in made.values():
        server.stop()


def counting(server: UserServer) -> bool:
    return server.activity().ends_at > 0


def test_it_is_told_first_and_ended_then_and_what_works_goes_on(servers: dict[str, UserServer]) -> None:
    nora, karl = servers["nora"], servers["karl"]
    eventually(lambda: counting(nora), timeout=90, interval=0.3, what="its countdown is shown")
    began = time.monotonic()
    assert nora.runs()
    eventually(lambda: counting(karl), timeout=60, interval=0.3, what="the other's is, too")
    kept = karl.activity("/keep", seconds=86400)
    assert kept.ends_at == 0, "it is kept now"
    eventually(lambda: not nora.runs(), timeout=60, interval=0.2, what="it is ended")
    assert time.monotonic() - began > COUNTDOWN - 2
    assert karl.runs()
    # No longer than the limit allows, whatever it asked for.
    eventually(lambda: not karl.runs(), timeout=120, interval=0.5, what="what is kept is ended at the limit")
    assert servers["sam"].runs(), "a cell that sleeps is work"
    assert servers["tina"].runs(), "a program in a terminal is work"
    assert servers["sam"].activity().busy == ("A kernel is computing",)
    assert servers["tina"].activity().busy == ("Terminal 1 runs sleep",)


def test_somebody_who_moves_the_mouse_is_not_interrupted(hasty: Stack) -> None:
    server = UserServer(hasty, "mia")
    try:
        eventually(lambda: counting(server), timeout=90, interval=0.3, what="its countdown is shown")
        assert server.activity("/here").ends_at == 0
        until = time.monotonic() + 3 * IDLE

        def moved() -> bool:
            assert server.activity("/here").ends_at == 0
            return time.monotonic() > until

        eventually(moved, timeout=60, interval=1, what="time has passed")
        assert server.runs()
    finally:
        server.stop()


def test_what_a_server_is_sent_opens_that_server_and_nothing_else(hasty: Stack) -> None:
    home = hasty.home / "users" / "eve"
    (home / ".jupyter").mkdir(parents=True)
    (home / ".jupyter" / "jupyter_server_config.py").write_text(SPY)
    victim, eve = UserServer(hasty, "vic"), UserServer(hasty, "eve")
    try:
        # The question, and that it ends.
        eventually(lambda: len(_seen(home)) > 1, timeout=90, interval=0.3, what="it is asked and told")
        assert len(set(_seen(home))) == 1, "one token for all of it"
        headers = {"Authorization": _seen(home)[0]}

        def status(url: str) -> int:
            return httpx.get(url, headers=headers, timeout=30).status_code

        assert status(f"{eve.url}/api/status") == 200
        assert status(f"{victim.url}/api/status") == 403
        for path in ("users", "users/vic", "users/eve/tokens", "services"):
            assert status(f"{hasty.url}/hub/api/{path}") in (403, 404), path
        assert httpx.delete(f"{hasty.url}/hub/api/users/vic/server", headers=headers).status_code in (403, 404)
        assert victim.runs()
    finally:
        victim.stop()
        eve.stop()


def _seen(home: Path) -> list[str]:
    seen = home / "seen"
    return seen.read_text().splitlines() if seen.exists() else []
