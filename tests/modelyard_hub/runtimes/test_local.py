"""What only the local runtime promises: processes, checkpoints, logs."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from contracts.runtime import ask, gone, ready, until
from harness.local import LocalYard
from harness.wait import eventually, eventually_async
from modelyard_api.errors import StorageFull, Unavailable
from modelyard_hub.runtimes.base import Phase
from modelyard_hub.runtimes.environment import load_timeout
from modelyard_hub.runtimes.local import LocalRuntime, stop_everything
from modelyard_hub.runtimes.local.logs import rotate, rotated, tail
from modelyard_hub.runtimes.local.process import Identity, Process, as_unavailable, started
from modelyard_hub.runtimes.local.state import ReplicaRecord, ServerRecord, WorkloadFolder, write_atomic

SERVICE = """
import asyncio, sys
from pathlib import Path
from harness.local import LocalYard
from modelyard_hub.runtimes.local import LocalRuntime

async def main():
    yard = LocalYard(Path(sys.argv[1]))
    await yard.runtime.open()
    await yard.runtime.apply(yard.server(replicas=2))
    while not all(r.phase == "ready" for r in (await yard.runtime.observe())[yard.server().name].replicas):
        await asyncio.sleep(0.02)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_replicas_outlive_a_killed_service_and_are_adopted(yard: LocalYard) -> None:
    await yard.runtime.close()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVICE, str(yard.home), env=environment, stdout=subprocess.PIPE
    )
    assert service.stdout is not None
    assert await asyncio.wait_for(service.stdout.readline(), 20) == b"ready\n"
    service.kill()
    await service.wait()

    await yard.reopen()
    server = yard.server(replicas=2)
    adopted = (await yard.runtime.observe())[server.name]
    assert ready(2)(adopted)
    victim = (await ask(adopted.replicas[0]))["pid"]
    os.kill(victim, signal.SIGKILL)
    back = await until(yard, server.name, lambda o: ready(2)(o) and o.replicas[0].restarts == 1)
    assert (await ask(back.replicas[0]))["pid"] != victim
    assert (await ask(back.replicas[1]))["pid"] == (await ask(adopted.replicas[1]))["pid"]


async def test_a_replica_whose_pid_was_never_written_is_found_by_its_nonce(yard: LocalYard) -> None:
    server = yard.server()
    await yard.runtime.apply(server)
    pid = (await ask((await until(yard, server.name, ready(1))).replicas[0]))["pid"]
    await yard.runtime.close()
    folder = WorkloadFolder(yard.root / server.name)
    (record,) = folder.read_replicas()
    folder.write_replica(replace(record, pid=None, started="", ready=False))
    await yard.reopen()
    found = await until(yard, server.name, ready(1))
    assert (await ask(found.replicas[0]))["pid"] == pid


async def test_a_process_of_no_recorded_replica_is_ended(yard: LocalYard) -> None:
    server = yard.server()
    await yard.runtime.apply(server)
    pid = (await ask((await until(yard, server.name, ready(1))).replicas[0]))["pid"]
    await yard.runtime.close()
    WorkloadFolder(yard.root / server.name).remove()
    await yard.reopen()
    assert await yard.runtime.observe() == {}
    eventually(lambda: started(pid) is None, timeout=10)


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


async def test_a_recycled_pid_is_neither_adopted_nor_ended(yard: LocalYard, bystander: subprocess.Popen[bytes]) -> None:
    await yard.runtime.close()
    folder, server = WorkloadFolder(yard.root / yard.server().name), yard.server()
    folder.write_server(ServerRecord(server))
    stale = ReplicaRecord(0, server.template_digest(), nonce="old", pid=bystander.pid, started="boot/1", ready=True)
    folder.write_replica(stale)
    assert not Process(Identity(bystander.pid, "boot/1")).alive()
    assert stop_everything(yard.home, drain_timeout=1.0) == 0
    await yard.reopen()
    observed = await until(yard, server.name, ready(1))
    assert (await ask(observed.replicas[0]))["pid"] != bystander.pid
    await yard.runtime.delete(server.name)
    await gone(yard, server.name)
    assert bystander.poll() is None


