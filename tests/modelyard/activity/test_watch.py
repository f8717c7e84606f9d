"""What counts as work, with real processes; the GPUs are doubles."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from harness.wait import eventually_async
from modelyard.activity import processes
from modelyard.activity.gpus import Nvidia
from modelyard.activity.processes import OWNER, Meter, started_here
from modelyard.activity.watch import Watch
from modelyard_api.activity import Countdown


class Kernels:
    """A kernel manager with kernels of these states."""

    def __init__(self, **states: str) -> None:
        long_ago = datetime(2026, 1, 1, tzinfo=UTC)
        self.kernels = {
            name: SimpleNamespace(execution_state=state, last_activity=long_ago) for name, state in states.items()
        }

    def list_kernel_ids(self) -> list[str]:
        return list(self.kernels)

    def get_kernel(self, name: str) -> Any:
        return self.kernels[name]


class Gpu:
    """One GPU, that computes or not."""

    def __init__(self, share: float = 0.0) -> None:
        self.used = share

    def count(self) -> int:
        return 1

    def share(self) -> float:
        return self.used


def watch(gpu: Gpu | None = None, **states: str) -> Watch:
    return Watch({"kernel_manager": Kernels(**states)}, gpus=gpu or Gpu(), window=2.0)


async def test_a_kernel_that_computes_is_work_and_one_that_waits_is_not() -> None:
    assert (await watch(one="idle").now()).busy == ()
    working = await watch(one="busy", other="idle").now()
    assert working.busy == ("A kernel is computing",)
    assert working.now - working.last < 1


async def test_a_process_that_outlived_its_shell_is_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OWNER, f"/user/{os.getpid()}/")
    orphan = "import os, sys\nif os.fork(): os._exit(0)\nos.setsid()\nprint(os.getpid(), flush=True)\nwhile True: pass"
    shell = subprocess.Popen([sys.executable, "-c", orphan], stdout=subprocess.PIPE)  # noqa: ASYNC220
    assert shell.stdout is not None
    pid = int(shell.stdout.readline())
    try:
        shell.wait(10)
        made = watch()

        async def notices() -> bool:
            found = (await made.now()).busy
            return bool(found) and found[0].startswith("Processes use")

        await eventually_async(notices, timeout=20, interval=0.2)
    finally:
        os.kill(pid, signal.SIGKILL)
        shell.stdout.close()


def test_only_what_this_server_started_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OWNER, f"/user/{os.getpid()}/")
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    mine = subprocess.Popen(sleep)
    try:
        assert mine.pid in {process.pid for process in started_here()}
        assert os.getpid() not in {process.pid for process in started_here()}
        assert os.getppid() not in {process.pid for process in started_here()}
    finally:
        mine.kill()
        mine.wait()


async def test_a_gpu_that_computes_is_work_and_one_that_rests_is_offered_back() -> None:
    gpu = Gpu(0.5)
    made = watch(gpu)
    first = await made.now()
    assert first.busy == ("A GPU computes",)
    gpu.used = 0.0
    later = await made.now()
    assert later.busy == ()
    assert later.gpus == 1
    assert first.started <= later.gpu_last < later.now


async def test_a_countdown_ends_with_whatever_happens() -> None:
    for happens in ("present", "keep", "change", "kernel"):
        made = watch(one="idle")
        made.count_down(Countdown(seconds=60, keep=7200))
        told = await made.now()
        assert (told.keep, round(told.ends_at - told.now)) == (7200, 60)
        if happens == "present":
            made.present()
        elif happens == "keep":
            made.keep(7200)
        elif happens == "change":
            made.traffic.changed = time.time()
        else:
            made._settings["kernel_manager"].get_kernel("one").execution_state = "busy"
        assert (await made.now()).ends_at == 0, happens


def test_an_average_is_over_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "started_here", lambda: iter(()))
    meter = Meter(60.0)
    for moment in range(0, 200, 10):
        meter.sample(float(moment))
        meter._total += 5.0
    meter.sample(200.0)
    assert meter.cpu() == pytest.approx(0.5)
    assert len(meter._samples) <= 8


class Nvml:
    """NVML as it answers for a part of a GPU (MIG): rates are not known, processes are."""

    class NVMLError(Exception):
        pass

    def __init__(self, processes: int) -> None:
        self.processes = processes

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any:  # noqa: N802
        raise self.NVMLError("not supported")

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> list[Any]:  # noqa: N802
        return [object()] * self.processes


@pytest.mark.parametrize(("count", "share"), [(0, 0.0), (2, 1.0)])
def test_a_part_of_a_gpu_counts_as_used_while_a_process_has_memory_of_it(count: int, share: float) -> None:
    assert Nvidia(Nvml(count), ["a"]).share() == share
