"""What a training uses, once a second: cores, memory, shared memory, rows per second, the GPU where there is one.

Read from /proc: on other systems only what Python itself knows. It imports nothing that the training has not imported.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from modelyard.training.journal import Journal
from modelyard.training.workers import descendants

INTERVAL = 1.0
_SHM = "/dev/shm"
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_NVIDIA = Path("/proc/driver/nvidia/version")


class Sampler:
    """Tells a `usage` event each second, from a thread of its own."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self._at, self._cpu, self._rows = time.monotonic(), cpu_seconds(), 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Tell no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(INTERVAL):
            with contextlib.suppress(OSError):  # a full disk is told by what needs it more
                self._journal.usage(**self.sample())
                bound(self._journal.folder / "output.log")

    def sample(self) -> dict[str, float]:
        """Since the last call: `cpu` in cores; now: `memory`, `shm` and `shm_size` in bytes; rows per second."""
        now, cpu, rows = time.monotonic(), cpu_seconds(), self._journal.rows
        passed = max(now - self._at, 1e-6)
        found = {"cpu": round(max(0.0, cpu - self._cpu) / passed, 2), "memory": float(memory())} | shared()
        if rows > self._rows:
            found["rows"] = round((rows - self._rows) / passed, 1)
        self._at, self._cpu, self._rows = now, cpu, rows
        return found | gpu()


def cpu_seconds() -> float:
    """Processor time of this process and its descendants, those that have ended included."""
    own = os.times()
    total = own.user + own.system + own.children_user + own.children_system
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError, ValueError):
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, after_name[11:15])) / _TICK
    return total


def memory() -> int:
    """Bytes of this process and its descendants that no file backs: mapped rows count for nothing, as the system may
    drop them."""
    total = 0
    for pid in (os.getpid(), *descendants(os.getpid())):
        with contextlib.suppress(OSError, ValueError):
            _, resident, backed = Path(f"/proc/{pid}/statm").read_text().split()[:3]
            total += (int(resident) - int(backed)) * _PAGE
    return total


def shared() -> dict[str, float]:
    """Bytes in shared memory, of everybody who uses it, and its size."""
    try:
        found = os.statvfs(_SHM)
    except OSError:
        return {}
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    return {"shm": float(used), "shm_size": float(found.f_blocks * found.f_frsize)}


def gpu() -> dict[str, float]:
    """Load in percent, and bytes in use by everybody, of the GPU that torch works on, else of the first one; nothing
    without one."""
    torch: Any = sys.modules.get("torch")
    found: dict[str, float] = {}
    with contextlib.suppress(Exception):  # a driver that does not answer is no reason to fail
        if torch is not None and torch.cuda.is_initialized():
            # Not the current device, which each thread has its own of.
            index = max(range(torch.cuda.device_count()), key=torch.cuda.memory_reserved)
            if torch.cuda.memory_reserved(index):
                free, total = torch.cuda.mem_get_info(index)
                found["gpu_memory"] = float(total - free)
                found["gpu"] = float(torch.cuda.utilization(index))
        elif _NVIDIA.exists():
            import pynvml

            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByIndex(0)
            found["gpu_memory"] = float(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
            found["gpu"] = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    return found


LARGEST, KEPT = 8 << 20, 1 << 20
"""Bytes from which what a training printed is cut, and bytes at its end that stay."""


def bound(output: Path) -> None:
    """Cut what the training printed when it has become too much; its end stays."""
    if not output.exists() or output.stat().st_size <= LARGEST:
        return
    with output.open("r+b") as file:
        file.seek(-KEPT, os.SEEK_END)
        end = file.read()
        file.truncate(0)
        file.seek(0)
        file.write(b"[what was printed before is cut off]\n" + end[end.find(b"\n") + 1 :])