async def test_a_taken_port_is_replaced_at_once_and_is_no_crash(yard: LocalYard) -> None:
    yard.switch("port-in-use-once")
    server = yard.server()
    await yard.runtime.apply(server)
    replica = (await until(yard, server.name, ready(1))).replicas[0]
    refused = (yard.switches / "port-refused").read_text()
    assert replica.restarts == 0
    assert replica.address is not None
    assert not replica.address.endswith(f":{refused}")


async def test_a_restarted_replica_keeps_its_port(yard: LocalYard) -> None:
    server = yard.server()
    await yard.runtime.apply(server)
    before = (await until(yard, server.name, ready(1))).replicas[0]
    os.kill((await ask(before))["pid"], signal.SIGKILL)
    after = await until(yard, server.name, lambda o: ready(1)(o) and o.replicas[0].restarts == 1)
    assert after.replicas[0].address == before.address


async def test_a_replica_that_never_gets_ready_is_restarted(yard: LocalYard) -> None:
    await yard.runtime.close()
    timing = replace(yard.options.timing, start_timeout=0.5)
    yard.options = replace(yard.options, timing=timing)
    await yard.reopen()
    yard.switch("never-ready")
    server = yard.server()
    await yard.runtime.apply(server)
    await until(yard, server.name, lambda o: o.replicas[0].restarts > 0 and o.replicas[0].reason == "StartTimeout")
    yard.switch("never-ready", None)
    await until(yard, server.name, ready(1))


async def test_a_replica_whose_model_loads_for_too_long_says_so_with_the_limit(yard: LocalYard) -> None:
    yard.switch("loads-too-long")
    server = yard.server()
    await yard.runtime.apply(server)
    found = await until(yard, server.name, lambda o: o.replicas[0].restarts > 0 and o.replicas[0].reason)
    assert found.replicas[0].reason == "LoadTimeout"
    limit = load_timeout(yard.options.timing.start_timeout)
    assert f"within {limit:g} s, nine tenths of MODELYARD_START_TIMEOUT" in found.replicas[0].message
    yard.switch("loads-too-long", None)
    await until(yard, server.name, ready(1))


async def test_failures_are_forgotten_after_a_healthy_while(yard: LocalYard) -> None:
    await yard.runtime.close()
    yard.options = replace(yard.options, timing=replace(yard.options.timing, healthy_after=0.3))
    await yard.reopen()
    yard.switch("crash-at-start")
    server = yard.server()
    await yard.runtime.apply(server)
    await until(yard, server.name, lambda o: o.replicas[0].phase is Phase.crash_loop)
    yard.switch("crash-at-start", None)

    async def dies_as_a_first_time() -> bool:
        """Whether a death counts as a first one again."""
        replica = (await until(yard, server.name, ready(1))).replicas[0]
        os.kill((await ask(replica))["pid"], signal.SIGKILL)
        failing = await until(yard, server.name, lambda o: o.replicas[0].phase in (Phase.backoff, Phase.crash_loop))
        return failing.replicas[0].phase is Phase.backoff

    assert not await dies_as_a_first_time(), "ready is not yet healthy"
    await until(yard, server.name, ready(1))
    folder = WorkloadFolder(yard.root / server.name)
    await eventually_async(lambda: _forgiven(folder), timeout=10)
    assert await dies_as_a_first_time()


async def _forgiven(folder: WorkloadFolder) -> bool:
    """Whether the checkpoint counts no failures any more."""
    return folder.read_replicas()[0].failures == 0


async def test_limits_of_a_replica(yard: LocalYard) -> None:
    server = yard.server()
    await yard.runtime.apply(server)
    process = psutil.Process((await ask((await until(yard, server.name, ready(1))).replicas[0]))["pid"])
    assert process.nice() == psutil.Process().nice() + yard.options.nice
    if hasattr(process, "rlimit"):
        assert process.rlimit(psutil.RLIMIT_DATA) == (2 * server.resources.memory,) * 2


async def test_stop_everything_ends_them_and_the_next_start_brings_them_back(yard: LocalYard) -> None:
    server = yard.server(replicas=2)
    await yard.runtime.apply(server)
    pids = [(await ask(r))["pid"] for r in (await until(yard, server.name, ready(2))).replicas]
    await yard.runtime.close()
    assert await asyncio.to_thread(stop_everything, yard.home, 2.0) == 2
    assert [started(pid) for pid in pids] == [None, None]
    assert stop_everything(yard.home, 2.0) == 0
    await yard.reopen()
    again = await until(yard, server.name, ready(2))
    assert again.digest == server.digest()
    assert [r.restarts for r in again.replicas] == [0, 0]


