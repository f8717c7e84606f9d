"""Culling on a cluster: the installed hub's own culler with shorter times, for two users' servers alone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.release import Release
from harness.user_server import UserServer
from harness.wait import eventually

pytestmark = pytest.mark.timeout(400)
IDLE, COUNTDOWN = 6, 5
CALM, SLEEPER = "calm", "sleeper"
_FIND = """
import pathlib
for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit():
        words = (entry / "cmdline").read_bytes().split(bytes(1))
        if b"modelyard_hub.culling" in words:
            print(b" ".join(words).decode())
"""
_MAY = ("list:users", "read:users:activity", "read:servers", "delete:servers", "tokens")


@contextmanager
def culling(release: Release, command: list[str], **times: int) -> Iterator[None]:
    """The hub's own command in the hub's own pod, with these times, and rights over these two users' servers alone."""
    with release.hub() as hub:
        scopes = [f"{scope}!user={user}" for scope in _MAY for user in (CALM, SLEEPER)]
        token = hub.post("/users/admin/tokens", json={"scopes": scopes}).raise_for_status().json()["token"]
    given = {f"--{name.replace('_', '-')}": str(seconds) for name, seconds in times.items()}
    words = [f"{name}={given.get(name, value)}" for name, _, value in (word.partition("=") for word in command[3:])]
    variables = (f"JUPYTERHUB_API_TOKEN={token}", "JUPYTERHUB_API_URL=http://127.0.0.1:8081/hub/api")
    where = ("--namespace", release.namespace, "exec", release.pods("hub")[0]["metadata"]["name"], "--")
    # It ends with its time, whatever becomes of who asked for it.
    line = release.cluster.kubectl.command(*where, "timeout", "90", "env", *variables, *command[:3], *words)
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def test_what_is_idle_is_ended_and_a_quiet_cell_that_sleeps_survives(installed: Release) -> None:
    pod = installed.pods("hub")[0]["metadata"]["name"]
    (own,) = installed.kubectl("exec", pod, "--", "python", "-c", _FIND).strip().splitlines()
    assert "--idle=3600" in own, "the hub's own is there, and has what the settings say"
    calm, sleeper = UserServer(installed, CALM, 240), UserServer(installed, SLEEPER, 240)
    sleeper.execute("import time; time.sleep(600)")
    with culling(installed, own.split(), idle=IDLE, countdown=COUNTDOWN, keep=5, keep_limit=60):
        eventually(lambda: calm.activity().ends_at > 0, timeout=60, interval=0.5, what="its countdown is shown")
        eventually(lambda: not calm.runs(), timeout=60, interval=0.5, what="it is ended")
        eventually(lambda: not installed.notebooks(CALM), timeout=60, what="and so is its pod")
        assert sleeper.runs(), "a cell that sleeps is work"
        assert sleeper.activity().busy == ("A kernel is computing",)
        assert not sleeper.activity().ends_at
    for server in (calm, sleeper):
        server.stop()
