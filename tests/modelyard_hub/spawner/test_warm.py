"""The process that notebook servers are forked from: real ones, with a program in the server's place."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from harness.wait import eventually, eventually_async
from modelyard_hub.spawner import warm
from modelyard_hub.spawner.warm import Forked, Warm

PARENT = """
import json, os, sys, time
from modelyard.singleuser import warm
warm._preload = lambda: None
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
told = warm.Parent(answers).serve()
if told is not None:
    warm._become(told)
    name, *rest = sys.argv[1:]
    said = {"cwd": os.getcwd(), "environ": dict(os.environ), "arguments": rest, "session": os.getsid(0) == os.getpid(),
            "cores": sorted(os.sched_getaffinity(0)), "input": os.read(0, 1).decode()}
    with open(name + ".part", "w") as out:
        json.dump(said, out)
    os.rename(name + ".part", name)
    if "wait" in rest:
        time.sleep(600)
    sys.exit(7)
"""


@pytest.fixture
async def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Warm]:
    """A warm process whose servers write down what they were given, and end with 7."""
    (tmp_path / "small_parent.py").write_text(PARENT)
    monkeypatch.setattr(warm, "PROGRAM", "small_parent")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    process = Warm({"PATH": os.environ["PATH"], "PYTHONPATH": path, "SECRET": "of the parent"})
    yield process
    await process.close()


async def ready(process: Warm) -> None:
    async def is_ready() -> bool:
        process.prepare()
        return process.running and process._ready.is_set()

    await eventually_async(is_ready, timeout=30, what="the warm process is ready")


async def fork(process: Warm, folder: Path, *arguments: str, cores: tuple[int, ...] = ()) -> Forked:
    made = await process.fork({"USER": "ada", "PATH": os.environ["PATH"]}, arguments, str(folder), cores)
    assert made is not None
    return made


async def read(path: Path) -> dict[str, object]:
    def told() -> dict[str, object]:
        found: dict[str, object] = json.loads(path.read_text())
        return found

    return await asyncio.to_thread(eventually, told, timeout=20, what=f"{path} is written")


async def test_a_server_gets_its_own_environment_folder_and_cores(made: Warm, tmp_path: Path) -> None:
    await ready(made)
    core = min(os.sched_getaffinity(0))
    server = await fork(made, tmp_path, "said", "--ip=1", cores=(core,))
    said = await read(tmp_path / "said")
    assert said["environ"] == {"USER": "ada", "PATH": os.environ["PATH"]}, "and nothing of the parent's"
    assert (said["cwd"], said["arguments"], said["cores"]) == (str(tmp_path), ["--ip=1"], [core])
    assert (said["session"], said["input"]) == (True, "")

    async def ended() -> bool:
        return server.status == 7

    await eventually_async(ended, what="its end is told")
    assert not psutil.pid_exists(server.pid), "it was reaped"


async def test_while_it_is_not_ready_there_is_nothing_to_fork_from(made: Warm, tmp_path: Path) -> None:
    assert await made.fork({}, (), str(tmp_path), ()) is None
    await ready(made)
    await fork(made, tmp_path, "said")


async def test_servers_outlive_it_and_another_takes_its_place(made: Warm, tmp_path: Path) -> None:
    await ready(made)
    first = await fork(made, tmp_path, "first", "wait")
    await read(tmp_path / "first")
    try:
        assert made._process is not None
        os.kill(made._process.pid, signal.SIGKILL)
        await made._process.wait()
        assert psutil.pid_exists(first.pid)
        assert not made.knows(first), "nobody tells its end any more"
        assert await made.fork({}, (), str(tmp_path), ()) is None
        await ready(made)
        await fork(made, tmp_path, "second")
        await read(tmp_path / "second")
    finally:
        os.kill(first.pid, signal.SIGKILL)


async def test_after_an_installation_servers_come_from_a_new_one(
    made: Warm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ready(made)
    assert made._process is not None
    old = made._process.pid
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site-packages")])
    (tmp_path / "site-packages").mkdir()
    assert await made.fork({}, (), str(tmp_path), ()) is None
    await ready(made)
    assert made._process.pid != old


async def test_many_at_once_each_get_theirs(made: Warm, tmp_path: Path) -> None:
    await ready(made)
    servers = await asyncio.gather(*(fork(made, tmp_path, f"said-{n}", str(n)) for n in range(8)))
    assert len({server.pid for server in servers}) == 8
    for n in range(8):
        assert (await read(tmp_path / f"said-{n}"))["arguments"] == [str(n)]


HASTY = """
import os, sys
os.write(1, b'{"ready": true}\\n')
sys.stdin.readline()
os.write(1, b'{"pid": 7}\\n{"ended": 7, "status": 3}\\n')
sys.stdin.readline()
"""


async def test_one_that_ends_at_once_is_told_with_its_end(made: Warm, tmp_path: Path) -> None:
    """Both are read before who asked goes on."""
    (tmp_path / "small_parent.py").write_text(HASTY)
    await ready(made)
    assert await made.fork({}, (), str(tmp_path), ()) == Forked(7, 3)
