"""Somebody whose second server waits sees why, from where the library works."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from harness.stack import Stack
from harness.user_server import UserServer
from harness.wait import eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("servers")
    small = '[[profiles]]\nname = "small"\ncpu = 1\nmemory = "512Mi"\n'
    (folder / "profiles.toml").write_text(f"{small}[[quotas]]\nservers = 1\n")
    running = Stack(folder / "home", MODELYARD_PROFILES=str(folder / "profiles.toml")).wait_ready()
    yield running
    running.stop()


def test_why_a_second_server_waits(stack: Stack) -> None:
    first = UserServer(stack, "vera")
    assert first.hub.post("/users/vera/servers/more").status_code == 202
    library = stack.library("vera")

    def said() -> str:
        code = "import modelyard as yard; print(*yard.servers(), sep='\\n')"
        done = subprocess.run([sys.executable, "-c", code], env=library, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (default, more) = said().splitlines()
    assert default == "Server(vera · running · small: 1 CPU, 512 MiB)"
    assert more.startswith(
        "Server(vera/more · starting · small: 1 CPU, 512 MiB · You are 1st of 1 in the queue: your quota"
    )
    assert "0 of 1 server free, this asks for 1." in more
    printed = stack.command("servers").stdout
    assert [word in printed for word in ("vera/more", "starting", "waits for")] == [True] * 3, printed
    first.hub.delete("/users/vera/server").raise_for_status()
    eventually(lambda: "vera/more · running" in said(), timeout=60, interval=1, what="it starts once there is room")
    first.hub.delete("/users/vera/servers/more").raise_for_status()
    first.stop()