async def test_a_half_done_deletion_goes_on_at_the_next_start(yard: LocalYard) -> None:
    server = yard.server()
    await yard.runtime.apply(server)
    await until(yard, server.name, ready(1))
    await yard.runtime.close()
    WorkloadFolder(yard.root / server.name).write_server(ServerRecord(server, deleting=True))
    await yard.reopen()
    await gone(yard, server.name)
    assert not (yard.root / server.name).exists()


async def test_a_folder_serves_one_service_at_a_time(yard: LocalYard) -> None:
    other = LocalRuntime(yard.root, yard.options)
    with pytest.raises(Unavailable, match="another hub service"):
        await other.open()
    await other.close()


async def test_a_full_disk_is_said_and_nothing_is_half_recorded(
    yard: LocalYard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StorageFull, match=r"Free disk space"):
            await yard.runtime.apply(yard.server())
    assert await yard.runtime.observe() == {}
    await yard.runtime.apply(yard.server())
    await until(yard, yard.server().name, ready(1))


async def test_logs_rotate_under_a_writing_replica(yard: LocalYard) -> None:
    server = yard.server()
    await yard.runtime.apply(server)
    replica = (await until(yard, server.name, ready(1))).replicas[0]
    log = WorkloadFolder(yard.root / server.name).log(0)
    with log.open("a") as file:
        file.write("filler\n" * (yard.options.log_size // 7 + 1))
    await asyncio.to_thread(eventually, rotated(log, 1).exists, timeout=10)
    await ask(replica, "/after-rotation")
    (found,) = await yard.runtime.logs(server.name, lines=3)
    assert any("/after-rotation" in line for line in found.lines)
    assert log.stat().st_size < yard.options.log_size


def test_rotation_keeps_so_many_files(tmp_path: Path) -> None:
    log = tmp_path / "replica-0.log"
    for number in range(6):
        log.write_text(f"line {number}\n" * 20)
        assert rotate(log, size=100, files=3)
        assert not rotate(log, size=100, files=3)
    assert [rotated(log, n).read_text()[:6] for n in (1, 2, 3)] == ["line 5", "line 4", "line 3"]
    assert not rotated(log, 4).exists()


@pytest.mark.parametrize("lines", [1, 3, 50])
def test_the_tail_reaches_into_the_rotated_file(tmp_path: Path, lines: int) -> None:
    log = tmp_path / "replica-0.log"
    rotated(log, 1).write_text("".join(f"{n}\n" for n in range(40)))
    log.write_text("40\n41\n")
    assert tail(log, lines) == tuple(str(n) for n in range(42))[-lines:]


def test_the_tail_of_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff\xfe" + b"x" * 300_000)
    (line,) = tail(tmp_path / "log", 2)
    assert len(line) == 4000
    assert tail(tmp_path / "none", 2) == ()


def test_a_file_is_replaced_in_one_step_and_private(tmp_path: Path) -> None:
    path = tmp_path / "files" / "access.json"
    write_atomic(path, "one")
    inode = path.stat().st_ino
    write_atomic(path, "two")
    assert path.read_text() == "two"
    assert path.stat().st_ino != inode
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["access.json"]


def test_records_survive_being_written(yard_server: tuple[Path, ServerRecord]) -> None:
    path, record = yard_server
    folder = WorkloadFolder(path)
    folder.write_server(record)
    again = folder.read_server()
    assert again is not None
    assert again.server.digest() == record.server.digest()
    assert asdict(again) == asdict(record)
    assert json.loads((path / "server.json").read_text())["deleting"] is False


@pytest.fixture
def yard_server(tmp_path: Path) -> tuple[Path, ServerRecord]:
    server = LocalYard(tmp_path).server(files={"access.json": "{}"}, environment={"A": "b"})
    return tmp_path / "workload", ServerRecord(server)


def test_errors_of_the_system_name_their_kind() -> None:
    assert isinstance(as_unavailable(OSError(errno.EDQUOT, "quota"), "x"), StorageFull)
    assert not isinstance(as_unavailable(OSError(errno.EACCES, "denied"), "x"), StorageFull)
